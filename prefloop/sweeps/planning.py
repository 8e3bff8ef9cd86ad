"""What there is to run, before it is: cells, labels, and hours by what was run already."""

from collections.abc import Sequence
from statistics import fmean

from prefloop.files import read_json
from prefloop.sweeps.cells import Comparison
from prefloop.sweeps.jobs import Job, why_not
from prefloop.sweeps.methods import METHODS
from prefloop.sweeps.settings import RESULT, CompareSettings
from prefloop.words import counted

HEAD = ("environment", "method", "runs", "done", "failed", "labels", "hours to go")
ALIGN = "{:24}  {:13}  {:>6}  {:>6}  {:>6}  {:>8}  {:>11}"


def say_what_there_is(comparisons: Sequence[Comparison], processes: int) -> None:
    """Prints a line for each environment and method, and what all comes to.

    Args:
        processes: how many runs there are at once.
    """
    speeds = _seconds_a_step(comparisons)
    print(ALIGN.format(*HEAD))
    runs = labels = 0
    hours, unknown = 0.0, 0
    for comparison in comparisons:
        settings, cells = comparison.settings, comparison.cells
        shared = [c for c in cells if METHODS[c.method].uses_labels and not METHODS[c.method].asks]
        labels += max(settings.labels) * len(settings.seed_numbers) if shared else 0
        for method in dict.fromkeys(settings.methods):
            own = [cell for cell in cells if cell.method == method]
            jobs = [Job("run_cell", settings, cell) for cell in own]
            done = [job for job in jobs if job.is_done]
            failed = [job for job in jobs if not job.is_done and why_not(job)[1] is not None]
            asked = sum(cell.labels for cell in own) if METHODS[method].asks else 0
            left, speed = len(own) - len(done), speeds.get((settings.environment.env, method))
            hours_to_go = "0"
            if left and speed is None:
                hours_to_go, unknown = "not known", unknown + left
            elif left and speed is not None:
                needed = left * speed * _size(settings, method) / 3600
                hours_to_go, hours = f"{needed:.2g}", hours + needed
            runs, labels = runs + len(own), labels + asked
            numbers = map(str, (len(own), len(done), len(failed), asked or "-"))
            print(ALIGN.format(settings.environment.described[:24], method, *numbers, hours_to_go))
    at_once = f", {hours / processes:.2g} with {processes} at once" if processes > 1 else ""
    summary = (
        f"about {hours:.2g} hours of computing to go{at_once}"
        if hours or not unknown
        else "how long they take is not known yet"
    )
    if hours and unknown:
        summary += f", without {unknown} runs of methods of which none is done there"
    print(f"{counted(runs, 'run')}, {counted(labels, 'label')}; {summary}.")
    print("Nothing was run.")


def _size(settings: CompareSettings, method: str) -> float:
    """A number that the time of a run is in proportion to: its steps, or 1 for quick methods."""
    return 1.0 if METHODS[method].is_quick else float(settings.steps)


def _seconds_a_step(comparisons: Sequence[Comparison]) -> dict[tuple[str, str], float]:
    """Mean seconds of a step, by environment and method, of runs that are done; of quick methods the seconds of a run."""
    found: dict[tuple[str, str], list[float]] = {}
    for comparison in comparisons:
        settings = comparison.settings
        for cell in comparison.cells:
            file = comparison.folder / cell.folder / RESULT
            if file.exists():
                seconds = float(read_json(file)["seconds"]) / _size(settings, cell.method)
                found.setdefault((settings.environment.env, cell.method), []).append(seconds)
    return {key: fmean(values) for key, values in found.items()}
