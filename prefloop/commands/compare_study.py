"""`prefloop compare study.yaml`: a grid of comparisons that a file describes."""

from dataclasses import dataclass

from prefloop.sweeps.settings import StudySettings, retry_failed_setting

DESCRIPTION = """Runs a grid that a YAML file describes: methods x environments x label budgets x seeds x
any settings. Its keys are the flags of prefloop compare and of the methods' own commands; a list stands
for each of its values in turn. The file is read and refused as a whole before anything is run. Stopped
and started again, it does what is missing; with more in the file, what is new. Runs are done by this
machine, or by a SLURM or Ray cluster (docs/scale.md)."""
EPILOG = """Example, study.yaml: {env: [CartPole-v0, Acrobot-v1], methods: [dpo, ppo-rlhf, true-reward],
labels: [20, 50], seeds: 0-4, ensemble: [1, 3], out: study}; prefloop compare study.yaml --dry-run; prefloop
compare study.yaml. docs/compare.md says what may stand in it, and what is written."""
IMPORTS = ("numpy", "scipy.stats", "matplotlib.figure", "yaml")


@dataclass(frozen=True, kw_only=True)
class Settings(StudySettings):
    """Which study, and how it is run.

    Raises:
        ValueError: a value that can't be meant.
    """

    retry_failed: bool = retry_failed_setting()


def main(settings: Settings) -> None:
    """Runs what is missing, and writes the page."""
    from prefloop.sweeps.compare import run_study

    run_study(settings, settings.retry_failed)
