"""Which engines there are, and what can be set of them; how they work stands in `engines.py`.

Free of what they need, so that `--help` is quick: what makes one imports when it is called.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from prefloop.settings import require_above_zero, setting
from prefloop.words import listed

if TYPE_CHECKING:
    from prefloop.sweeps.engines import Engine, Queue


@dataclass(frozen=True)
class EngineKind:
    """An engine that can be chosen by its name.

    Attributes:
        make: gives it, from its settings, the folder of all that is run, and how many processes it may have here.
        package: that it needs, and an extra of its name installs; none if empty.
        is_here: this machine does the jobs, in the folder in which the command is given.
        instead_in_searches: what is to be done in place of a search with it; empty where it can do the runs of one.
    """

    make: "Callable[[EngineSettings, Path, int], Engine | Queue]"
    package: str = ""
    is_here: bool = False
    instead_in_searches: str = ""


def _this_machine(settings: "EngineSettings", root: Path, processes: int) -> "Engine":
    from prefloop.sweeps.engines import ThisMachine

    return ThisMachine(processes)


def _slurm(settings: "EngineSettings", root: Path, processes: int) -> "Queue":
    from prefloop.sweeps.engines import Slurm

    return Slurm(root, settings)


def _ray_cluster(settings: "EngineSettings", root: Path, processes: int) -> "Engine":
    from prefloop.sweeps.engines import RayCluster

    return RayCluster(settings)


ENGINES = {
    "local": EngineKind(_this_machine, is_here=True),
    "slurm": EngineKind(
        _slurm,
        package="submitit",
        instead_in_searches="Give the command itself to SLURM, as often as you like: sbatch --array=1-8 --wrap "
        "'prefloop tune ...'.",
    ),
    "ray": EngineKind(_ray_cluster, package="ray"),
}


def engines_in_help(in_searches: bool = False) -> str:
    """All engines as help names them: `local (this machine), slurm or ray`.

    Args:
        in_searches: only those that can do the runs of a search.
    """
    names = [
        f"{name} (this machine)" if kind.is_here else name
        for name, kind in ENGINES.items()
        if not (in_searches and kind.instead_in_searches)
    ]
    return listed(names, "or")


@dataclass(frozen=True, kw_only=True)
class EngineSettings:
    """Who does the jobs, and what each of them gets there.

    Raises:
        ValueError: a value that can't be meant.
    """

    # fmt: off
    engine: str = setting("local", "who does it: this machine (local), a SLURM cluster by submitit, or a Ray cluster", choices=tuple(ENGINES))
    cpus: int = setting(1, "cores for each run", needs="engine slurm ray")
    gpus: int = setting(0, "GPUs for each run", needs="engine slurm ray")
    address: str = setting("", "of the Ray cluster; if not given, one on this machine", needs="engine ray")
    partition: str = setting("", "SLURM's; if not given, its default", needs="engine slurm")
    minutes: int = setting(60, "that a job has", needs="engine slurm")
    memory: float = setting(4.0, "GB that a job has", needs="engine slurm")
    at_once: int = setting(256, "jobs of an array that run at once", needs="engine slurm")
    setup: tuple[str, ...] = setting((), "lines of the shell before a job, for instance to load a module", needs="engine slurm")
    # fmt: on

    def __post_init__(self) -> None:
        require_above_zero(self, "cpus", "minutes", "memory", "at_once")
        if self.gpus < 0:
            raise ValueError(f"--gpus must be at least 0, not {self.gpus}")

    @property
    def kind(self) -> EngineKind:
        """What is known of the engine."""
        return ENGINES[self.engine]
