"""Grades a class of forty, idle and beside two processes that compute all the time.

    python benchmarks/grading_class.py

Each submission of `course/example_class.py` is the solution with a mistake, or of another kind and
sound. Prints the points for `Net` and `learn_reward` (70 in all) beside those an instructor would give,
and whether they were the same on the busy machine. Needs about ten minutes.
"""

import multiprocessing
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tqdm import tqdm

from course.checks import LEARNING, NETWORK, grade_learning, grade_network
from course.example_class import CLASS, Student
from course.grades import Check
from course.sandbox import Limits

MOST = [*NETWORK.values(), *LEARNING.values()]


def grade(student: Student) -> tuple[list[Check], float]:
    """The checks of one student's code, and how many seconds they took."""
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as name:
        student.write(ROOT, Path(name))
        limits = Limits(seconds=30)
        checks = [
            *grade_network(Path(name), limits),
            *grade_learning(Path(name), limits),
        ]
    return checks, time.perf_counter() - start


def compute() -> None:
    """Keeps a core busy."""
    while True:
        pass


@contextmanager
def busy(num_processes: int) -> Iterator[None]:
    """Keeps cores busy until the block ends."""
    processes = [multiprocessing.Process(target=compute, daemon=True) for _ in range(num_processes)]
    for process in processes:
        process.start()
    try:
        yield
    finally:
        for process in processes:
            process.kill()


def main() -> None:
    """Grades twice and prints a table."""
    idle = [grade(student) for student in tqdm(CLASS, desc="idle", disable=None)]
    with busy(2):
        crowded = [grade(student) for student in tqdm(CLASS, desc="busy", disable=None)]
    print(
        "| submission | should get | gets | on a busy machine | first reason |\n|---|---|---|---|---|"
    )
    right = same = 0
    for student, (checks, _), (again, _) in zip(CLASS, idle, crowded, strict=True):
        should = sum(most for i, most in enumerate(MOST) if i not in student.lost)
        points = [sum(check.score for check in graded) for graded in (checks, again)]
        lost = [check for check in checks if check.score < check.max_score]
        right += points[0] == should
        same += [check.score for check in checks] == [check.score for check in again]
        reason = lost[0].reason.replace("|", "/") if lost else ""
        print(f"| {student.name} | {should} | {points[0]:g} | {points[1]:g} | {reason} |")
    seconds = [sum(taken for _, taken in graded) / len(CLASS) for graded in (idle, crowded)]
    print(f"\n{right} of {len(CLASS)} get what they should; {same} get the same on a busy machine.")
    print(f"{seconds[0]:.1f} s for each, {seconds[1]:.1f} s on a busy machine.")


if __name__ == "__main__":
    main()
