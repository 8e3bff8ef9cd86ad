"""`prefloop arena`, as a user meets it."""

import itertools
import json
import shutil
import signal
import time
import uuid

import numpy as np
import pytest
from conftest import assert_one_sentence, start

from prefloop.data import dataset
from prefloop.evaluation.evaluate import openings
from prefloop.labelling.client.contests import contests

pytest_plugins = ["teaching_fixtures"]

PY = """
import numpy as np
def still(obs): return np.zeros(len(obs), dtype=np.int64)
def lean(obs): return (obs[:, 2] > 0).astype(np.int64)
def balance(obs): return (obs[:, 2] + obs[:, 3] > 0).astype(np.int64)
def twin(obs): return balance(obs)
"""
ARENA = "prefloop.cli arena --name poles --env CartPole-v1 --starts 4 --segment-length 60"
THREE = "still=movers:still lean=movers:lean balance=movers:balance"


@pytest.fixture(autouse=True)
def movers(tmp_path, monkeypatch):
    """Three policies as functions, of different quality."""
    (tmp_path / "movers.py").write_text(PY)
    monkeypatch.syspath_prepend(tmp_path)


def asked(client, name="poles"):
    """Answers everything, preferring what stands longer; the queries."""
    session, found = uuid.uuid4(), []
    while queries := client.lease(name, "ada", session, 8).queries:
        for query in queries:
            left, right = query.left.length, query.right.length
            choice = "tie" if left == right else "left" if left > right else "right"
            client.answer(uuid.uuid4(), query.lease, choice)
            found.append(query.query)
    return found


def pairs_asked(run, tmp_path):
    """How often each two agents were compared, of an export."""
    folder = tmp_path / f"export-{uuid.uuid4()}"
    assert run(f"prefloop.cli runs export poles {folder}").code == 0
    said = dataset.read_facts(folder)
    sides = [tuple(sorted((line["first_agent"], line["second_agent"]))) for line in said]
    return {pair: sides.count(pair) for pair in set(sides)}


@pytest.mark.usefixtures("known_server")
def test_the_whole_way(run, client, tmp_path):
    outcome = run(f"{ARENA} --policies {THREE}")
    assert outcome.code == 0, outcome.err
    assert "12 pairs of clips, 12 of them new" in outcome.out
    assert "/#/label/poles" in outcome.out and "/#/results/poles" in outcome.out
    assert "Nobody is ranked yet" in run("prefloop.cli arena --name poles").out
    # the same again asks nothing twice
    assert "12 pairs of clips, 0 of them new" in run(f"{ARENA} --policies {THREE}").out
    assert len(asked(client)) == 12
    table = run("prefloop.cli arena --name poles").out
    places = [table.index(f"\n{name} ") for name in ("balance", "lean", "still")]
    assert places == sorted(places) and "12 votes" in table
    # one more policy: only what is missing, from the same starts
    outcome = run(f"{ARENA} --policies {THREE} right=movers:twin")
    assert "balance and right did the same from 4 of 4 starts, to the last bit" in outcome.err
    assert "20 pairs of clips, 8 of them new" in outcome.out
    assert (
        "Not ranked, since no votes are about them yet: right."
        in run("prefloop.cli arena --name poles").out
    )
    assert len(asked(client)) == 8
    counts = pairs_asked(run, tmp_path)
    assert set(counts.values()) == {4} and len(counts) == 5
    # without a server, the same ranking
    folder = next(tmp_path.glob("export-*"))
    local = json.loads(run(f"prefloop.cli arena --preferences {folder} --json").out)
    there = json.loads(run("prefloop.cli arena --name poles --json").out)
    assert local["votes"] == there["votes"] == 20
    assert [a["name"] for a in local["agents"]] == [a["name"] for a in there["agents"]]
    strengths = [[a["strength"] for a in found["agents"]] for found in (local, there)]
    assert strengths[0] == pytest.approx(strengths[1])
    # and the votes teach a reward
    outcome = run("prefloop.cli reward --run poles --out reward --reward-epochs 2")
    assert outcome.code == 0, outcome.err


