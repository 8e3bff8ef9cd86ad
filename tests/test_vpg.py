import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from acting import collect_steps
from conftest import ROOT, assert_one_sentence, start
from torch.distributions import Categorical

import vpg
from prefloop import checkpoints, policy_files
from prefloop.command_line import parse_settings
from prefloop.envs.make import make_vector_env
from prefloop.envs.spaces import policy_sizes
from prefloop.networks import mlp
from prefloop.policies import CategoricalPolicy, acting
from prefloop.seeding import Stream, generator
from utils import Net

QUICK = "vpg.py --batch_size 300 --num_envs 8"


def params(directory):
    return {path.name: path.read_bytes() for path in sorted(directory.glob("*.params"))}


def rows(directory):
    with (directory / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def save_reward(path, obs_dim=4, env="CartPole-v0"):
    torch.manual_seed(0)
    checkpoints.save(path, Net(obs_dim).state_dict())
    facts = {"env": env, "sha256": vpg.sha256(path)}
    path.with_suffix(".json").write_text(json.dumps(facts))


def test_the_loss_has_the_policy_gradient():
    """d/dlogits of -log p(action) * weight is (p - onehot) * weight, averaged over the steps."""
    logits = torch.tensor([[0.3, -0.2], [1.0, 0.0]], requires_grad=True)
    actions, weights = torch.tensor([0, 1]), torch.tensor([2.0, 5.0])
    vpg.policy_gradient_loss(torch.nn.Identity(), logits, actions, weights).backward()
    probs = Categorical(logits=logits.detach()).probs
    expected = (probs - torch.eye(2)[actions]) * weights[:, None] / 2
    torch.testing.assert_close(logits.grad, expected)


def test_part_1_as_in_the_assignment(run, tmp_path):
    outcome = run(f"{QUICK} --epochs 3 --checkpoint --checkpoint_dir ./synthetic")
    assert outcome.code == 0
    lines = outcome.out.splitlines()
    assert len(lines) == 3
    for epoch, line in enumerate(lines):
        for word in (f"epoch: {epoch:3d}", "loss: ", "return: ", "ep_len: "):
            assert word in line
    directory = tmp_path / "synthetic"
    assert list(params(directory)) == [f"policy_checkpoint{i}.params" for i in range(3)]
    facts = json.loads((directory / "run.json").read_text())
    assert facts["env"] == "CartPole-v0"
    assert facts["settings"]["hidden_sizes"] == [32]
    assert set(facts["versions"]) == {"python", "torch", "numpy", "gymnasium", "prefloop"}
    metrics = rows(directory)
    assert [row["epoch"] for row in metrics] == ["0", "1", "2"]
    assert float(metrics[0]["return"]) == float(metrics[0]["episode_length"])
    assert (directory / "learning_curve.png").read_bytes().startswith(b"\x89PNG")


def test_without_checkpoint_the_final_policy_is_saved(run, tmp_path):
    assert run(f"{QUICK} --epochs 2").code == 0
    assert list(params(tmp_path)) == ["final_policy.params"]


def test_policies_of_an_earlier_and_longer_run_are_not_those_that_this_one_ended_with(
    run, tmp_path
):
    for epochs in (4, 2):
        outcome = run(f"{QUICK} --epochs {epochs} --checkpoint --checkpoint_dir d")
        last = tmp_path / "d" / f"policy_checkpoint{epochs - 1}.params"
        assert checkpoints.last_checkpoint(tmp_path / "d") == last
    assert "this run replaces the one that was in d" in outcome.out
    assert "policy_checkpoint2 to 3 of an earlier, longer run" in outcome.out
    (tmp_path / "d" / "run.json").write_text("{")  # which says nothing
    assert checkpoints.last_checkpoint(tmp_path / "d").name == "policy_checkpoint3.params"


def test_the_defaults_are_the_assignments():
    s = vpg.Settings()
    assert (s.env_name, s.epochs, s.lr, s.batch_size) == ("CartPole-v0", 10, 1e-2, 5000)
    assert (s.hidden_sizes, s.render, s.checkpoint, s.reward) == ((32,), False, False, None)
    for flag in ("--env", "--env_name"):
        assert parse_settings(vpg.Settings, [flag, "A"]).env_name == "A"
    for flag in ("--reward", "--reward_params"):
        assert parse_settings(vpg.Settings, [flag, "r"]).reward == "r"


@pytest.mark.parametrize("script", ["vpg.py", "offline_reward_learning.py", "rollout_policy.py"])
def test_help_answers_without_pytorch(script):
    """The process that answers may not have imported it."""
    program = (
        "import runpy, sys; sys.argv = ['x', '--help']\n"
        f"try: runpy.run_path({str(ROOT / script)!r}, run_name='__main__')\n"
        "except SystemExit as stop: sys.exit(stop.code or 3 * ('torch' in sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert done.returncode == 0, done
    assert "--seed" in done.stdout


def test_same_seed_same_bytes(run, tmp_path):
    for directory, seed in (("a", 3), ("b", 3), ("c", 4)):
        run(f"{QUICK} --epochs 3 --checkpoint --checkpoint_dir {directory} --seed {seed}")
    assert params(tmp_path / "a") == params(tmp_path / "b")
    assert params(tmp_path / "a") != params(tmp_path / "c")


def test_a_learned_reward_replaces_the_true_one(run, tmp_path):
    save_reward(tmp_path / "reward.params")
    outcome = run(f"{QUICK} --epochs 2 --reward reward.params --checkpoint --checkpoint_dir rlhf")
    assert outcome.code == 0
    assert "predicted return: " in outcome.out
    assert "ep_len (gt reward): " in outcome.out
    row = rows(tmp_path / "rlhf")[0]
    assert float(row["true_return"]) == float(row["episode_length"])
    # a sigmoid's reward is below 1 a step, so it can't be the true one
    assert 0 < float(row["return"]) < float(row["true_return"])


def test_the_reward_of_a_step_is_that_of_the_state_it_led_to(tmp_path, capsys):
    seen = []

    def reward(states):
        seen.append(states.clone())
        return states[:, 0]

    settings = vpg.Settings(epochs=1, batch_size=50, num_envs=2, checkpoint_dir=str(tmp_path))
    _, metrics = vpg.train(settings, reward)
    assert len(seen) == 1  # one batch, not one call a step
    # the state that ends an episode is judged as well: the pole has fallen in it
    assert (seen[0][:, 2].abs() > 0.2095).sum() == metrics[0]["episodes"]


@pytest.mark.parametrize("env_id", ["CartPole-v1", "Acrobot-v1", "MountainCar-v0"])
def test_other_environments(run, tmp_path, env_id):
    outcome = run(
        f"vpg.py --env {env_id} --epochs 1 --batch_size 10 --num_envs 2 --hidden_sizes 8 8"
    )
    assert outcome.code == 0
    assert (tmp_path / "final_policy.params").exists()


class TestStopAndResume:
    def test_a_killed_run_continues_to_the_same_end(self, tmp_path):
        flags = [*QUICK.split(), "--epochs", "40", "--checkpoint", "--checkpoint_dir"]
        whole = start(*flags, "whole", cwd=tmp_path)
        killed = start(*flags, "killed", cwd=tmp_path)
        wait_for(tmp_path / "killed" / "policy_checkpoint5.params")
        killed.kill()
        killed.communicate()
        for path in (tmp_path / "killed").glob("*.params"):
            policy_files.load_mlp(path, 4, 2)
        assert not (tmp_path / "killed" / "policy_checkpoint39.params").exists()
        resumed = start(*flags, "killed", "--resume", cwd=tmp_path)
        out, err = resumed.communicate()
        whole.communicate()
        assert (resumed.returncode, whole.returncode) == (0, 0), err
        assert "Resuming after epoch" in out
        assert params(tmp_path / "killed") == params(tmp_path / "whole")
        metrics = [(tmp_path / name / "metrics.csv").read_bytes() for name in ("killed", "whole")]
        assert metrics[0] == metrics[1]

    @pytest.mark.skipif(os.name == "nt", reason="Ctrl-C reaches the tests themselves there")
    def test_ctrl_c_says_how_to_go_on(self, tmp_path):
        process = start(
            *QUICK.split(), "--epochs", "100000", "--checkpoint_dir", "run", cwd=tmp_path
        )
        wait_for(tmp_path / "run" / "training_state.pt")
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=20)
        assert process.returncode == 130
        assert "--resume" in err
        assert "Traceback" not in err
        checkpoints.load(tmp_path / "run" / "training_state.pt")

    def test_a_kill_between_checkpoint_and_state_repeats_the_epoch(self, run, tmp_path):
        run(f"{QUICK} --epochs 3 --checkpoint --checkpoint_dir a")
        run(f"{QUICK} --epochs 2 --checkpoint --checkpoint_dir b")
        shutil.copy(tmp_path / "a" / "policy_checkpoint2.params", tmp_path / "b")
        assert run(f"{QUICK} --epochs 3 --checkpoint --checkpoint_dir b --resume").code == 0
        assert params(tmp_path / "a") == params(tmp_path / "b")

    def test_a_run_can_be_made_longer(self, run, tmp_path):
        run(f"{QUICK} --epochs 4 --checkpoint --checkpoint_dir a")
        run(f"{QUICK} --epochs 2 --checkpoint --checkpoint_dir b")
        assert run(f"{QUICK} --epochs 4 --checkpoint --checkpoint_dir b --resume").code == 0
        assert params(tmp_path / "a") == params(tmp_path / "b")

    def test_a_run_that_never_finished_an_epoch(self, run, tmp_path):
        run(f"{QUICK} --epochs 2 --checkpoint --checkpoint_dir a")
        # killed between the first checkpoint and the first state
        run(f"{QUICK} --epochs 1 --checkpoint --checkpoint_dir b")
        (tmp_path / "b" / "training_state.pt").unlink()
        assert run(f"{QUICK} --epochs 2 --checkpoint --checkpoint_dir b --resume").code == 0
        assert params(tmp_path / "a") == params(tmp_path / "b")

    @pytest.mark.parametrize(
        ("flags", "name"),
        [
            ("--lr 0.1", "lr"),
            ("--seed 1", "seed"),
            ("--hidden_sizes 16", "hidden_sizes"),
            ("--env Acrobot-v1", "env"),
        ],
    )
    def test_other_settings(self, run, tmp_path, flags, name):
        run(f"{QUICK} --epochs 1 --checkpoint --checkpoint_dir a")
        before = {path: path.read_bytes() for path in (tmp_path / "a").iterdir()}
        outcome = run(f"{QUICK} --epochs 2 --checkpoint --checkpoint_dir a --resume {flags}")
        assert_one_sentence(outcome, name, "not")
        assert before == {path: path.read_bytes() for path in (tmp_path / "a").iterdir()}

    def test_another_reward(self, run, tmp_path):
        save_reward(tmp_path / "reward.params")
        flags = f"{QUICK} --checkpoint_dir a --reward reward.params"
        run(f"{flags} --epochs 1")
        weights = checkpoints.load(tmp_path / "reward.params")
        checkpoints.save(tmp_path / "reward.params", {k: v + 1 for k, v in weights.items()})
        assert_one_sentence(run(f"{flags} --epochs 2 --resume"), "other contents of --reward")
        assert_one_sentence(
            run(f"{QUICK} --checkpoint_dir a --resume"), "other contents of --reward"
        )

    def test_nothing_to_resume(self, run, tmp_path):
        (tmp_path / "empty").mkdir()
        for directory in ("new", "empty"):
            outcome = run(f"{QUICK} --checkpoint_dir {directory} --resume")
            assert_one_sentence(outcome, "no run to resume")
        assert not (tmp_path / "new").exists()

    def test_a_finished_run_without_its_state_is_not_started_again(self, run, tmp_path):
        """As in a fresh clone, whose reference checkpoints come without it."""
        run(f"{QUICK} --epochs 3 --checkpoint --checkpoint_dir a")
        (tmp_path / "a" / "training_state.pt").unlink()
        before = {path: path.read_bytes() for path in (tmp_path / "a").iterdir()}
        outcome = run(f"{QUICK} --epochs 5 --checkpoint --checkpoint_dir a --resume")
        assert_one_sentence(outcome, "without its training_state.pt")
        assert before == {path: path.read_bytes() for path in (tmp_path / "a").iterdir()}

    def test_fewer_epochs_than_there_are(self, run, tmp_path):
        run(f"{QUICK} --epochs 3 --checkpoint --checkpoint_dir a")
        before = {path: path.read_bytes() for path in (tmp_path / "a").iterdir()}
        outcome = run(f"{QUICK} --epochs 2 --checkpoint --checkpoint_dir a --resume")
        assert_one_sentence(outcome, "3 epochs already")
        assert before == {path: path.read_bytes() for path in (tmp_path / "a").iterdir()}

    def test_a_damaged_description(self, run, tmp_path):
        run(f"{QUICK} --epochs 1")
        for text in ("{", '{"settings": [1]}'):
            (tmp_path / "run.json").write_text(text)
            assert_one_sentence(run(f"{QUICK} --epochs 2 --resume"), "run.json", "damaged")

    def test_a_damaged_state(self, run, tmp_path):
        run(f"{QUICK} --epochs 1")
        for content in (b"half", b""):
            (tmp_path / "training_state.pt").write_bytes(content)
            assert_one_sentence(run(f"{QUICK} --epochs 2 --resume"), "training_state.pt")
        checkpoints.save(tmp_path / "training_state.pt", mlp([4, 32, 2]).state_dict())
        assert_one_sentence(run(f"{QUICK} --epochs 2 --resume"), "no state of a run")

    def test_a_fresh_run_leaves_nothing_of_the_one_before(self, run, tmp_path):
        run(f"{QUICK} --epochs 4 --checkpoint --checkpoint_dir a --seed 1")
        outcome = run(f"{QUICK} --epochs 2 --checkpoint --checkpoint_dir a")
        assert "policy_checkpoint2 to 3 of an earlier" in outcome.out
        run(f"{QUICK} --epochs 2 --checkpoint --checkpoint_dir b")
        a, b = params(tmp_path / "a"), params(tmp_path / "b")
        assert {name: a[name] for name in b} == b
        assert len(a) == 4


def wait_for(path, seconds=60):
    end = time.monotonic() + seconds
    while not path.exists():
        assert time.monotonic() < end, f"{path} did not appear"
        time.sleep(0.01)


class TestRender:
    @pytest.fixture(autouse=True)
    def no_display(self, monkeypatch):
        monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
        monkeypatch.delenv("DISPLAY", raising=False)
        monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)

    def test_one_video_per_epoch_and_the_same_policy(self, run, tmp_path):
        outcome = run(f"{QUICK} --epochs 2 --checkpoint --checkpoint_dir a --render")
        assert outcome.code == 0
        for epoch in range(2):
            video = tmp_path / "a" / "videos" / f"epoch{epoch}.mp4"
            assert video.stat().st_size > 1000
            assert f"epoch{epoch}.mp4" in outcome.out
        run(f"{QUICK} --epochs 2 --checkpoint --checkpoint_dir b")
        assert params(tmp_path / "a") == params(tmp_path / "b")


