"""`prefloop airl`: learn a reward from the behaviour that was preferred, and a policy on it."""

from dataclasses import MISSING, dataclass

from prefloop.agents.settings import AIRLSettings, PPOSettings
from prefloop.settings import part, setting
from prefloop.training.settings import ExperienceSettings, RunSettings

DESCRIPTION = """Adversarial inverse reinforcement learning: a discriminator learns to tell the
preferred segments from what the policy does, and the policy learns by PPO to pass for them."""
EPILOG = """Example: prefloop airl --preferences prefs --out airl. Writes final_policy.params with
run.json, metrics.csv and learning_curve.png. Details: docs/airl.md."""
IMPORTS = ("torch", "gymnasium", "matplotlib.figure")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Settings of `prefloop airl`."""

    # fmt: off
    preferences: str = setting(MISSING, "folder of the preference dataset")
    init: str = setting("", "policy checkpoint to start from")
    run: RunSettings = part(RunSettings)
    experience: ExperienceSettings = part(ExperienceSettings)
    airl: AIRLSettings = part(AIRLSettings)
    agent: PPOSettings = part(PPOSettings)
    # fmt: on


def main(settings: Settings) -> None:
    """Trains and writes the policy."""
    from pathlib import Path

    from prefloop.devices import usable_device, use_one_thread
    from prefloop.envs.registered import COUNTED, note_no_time_limit
    from prefloop.training import methods, outputs

    use_one_thread()
    run = settings.run
    preferences, env, _, file = outputs.read_preferences(settings.preferences)
    method = methods.airl(
        env,
        preferences,
        settings.airl,
        settings.agent,
        settings.experience,
        run.seed,
        usable_device(run.device),
        Path(settings.init) if settings.init else None,
    )
    note_no_time_limit(env, COUNTED, "the --horizon of prefloop pairs gives it one")
    facts = outputs.facts("airl", env, method.begins_as, preferences=file, init=settings.init)
    outputs.train(method, settings, facts, env)
