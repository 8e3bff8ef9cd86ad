"""`prefloop tune`: the best settings of a method, by trials that several machines share."""

from dataclasses import dataclass
from pathlib import Path

from prefloop.settings import setting
from prefloop.sweeps.engine_settings import engines_in_help
from prefloop.sweeps.settings import StudySettings

DESCRIPTION = """Searches for settings of a method. The file is a study of prefloop compare with a section
search: which settings are tried and in which ranges, how many trials, what is maximised. A trial is the
method's runs with some settings, one for each seed; Optuna's TPE draws the next ones by what came of the
others, and a trial that is clearly below the best one is given up before all its seeds are done. The same
command given several times, on this machine or on others that share the folder, takes part in the same
search; given again after a kill, it goes on. Needs the extra tune: pip install 'prefloop[tune]'.
With --wandb the search is a sweep of Weights & Biases instead, which draws the settings; its agents need the extra
tracking, too."""
EPILOG = """Example: prefloop tune study.yaml, with {env: CartPole-v1, methods: [pref-ppo], labels: 50, seeds: 0-5,
steps: 20000, out: search, search: {trials: 30, ranges: {learning_rate: {low: 1e-4, high: 1e-2, log: true},
ensemble: [2, 3, 5]}}} in it; then prefloop pref-ppo --env CartPole-v1 --preset search/best.yaml --out policy. As a
sweep: prefloop tune study.yaml --wandb sweep.yaml; wandb sweep sweep.yaml; and wandb agent, as that says. Writes
index.html with plots, trials.csv, the best settings as best.yaml, and a study of them on fresh seeds, fresh.yaml.
docs/tune.md says what may stand in the file."""
IMPORTS = ("numpy", "matplotlib.figure", "yaml")


@dataclass(frozen=True, kw_only=True)
class Settings(StudySettings):
    """Which search, and how it is run.

    Raises:
        ValueError: a value that can't be meant.
    """

    # fmt: off
    engine: str = setting("", f"who does the runs: {engines_in_help(in_searches=True)}; if not given, as the file says, or this machine")
    dry_run: bool = setting(False, "say what there is to run, and end")
    wandb: str = setting("", "write the search as a sweep of Weights & Biases to this file, for `wandb sweep`, and end")
    wandb_method: str = setting("bayes", "how the sweep draws settings", choices=("bayes", "random", "grid"), needs="wandb")
    trial: str = setting("", "settings of one trial, as JSON: what the sweep's agents call", needs="not wandb")
    # fmt: on

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.dry_run and self.wandb:
            raise ValueError("--dry_run does nothing with --wandb, which runs nothing")

    @property
    def when_interrupted(self) -> str:
        """What to say after Ctrl-C."""
        if self.trial:
            return "Stopped. Runs of the trial that were done stay done."
        return "Stopped. The same command goes on; the trial that was running is tried again."


def main(settings: Settings) -> None:
    """Takes part in it, and writes what was found; or leaves it to Weights & Biases."""
    if settings.wandb:
        from prefloop.sweeps.wandb_sweeps import write_sweep

        write_sweep(settings, Path(settings.wandb), settings.wandb_method)
    elif settings.trial:
        from prefloop.sweeps.wandb_sweeps import run_trial

        run_trial(settings, settings.trial)
    else:
        from prefloop.sweeps.searching import tune

        tune(settings)
