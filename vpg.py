"""Parts 1 and 3: reward-to-go policy gradient, from the policy to the training loop.

python vpg.py --epochs 10 --checkpoint --checkpoint_dir ./synthetic --render
python vpg.py --epochs 50 --checkpoint --reward reward.params --checkpoint_dir rlhf
"""

from dataclasses import asdict, dataclass
from pathlib import Path

from prefloop.begun import settings_begun_with
from prefloop.command_line import parse_settings
from prefloop.settings import require_above_zero, require_seed, setting
from prefloop.startup import import_quickly


@dataclass(frozen=True)
class Settings:
    """Everything a run depends on, and its flags. The defaults are the assignment's.

    Raises:
        ValueError: a value that no run can have.
    """

    # fmt: off
    env_name: str = setting("CartPole-v0", "any with a flat Box of observations and Discrete actions", "--env")
    epochs: int = setting(10, "policy updates; with --resume, updates in all")
    lr: float = setting(1e-2, "learning rate of Adam")
    batch_size: int = setting(5000, "steps of experience an epoch; episodes are run to their end")
    hidden_sizes: tuple[int, ...] = setting((32,), "width of each hidden layer")
    num_envs: int = setting(128, "environments that step together")
    reward: str | None = setting(None, "learn from this reward network (reward.params), not from the environment's reward", "--reward_params")
    seed: int = setting(0, "same seed, same policy")
    device: str = setting("cpu", "where the update is computed: cpu, cuda, mps")
    checkpoint: bool = setting(False, "save policy_checkpoint{epoch}.params after each epoch, not only final_policy.params")
    checkpoint_dir: str = setting(".", "where everything is written; made if missing")
    render: bool = setting(False, "show an episode before each epoch; without a display, save it as a video")
    resume: bool = setting(False, "go on with the run in --checkpoint_dir, as it began where nothing else is given")
    # fmt: on

    def __post_init__(self) -> None:
        require_above_zero(self, "epochs", "lr", "batch_size", "hidden_sizes", "num_envs")
        require_seed(self.seed)
        if self.reward == "":
            raise ValueError("--reward needs the name of a file")


DESCRIPTION = """Trains a policy by the reward-to-go policy gradient. Part 1 learns from the
environment's reward, Part 3 (--reward) from a reward that was learned from preferences."""
EPILOG = """Writes run.json, metrics.csv and learning_curve.png beside the policy. A run that was
stopped goes on with --resume and ends as if it had never stopped."""

if __name__ == "__main__":
    # before PyTorch is loaded: --help and a wrong flag answer at once
    asked_for = parse_settings(
        Settings, begun=settings_begun_with, description=DESCRIPTION, epilog=EPILOG
    )
    import_quickly("torch", "gymnasium", "matplotlib.figure")

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.distributions import Categorical

from prefloop import checkpoints, runs
from prefloop.devices import to_tensor, usable_device
from prefloop.envs.make import make_vector_env, reset
from prefloop.envs.spaces import policy_sizes
from prefloop.errors import one_sentence_errors
from prefloop.evaluation.plots import plot_learning_curve
from prefloop.files import sha256, write_csv
from prefloop.networks import as_numpy_function, mlp
from prefloop.optimizers import Adam
from prefloop.policies import CategoricalPolicy
from prefloop.returns import episode_returns
from prefloop.seeding import Stream, generator, integer
from utils import load_reward_network

RewardFunction = Callable[[torch.Tensor], torch.Tensor]  # states [steps, obs_dim] -> [steps]


def make_policy(obs_dim: int, num_actions: int, hidden_sizes: tuple[int, ...]) -> nn.Sequential:
    """A network from an observation to a number for each action, its logit.

    An action's probability is softmax(logits): the larger its number, the likelier it is.
    """
    return mlp([obs_dim, *hidden_sizes, num_actions], nn.ReLU)


@dataclass(frozen=True)
class Experience:
    """What was done in environments that stepped together; rows are environments, columns time.

    Attributes:
        obs: the observation each action was chosen in; [num_envs, time, obs_dim].
        actions: what was done; [num_envs, time].
        rewards: the environment's; [num_envs, time].
        next_obs: what each step led to; [num_envs, time, obs_dim].
        ended: the step ended its episode; [num_envs, time].
        counts: the step belongs to an episode that is learned from; [num_envs, time].
    """

    obs: NDArray
    actions: NDArray
    rewards: NDArray
    next_obs: NDArray
    ended: NDArray
    counts: NDArray


