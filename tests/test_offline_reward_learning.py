import json
import shutil

import numpy as np
import pytest
import torch
from conftest import assert_one_sentence
from torch import nn

import offline_reward_learning as part2
import utils
from prefloop import checkpoints, policy_files
from prefloop.envs.make import make_env
from prefloop.networks import mlp
from prefloop.optimizers import Adam
from prefloop.seeding import Stream, generator, integer
from utils import Net, load_reward_network

QUICK = "offline_reward_learning.py --demos_per_checkpoint 3 --num_pairs 60 --num_iter 20"


@pytest.fixture
def here(run, tmp_path, demonstrators):
    """A directory as Part 1 leaves it."""
    shutil.copytree(demonstrators, tmp_path / "synthetic")
    return tmp_path


def test_the_bare_command_as_in_the_assignment(run, here):
    outcome = run("offline_reward_learning.py")
    assert outcome.code == 0
    assert "training: " in outcome.out
    assert "held-out: " in outcome.out
    assert "rank correlation" in outcome.out
    net = load_reward_network(here / "reward.params", "CartPole-v0", 4)
    facts = json.loads((here / "reward.json").read_text())
    assert facts["env"] == "CartPole-v0"
    assert facts["accuracy"]["held-out"] > 0.9
    demos, returns = part2.generate_novice_demos(make_env("CartPole-v0"), "synthetic", seed=77)
    predicted = [part2.predict_traj_return(net, demo) for demo in demos]
    assert np.corrcoef(predicted, returns)[0, 1] > 0.9


def test_same_seed_same_bytes(run, here):
    contents = []
    for seed in (1, 1, 2):
        assert run(f"{QUICK} --reward_params r.params --seed {seed}").code == 0
        contents.append((here / "r.params").read_bytes())
    assert contents[0] == contents[1] != contents[2]


def test_demonstrations(demonstrators):
    demos, returns = part2.generate_novice_demos(
        make_env("CartPole-v0"),
        str(demonstrators),
        num_checkpoints=4,
        demos_per_checkpoint=3,
        seed=5,
    )
    assert len(demos) == len(returns) == 12
    for demo, episode_return in zip(demos, returns, strict=True):
        assert demo.shape == (episode_return, 4)  # a reward of 1 for each step


def test_training_data():
    trajectories = [np.full((n, 4), n) for n in (10, 20, 20)]
    pairs, labels = part2.create_training_data(
        trajectories, [10.0, 20.0, 20.0], 300, np.random.default_rng(0)
    )
    assert len(pairs) == len(labels) == 300
    for (first, second), label in zip(pairs, labels, strict=True):
        assert first is not second
        assert label == {-1: 0.0, 0: 0.5, 1: 1.0}[np.sign(len(second) - len(first))]
    assert set(labels) == {0.0, 0.5, 1.0}


def states(rng, num, shift):
    return [(rng.normal(size=(20, 4)) + shift).astype(np.float32) for _ in range(num)]


def trained_on(label):
    """A network trained on pairs whose second trajectory lies further along the first axis."""
    rng = np.random.default_rng(0)
    low, high = states(rng, 20, 0), states(rng, 20, np.array([1, 0, 0, 0]))
    torch.manual_seed(0)
    net = Net()
    optimizer = Adam(net.parameters(), lr=1e-2)
    part2.learn_reward(net, optimizer, list(zip(low, high, strict=True)), [label] * 20, 60)
    low, high = states(rng, 20, 0), states(rng, 20, np.array([1, 0, 0, 0]))
    gaps = [
        part2.predict_traj_return(net, b) - part2.predict_traj_return(net, a)
        for a, b in zip(low, high, strict=True)
    ]
    return np.array(gaps)


def test_learns_what_is_preferred_and_generalises():
    assert (trained_on(1.0) > 0).mean() > 0.9
    assert (trained_on(0.0) < 0).mean() > 0.9


def test_a_tie_is_no_preference():
    assert abs(trained_on(0.5)).mean() < 0.2 * abs(trained_on(1.0)).mean()


