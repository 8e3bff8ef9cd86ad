"""Arenas to vote in, made up."""

import uuid

from people import make_segment

from prefloop.labelling.arrays import pad, to_archive

NAMES = ("zebra-strong", "zebra-middle", "zebra-weak")  # words that stand nowhere else
AGENTS = [{"name": name, "digest": f"{i}" * 64} for i, name in enumerate(NAMES)]
RUN = {
    "env": "CartPole-v1",
    "spaces": {"obs_shape": [4], "obs_dtype": "float32", "discrete": True, "num_actions": 2},
    "agents": AGENTS,
}


def fill(api, name="walkers", num=6, **more):
    """An arena whose query i compares agents of the three in turn: {query: their places}."""
    assert api.put(f"/api/runs/{name}", json=RUN, **more).status_code == 200
    archive = to_archive(pad([make_segment(i) for i in range(2 * num)]))
    ids = api.post(f"/api/runs/{name}/segments", content=archive, **more).json()["ids"]
    pairs = [((0, 1), (2, 0), (1, 2))[i % 3] for i in range(num)]
    asked = [
        {
            "id": str(uuid.uuid4()), "first": ids[2 * i], "second": ids[2 * i + 1],
            "agents": [NAMES[one], NAMES[other]],
        }
        for i, (one, other) in enumerate(pairs)
    ]  # fmt: skip
    reply = api.post(f"/api/runs/{name}/queries", json={"queries": asked}, **more)
    assert reply.status_code == 204, reply.text
    return {query["id"]: pair for query, pair in zip(asked, pairs, strict=True)}


def vote(api, of, name="walkers", **more):
    """Labels that prefer the agent that stands first in NAMES, of two."""
    labels = [
        {"id": str(uuid.uuid4()), "query": query, "annotator": "ada", "label": float(one > other)}
        for query, (one, other) in of.items()
    ]
    assert api.post(f"/api/runs/{name}/labels", json={"labels": labels}, **more).status_code == 200
