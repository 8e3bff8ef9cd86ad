"""`prefloop reward`: fit a reward model on preferences, and report how far to trust it."""

from dataclasses import MISSING, dataclass

from prefloop.rewards.settings import RewardSettings
from prefloop.settings import setting
from prefloop.training.settings import RunSettings

DESCRIPTION = """Fits a reward model (one network or an ensemble) on a preference dataset. Training
stops by answers that are held out, and a report says how far the reward can be trusted."""
EPILOG = """Example: prefloop reward --preferences prefs --ensemble 3 --out reward. Writes
reward.params with run.json, metrics.csv, report.md and report.png. Details: docs/reward_model.md."""
IMPORTS = ("torch", "gymnasium", "matplotlib.figure")


@dataclass(frozen=True, kw_only=True)
class Settings(RunSettings, RewardSettings):
    """A fit's."""

    # fmt: off
    preferences: str = setting(MISSING, "folder of the preference dataset")
    # fmt: on

    def __post_init__(self) -> None:
        RunSettings.__post_init__(self)
        RewardSettings.__post_init__(self)


def main(settings: Settings) -> None:
    """Fits and reports."""
    from pathlib import Path

    import torch

    from prefloop import runs
    from prefloop.devices import usable_device
    from prefloop.envs import step_sizes
    from prefloop.evaluation.reward_report import write_report
    from prefloop.rewards import reward_model
    from prefloop.rewards.training import RewardFit, make_model
    from prefloop.training import loop, outputs

    torch.set_num_threads(1)  # on networks this small, a second thread costs more than it does
    preferences, env_id, env, file = outputs.read_preferences(settings.preferences)
    model = make_model(step_sizes(env), settings, settings.seed)
    device = usable_device(settings.device)
    fit = RewardFit(model, preferences, settings, settings.seed, device)
    facts = outputs.facts("reward", env_id, preferences=file)
    directory = Path(settings.out)
    with runs.claimed(directory, settings.resume, keep_earlier=True):
        show = ("loss", "accuracy", "held_out_loss", "held_out_accuracy")
        loop.run(
            fit,
            settings,
            {**facts, "reward_model": model.facts()},
            settings.reward_epochs,
            show,
        )
        reward_model.save(directory, fit.finish())
        summary = write_report(directory, model, preferences.answered, fit.held_out, fit.best_epoch)
    print(summary)
    print(
        f"Wrote {directory / reward_model.PARAMS}, run.json, metrics.csv and report.md with its picture."
    )
    print(f"Next: prefloop ppo --env {env_id} --reward {settings.out} --out policy")