def draw_actions(logits: NDArray, rng: np.random.Generator) -> NDArray:
    """Draws an action for each row, with probabilities softmax(logits): the Gumbel-max trick.

    Args:
        logits: what the policy says to some observations; [num_envs, num_actions].

    Source: Gumbel 1954; Maddison et al. 2014, arXiv:1411.0030.
    """
    return (logits + rng.gumbel(size=logits.shape)).argmax(axis=-1)


def act(
    policy: nn.Sequential, envs: gym.vector.VectorEnv, settings: Settings, epoch: int
) -> Experience:
    """Acts for `batch_size` steps, and until every episode that began before that has ended.

    To stop at the first complete episodes would favour short ones: the long ones are still under
    way. An epoch's randomness depends on its number alone, so a resumed run repeats an unbroken one.
    """
    rng = generator(settings.seed, Stream.POLICY, epoch)
    logits = as_numpy_function(policy)  # on a few dozen observations quicker than PyTorch
    obs, _ = reset(envs, settings.seed, Stream.ENVIRONMENTS, epoch)
    counts = np.ones(envs.num_envs, dtype=bool)  # whether the episode under way is learned from
    resets = np.zeros(envs.num_envs, dtype=bool)  # the step after an end only resets
    steps, history = 0, []
    while counts.any():
        actions = draw_actions(logits(obs.astype(np.float32, copy=False)), rng)
        next_obs, rewards, terminated, truncated, _ = envs.step(actions)
        next_obs = np.array(next_obs)  # some environments hand out an array and write to it again
        ended, valid = terminated | truncated, counts & ~resets
        history.append((obs, actions, rewards, next_obs, ended, valid))
        steps += int(valid.sum())
        if steps >= settings.batch_size:
            counts = counts & ~ended  # what begins now is one too many
        obs, resets = next_obs, ended
    return Experience(*(np.stack(column, axis=1) for column in zip(*history, strict=True)))


def rewards_to_go(rewards: NDArray, ended: NDArray) -> NDArray:
    """What follows each step until its episode ends: all that its action can take credit for.

    Args:
        rewards: of each step; [num_envs, time].
        ended: whether the step ended its episode; [num_envs, time].

    Source: Achiam 2018, Spinning Up in Deep RL, "Don't Let the Past Distract You".
    """
    to_go = np.zeros(rewards.shape)
    following = np.zeros(len(rewards))
    for t in reversed(range(rewards.shape[1])):
        following = rewards[:, t] + np.where(ended[:, t], 0.0, following)
        to_go[:, t] = following
    return to_go


def policy_gradient_loss(
    policy: nn.Module, obs: torch.Tensor, actions: torch.Tensor, weights: torch.Tensor
) -> torch.Tensor:
    """A loss whose gradient is the policy gradient, for data the policy itself has just produced.

    Args:
        policy: network from observations to action logits.
        obs: [steps, obs_dim].
        actions: [steps].
        weights: how much each step's action counts: its reward-to-go; [steps].

    Returns:
        A scalar. Only its gradient means anything: it does not fall as the policy gets better.

    Source: Achiam 2018, Spinning Up in Deep RL, part 3, "Intro to Policy Optimization".
    """
    log_prob = Categorical(logits=policy(obs)).log_prob(actions)
    return -(log_prob * weights).mean()


def train_one_epoch(
    policy: nn.Sequential,
    optimizer: torch.optim.Optimizer,
    envs: gym.vector.VectorEnv,
    settings: Settings,
    epoch: int,
    reward_function: RewardFunction | None,
) -> dict[str, float]:
    """Acts with the current policy, then updates it once.

    Returns:
        The epoch's row in metrics.csv.
    """
    # 1. act
    seen = act(policy, envs, settings, epoch)
    counts = seen.counts

    # 2. what was it worth?
    rewards = np.where(counts, seen.rewards, 0.0)
    if reward_function is not None:
        # the learned reward of a step is that of the state it led to
        states = to_tensor(seen.next_obs[counts], settings.device).float()
        rewards[counts] = reward_function(states).cpu().numpy()
    to_go = rewards_to_go(rewards, seen.ended)

    # 3. make more likely what was worth more
    obs, actions, weights = (
        to_tensor(x, settings.device)
        for x in (seen.obs[counts], seen.actions[counts], to_go[counts].astype(np.float32))
    )
    loss = policy_gradient_loss(policy, obs.float(), actions, weights)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()

    lengths = np.diff(np.flatnonzero(seen.ended[counts]), prepend=-1)
    return {
        "epoch": epoch,
        "loss": loss.item(),
        "return": float(episode_returns(rewards[counts], lengths).mean()),
        "true_return": float(episode_returns(seen.rewards[counts], lengths).mean()),
        "episode_length": float(lengths.mean()),
        "episodes": len(lengths),
        "steps": int(lengths.sum()),
    }


