"""`prefloop collect`, as a user meets it."""

import uuid

import pytest
from conftest import assert_one_sentence
from teaching import COLLECT

pytest_plugins = ["teaching_fixtures"]
pytestmark = pytest.mark.usefixtures("known_server")


def test_collecting_again_goes_on_and_never_overwrites(run, client):
    outcome = run(f"{COLLECT} --pairs 6")
    assert outcome.code == 0, outcome.err
    assert "6 queries, 6 of them new" in outcome.out and "/#/label/cartpole-01" in outcome.out
    assert "6 queries, 0 of them new" in run(f"{COLLECT} --pairs 6").out
    assert "9 queries, 3 of them new" in run(f"{COLLECT} --pairs 9").out
    assert_one_sentence(
        run(COLLECT.replace("CartPole-v0", "Acrobot-v1") + " --pairs 6"),
        "CartPole-v0, not Acrobot-v1",
    )
    assert client.run("cartpole-01").counts.queries == 9


def test_collecting_with_policies_and_instructions(run, client, demonstrators):
    policies = " ".join(f"{demonstrators}/policy_checkpoint{i}.params" for i in (0, 9))
    line = f"{COLLECT} --policies {policies} --pairs 5 --segment-length full --repeats 0.5"
    assert run(f"{line} --instructions 'Which stands longer?'").code == 0
    made = client.run("cartpole-01")
    assert made.instructions == "Which stands longer?" and made.repeats == 0.5
    # a command that says nothing of them leaves them
    assert run(f"{COLLECT} --policies {policies} --pairs 5 --segment-length full").code == 0
    assert client.run("cartpole-01").instructions == "Which stands longer?"


def test_a_policy_that_falls_soon_is_shown_in_shorter_segments(run, client, tmp_path, monkeypatch):
    (tmp_path / "who_falls_soon.py").write_text(
        "import numpy as np\n"
        "def left(obs): return np.zeros(len(obs), np.int64)\n"
        "def good(obs): return (obs[:, 2] + obs[:, 3] > 0).astype(np.int64)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    outcome = run(f"{COLLECT} --policies who_falls_soon:left who_falls_soon:good --pairs 8")
    assert outcome.code == 0, outcome.err
    shown = client.lease("cartpole-01", "ada", uuid.uuid4(), 8).queries
    lengths = {side.length for query in shown for side in (query.left, query.right)}
    assert 5 <= min(lengths) < 12 and max(lengths) == 50


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ("--pairs 0", "--pairs must be above 0"),
        ("--segment-length full --segments 9", "--segments does nothing with"),
        ("--segment-length 0", "--segment_length is full or a number, not '0'"),
        ("--segment-length short", "--segment_length is full or a number, not 'short'"),
        ("--segment-length 150", "Can't cut segments of 150 steps"),
        ("--env FrozenLake-v1", "FrozenLake-v1 has observations in Discrete(16)"),
        ("--policies nothing.params", "nothing.params does not exist"),
        ("--name 'a b'", "a run is named by letters"),
        ("--server http://127.0.0.1:1", "does not answer"),
        ("--server nowhere", "nowhere is no address such as http://"),
        ("--env CartPole", "no environment 'CartPole'; did you mean 'CartPole-v1'?"),
    ],
)
def test_what_is_wrong_with_collecting(run, client, flags, words, monkeypatch):
    monkeypatch.setattr("prefloop.labelling.client.connecting.PATIENCE", 0.2)
    assert_one_sentence(run(f"{COLLECT} --pairs 6 {flags}"), words)
    assert client.runs() == []
