"""Part 2: demonstrations of Part 1's checkpoints, preferences between them, a learned reward.

python offline_reward_learning.py
"""

import shlex
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from prefloop.command_line import parse_settings
from prefloop.settings import require_above_zero, require_seed, setting
from prefloop.startup import import_quickly


@dataclass(frozen=True)
class Settings:
    """Everything the learned reward depends on, and its flags.

    Raises:
        ValueError: a value that can't be used.
    """

    # fmt: off
    env: str = setting("CartPole-v0", "environment of the checkpoints", "--env_name")
    checkpoint_dir: str = setting("./synthetic", "where Part 1 saved its policies")
    num_checkpoints: int = setting(10, "demonstrators: policy_checkpoint0.params and on")
    demos_per_checkpoint: int = setting(10, "trajectories of each demonstrator")
    num_pairs: int = setting(500, "preferences to learn from")
    num_iter: int = setting(100, "passes over all preferences")
    lr: float = setting(1e-2, "learning rate of Adam")
    reward_params: str = setting("reward.params", "where the learned reward is written")
    seed: int = setting(0, "same seed, same reward")
    device: str = setting("cpu", "where the reward is trained: cpu, cuda, mps")
    # fmt: on

    def __post_init__(self) -> None:
        require_above_zero(
            self, "num_checkpoints", "demos_per_checkpoint", "num_pairs", "num_iter", "lr"
        )
        require_seed(self.seed)
        if self.num_checkpoints * self.demos_per_checkpoint < 2:
            raise ValueError("a preference needs two trajectories: raise --demos_per_checkpoint")
        if self.reward_params.endswith(".json"):
            raise ValueError("--reward_params can't end on .json: that file describes the reward")
        if not self.reward_params:
            raise ValueError("--reward_params needs the name of a file")


DESCRIPTION = """Learns a reward from preferences between trajectories of Part 1's checkpoints. The
environment's own reward says which of two is better."""
EPILOG = """Ends by showing how well the learned reward ranks trajectories it was trained on and
others. Next: python vpg.py --epochs 50 --checkpoint --reward reward.params --checkpoint_dir rlhf"""

if __name__ == "__main__":
    # before PyTorch is loaded: --help and a wrong flag answer at once
    asked_for = parse_settings(Settings, description=DESCRIPTION, epilog=EPILOG)
    import_quickly("torch", "gymnasium")

import gymnasium as gym
import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from prefloop import checkpoints
from prefloop.data.rollouts import collect_episodes
from prefloop.devices import usable_device
from prefloop.envs.make import make_env, make_vector_env
from prefloop.envs.spaces import policy_sizes
from prefloop.errors import UserError, one_sentence_errors
from prefloop.evaluation.rankings import rank_pairs
from prefloop.evaluation.statistics import rank_correlation
from prefloop.files import sha256, write_json
from prefloop.policies import acting
from prefloop.optimizers import Adam
from prefloop.seeding import Stream, generator, integer
from prefloop import policy_files
from utils import Net, make_reward_network, require_predicted_return

Pair = tuple[NDArray, NDArray]  # two trajectories: the states they went through, [T, obs_dim]


def generate_novice_demos(
    env: gym.Env,
    checkpoint_dir: str = "./synthetic",
    num_checkpoints: int = 10,
    demos_per_checkpoint: int = 10,
    seed: int = 0,
) -> tuple[list[NDArray], list[float]]:
    """Lets each of Part 1's policies act, from the first, worst one to the last.

    Returns:
        The trajectories, as the states that their steps led to, each [T, obs_dim]; and their
        returns under the environment's reward.

    Raises:
        UserError: checkpoints are missing or are no policies for this environment.
    """
    assert env.spec is not None  # every environment that `gym.make` returns has one
    part1 = (
        f"python vpg.py{_env_flag(env.spec.id)} --epochs {num_checkpoints} --checkpoint "
        f"--checkpoint_dir {checkpoint_dir}"
    )
    paths = [checkpoints.checkpoint_path(Path(checkpoint_dir), i) for i in range(num_checkpoints)]
    if not Path(checkpoint_dir).is_dir():
        raise UserError(f"There is no directory {checkpoint_dir}. Part 1 makes it: {part1}")
    if missing := [path.name for path in paths if not path.exists()]:
        raise UserError(f"{checkpoint_dir} lacks {', '.join(missing)}. Part 1 writes them: {part1}")
    envs = make_vector_env(env.spec.id, demos_per_checkpoint)
    trajectories: list[NDArray] = []
    returns: list[float] = []
    for i, path in enumerate(paths):
        policy = policy_files.load_mlp(path, *policy_sizes(env))
        act = acting(policy, generator(seed, Stream.POLICY, i))
        stream = (Stream.ENVIRONMENTS, i)
        demos = collect_episodes(envs, act, demos_per_checkpoint, seed, stream)
        trajectories += demos.visited_states()
        returns += demos.returns.tolist()
    envs.close()
    return trajectories, returns


