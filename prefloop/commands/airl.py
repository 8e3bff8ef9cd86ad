"""`prefloop airl`: learn a reward from the behaviour that was preferred, and a policy on it."""

from dataclasses import MISSING, dataclass

from prefloop.agents.settings import AIRLSettings, PPOSettings
from prefloop.settings import require_above_zero, setting
from prefloop.training.settings import RunSettings

DESCRIPTION = """Adversarial inverse reinforcement learning: a discriminator learns to tell the
preferred segments from what the policy does, and the policy learns by PPO to pass for them."""
EPILOG = """Example: prefloop airl --preferences prefs --out airl. Writes final_policy.params with
run.json, metrics.csv and learning_curve.png. Details: docs/airl.md."""
IMPORTS = ("torch", "gymnasium", "matplotlib.figure")


@dataclass(frozen=True, kw_only=True)
class Settings(RunSettings, AIRLSettings, PPOSettings):
    """A run's."""

    # fmt: off
    preferences: str = setting(MISSING, "folder of the preference dataset")
    init: str = setting("", "policy checkpoint to start from")
    steps: int = setting(200_000, "steps of experience in all")
    iteration_steps: int = setting(20_000, "steps between two rows of metrics.csv; episodes begin anew there, and a stopped run goes on from there")
    # fmt: on

    def __post_init__(self) -> None:
        for part in (RunSettings, AIRLSettings, PPOSettings):
            part.__post_init__(self)
        require_above_zero(self, "steps", "iteration_steps")


def main(settings: Settings) -> None:
    """Trains and writes the policy."""
    from pathlib import Path

    import torch

    from prefloop import runs
    from prefloop.devices import usable_device
    from prefloop.training import loop, outputs
    from prefloop.training.airl import AIRL
    from prefloop.training.on_policy import make_ppo
    from prefloop.training.plans import num_iterations
    from prefloop.training.settings import ExperienceSettings

    torch.set_num_threads(1)  # on networks this small, a second thread costs more than it does
    preferences, env_id, _, file = outputs.read_preferences(settings.preferences)
    device = usable_device(settings.device)
    init = Path(settings.init) if settings.init else None
    ppo = make_ppo(env_id, settings, settings.seed, device, init)
    experience = ExperienceSettings(
        env=env_id, steps=settings.steps, iteration_steps=settings.iteration_steps
    )
    demonstrations = preferences.segments[preferences.preferred]
    airl = AIRL(ppo, demonstrations, settings, experience, settings.seed, device)
    facts = outputs.facts("airl", env_id, ppo.policy, preferences=file, init=settings.init)
    directory = Path(settings.out)
    with runs.claimed(directory, settings.resume, keep_earlier=True):
        rows = loop.run(
            airl,
            settings,
            facts,
            num_iterations(experience, settings),
            ("steps", "true_return", "discriminator_accuracy"),
        )
        curves = ("true_return", "discriminator_accuracy")
        outputs.save_policy(directory, ppo.acting_policy, rows, "steps", curves, env_id)
