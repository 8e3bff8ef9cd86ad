"""Studies and who takes part in them, as requests to the API."""

import contextlib
import uuid

from calls import fill

from prefloop.labelling import links

DEVICE = str(uuid.UUID(int=7))


class Person:
    """A participant's page: their link, on their device."""

    def __init__(self, api, token, device=DEVICE):
        self.api, self.token = api, token
        self.session = str(uuid.uuid4())
        self.headers = {"authorization": f"Bearer {token}", "prefloop-device": device}

    def get(self, path=""):
        return self.api.get(f"/api/study{path}", headers=self.headers)

    def post(self, path, **body):
        return self.api.post(f"/api/study{path}", json=body, headers=self.headers)

    def enter_reply(self):
        return self.post("/enter", device=self.headers["prefloop-device"])

    def enter(self):
        reply = self.enter_reply()
        assert reply.status_code == 200, reply.text
        return reply.json()

    def step(self, step, **more):
        return self.post("/steps", step=step, **more)

    def lease_reply(self, count=1, **wish):
        return self.post("/leases", session=self.session, count=count, **wish)

    def lease(self, count=1, **wish):
        reply = self.lease_reply(count, **wish)
        assert reply.status_code == 200, reply.text
        return reply.json()["queries"]

    def say(self, given, choice="left", **more):
        said = {"id": str(uuid.uuid4()), "lease": given["lease"], "choice": choice, **more}
        return self.api.post("/api/answers", json=said, headers=self.headers)

    def undo(self, **more):
        return self.post("/undo", id=str(uuid.uuid4()), session=self.session, **more)

    def label_all(self, choice="left"):
        """Answers until nothing is given; how many."""
        for number in range(1000):
            given = self.lease()
            if not given:
                return number
            assert self.say(given[0], choice).status_code == 200
        raise AssertionError("it never ends")


def make_study(api, name="pilot", people=2, run="cartpole-01", num_queries=6, **about):
    """A study of a run that is made for it; its participants' pages, and the open link's if asked for."""
    more = {key: about.pop(key) for key in ("runs", "open_link", "headers") if key in about}
    headers = more.pop("headers", {})
    if "runs" not in more:
        with contextlib.ExitStack() as stack:
            stack.callback(api.headers.pop, "authorization", None)
            api.headers.update(headers)
            fill(api, run, num_queries)
        more["runs"] = {"pairs": [run]}
    tokens = [links.new_token() for _ in range(people)]
    body = {
        "about": about,
        "links": [
            {"ref": f"{i:02}", "token": links.digest(token)} for i, token in enumerate(tokens, 1)
        ],
        **more,
    }
    reply = api.put(f"/api/studies/{name}", json=body, headers=headers)
    assert reply.status_code == 200, reply.text
    return [Person(api, token) for token in tokens]
