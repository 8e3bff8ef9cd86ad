"""`prefloop ppo`: train a policy by PPO, on the true reward or on a learned one."""

from dataclasses import dataclass

from prefloop.agents.settings import PPOSettings
from prefloop.envs.settings import EnvSettings
from prefloop.settings import part, setting
from prefloop.training.settings import (
    ExperienceSettings,
    RunSettings,
    StoppingSettings,
    WatchingSettings,
)
from prefloop.tuned import TunedSettings

DESCRIPTION = """Trains a policy by proximal policy optimisation, on the environment's reward or on
a learned one (--reward), from scratch or from a checkpoint (--init), near which a penalty on the
Kullback-Leibler divergence can keep it (--kl-coef)."""
EPILOG = """Example: prefloop ppo --env CartPole-v0 --reward reward --init weak.params --out policy.
Writes final_policy.params with run.json, metrics.csv and learning_curve.png. Details: docs/ppo.md."""
IMPORTS = ("torch", "gymnasium", "matplotlib.figure")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """A run's."""

    # fmt: off
    reward: str = setting("", "folder of a reward model to learn from, in place of the environment's reward")
    init: str = setting("", "policy checkpoint to start from, of vpg.py or of prefloop")
    run: RunSettings = part(RunSettings)
    environment: EnvSettings = part(EnvSettings)
    experience: ExperienceSettings = part(ExperienceSettings)
    stopping: StoppingSettings = part(StoppingSettings)
    watching: WatchingSettings = part(WatchingSettings)
    agent: PPOSettings = part(PPOSettings)
    defaults: TunedSettings = part(TunedSettings)
    # fmt: on


def main(settings: Settings) -> None:
    """Trains and writes the policy."""
    from functools import partial
    from pathlib import Path

    from prefloop.devices import usable_device, use_one_thread
    from prefloop.envs.registered import COUNTED, FILMED, note_no_time_limit, require_time_limit
    from prefloop.rewards import reward_model
    from prefloop.training import methods, outputs
    from prefloop.training.on_policy import read_reward
    from prefloop.training.watching import require_watchable

    use_one_thread()
    run, env = settings.run, settings.environment
    device = usable_device(run.device)
    learned = Path(settings.reward) if settings.reward else None
    reward = partial(read_reward, folder=learned, device=device)
    init = Path(settings.init) if settings.init else None
    require_watchable(settings.watching, env)
    method = methods.ppo(env, reward, settings.agent, settings.experience, run.seed, device, init)
    if settings.watching.video_every:
        require_time_limit(env, FILMED)
    note_no_time_limit(env, COUNTED)
    facts = outputs.facts(
        "ppo",
        env,
        method.begins_as,
        reward=reward_model.file(learned) if learned else "",
        init=settings.init,
    )
    curves = None if learned else ("true_return",)
    with outputs.hooks_of(settings, method) as hooks:
        outputs.train(method, settings, facts, env, curves=curves, hooks=hooks)
