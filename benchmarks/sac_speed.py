"""SAC on HalfCheetah-v5: steps a second, beside Stable-Baselines3's and CleanRL's.

    git clone https://github.com/vwxyzjn/cleanrl
    python benchmarks/sac_speed.py --cleanrl cleanrl --rounds 5

All have networks of 256, 256 and batches of 256, act in one environment, make one update a step and have one
thread. Each process makes 200 steps first and is timed for the next 700, whole: acting, the simulator,
what is remembered, the update. They take turns. Needs tyro besides (CleanRL reads its flags by it).
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ENV, FIRST, LAST = "HalfCheetah-v5", 200, 900
# one update: forward and backward of critics and policy at a batch of 256, without what nobody needs
GFLOP_OF_AN_UPDATE = 0.59

SB3 = f"""
import json, time, warnings
warnings.simplefilter("ignore")
import torch
from stable_baselines3 import SAC
from stable_baselines3.common.callbacks import BaseCallback
torch.set_num_threads(1)

class Clock(BaseCallback):
    at = {{}}
    def _on_step(self):
        self.at[self.num_timesteps] = time.perf_counter()
        return True

model = SAC("MlpPolicy", "{ENV}", learning_starts=100, batch_size=256, device="cpu", seed=0)
model.learn({LAST + 1}, callback=Clock())
print(json.dumps({LAST - FIRST} / (Clock.at[{LAST}] - Clock.at[{FIRST}])))
"""

CLEANRL = f"""
import builtins, json, runpy, sys, time, warnings
warnings.simplefilter("ignore")
import torch
torch.set_num_threads(1)
repository = sys.argv[1]
sys.path.insert(0, repository)
sys.argv = ["sac", "--env-id", "{ENV}", "--total-timesteps", "{LAST + 1}", "--learning-starts", "100", "--no-cuda"]
times, plain = [], builtins.print
def clock(*words, **more):
    if words and words[0] == "SPS:":  # every 100 steps from the 200th on
        times.append(time.perf_counter())
builtins.print = clock
runpy.run_path(repository + "/cleanrl/sac_continuous_action.py", run_name="__main__")
builtins.print = plain
assert len(times) == {(LAST - FIRST) // 100 + 1}, times
print(json.dumps({LAST - FIRST} / (times[-1] - times[0])))
"""


def ours() -> tuple[float, float]:
    """Steps a second, and what share of the processor's own rate of products that is."""
    import torch

    from prefloop.agents.settings import SACSettings
    from prefloop.training.off_policy import act_and_improve, make_replay, make_sac
    from prefloop.training.on_policy import stepping_in, true_reward
    from prefloop.training.plans import Plan
    from prefloop.training.settings import ReplaySettings

    torch.set_num_threads(1)
    seconds = []
    settings = ReplaySettings(steps=LAST, iteration_steps=FIRST)
    with tempfile.TemporaryDirectory() as folder:
        stepping, plan = stepping_in(ENV, 1), Plan.of(settings.divided)
        agent = make_sac(
            stepping, SACSettings(batch_size=256, random_steps=100), 0, torch.device("cpu")
        )
        replay = make_replay(Path(folder), stepping, settings, plan)
        for iteration in range(plan.iterations):
            start = time.perf_counter()
            act_and_improve(agent, stepping, true_reward, replay, plan, 1.0, 0, iteration)
            seconds.append(time.perf_counter() - start)
    rate = (LAST - FIRST) / sum(seconds[1:])
    a, b = torch.randn(2, 256, 256)
    start = time.perf_counter()
    for _ in range(2000):
        a @ b
    gflops = 2000 * 2 * 256**3 / 1e9 / (time.perf_counter() - start)
    return rate, rate * GFLOP_OF_AN_UPDATE / gflops


def main() -> None:
    """Runs all in turns and prints the ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cleanrl", help="a clone of CleanRL; left out without it")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only_ours", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.only_ours:
        print(json.dumps(ours()))
        return
    ratios: dict[str, list[float]] = {}
    for _ in range(arguments.rounds):
        mine, share = _last_line([sys.executable, str(Path(__file__).resolve()), "--only_ours"])
        others = {"Stable-Baselines3": _last_line([sys.executable, "-c", SB3])}
        if arguments.cleanrl:
            command = [sys.executable, "-c", CLEANRL, str(Path(arguments.cleanrl).resolve())]
            others["CleanRL"] = _last_line(command)
        line = f"prefloop {mine:.1f} steps/s, {share:.0%} of the rate of products"
        for name, theirs in others.items():
            ratios.setdefault(name, []).append(mine / theirs)
            line += f"; {name} {theirs:.1f}: {mine / theirs:.2f} times"
        print(line, flush=True)
    for name, values in ratios.items():
        print(f"{name}: median {statistics.median(values):.2f}, lowest {min(values):.2f}")


def _last_line(command: list[str]):  # type: ignore[no-untyped-def]
    with tempfile.TemporaryDirectory() as folder:  # where others leave their logs
        result = subprocess.run(command, check=True, capture_output=True, text=True, cwd=folder)
    return json.loads(result.stdout.splitlines()[-1])


if __name__ == "__main__":
    main()
