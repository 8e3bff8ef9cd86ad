"""How far a reward can be trusted: computed by its trainer, kept and shown by the server."""

import copy

import numpy as np
import pytest
from calls import fill, lease, say
from test_people import FakeServer, make_queries
from trusted import ACCURACY, TRUST

from prefloop.commands.trust import _stretches, as_told, telling
from prefloop.envs.settings import EnvSettings
from prefloop.envs.spaces import Spaces
from prefloop.evaluation.judgement import AnswerFacts, judge
from prefloop.labelling.client.calling import RefusedError
from prefloop.labelling.client.people import People
from prefloop.labelling.limits import MAX_NAMED, MAX_STRETCHES
from prefloop.labelling.schemas.trust import TrustIn
from prefloop.rewards.settings import RewardSettings
from prefloop.rewards.training import fit, make_model, split

pytest_plugins = ["store_fixtures"]

PUT, GET = "/api/runs/cartpole-01/reward-report", "/api/runs/cartpole-01/results"


def report(trust):
    return {"accuracy": 0.9, "labels": 114, "trust": trust}


def labelled(api, *names):
    """A run that these have labelled."""
    fill(api, annotators_per_query=len(names))
    for i, name in enumerate(names):
        session = f"00000000-0000-0000-0000-00000000000{i}"
        say(api, lease(api, annotator=name, session=session)["queries"][0])


def test_it_is_kept_and_shown_as_the_trainer_sent_it(api):
    labelled(api, "ada", "bob")
    assert api.put(PUT, json=report(TRUST)).status_code == 204
    assert api.get(GET).json()["reward"]["trust"] == TRUST
    # where nothing was held out nothing is known
    unknown = {name: None for name in TRUST if name.startswith(("held_out_acc", "calibration_err"))}
    little = {**TRUST, **unknown, "calibration": [], "rank_correlation": None, "inputs": []}
    assert api.put(PUT, json=report(little)).status_code == 204
    assert api.get(GET).json()["reward"]["trust"] == little


def test_a_trainer_that_says_nothing_of_it_is_one_as_before(api):
    labelled(api, "ada")
    assert api.put(PUT, json={"accuracy": 0.9, "labels": 1}).status_code == 204
    reward = api.get(GET).json()["reward"]
    assert reward["trust"] is None and reward["accuracy"] == 0.9


@pytest.mark.parametrize(
    "wrong",
    [
        {"held_out_accuracy": 1.2},
        {"held_out_accuracy": None},  # of an interval
        {"held_out_answers": 121},
        {"held_out_ties": 25},
        {"rank_correlation": -1.5},
        {"calibration": [{"predicted": 0.5, "observed": 2, "answers": 3}]},
        {"controls": {"constant": 0.5}},
        {"inputs": [{"name": "a\nb", "slope": 1, "size": 1}]},
        {"inputs": [{"name": "a", "slope": 1, "size": 1}] * 21},
        {"by_annotator": [{"name": "", **ACCURACY}]},
        {"by_annotator": [{"name": "ada", **ACCURACY}] * (MAX_NAMED + 1)},
        {"over_time": [{"first": 1, "last": 1, **ACCURACY}] * (MAX_STRETCHES + 1)},
        {"more": 1},
    ],
)
def test_what_can_not_be_meant_is_refused(api, wrong):
    fill(api)
    assert api.put(PUT, json=report({**TRUST, **wrong})).status_code == 422


def test_whoever_was_forgotten_meanwhile_is_not_named(api, store):
    """A trainer that has read their labels before tells of them after."""
    labelled(api, "ada", "bob")
    assert api.post("/api/people/forget", json={"annotator": "bob"}).status_code == 200
    assert api.put(PUT, json=report(TRUST)).status_code == 204
    named = [row["name"] for row in api.get(GET).json()["reward"]["trust"]["by_annotator"]]
    assert named == ["ada"]
    assert "bob" not in str(store.runs.get("cartpole-01").reward_report)
    # and what was told before goes with them
    assert api.post("/api/people/forget", json={"annotator": "ada"}).status_code == 200
    assert api.get(GET).json()["reward"] is None


def fitted(preferences, settings):
    model = make_model(Spaces((3,), "float32", True, 2), settings, 0)
    return fit(model, preferences.answered.compact, settings, 0, "cpu")[0]


class Listening(FakeServer):
    """Keeps what is said of a reward; refuses what an earlier version does not know."""

    def __init__(self, knows_trust=True, knows_steps=True):
        super().__init__()
        self.page_size, self.knows = 100, (knows_trust, knows_steps)
        self.heard = []

    def put_reward_report(self, name, accuracy, labels, hardest, trust=None):
        trusted, steps = trust is not None, any("first_reward" in hard for hard in hardest)
        if (trusted and not self.knows[0]) or (steps and not self.knows[1]):
            raise RefusedError(422, "unknown")
        self.heard.append((trust, steps))

    def put_traces(self, name, traces):
        pass


