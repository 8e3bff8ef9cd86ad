"""How quickly Pong is played, learned from and judged: PPO's two halves, and the fit of a reward, on one thread.

    python benchmarks/pictures_speed.py --pixels 42 84

Rates are of processor time, so that another program on the machine counts little. PPO updates as it does in Atari by default: four
passes in minibatches of 256. A fit's pairs are of 25 steps, its members three.
"""

import argparse
import time

import numpy as np
import torch

from prefloop.agents.settings import PPOSettings
from prefloop.data.preferences import Preferences
from prefloop.data.recording import record_episodes
from prefloop.data.segments import cut
from prefloop.envs.settings import EnvSettings
from prefloop.rewards.settings import RewardSettings
from prefloop.rewards.training import RewardFit, make_model
from prefloop.training.on_policy import make_ppo, stepping_in

NUM_ENVS, STEPS, PASSES, PAIRS = 8, 128, 4, 200


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pixels", type=int, nargs="+", default=[42, 84])
    torch.set_num_threads(1)
    for pixels in parser.parse_args().pixels:
        env = EnvSettings(env="ALE/Pong-v5", pixels=pixels)
        stepping = stepping_in(env, NUM_ENVS)
        settings = PPOSettings(update_epochs=PASSES, minibatch_size=256)
        agent = make_ppo(stepping, settings, 0, torch.device("cpu"))
        stepping.begin(0)
        agent.begin(0)
        stepping.act(agent.act, 16)  # what is slow but once
        began = time.process_time()
        rollout = stepping.act(agent.act, STEPS)
        acted = time.process_time()
        agent.update(rollout, rollout.rewards)
        improved = time.process_time()
        num = NUM_ENVS * STEPS
        print(
            f"{pixels} pixels: {num / (improved - began):.0f} steps/s; acting {num / (acted - began):.0f} steps/s, "
            f"updates {PASSES * num / (improved - acted):.0f} samples/s"
        )
        rng = np.random.default_rng(0)
        agent.begin(0, 1)
        episodes = record_episodes(env, agent.act, 4, 0)
        segments = cut(episodes, 25, 2 * PAIRS, rng)
        first, second = rng.permutation(2 * PAIRS).reshape(2, PAIRS)
        answers = Preferences(segments, first, second, rng.integers(0, 2, PAIRS).astype(float))
        reward = RewardSettings(ensemble=3)
        fit = RewardFit(make_model(stepping.spaces, reward, 0), answers, reward, 0)
        began = time.process_time()
        fit.iterate(0)
        print(
            f"{pixels} pixels: a reward is fitted to {PAIRS / (time.process_time() - began):.0f} pairs/s a pass"
        )


if __name__ == "__main__":
    main()
