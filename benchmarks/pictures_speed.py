"""How quickly Pong is played, learned from and judged: PPO's two halves, and the fit of a reward, on one thread.

    python benchmarks/pictures_speed.py --pixels 42 84

Rates are of processor time, so that another program on the machine counts little. PPO updates as it does in Atari by default: four
passes in minibatches of 256. A fit's pairs are of 25 steps, its members three.

    git clone https://github.com/vwxyzjn/cleanrl
    python -m venv theirs
    theirs/bin/pip install torch==2.13.0 stable-baselines3 ale-py opencv-python-headless tyro tensorboard
    python benchmarks/pictures_speed.py --cleanrl cleanrl --their_python theirs/bin/python --rounds 3

has the PPO of CleanRL (`ppo_atari.py`) and of Stable-Baselines3 play and learn, too, in turns with ours: at the same size of
pictures, with the same layers, eight games, 128 steps in each between updates, four passes in minibatches of 256. CleanRL's
layers and size stand in its code, and are replaced there. The first turn of playing and learning is left out, the next two count.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

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


# the layers of our encoders, in their libraries' words: convolutions (channels, size, stride) and what comes after
LAYERS = {
    42: ([(16, 4, 2), (32, 4, 2), (32, 3, 2)], 256),
    84: ([(32, 8, 4), (64, 4, 2), (64, 3, 1)], 512),
}
THEIRS = """
import builtins, json, re, sys, time, warnings
warnings.simplefilter("ignore")
import ale_py, gymnasium as gym, torch
from torch import nn
torch.set_num_threads(1)
pixels, convolutions, features, steps, where = json.loads(sys.argv[1])
gym.register_envs(ale_py)
def layers(linear=nn.Linear, convolution=nn.Conv2d):
    made, channels, side = [], 4, pixels
    for width, size, stride in convolutions:
        made += [convolution(channels, width, size, stride=stride), nn.ReLU()]
        channels, side = width, (side - size) // stride + 1
    return nn.Sequential(*made, nn.Flatten(), linear(channels * side**2, features), nn.ReLU())
turns = []
"""
SB3 = (
    THEIRS
    + """
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import make_atari_env
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.vec_env import VecFrameStack

class Layers(BaseFeaturesExtractor):
    def __init__(self, observation_space):
        super().__init__(observation_space, features)
        self.layers = layers()
    def forward(self, x):
        return self.layers(x)

class Clock(BaseCallback):
    def _on_step(self):
        return True
    def _on_rollout_start(self):
        turns.append(time.process_time())

games = VecFrameStack(make_atari_env("PongNoFrameskip-v4", 8, seed=0, wrapper_kwargs={"screen_size": pixels}), 4)
agent = PPO("CnnPolicy", games, n_steps=128, n_epochs=4, batch_size=256, learning_rate=2.5e-4, clip_range=0.1,
            ent_coef=0.01, policy_kwargs={"features_extractor_class": Layers}, device="cpu", seed=0)
agent.learn(4 * steps, callback=Clock())
print(json.dumps(2 * steps / (turns[3] - turns[1])))
"""
)
CLEANRL = (
    THEIRS
    + """
# what newer versions of Gymnasium call otherwise
gym.wrappers.GrayScaleObservation = gym.wrappers.GrayscaleObservation
gym.wrappers.FrameStack = gym.wrappers.FrameStackObservation
sys.path.insert(0, where)
code = open(where + "/cleanrl/ppo_atari.py").read()
code, sized = re.subn("[(]84, 84[)]", f"({pixels}, {pixels})", code)
network = "self.network = layers(lambda *a: layer_init(nn.Linear(*a)), lambda *a, **k: layer_init(nn.Conv2d(*a, **k)))"
code, layered = re.subn(r"self\\.network = nn\\.Sequential\\(.*?\\n        \\)", network, code, flags=re.DOTALL)
code, headed = re.subn(r"nn\\.Linear\\(512,", f"nn.Linear({features},", code)
assert (sized, layered, headed) == (1, 1, 2)
sys.argv = ["ppo_atari", "--env-id", "PongNoFrameskip-v4", "--total-timesteps", str(3 * steps), "--no-cuda"]
plain = builtins.print
def clock(*words, **more):
    if words and words[0] == "SPS:":  # after each update
        turns.append(time.process_time())
