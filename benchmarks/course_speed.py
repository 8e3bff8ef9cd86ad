"""How much faster the three parts are than the way such courses hand them out.

    python benchmarks/course_speed.py

Runs a plain reference (below: one environment, one forward pass per step) and the project's
three commands as whole processes, imports included, in turn in one run. Prints ratios:
single figures depend on the machine, ratios much less.
"""

import argparse
import contextlib
import io
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

PARTS = {
    "Part 1": ["vpg.py", "--epochs", "10", "--checkpoint", "--checkpoint_dir", "synthetic"],
    "Part 2": ["offline_reward_learning.py"],
    "Part 3": ["vpg.py", "--epochs", "50", "--checkpoint", "--checkpoint_dir", "rlhf"],
}
PARTS["Part 3"] += ["--reward", "reward.params"]
BATCH_SIZE = 5000


def reference_train(directory: str, epochs: int, reward_path: str | None = None) -> float:
    """Vanilla policy gradient, step by step. Returns the seconds its loop took."""
    import gymnasium as gym
    import numpy as np
    import torch
    from torch import nn
    from torch.distributions import Categorical

    env = gym.make("CartPole-v0")
    policy = nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 2))
    optimizer = torch.optim.Adam(policy.parameters(), lr=1e-2)
    reward_net = None
    if reward_path:
        reward_net = reference_reward_network()
        reward_net.load_state_dict(torch.load(reward_path))
    Path(directory).mkdir(exist_ok=True)

    start = time.perf_counter()
    for epoch in range(epochs):
        all_obs: list = []
        all_actions: list = []
        all_weights: list = []
        lengths: list = []
        while len(all_obs) < BATCH_SIZE:
            obs, _ = env.reset()
            rewards: list = []
            done = False
            while not done:
                all_obs.append(obs)
                logits = policy(torch.as_tensor(obs, dtype=torch.float32))
                action = Categorical(logits=logits).sample().item()
                obs, reward, terminated, truncated, _ = env.step(action)
                done = terminated or truncated
                if reward_net is not None:
                    state = torch.as_tensor(obs, dtype=torch.float32).unsqueeze(0)
                    reward = reward_net(state).sum().item()
                all_actions.append(action)
                rewards.append(reward)
            to_go = 0.0
            weights = []
            for reward in reversed(rewards):
                to_go += reward
                weights.append(to_go)
            all_weights += reversed(weights)
            lengths.append(len(rewards))
        optimizer.zero_grad()
        distribution = Categorical(logits=policy(torch.as_tensor(np.array(all_obs))))
        log_prob = distribution.log_prob(torch.as_tensor(all_actions))
        loss = -(log_prob * torch.as_tensor(all_weights, dtype=torch.float32)).mean()
        loss.backward()
        optimizer.step()
        print(f"epoch: {epoch} loss: {loss:.3f} ep_len: {np.mean(lengths):.1f}")
        torch.save(policy.state_dict(), f"{directory}/policy_checkpoint{epoch}.params")
    return time.perf_counter() - start


def reference_reward_network():  # type: ignore[no-untyped-def]
    """A small reward network."""
    from torch import nn

    return nn.Sequential(nn.Linear(4, 64), nn.ReLU(), nn.Linear(64, 1), nn.Sigmoid())


