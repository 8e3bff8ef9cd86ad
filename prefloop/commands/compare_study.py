"""`prefloop compare study.yaml`: a grid of comparisons that a file describes."""

from dataclasses import MISSING, dataclass
from pathlib import Path

from prefloop.settings import setting
from prefloop.sweeps.settings import dry_run_setting, retry_failed_setting

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
class Settings:
    """Which study, and how it is run.

    Raises:
        ValueError: a value that can't be meant.
    """

    # fmt: off
    study: str = setting(MISSING, "the file that says what is compared", positional=True)
    out: str = setting("", "folder that everything is written to, in place of the file's")
    processes: int | None = setting(None, "how many runs at once; if not given, as the file says, or one per core")
    device: str = setting("", "where tensors live: cpu, cuda, mps; if not given, as the file says, or cpu")
    engine: str = setting("", "who does it: local (this machine), slurm or ray; if not given, as the file says, or this machine")
    address: str = setting("", "of the Ray cluster, in place of the file's")
    dry_run: bool = dry_run_setting()
    retry_failed: bool = retry_failed_setting()
    # fmt: on

    def __post_init__(self) -> None:
        if self.engine not in ("", "local", "slurm", "ray"):
            raise ValueError(f"--engine is local, slurm or ray, not {self.engine}")
        if self.processes is not None and self.processes < 0:
            raise ValueError(f"--processes must be at least 0, not {self.processes}")

    @property
    def when_interrupted(self) -> str:
        """What to say after Ctrl-C."""
        return "Stopped. The same command does what is missing; what is done is whole."


def main(settings: Settings) -> None:
    """Runs what is missing, and writes the page."""
    from prefloop.sweeps.compare import run_study

    run_study(
        Path(settings.study),
        settings.out,
        settings.device,
        settings.processes,
        settings.dry_run,
        settings.retry_failed,
        settings.engine,
        settings.address,
    )