builtins.print = clock
exec(compile(code, "ppo_atari.py", "exec"), {"__name__": "__main__", "__file__": "ppo_atari.py", "layers": layers})
builtins.print = plain
print(json.dumps(2 * steps / (turns[2] - turns[0])))
"""
)


def ours(pixels: int, turns: int = 2) -> tuple[float, float, float]:
    """Steps a second in all, and acting; samples a second of updates."""
    stepping = stepping_in(EnvSettings(env="ALE/Pong-v5", pixels=pixels), NUM_ENVS)
    settings = PPOSettings(update_epochs=PASSES, minibatch_size=256)
    agent = make_ppo(stepping, settings, 0, torch.device("cpu"))
    stepping.begin(0)
    agent.begin(0)
    acting = improving = 0.0
    for turn in range(1 + turns):
        began = time.process_time()
        rollout = stepping.act(agent.act, STEPS)
        acted = time.process_time()
        agent.update(rollout, rollout.rewards)
        if turn:  # what is slow but once is in the first
            acting += acted - began
            improving += time.process_time() - acted
    num = turns * NUM_ENVS * STEPS
    return num / (acting + improving), num / acting, PASSES * num / improving


def pairs_fitted(pixels: int) -> float:
    """Pairs a second of one pass over the answers."""
    env = EnvSettings(env="ALE/Pong-v5", pixels=pixels)
    stepping, rng = stepping_in(env, NUM_ENVS), np.random.default_rng(0)
    agent = make_ppo(stepping, PPOSettings(), 0, torch.device("cpu"))
    agent.begin(0, 1)
    segments = cut(record_episodes(env, agent.act, 4, 0), 25, 2 * PAIRS, rng)
    first, second = rng.permutation(2 * PAIRS).reshape(2, PAIRS)
    answers = Preferences(segments, first, second, rng.integers(0, 2, PAIRS).astype(float))
    reward = RewardSettings(ensemble=3)
    fit = RewardFit(make_model(stepping.spaces, reward, 0), answers, reward, 0)
    began = time.process_time()
    fit.iterate(0)
    return PAIRS / (time.process_time() - began)


def theirs(program: str, python: str, pixels: int, where: str) -> float:
    """Steps a second of another library's PPO."""
    facts = json.dumps([pixels, *LAYERS[pixels], NUM_ENVS * STEPS, where])
    with tempfile.TemporaryDirectory() as folder:  # where they leave their logs
        result = subprocess.run(
            [python, "-c", program, facts], capture_output=True, text=True, cwd=folder
        )
    if result.returncode:
        sys.exit(result.stderr[-3000:])
    return float(json.loads(result.stdout.splitlines()[-1]))


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pixels", type=int, nargs="+", default=[42, 84], choices=LAYERS)
    parser.add_argument("--cleanrl", type=Path, help="a clone of CleanRL; left out without it")
    parser.add_argument(
        "--their_python", type=Path, help="Python that has their libraries; left out without it"
    )
    parser.add_argument("--rounds", type=int, default=1)
    arguments = parser.parse_args()
    others = {"Stable-Baselines3": SB3} if arguments.their_python else {}
    others |= {"CleanRL": CLEANRL} if arguments.their_python and arguments.cleanrl else {}
    torch.set_num_threads(1)
    for pixels in arguments.pixels:
        ratios: dict[str, list[float]] = {name: [] for name in others}
        for _ in range(arguments.rounds):
            rate, acting, improving = ours(pixels)
            print(
                f"{pixels} pixels: {rate:.0f} steps/s; acting {acting:.0f} steps/s, updates {improving:.0f} samples/s",
                flush=True,
            )
            for name, program in others.items():
                python, where = str(arguments.their_python.absolute()), arguments.cleanrl
                found = theirs(program, python, pixels, str(where.resolve()) if where else "")
                ratios[name].append(rate / found)
                print(f"    {name} {found:.0f} steps/s: {rate / found:.2f} times", flush=True)
        for name, values in ratios.items():
            print(
                f"{pixels} pixels, times {name}: median {statistics.median(values):.2f}, lowest {min(values):.2f}"
            )
        print(f"{pixels} pixels: a reward is fitted to {pairs_fitted(pixels):.0f} pairs/s a pass")


if __name__ == "__main__":
    main()