def reference_learn_reward() -> None:
    """One trajectory per checkpoint, 20 pairs, one pair at a time, 100 times over."""
    import gymnasium as gym
    import numpy as np
    import torch
    from torch import nn
    from torch.distributions import Categorical

    env = gym.make("CartPole-v0")
    trajectories = []
    for i in range(10):
        policy = nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 2))
        policy.load_state_dict(torch.load(f"synthetic/policy_checkpoint{i}.params"))
        obs, _ = env.reset()
        states, done = [], False
        while not done:
            action = Categorical(logits=policy(torch.as_tensor(obs))).sample().item()
            obs, _, terminated, truncated, _ = env.step(action)
            done = terminated or truncated
            states.append(obs)
        trajectories.append(np.array(states))
    reward_net = reference_reward_network()
    optimizer = torch.optim.Adam(reward_net.parameters(), lr=1e-3)
    rng = np.random.default_rng(0)
    pairs = [rng.choice(10, size=2, replace=False) for _ in range(20)]
    for _ in range(100):
        for i, j in pairs:
            returns = [reward_net(torch.as_tensor(trajectories[k])).sum() for k in (i, j)]
            better = int(len(trajectories[j]) > len(trajectories[i]))
            loss = nn.CrossEntropyLoss()(torch.stack(returns)[None], torch.tensor([better]))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    torch.save(reward_net.state_dict(), "reward.params")


def run_reference(part: str) -> None:
    """One part of the reference, in this process."""
    if part == "Part 1":
        reference_train("synthetic", epochs=10)
    elif part == "Part 2":
        reference_learn_reward()
    else:
        reference_train("rlhf", epochs=50, reward_path="reward.params")


def measure(command: list[str], directory: str) -> tuple[float, float]:
    """Seconds and peak memory in MiB of a whole process."""
    start = time.perf_counter()
    process = subprocess.Popen(command, cwd=directory, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    if status:
        raise SystemExit(f"{' '.join(command)} failed")
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return seconds, usage.ru_maxrss / unit


def measure_loops(repeats: int) -> tuple[float, float]:
    """Seconds of Part 3's training loop alone, reference and ours, with imports done before."""
    import torch

    import vpg

    with tempfile.TemporaryDirectory() as directory, contextlib.redirect_stdout(io.StringIO()):
        os.chdir(directory)
        torch.save(reference_reward_network().state_dict(), "reference.params")
        reference = reference_train("rlhf", epochs=50, reward_path="reference.params")
        torch.set_num_threads(1)
        torch.manual_seed(0)
        reward = reference_reward_network().requires_grad_(False)
        seconds = []
        for i in range(repeats):
            settings = vpg.Settings(epochs=50, checkpoint=True, checkpoint_dir=f"ours{i}")
            start = time.perf_counter()
            vpg.train(settings, reward_function=lambda obs: reward(obs).squeeze(-1))
            seconds.append(time.perf_counter() - start)
        os.chdir(ROOT)
    return reference, statistics.median(seconds)


def main() -> None:
    """Measures, part by part."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument(
        "--repeats",
        type=int,
        default=3,
        help="runs of ours for one of the reference; the median counts",
    )
    parser.add_argument("--reference", choices=PARTS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.reference:
        run_reference(arguments.reference)
        return

    script = str(Path(__file__).resolve())
    totals = [0.0, 0.0]
    print("whole processes    reference      ours   ratio   peak memory: reference      ours")
    with tempfile.TemporaryDirectory() as theirs, tempfile.TemporaryDirectory() as ours:
        for part, command in PARTS.items():
            reference, reference_mib = measure(
                [sys.executable, script, "--reference", part], theirs
            )
            own = [
                measure([sys.executable, str(ROOT / command[0]), *command[1:]], ours)
                for _ in range(arguments.repeats)
            ]
            seconds, mib = (statistics.median(values) for values in zip(*own, strict=True))
            totals = [totals[0] + reference, totals[1] + seconds]
            print(
                f"{part:17} {reference:8.2f} s {seconds:7.2f} s {reference / seconds:6.1f} x"
                f"{reference_mib:20.0f} MiB {mib:5.0f} MiB",
                flush=True,
            )
    print(f"{'Parts 1-3':17} {totals[0]:8.2f} s {totals[1]:7.2f} s {totals[0] / totals[1]:6.1f} x")
    reference, seconds = measure_loops(arguments.repeats)
    print(f"{'loop of Part 3':17} {reference:8.2f} s {seconds:7.2f} s {reference / seconds:6.1f} x")


if __name__ == "__main__":
    main()