def train(
    settings: Settings, reward_function: RewardFunction | None = None
) -> tuple[nn.Sequential, list[dict[str, float]]]:
    """Trains a policy and writes its checkpoints, metrics.csv and run.json to `checkpoint_dir`.

    Args:
        reward_function: learn from this reward instead of `settings.reward` or the environment's.

    Returns:
        The policy, and the rows of metrics.csv.

    Raises:
        UserError: the environment, the reward, the device or the directory can't be used as asked.
    """
    torch.manual_seed(integer(settings.seed, Stream.WEIGHTS))
    device = usable_device(settings.device)
    envs = make_vector_env(settings.env_name, settings.num_envs)
    obs_dim, num_actions = policy_sizes(envs)
    if settings.reward:
        reward_path = Path(settings.reward)
        reward_function = load_reward_network(reward_path, settings.env_name, obs_dim).to(device)
    policy = make_policy(obs_dim, num_actions, settings.hidden_sizes).to(device)
    optimizer = Adam(policy.parameters(), lr=settings.lr)
    rows: list[dict[str, float]] = []  # of metrics.csv, one an epoch

    with runs.claimed(Path(settings.checkpoint_dir), settings.resume) as directory:
        if not settings.resume:
            runs.start(directory, facts(settings), settings.epochs)
        elif state := runs.resume(directory, facts(settings), MAY_DIFFER_ON_RESUME):
            policy.load_state_dict(state["policy"])
            optimizer.load_state_dict(state["optimizer"])
            rows = state["rows"]
            print(f"Resuming after epoch {len(rows) - 1}.")

        for epoch in range(len(rows), settings.epochs):
            if settings.render:
                watch(policy, settings, epoch, directory)
            rows.append(train_one_epoch(policy, optimizer, envs, settings, epoch, reward_function))
            print(progress_line(rows[-1], learned_reward=reward_function is not None))
            if settings.checkpoint:
                checkpoints.save(checkpoints.checkpoint_path(directory, epoch), policy.state_dict())
            write_csv(directory / runs.METRICS, rows)
            # last, so that a run killed between these lines does the epoch again
            runs.save_state(
                directory,
                {
                    "policy": policy.state_dict(),
                    "optimizer": optimizer.state_dict(),
                    "rows": rows,
                },
            )
        if not settings.checkpoint:
            checkpoints.save(directory / "final_policy.params", policy.state_dict())
    envs.close()
    return policy, rows


MAY_DIFFER_ON_RESUME = ("epochs", "checkpoint_dir", "render", "resume", "reward")


def facts(settings: Settings) -> dict[str, Any]:
    """What run.json says of a run."""
    return {
        "program": "vpg.py",
        "env": settings.env_name,
        "activation": "relu",
        "reward_sha256": sha256(Path(settings.reward)) if settings.reward else None,
        "settings": asdict(settings),
    }


def progress_line(row: dict[str, float], learned_reward: bool) -> str:
    """One epoch in one line; with a learned reward the episode length is the ground truth."""
    names = ("predicted return", "ep_len (gt reward)") if learned_reward else ("return", "ep_len")
    return (
        f"epoch: {row['epoch']:3d} \t loss: {row['loss']:.3f} \t "
        f"{names[0]}: {row['return']:.3f} \t {names[1]}: {row['episode_length']:.3f}"
    )


def watch(policy: nn.Sequential, settings: Settings, epoch: int, directory: Path) -> None:
    """Shows an episode of the current policy; training goes the same way with and without it."""
    from prefloop.evaluation.evaluate import acting_in_episode, env_seed
    from prefloop.evaluation.videos import watch_episode

    act = acting_in_episode(CategoricalPolicy(*policy), settings.seed, epoch)
    path = directory / "videos" / f"epoch{epoch}.mp4"
    seed = env_seed(settings.seed, epoch)
    episode_return, video = watch_episode(settings.env_name, act, seed, path)
    if video:
        print(f"epoch {epoch} begins with a return of {episode_return:.0f}: {video}")


def main(settings: Settings) -> None:
    """Trains, and draws the learning curve."""
    torch.set_num_threads(1)  # on networks this small, a second thread costs more than it does
    stopped = (
        f"Stopped. Go on with the same command and --resume; {settings.checkpoint_dir} is whole."
    )
    with one_sentence_errors("vpg.py", when_interrupted=stopped):
        _, rows = train(settings)
        picture = Path(settings.checkpoint_dir) / "learning_curve.png"
        plot_learning_curve(picture, rows, title=settings.env_name)


if __name__ == "__main__":
    main(asked_for)