def test_shows_the_pairs_it_gets_wrong(capsys):
    class FirstNumber(torch.nn.Module):
        def predict_return(self, traj):
            return torch.tensor(float(traj[0, 0]))

    trajs = [np.full((1, 1), value) for value in (1.0, 2.0, 3.0)]  # predicted
    pairs = [(trajs[0], trajs[1]), (trajs[1], trajs[2])]
    accuracy = part2.show_ranking("held-out", FirstNumber(), trajs, [10.0, 30.0, 20.0], pairs)
    out = capsys.readouterr().out
    assert accuracy == 0.5
    assert "50.0% of 2 pairs" in out
    assert "rank correlation 0.500" in out
    assert "true returns 30 and 20, predicted 2.00 and 3.00" in out


def test_the_demonstrators_keep_their_activation(run, here):
    """ReLU weights in a Tanh network load without an error, and play another game."""
    tanh = mlp([4, 32, 2], torch.nn.Tanh)
    tanh.load_state_dict(checkpoints.load(here / "synthetic" / "policy_checkpoint9.params"))
    same = policy_files.load_mlp(here / "synthetic" / "policy_checkpoint9.params", 4, 2)
    obs = torch.ones(4)
    assert isinstance(same[1], torch.nn.ReLU)
    assert not torch.allclose(same(obs), tanh(obs))


class TestMisuse:
    @pytest.mark.parametrize(
        ("flags", "words"),
        [
            ("--checkpoint_dir nowhere", ["no directory nowhere", "Part 1"]),
            ("--reward_params=", ["--reward_params"]),
            ("--reward_params r.json", ["--reward_params", ".json"]),
            ("--num_checkpoints 12", ["policy_checkpoint10.params, policy_checkpoint11.params"]),
            ("--env Acrobot-v1", ["4 observations and 2 actions"]),
            ("--env NoSuch-v1", ["NoSuch"]),
            ("--num_pairs 0", ["--num_pairs"]),
            ("--num_iter -1", ["--num_iter"]),
            ("--num_checkpoints 1 --demos_per_checkpoint 1", ["two trajectories"]),
            ("--lr 1e30", ["diverged"]),
            ("--seed -2", ["--seed"]),
            ("--device abacus", ["abacus"]),
            ("--reward_params nowhere/r.params", ["Can't write nowhere"]),
            ("--reward_params synthetic", ["Can't write synthetic"]),
        ],
    )
    def test_one_sentence_and_the_old_reward_stays(self, run, here, flags, words):
        (here / "reward.params").write_bytes(b"old")
        flags = f"{'' if '--num_pairs' in flags else '--num_pairs 20'} {flags}"
        flags = f"{'' if '--num_iter' in flags else '--num_iter 3'} {flags}"
        assert_one_sentence(run(f"offline_reward_learning.py {flags}"), *words)
        assert (here / "reward.params").read_bytes() == b"old"
        assert sorted(path.name for path in here.iterdir()) == ["reward.params", "synthetic"]

    def test_a_damaged_checkpoint_is_named(self, run, here):
        (here / "synthetic" / "policy_checkpoint3.params").write_bytes(b"x")
        assert_one_sentence(run(QUICK), "policy_checkpoint3.params", "truncated")

    def test_nothing_but_ties(self, run, tmp_path):
        """No policy of so few epochs reaches the goal in MountainCar: every return is -200."""
        run(
            "vpg.py --env MountainCar-v0 --epochs 2 --batch_size 10 --num_envs 2 --checkpoint --checkpoint_dir synthetic"
        )
        outcome = run(f"{QUICK} --env MountainCar-v0 --num_checkpoints 2")
        assert_one_sentence(outcome, "All 60 pairs are ties", "-200")


class NetInTwoModes(Net):
    """A student's sound network that judges otherwise while it learns."""

    def __init__(self, obs_dim=4):
        nn.Module.__init__(self)
        self.network = nn.Sequential(
            nn.Linear(obs_dim, 32),
            nn.BatchNorm1d(32),
            nn.ReLU(),
            nn.Dropout(0.2),
            nn.LayerNorm(32),
            nn.Linear(32, 1),
            nn.Sigmoid(),
        )