@pytest.mark.usefixtures("known_server")
def test_checkpoints_are_named_after_their_folders(run, client, demonstrators, tmp_path):
    shutil.copytree(demonstrators, tmp_path / "ppo")
    shutil.copy(
        demonstrators / "policy_checkpoint9.params", tmp_path / "ppo" / "final_policy.params"
    )
    line = "prefloop.cli arena --name poles --starts 2 --segment-length full --instructions 'Which stands?'"
    outcome = run(f"{line} --policies ppo ppo/policy_checkpoint0.params")
    assert outcome.code == 0, outcome.err  # run.json says which environment
    assert client.run("poles").instructions == "Which stands?"
    asked(client)
    names = {agent.name for agent in client.ranking("poles").agents}
    assert names == {"ppo", "ppo/policy_checkpoint0"}
    shutil.copy(
        demonstrators / "policy_checkpoint3.params", tmp_path / "ppo" / "final_policy.params"
    )
    outcome = run(f"{line} --policies ppo ppo/policy_checkpoint0.params")
    assert_one_sentence(outcome, "ppo stands for another policy in the arena poles already")


@pytest.mark.usefixtures("known_server")
@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ("--policies movers:lean", "two policies or more, not movers:lean alone"),
        ("--policies a=movers:lean a=movers:still", "both called a"),
        ("--policies movers:lean movers:nobody", "There is no function movers:nobody"),
        ("--policies movers:lean nothing.params", "nothing.params does not exist"),
        ("--policies movers:lean =movers:still", "can't call a policy ''"),
        (f"--policies movers:lean {'x' * 65}=movers:still", "can't call a policy"),
        (f"--policies {THREE} --starts 0", "--starts must be above 0"),
        (f"--policies {THREE} --segment-length short", "full or a number, not 'short'"),
        (f"--policies {THREE} --json", "--json is for a ranking"),
        (f"--policies {THREE} --preferences prefs", "give either --name"),
        (f"--policies {THREE} --name 'a b'", "a run is named by letters"),
        (f"--policies {THREE} --server http://127.0.0.1:1", "does not answer"),
        (f"--policies {THREE} --env CartPole", "did you mean 'CartPole-v1'"),
        (f"--policies {THREE} --name ordinary", "ordinary exists and is no arena"),
        (f"--policies {THREE} --env FrozenLake-v1", "FrozenLake-v1 has observations in Discrete(16)"),
        ("--starts 3", "--starts does nothing without --policies"),
        ("--name ordinary", "The run ordinary is no arena"),
        ("--name nowhere", "no run nowhere"),
    ],
)  # fmt: skip
def test_what_is_wrong(run, client, flags, words, monkeypatch):
    monkeypatch.setattr("prefloop.labelling.client.connecting.PATIENCE", 0.2)
    from prefloop.envs.make import make_env
    from prefloop.envs.spaces import spaces_of

    client.put_run("ordinary", env="CartPole-v1", spaces=spaces_of(make_env("CartPole-v1")))
    line = ARENA if "--policies" in flags else "prefloop.cli arena"
    name = "" if "--policies" in flags or "--name" in flags else "--name poles"
    assert_one_sentence(run(f"{line} {name} {flags}"), words)
    assert [run.name for run in client.runs()] == ["ordinary"]


@pytest.mark.usefixtures("known_server")
def test_an_arena_is_no_run_for_other_commands(run, client):
    assert run(f"{ARENA} --policies {THREE}").code == 0
    line = "prefloop.cli collect --name poles --env CartPole-v1 --episodes 4 --pairs 2"
    assert_one_sentence(run(line), "The run poles is an arena")
    assert client.run("poles").counts.queries == 12


def test_policies_of_different_environments_are_refused(run, demonstrators, tmp_path):
    for name, env in (("one", "CartPole-v0"), ("other", "CartPole-v1")):
        shutil.copytree(demonstrators, tmp_path / name)
        facts = json.loads((tmp_path / name / "run.json").read_text())
        (tmp_path / name / "run.json").write_text(json.dumps({**facts, "env": env}))
    policies = "a=one/policy_checkpoint9.params b=other/policy_checkpoint9.params"
    line = f"prefloop.cli arena --name poles --policies {policies}"
    words = ("was trained in CartPole-v0 and", "CartPole-v1; an arena is of one environment")
    assert_one_sentence(run(line), *words)
    for name in ("one", "other"):
        (tmp_path / name / "run.json").unlink()
    assert_one_sentence(run(line), "Nothing beside the policies says which environment")