def create_training_data(
    trajectories: Sequence[NDArray],
    cum_returns: Sequence[float],
    num_pairs: int,
    rng: np.random.Generator | None = None,
) -> tuple[list[Pair], list[float]]:
    """Draws pairs of different trajectories and labels each by the true returns.

    Returns:
        The pairs; and for each the probability that its second trajectory is the better one:
        0 or 1, and 0.5 where the returns are equal.
    """
    rng = rng or np.random.default_rng()
    pairs: list[Pair] = []
    labels: list[float] = []
    for _ in range(num_pairs):
        i, j = rng.choice(len(trajectories), size=2, replace=False)
        pairs.append((trajectories[i], trajectories[j]))
        labels.append(0.5 + 0.5 * float(np.sign(cum_returns[j] - cum_returns[i])))
    return pairs, labels


def predict_traj_return(net: Net, traj: NDArray) -> float:
    """The learned return as a plain number, for looking at; it carries no gradient."""
    with torch.no_grad():
        return net.predict_return(traj).item()


def learn_reward(
    reward_network: Net,
    optimizer: torch.optim.Optimizer,
    training_inputs: Sequence[Pair],
    training_outputs: Sequence[float],
    num_iter: int,
) -> None:
    """Trains the reward network to predict which trajectory of each pair is the better one.

    Args:
        reward_network: changed in place.
        optimizer: over the network's parameters.
        training_inputs: pairs of trajectories, each [T, obs_dim] with a T of its own.
        training_outputs: for each pair, the probability that the second is the better one.
        num_iter: passes over all pairs.
    """
    # BEGIN SOLUTION
    # HINT: the predicted returns of a pair are two logits; the label says which is the larger.
    # HINT: torch.nn.CrossEntropyLoss compares them; it also takes probabilities, for a tie.
    # a trajectory stands in many pairs: predict its return once a pass, then look it up
    trajectories = list({id(traj): traj for pair in training_inputs for traj in pair}.values())
    position = {id(traj): i for i, traj in enumerate(trajectories)}
    device = next(reward_network.parameters()).device
    first, second = torch.tensor(
        [[position[id(traj)] for traj in pair] for pair in training_inputs], device=device
    ).T
    labels = torch.tensor(training_outputs, dtype=torch.float32, device=device)
    targets = torch.stack([1 - labels, labels], dim=1)
    cross_entropy = torch.nn.CrossEntropyLoss()
    states = torch.tensor(np.concatenate(trajectories), dtype=torch.float32, device=device)
    lengths = torch.tensor([len(traj) for traj in trajectories], device=device)
    owner = torch.repeat_interleave(lengths)  # which trajectory each state is part of

    for _ in tqdm(range(num_iter), desc="learning the reward", disable=None):
        rewards = reward_network(states)
        returns = torch.zeros(len(trajectories), device=device).index_add(0, owner, rewards)
        loss = cross_entropy(torch.stack([returns[first], returns[second]], dim=1), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    # END SOLUTION


def show_ranking(
    name: str,
    net: Net,
    trajectories: Sequence[NDArray],
    returns: Sequence[float],
    pairs: Sequence[Pair],
) -> float:
    """Prints how well predicted returns agree with true ones, and the pairs that are most wrong.

    Returns:
        The share of pairs, ties left out, that are ranked correctly.
    """
    true = np.array(returns)
    predicted = np.array([predict_traj_return(net, traj) for traj in trajectories])
    number = {id(traj): i for i, traj in enumerate(trajectories)}
    members = np.array([[number[id(first)], number[id(second)]] for first, second in pairs])
    ranking = rank_pairs(true[members], predicted[members])
    print(
        f"{name}: {ranking.accuracy:.1%} of {ranking.num_pairs} pairs ranked correctly "
        f"({ranking.num_ties} ties left out), rank correlation {rank_correlation(true, predicted):.3f}"
    )
    for i, j in members[ranking.wrong[:5]]:
        print(
            f"    wrong: true returns {true[i]:g} and {true[j]:g}, "
            f"predicted {predicted[i]:.2f} and {predicted[j]:.2f}"
        )
    if len(ranking.wrong) > 5:
        print(f"    and {len(ranking.wrong) - 5} more")
    return ranking.accuracy


def main(settings: Settings) -> None:
    """Demonstrations, preferences, training, and the proof that it worked.

    Raises:
        UserError: checkpoints are missing or don't fit, nothing can be learned from the
            preferences, training diverged, or the reward can't be written.
    """
    torch.manual_seed(integer(settings.seed, Stream.WEIGHTS))
    device = usable_device(settings.device)
    env = make_env(settings.env)
    obs_dim, _ = policy_sizes(env)
    reward_net = make_reward_network(obs_dim).to(device)
    optimizer = Adam(reward_net.parameters(), lr=settings.lr)

    def demonstrations_and_pairs(seed: int) -> tuple:
        demos, returns = generate_novice_demos(
            env,
            settings.checkpoint_dir,
            settings.num_checkpoints,
            settings.demos_per_checkpoint,
            seed,
        )
        rng = generator(seed, Stream.QUERIES)
        return demos, returns, *create_training_data(demos, returns, settings.num_pairs, rng)

    demos, returns, pairs, labels = demonstrations_and_pairs(
        integer(settings.seed, Stream.DEMONSTRATIONS)
    )
    print(
        f"{len(returns)} trajectories of {settings.num_checkpoints} checkpoints: "
        f"returns from {min(returns):g} to {max(returns):g}, mean {np.mean(returns):.1f}"
    )
    if all(label == 0.5 for label in labels):
        raise UserError(
            f"All {len(labels)} pairs are ties (returns of {returns[0]:g}), and nothing can be "
            "learned from ties alone: train Part 1 for more epochs or raise --num_pairs."
        )
    require_predicted_return(reward_net, demos[0])
    learn_reward(reward_net, optimizer, pairs, labels, settings.num_iter)
    reward_net.eval()  # with dropout, if there is any, it would be judged by chance
    if not all(torch.isfinite(p).all() for p in reward_net.state_dict().values()):
        raise UserError(f"Training diverged to NaN or infinity: lower --lr ({settings.lr}).")

    # other trajectories of the same policies: nothing about them was seen in training
    other_demos, other_returns, other_pairs, _ = demonstrations_and_pairs(
        integer(settings.seed, Stream.HELD_OUT_DEMONSTRATIONS)
    )
    accuracy = {
        "training": show_ranking("training", reward_net, demos, returns, pairs),
        "held-out": show_ranking("held-out", reward_net, other_demos, other_returns, other_pairs),
    }

    path = Path(settings.reward_params)
    checkpoints.save(path, reward_net.state_dict())
    write_json(
        path.with_suffix(".json"),
        {
            "program": "offline_reward_learning.py",
            "env": settings.env,
            "sha256": sha256(path),
            "settings": asdict(settings),
            # without any pair that is no tie there is no accuracy, and JSON knows no NaN
            "accuracy": {k: None if np.isnan(v) else v for k, v in accuracy.items()},
            "versions": checkpoints.versions(),
        },
    )
    print(
        f"Saved {path}. Next: python vpg.py{_env_flag(settings.env)} --epochs 50 --checkpoint "
        f"--reward {shlex.quote(str(path))} --checkpoint_dir rlhf"
    )


def _env_flag(env_id: str) -> str:
    """What the other parts must be told of an environment that is not theirs anyway."""
    return "" if env_id == Settings.env else f" --env {env_id}"


if __name__ == "__main__":
    torch.set_num_threads(1)  # on networks this small, a second thread costs more than it does
    with one_sentence_errors("offline_reward_learning.py"):
        main(asked_for)