@pytest.fixture
def asked(tmp_path):
    """People who have answered 40 pairs in 20 sessions, and have skipped one; by which server."""

    def by(server):
        people = People(server, "r", tmp_path / "preferences")
        queries = make_queries(num=41)
        people.ask(queries, 0)
        for i, (id, query) in enumerate(server.queries.items()):
            query.iteration = i // 2
            first, second = (server.kept[side].returns[0] for side in (query.first, query.second))
            label = None if i == 5 else float(second > first)
            server.say(id, label, "skip" if i == 5 else "answer", annotator="ab"[i % 2])
        return people

    return by


def test_each_fit_is_told_with_how_far_it_can_be_trusted(asked):
    server, settings = Listening(), RewardSettings(epochs=5, hidden_sizes=(8,), held_out=0.4)
    people = asked(server)
    preferences = people.current()
    model = fitted(preferences, settings)
    telling(people, EnvSettings(env="CartPole-v1"), settings, 0)(model, preferences)
    ((trust, steps),) = server.heard
    assert steps
    TrustIn.model_validate(trust)
    answered = preferences.answered
    held_out, _ = split(answered.pairs, answered.labels, 0.4, 0)
    assert (trust["answers"], trust["held_out_answers"]) == (40, len(held_out))
    facts = [said for said, label in zip(people.facts, preferences.labels, strict=True) if label == label]  # fmt: skip
    known = AnswerFacts(facts=facts)
    figures = judge(model, answered, held_out, settings.label_noise, known).told
    for name in ("held_out_accuracy", "calibration_error_by_chance_95", "rank_correlation", "controls"):  # fmt: skip
        assert trust[name] == figures[name]
    assert {row["name"]: row["answers"] for row in trust["by_annotator"]} == {"a": 21, "b": 19}
    over_time = trust["over_time"]
    assert sum(row["answers"] for row in over_time) == 40 and 1 < len(over_time) <= MAX_STRETCHES
    ends = [end for row in over_time for end in (row["first"], row["last"])]
    assert ends == sorted(ends) and (ends[0], ends[-1]) == (0, 20)


def test_what_is_told_changes_no_random_number_of_the_training(asked):
    import torch

    server, settings = Listening(), RewardSettings(epochs=2, hidden_sizes=(8,))
    people = asked(server)
    preferences = people.current()
    model = fitted(preferences, settings)
    tell = telling(people, EnvSettings(env="CartPole-v1"), settings, 0)
    before = torch.random.get_rng_state(), copy.deepcopy(model.state_dict())
    tell(model, preferences)
    assert torch.equal(before[0], torch.random.get_rng_state())
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in before[1].items())


@pytest.mark.parametrize(("knows", "expected"), [((False, True), True), ((False, False), False)])
def test_servers_of_earlier_versions_are_told_what_they_know(asked, knows, expected):
    server, settings = Listening(*knows), RewardSettings(epochs=2, hidden_sizes=(8,))
    people = asked(server)
    preferences = people.current()
    telling(people, EnvSettings(env="CartPole-v1"), settings, 0)(
        fitted(preferences, settings), preferences
    )
    assert server.heard == [(None, expected)]


def test_ties_alone_are_told_as_nothing_known():
    from made_up import random_segments

    from prefloop.data.preferences import Preferences

    segments = random_segments(20, 4, np.random.default_rng(0))
    labels = np.array([0.0] + [0.5] * 9)
    preferences = Preferences(segments, np.arange(10), np.arange(10, 20), labels)
    settings = RewardSettings(epochs=2, hidden_sizes=(8,))
    judgement = judge(
        fitted(preferences, settings),
        preferences,
        np.arange(4, 10),
        0.1,
        AnswerFacts(facts=[{}] * 10),
    )
    told = as_told(judgement)
    TrustIn.model_validate(told)
    assert told["held_out_accuracy"] is None and told["calibration"] == []
    assert told["over_time"] == told["by_annotator"] == []


@pytest.mark.parametrize("sessions", [1, 3, 8, 200])
def test_stretches_are_few_and_of_whole_sessions(sessions):
    iterations = [i // 3 for i in range(3 * sessions)]
    stretches = _stretches([*iterations, None])
    assert stretches[-1] is None
    parts = sorted(set(stretches[:-1]))
    assert len(parts) == min(sessions, len(parts)) <= MAX_STRETCHES
    for iteration, (first, last) in zip(iterations, stretches, strict=False):
        assert first <= iteration <= last
