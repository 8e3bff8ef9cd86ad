"""PPO on CartPole-v1: seconds of training to a mean return of 475, beside Stable-Baselines3.

    python -m venv sb3 && sb3/bin/pip install torch==2.13.0 stable-baselines3
    python benchmarks/ppo_speed.py --sb3_python sb3/bin/python

Both are judged alike: every 2,560 steps (SB3) or after every update (prefloop) the clock stops and
the greedy policy plays 20 episodes; the time is that of the first mean of 475 or more. SB3 has the
settings that its zoo publishes as tuned for CartPole-v1, prefloop its defaults. One process at a
time, one thread each.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time

SB3 = """
import json, sys, time, warnings
warnings.simplefilter("ignore")
import gymnasium as gym, torch
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy
torch.set_num_threads(1)
seed = int(sys.argv[1])

class UntilSolved(BaseCallback):
    def _on_training_start(self):
        self.seconds, self.start, self.steps = 0.0, time.perf_counter(), None
        self.test = make_vec_env("CartPole-v1", n_envs=20, seed=1000 + seed)
    def _on_step(self):
        if self.num_timesteps % 2560:
            return True
        self.seconds += time.perf_counter() - self.start
        mean, _ = evaluate_policy(self.model, self.test, n_eval_episodes=20)
        self.start = time.perf_counter()
        if mean >= 475:
            self.steps = self.num_timesteps
        return mean < 475

falling = lambda value: lambda left: left * value
# https://github.com/DLR-RM/rl-baselines3-zoo/blob/master/hyperparams/ppo.yml
model = PPO("MlpPolicy", make_vec_env("CartPole-v1", n_envs=8, seed=seed), n_steps=32,
            batch_size=256, gae_lambda=0.8, gamma=0.98, n_epochs=20, ent_coef=0.0,
            learning_rate=falling(0.001), clip_range=falling(0.2), seed=seed, device="cpu")
until = UntilSolved()
model.learn(100_000, callback=until)
print(json.dumps([until.seconds, until.steps]))
"""


def ours(seed: int) -> tuple[float, int | None]:
    """Seconds and steps that prefloop needs; None for steps that were not enough."""
    import torch

    from prefloop.agents.settings import PPOSettings
    from prefloop.evaluation.evaluate import evaluate
    from prefloop.training.on_policy import make_ppo, stepping_in
    from prefloop.training.plans import Plan
    from prefloop.training.settings import ExperienceSettings

    torch.set_num_threads(1)
    total, plan = 100_000, Plan.of(ExperienceSettings())
    stepping = stepping_in("CartPole-v1", plan.num_envs)
    ppo = make_ppo(stepping, PPOSettings(), seed, torch.device("cpu"))
    seconds, steps = 0.0, 0
    stepping.begin(seed)
    ppo.begin(seed)
    while steps < total:
        start = time.perf_counter()
        rollout = stepping.act(ppo.act, plan.rollout_steps)
        ppo.update(rollout, rollout.rewards, progress=steps / total)
        seconds += time.perf_counter() - start
        steps += plan.steps(1)
        returns = evaluate(ppo.acting_policy, "CartPole-v1", 20, seed, greedy=True)
        if returns.mean() >= 475:
            return seconds, steps
    return seconds, None


def main() -> None:
    """Runs both in turns and prints their ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sb3_python", "--sb3-python", required=True)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--only_ours", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.only_ours is not None:
        print(json.dumps(ours(arguments.only_ours)))
        return
    ratios = []
    for seed in range(arguments.seeds):
        theirs = _last_line([arguments.sb3_python, "-c", SB3, str(seed)])
        mine = _last_line([sys.executable, __file__, "--sb3_python", "", "--only_ours", str(seed)])
        ratios.append(theirs[0] / mine[0])
        print(
            f"seed {seed}: Stable-Baselines3 {theirs[0]:.2f} s ({theirs[1]} steps), prefloop "
            f"{mine[0]:.2f} s ({mine[1]} steps): {ratios[-1]:.1f} times as fast"
        )
    print(f"median {statistics.median(ratios):.1f}, lowest {min(ratios):.1f}")


def _last_line(command: list[str]) -> list[float]:
    result = subprocess.run(command, check=True, capture_output=True, text=True)
    return list(json.loads(result.stdout.splitlines()[-1]))


if __name__ == "__main__":
    main()