def test_dropout_and_batch_norm_from_part_2_to_part_3(run, here, monkeypatch):
    monkeypatch.setattr(utils, "Net", NetInTwoModes)
    assert run(QUICK).code == 0
    net = load_reward_network(here / "reward.params", "CartPole-v0", 4)
    states = torch.randn(50, 4)
    assert torch.equal(net(states), net(states))
    assert torch.allclose(net(states)[:7], net(states[:7]))
    # what Part 2 reported is of the reward that it saved
    env, seed = make_env("CartPole-v0"), integer(0, Stream.DEMONSTRATIONS)
    demos, returns = part2.generate_novice_demos(env, "synthetic", 10, 3, seed)
    rng = generator(seed, Stream.QUERIES)
    pairs, _ = part2.create_training_data(demos, returns, 60, rng)
    accuracy = part2.show_ranking("training", net, demos, returns, pairs)
    assert json.loads((here / "reward.json").read_text())["accuracy"]["training"] == accuracy
    part3 = "vpg.py --epochs 1 --batch_size 100 --num_envs 4 --reward reward.params"
    assert run(f"{part3} --checkpoint_dir rlhf").code == 0


class WithoutSize(Net):
    def __init__(self):
        super().__init__(4)


class SummingForward(Net):
    def forward(self, obs):
        return super().forward(obs).sum()


class ColumnForward(Net):
    def forward(self, obs):
        return super().forward(obs).unsqueeze(-1)


class FourAlways(Net):
    def __init__(self, obs_dim=4):
        super().__init__(5)


class Unsummed(Net):
    def predict_return(self, traj):
        return self(torch.as_tensor(traj))


class PlainNumber(Net):
    def predict_return(self, traj):
        return super().predict_return(traj).item()


class Detached(Net):
    def predict_return(self, traj):
        return super().predict_return(traj).detach()


@pytest.mark.parametrize(
    ("net", "words"),
    [
        (WithoutSize, ["Net(4)", "can't be made"]),
        (SummingForward, ["Net.forward", "3 states", "[3], not []", "predict_return"]),
        (ColumnForward, ["Net.forward", "not [3, 1]"]),
        (FourAlways, ["can't take states of 4 numbers"]),
        (Unsummed, ["Net.predict_return", "shape [], not of shape ["]),
        (PlainNumber, ["Net.predict_return", "type float"]),
        (Detached, ["Net.predict_return", "without a gradient"]),
    ],
)
def test_a_net_that_can_not_be_used_is_told_before_training(run, here, monkeypatch, net, words):
    monkeypatch.setattr(utils, "Net", net)
    outcome = run(QUICK)
    assert_one_sentence(outcome, *words)
    assert "learning the reward" not in outcome.err
    assert not (here / "reward.params").exists()


@pytest.mark.parametrize("net", [WithoutSize, SummingForward])
def test_part_3_says_what_is_wrong_with_a_net(run, here, monkeypatch, net):
    checkpoints.save(here / "reward.params", Net().state_dict())
    monkeypatch.setattr(utils, "Net", net)
    part3 = "vpg.py --epochs 1 --reward reward.params --checkpoint_dir rlhf"
    assert_one_sentence(run(part3), "in utils.py")
    assert not (here / "rlhf").exists()


def test_the_next_command_is_about_the_same_environment(run, here):
    assert "Next: python vpg.py --epochs 50" in run(QUICK).out
    other = run(f"{QUICK} --env CartPole-v1 --reward_params 'a b.params'").out
    assert "Next: python vpg.py --env CartPole-v1 --epochs 50" in other
    assert "--reward 'a b.params'" in other
    lacking = run("offline_reward_learning.py --env Acrobot-v1 --checkpoint_dir nowhere")
    assert "python vpg.py --env Acrobot-v1" in lacking.err
