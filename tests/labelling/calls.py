"""A run with queries, leases and answers, as requests to the API."""

import uuid

from people import make_segment

from prefloop.labelling.arrays import pad, to_archive

RUN = {
    "env": "CartPole-v1",
    "spaces": {"obs_shape": [4], "obs_dtype": "float32", "discrete": True, "num_actions": 2},
}
ADA = {"annotator": "ada", "session": str(uuid.UUID(int=1))}


def fill(api, name="cartpole-01", num_queries=3, length=5, **facts):
    """A run with queries; their ids."""
    assert api.put(f"/api/runs/{name}", json={**RUN, **facts}).status_code == 200
    segments = pad([make_segment(i, length) for i in range(2 * num_queries)])
    reply = api.post(f"/api/runs/{name}/segments", content=to_archive(segments))
    ids = reply.json()["ids"]
    asked = [
        {"id": str(uuid.uuid4()), "first": ids[2 * i], "second": ids[2 * i + 1]}
        for i in range(num_queries)
    ]
    assert api.post(f"/api/runs/{name}/queries", json={"queries": asked}).status_code == 204
    return [query["id"] for query in asked]


def lease(api, name="cartpole-01", **wish):
    return lease_reply(api, name, **wish).json()


def lease_reply(api, name="cartpole-01", **wish):
    return api.post(f"/api/runs/{name}/leases", json={**ADA, **wish})


def say(api, given, choice="left", **more):
    body = {"id": str(uuid.uuid4()), "lease": given["lease"], "choice": choice, **more}
    return api.post("/api/answers", json=body)