class TestMisuse:
    @pytest.mark.parametrize(
        ("flags", "words"),
        [
            ("--env CartPoleX-v0", ["CartPoleX"]),
            ("--env Pendulum-v1", ["Pendulum-v1", "Box"]),
            ("--env FrozenLake-v1", ["FrozenLake-v1", "Discrete(16)"]),
            ("--reward missing.params", ["missing.params does not exist"]),
            ("--reward .", ["directory"]),
            ("--epochs 0", ["--epochs", "0"]),
            ("--epochs -3", ["--epochs", "-3"]),
            ("--epochs three", ["--epochs", "three"]),
            ("--batch_size 0", ["--batch_size"]),
            ("--num_envs 0", ["--num_envs"]),
            ("--lr 0", ["--lr"]),
            ("--lr nan", ["--lr", "nan"]),
            ("--hidden_sizes 0", ["--hidden_sizes"]),
            ("--hidden_sizes 100000000000000", ["Out of memory"]),
            ("--seed -1", ["--seed"]),
            ("--seed 99999999999999999999999", ["--seed"]),
            ("--device meta", ["--device meta"]),
            ("--device cuda:99", ["--device cuda:99"]),
            ("--device abacus", ["--device abacus"]),
            ("--checkpoint_dir file", ["file is a file"]),
            ("--checkpoint_dir file/sub", ["in the way"]),
            ("--epoch_count 3", ["--epoch_count"]),
        ],
    )
    def test_one_sentence_and_nothing_written(self, run, tmp_path, flags, words):
        (tmp_path / "file").write_text("mine")
        assert_one_sentence(run(f"{QUICK} --checkpoint {flags}"), *words)
        assert [path.name for path in tmp_path.iterdir()] == ["file"]
        assert (tmp_path / "file").read_text() == "mine"

    def test_a_policy_as_reward(self, run, tmp_path):
        checkpoints.save(tmp_path / "p.params", mlp([4, 32, 2]).state_dict())
        assert_one_sentence(run(f"{QUICK} --reward p.params"), "is a policy with 2 actions")

    @pytest.mark.parametrize(("obs_dim", "env"), [(6, "Acrobot-v1"), (4, "Other-v0")])
    def test_a_reward_of_another_environment(self, run, tmp_path, obs_dim, env):
        save_reward(tmp_path / "r.params", obs_dim, env)
        assert_one_sentence(run(f"{QUICK} --reward r.params"), "another environment", env)

    def test_versions_of_one_environment_share_a_reward(self, run, tmp_path):
        save_reward(tmp_path / "r.params", env="CartPole-v0")
        assert run(f"{QUICK} --epochs 1 --env CartPole-v1 --reward r.params").code == 0

    def test_a_reward_that_is_no_longer_net(self, run, tmp_path):
        checkpoints.save(tmp_path / "r.params", {"other.weight": torch.zeros(1, 4)})
        assert_one_sentence(run(f"{QUICK} --reward r.params"), "does not fit Net")

    def test_facts_of_another_file_are_not_believed(self, run, tmp_path):
        save_reward(tmp_path / "r.params", env="Acrobot-v1")
        checkpoints.save(tmp_path / "r.params", {k: v + 1 for k, v in Net().state_dict().items()})
        assert run(f"{QUICK} --epochs 1 --reward r.params").code == 0

    @pytest.mark.skipif(os.name == "nt", reason="Windows has no such limit")
    def test_a_full_disk(self, tmp_path):
        """A limit on file size stops writes as a full disk does."""
        flags = ["--epochs", "9", "--checkpoint", "--checkpoint_dir", "a"]
        start(*QUICK.split(), *flags, cwd=tmp_path).communicate()
        before = params(tmp_path / "a")
        program = (
            "import resource, runpy, sys\n"
            f"sys.path.insert(0, {str(ROOT)!r})\n"
            "resource.setrlimit(resource.RLIMIT_FSIZE, (4000, 4000))\n"
            f"sys.argv = {['vpg.py', *QUICK.split()[1:], *flags, '--epochs', '12', '--resume']!r}\n"
            f"runpy.run_path({str(ROOT / 'vpg.py')!r}, run_name='__main__')"
        )
        done = subprocess.run(
            [sys.executable, "-c", program],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 2
        assert "Can't write" in done.stderr.splitlines()[-1]
        assert "Traceback" not in done.stderr
        after = params(tmp_path / "a")
        assert {name: after[name] for name in before} == before
        assert len(checkpoints.load(tmp_path / "a" / "training_state.pt")["rows"]) == 9

    @pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write")
    def test_a_directory_that_may_not_be_written(self, run, tmp_path):
        (tmp_path / "locked").mkdir(mode=0o500)
        assert_one_sentence(run(f"{QUICK} --checkpoint_dir locked"), "Can't write", "locked")

    def test_two_runs_in_one_directory(self, run, tmp_path):
        first = start(*QUICK.split(), "--epochs", "100000", "--checkpoint_dir", "a", cwd=tmp_path)
        wait_for(tmp_path / "a" / "training_state.pt")
        try:
            assert_one_sentence(run(f"{QUICK} --checkpoint_dir a"), "Another process")
        finally:
            first.kill()
            first.communicate()


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_learns_cartpole(tmp_path, seed, capsys):
    settings = vpg.Settings(epochs=50, seed=seed, checkpoint_dir=str(tmp_path))
    _, metrics = vpg.train(settings)
    assert np.mean([row["true_return"] for row in metrics[-5:]]) > 180


def test_gets_better(tmp_path, capsys):
    settings = vpg.Settings(epochs=15, batch_size=2000, num_envs=32, checkpoint_dir=str(tmp_path))
    _, metrics = vpg.train(settings)
    assert metrics[-1]["true_return"] > 1.5 * metrics[0]["true_return"]


@pytest.mark.parametrize(("env_id", "num_envs"), [("CartPole-v0", 16), ("Acrobot-v1", 3)])
def test_what_is_on_the_page_is_what_the_library_does(env_id, num_envs):
    """Every episode that begins before the budget is met counts, and nothing else."""
    settings = vpg.Settings(env_name=env_id, batch_size=900, num_envs=num_envs, seed=3)
    envs = make_vector_env(env_id, num_envs)
    torch.manual_seed(0)
    policy = vpg.make_policy(*policy_sizes(envs), (8,))
    seen = vpg.act(policy, envs, settings, epoch=2)
    draw = acting(CategoricalPolicy(*policy), generator(3, Stream.POLICY, 2))
    expected = collect_steps(envs, draw, 900, 3, (Stream.ENVIRONMENTS, 2))
    for name in ("obs", "actions", "rewards", "next_obs"):
        np.testing.assert_array_equal(getattr(seen, name)[seen.counts], getattr(expected, name))
    lengths = np.diff(np.flatnonzero(seen.ended[seen.counts]), prepend=-1)
    np.testing.assert_array_equal(lengths, expected.lengths)
    rewards = np.random.default_rng(0).normal(size=seen.rewards.shape) * seen.counts
    to_go = vpg.rewards_to_go(rewards, seen.ended)[seen.counts]
    of_each = np.split(rewards[seen.counts], np.cumsum(lengths)[:-1])
    summed = np.concatenate([np.cumsum(episode[::-1])[::-1] for episode in of_each])
    np.testing.assert_array_equal(to_go, summed)


def test_rewards_to_go_by_hand():
    rewards = np.array([[1.0, 2.0, 4.0, 8.0]])
    ended = np.array([[False, True, False, True]])
    assert vpg.rewards_to_go(rewards, ended).tolist() == [[3.0, 2.0, 12.0, 8.0]]


def test_actions_come_as_often_as_they_are_probable():
    logits = np.tile(np.log([0.5, 0.3, 0.2]), (20_000, 1)) + 7
    actions = vpg.draw_actions(logits, np.random.default_rng(0))
    np.testing.assert_allclose(np.bincount(actions) / 20_000, [0.5, 0.3, 0.2], atol=0.015)
