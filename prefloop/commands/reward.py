"""`prefloop reward`: fit a reward model on preferences, and report how far to trust it."""

from dataclasses import dataclass

from prefloop.labelling.settings import ServerSettings
from prefloop.rewards.settings import RewardSettings
from prefloop.settings import setting
from prefloop.training.settings import RunSettings

DESCRIPTION = """Fits a reward model (one network or an ensemble) on a preference dataset. Training
stops by answers that are held out, and a report says how far the reward can be trusted."""
EPILOG = """Example: prefloop reward --preferences prefs --ensemble 3 --out reward. Writes
reward.params with run.json, metrics.csv, report.md and report.png. On what people have labelled so far:
prefloop reward --run cartpole-01 --out reward. Details: docs/reward_model.md."""
IMPORTS = ("torch", "gymnasium", "matplotlib.figure")


@dataclass(frozen=True, kw_only=True)
class Settings(RunSettings, RewardSettings, ServerSettings):
    """A fit's.

    Raises:
        ValueError: a value that no fit can have, or not one source of preferences.
    """

    # fmt: off
    preferences: str = setting("", "folder of the preference dataset")
    run: str = setting("", "instead of --preferences: the run on the labelling server whose labels so far are taken")
    # fmt: on

    def __post_init__(self) -> None:
        RunSettings.__post_init__(self)
        RewardSettings.__post_init__(self)
        if bool(self.preferences) == bool(self.run):
            raise ValueError("give either --preferences or --run")


def main(settings: Settings) -> None:
    """Fits and reports."""
    from contextlib import ExitStack
    from pathlib import Path

    import torch

    from prefloop import runs
    from prefloop.devices import usable_device
    from prefloop.envs import step_sizes
    from prefloop.errors import UserError
    from prefloop.evaluation.reward_report import write_report
    from prefloop.labelling.connecting import connected
    from prefloop.rewards import reward_model
    from prefloop.rewards.training import RewardFit, make_model
    from prefloop.training import loop, outputs
    from prefloop.training.pref_ppo import PREFERENCES

    torch.set_num_threads(1)  # on networks this small, a second thread costs more than it does
    device = usable_device(settings.device)
    directory, source = Path(settings.out), settings.preferences
    with ExitStack() as stack:
        if settings.run:
            client = stack.enter_context(connected(settings))
            from prefloop.labelling.people import People, report_reward

            people = People(client, settings.run, directory / PREFERENCES)
            if not people.counts().labels:
                raise UserError(f"Nobody has labelled anything of the run {settings.run} yet.")
            if (directory / runs.FACTS).is_file() and not settings.resume:
                raise UserError(
                    f"{directory} holds a fit to earlier labels; choose another --out for those of "
                    "now, or go on with one that was stopped by --resume."
                )
            stack.enter_context(runs.claimed(directory, settings.resume, keep_earlier=True))
            if not settings.resume:  # a fit that goes on stays with the labels that it began with
                people.preferences()
            source = str(people.folder)
        preferences, env_id, env, file = outputs.read_preferences(source)
        model = make_model(step_sizes(env), settings, settings.seed)
        fit = RewardFit(model, preferences, settings, settings.seed, device)
        facts = outputs.facts("reward", env_id, preferences=file)
        if not settings.run:
            stack.enter_context(runs.claimed(directory, settings.resume, keep_earlier=True))
        loop.run(
            fit,
            settings,
            {**facts, "reward_model": model.facts()},
            settings.reward_epochs,
            ("loss", "accuracy", "held_out_loss", "held_out_accuracy"),
        )
        reward_model.save(directory, fit.finish())
        summary = write_report(
            directory,
            model,
            preferences.answered,
            fit.held_out,
            fit.best_epoch,
            settings.label_noise,
        )
        if settings.run and len(preferences) < people.counts().labels:
            print(
                f"Note: it was fitted to the {len(preferences)} labels that it began with, of "
                f"{people.counts().labels} by now; the results page does not hear of it."
            )
        elif settings.run:
            report_reward(people, preferences, model.probabilities(preferences).mean(axis=0))
    print(summary)
    print(
        f"Wrote {directory / reward_model.PARAMS}, run.json, metrics.csv and report.md with its picture."
    )
    print(f"Next: prefloop ppo --env {env_id} --reward {settings.out} --out policy")
