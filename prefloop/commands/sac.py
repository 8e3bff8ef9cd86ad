"""`prefloop sac`: train a policy by SAC, on the true reward or on a learned one."""

from dataclasses import dataclass

from prefloop.agents.settings import SACSettings
from prefloop.envs.settings import EnvSettings
from prefloop.settings import part, setting
from prefloop.training.settings import (
    ReplaySettings,
    RunSettings,
    StoppingSettings,
    WatchingSettings,
)
from prefloop.tuned import TunedSettings

DESCRIPTION = """Trains a policy with continuous actions by soft actor-critic, which learns from every
step it has ever made: on the environment's reward or on a learned one (--reward), from scratch or from a
checkpoint (--init)."""
EPILOG = """Example: prefloop sac --env Pendulum-v1 --steps 10000 --out policy. Writes
final_policy.params with run.json, metrics.csv, learning_curve.png, and replay/, every step it made.
Details: docs/sac.md."""
IMPORTS = ("torch", "gymnasium", "matplotlib.figure")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """A run's."""

    # fmt: off
    reward: str = setting("", "folder of a reward model to learn from, in place of the environment's reward")
    init: str = setting("", "policy checkpoint to start from, of prefloop sac")
    run: RunSettings = part(RunSettings)
    environment: EnvSettings = part(EnvSettings)
    experience: ReplaySettings = part(ReplaySettings)
    stopping: StoppingSettings = part(StoppingSettings)
    watching: WatchingSettings = part(WatchingSettings)
    agent: SACSettings = part(SACSettings)
    defaults: TunedSettings = part(TunedSettings)
    # fmt: on


def main(settings: Settings) -> None:
    """Trains and writes the policy."""
    from functools import partial
    from pathlib import Path

    from prefloop.devices import usable_device, use_one_thread
    from prefloop.envs.registered import without_early_end
    from prefloop.rewards import reward_model
    from prefloop.training import methods, outputs
    from prefloop.training.on_policy import read_reward
    from prefloop.training.watching import require_watchable

    use_one_thread()
    run, env = settings.run, settings.environment
    device = usable_device(run.device)
    learned = Path(settings.reward) if settings.reward else None
    absorbs = settings.experience.absorb_termination
    learns_in = without_early_end(env, absorb=True) if absorbs else env
    reward = partial(read_reward, folder=learned, device=device)
    init = Path(settings.init) if settings.init else None
    require_watchable(settings.watching, env)
    with outputs.claimed(settings, "prefloop sac"):
        method = methods.sac(
            env, reward, settings.agent, settings.experience, run.seed, device, Path(run.out), init,
            learns_in,
        )  # fmt: skip
        facts = outputs.facts(
            "sac",
            env,
            method.begins_as,
            reward=reward_model.file(learned) if learned else "",
            init=settings.init,
        )
        if learns_in != env:  # "env" is what it is judged in
            facts["learned_in"] = learns_in.facts
        curves = None if learned else ("true_return", "training_return")
        with outputs.hooks_of(settings, method) as hooks:
            outputs.train(method, settings, facts, env, curves=curves, is_claimed=True, hooks=hooks)