@pytest.mark.usefixtures("known_server")
def test_what_can_not_be_drawn_is_plotted_if_wanted(run, client, tmp_path):
    (tmp_path / "blind.py").write_text(
        "import gymnasium\n"
        "from gymnasium.envs.classic_control import CartPoleEnv\n"
        "class Blind(CartPoleEnv):\n"
        "    metadata = {'render_modes': []}\n"
        "gymnasium.register('Blind-v0', Blind, max_episode_steps=50)\n"
    )
    line = f"{ARENA} --env blind:Blind-v0 --policies {THREE}"
    assert_one_sentence(run(line), "Give --trace for that")
    assert client.runs() == []
    assert run(f"{line} --trace").code == 0
    assert client.run("poles").counts.queries == 12


def test_other_preferences_do_not_say_whom_they_are_about(run, tmp_path):
    made = run(
        "prefloop.cli pairs --env CartPole-v1 --policies movers:lean movers:still --pairs 4 "
        "--episodes 4 --out prefs"
    )
    assert made.code == 0, made.err
    assert_one_sentence(run("prefloop.cli arena --preferences prefs"), "does not say whose")
    assert_one_sentence(run("prefloop.cli arena --preferences nowhere"), "nowhere")
    votes = tmp_path / "prefs/preferences.jsonl"
    lines = [json.loads(line) for line in votes.read_text().splitlines()]
    same = [{**line, "first_agent": "me", "second_agent": "me"} for line in lines]
    votes.write_text("\n".join(map(json.dumps, same)))
    outcome = run("prefloop.cli arena --preferences prefs")
    assert_one_sentence(outcome, "prefs compares me with itself")


@pytest.mark.usefixtures("known_server")
def test_killed_while_it_plays_and_sends_the_same_command_goes_on(run, client, tmp_path, server):
    flags = [*ARENA.split()[2:], "--starts", "12", "--policies", *THREE.split()]
    process = start("prefloop/__main__.py", "arena", *flags, cwd=tmp_path)
    deadline = time.monotonic() + 120
    while not client.runs():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    line = ARENA.replace("--starts 4", "--starts 12")
    assert run(f"{line} --policies {THREE}").code == 0
    assert client.run("poles").counts.queries == 36
    assert len(asked(client)) == 36
    assert set(pairs_asked(run, tmp_path).values()) == {12}


def test_contests_are_balanced_wherever_one_stops_and_do_not_depend_on_who_else_is_there():
    three, four = (contests(names, 10, seed=0) for names in ("cab", "dcab"))
    for stop in range(1, len(four) + 1):
        met = [tuple(sorted((c.first, c.second))) for c in four[:stop]]
        often = [met.count(pair) for pair in itertools.combinations("abcd", 2)]
        assert max(often) - min(often) <= 1
    assert set(three) <= set(four) and len(four) == 60
    first = sum(contest.first == min(contest.first, contest.second) for contest in four)
    assert 15 < first < 45  # neither name is always first
    orders = {tuple(c.first + c.second for c in three[i : i + 3]) for i in range(0, 30, 3)}
    assert len(orders) > 5


def test_openings_begin_alike_and_end_with_the_episode_or_the_limit():
    import movers

    from prefloop.policies import FunctionPolicy

    one, other = (
        openings(FunctionPolicy(act, "name"), "CartPole-v1", 5, seed=3, steps=30)
        for act in (movers.still, movers.balance)
    )
    np.testing.assert_array_equal(one.obs[:, 0], other.obs[:, 0])
    assert (one.lengths < 20).all() and (other.lengths == 30).all()
    assert (one.first_step == 0).all()
    few = openings(FunctionPolicy(movers.still, "name"), "CartPole-v1", 2, seed=3, steps=30)
    assert few.identities == one.identities[:2]
