"""Clips of what a simulated teacher was asked, with what it said, for who wants to see what is learned from."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pygame
from numpy.typing import NDArray

from prefloop.data.preferences import Preferences, Queries
from prefloop.envs.settings import EnvSettings
from prefloop.errors import first_line
from prefloop.files import remove_unfinished
from prefloop.labelling.arrays import Segment, one_of
from prefloop.labelling.server.rendering import MAX_SIDE, Renderer
from prefloop.progress import say
from prefloop.training.answers import Answers
from prefloop.video_files import write_video

GAP = 16  # pixels between the two of a pair
# seen on whatever the environment draws
DARK, GREEN, WHITE = (40, 40, 40), (20, 110, 50), (255, 255, 255)
CAPTION = 28  # pixels of the line above each


class Drawn:
    """A program's answers, of which some are drawn: the first so many pairs of each session.

    It asks and answers as what it stands before, so that what is learned is the same.
    """

    def __init__(self, answers: Answers, env: EnvSettings, per_session: int, folder: Path) -> None:
        """Draws nothing yet.

        Args:
            env: what is acted in, with what shows it again recorded.
        """
        self._answers, self._env = answers, env
        self._per_session, self._folder = per_session, folder
        self._renderer: Renderer | None = None
        self._is_given_up = False
        remove_unfinished(folder)

    @property
    def shown(self) -> int:
        """As `Answers`."""
        return self._answers.shown

    @property
    def open(self) -> int:
        """As `Answers`."""
        return self._answers.open

    @property
    def are_watched(self) -> bool:
        """As `Answers`: what is drawn of its questions changes none of them."""
        return self._answers.are_watched

    @property
    def digest(self) -> str:
        """As `Answers`."""
        return self._answers.digest

    def resume(self, shown: int, digest: str = "") -> None:
        """As `Answers`."""
        self._answers.resume(shown, digest)

    def missing(self, labels: int) -> int:
        """As `Answers`."""
        return self._answers.missing(labels)

    def wait(self) -> None:
        """As `Answers`."""
        self._answers.wait()

    def current(self) -> Preferences | None:
        """As `Answers`."""
        return self._answers.current()

    def ask(self, queries: Queries, iteration: int, next_up: bool = False) -> None:
        """As `Answers`; then draws."""
        before = self._answers.shown
        self._answers.ask(queries, iteration, next_up)
        said = self._answers.current()
        if said is None or self._is_given_up:
            return
        try:
            for i in range(min(self._per_session, len(queries))):
                name = f"{before + i:05}_iteration_{iteration}_{_in_words(said.labels[before + i])}"
                self._draw(queries, i, said.labels[before + i], self._folder / f"{name}.mp4")
        except Exception as error:  # of the simulator, or its driver: it knows nothing of learning
            self._is_given_up = True
            say(f"No more clips ({first_line(error)}); training goes on.")

    def _draw(self, queries: Queries, i: int, label: float, path: Path) -> None:
        if path.exists():  # of an iteration that was stopped
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        if self._renderer is None:
            self._renderer = Renderer(self._env)
        first, second = (one_of(queries.segments, s[i]) for s in (queries.first, queries.second))
        draw_pair(self._renderer, first, second, label, path)


def draw_pair(
    renderer: Renderer,
    first: Segment,
    second: Segment,
    label: float,
    path: Path,
    fps: float | None = None,
    watched: Callable[[Iterator[NDArray]], Iterator[NDArray]] = iter,
) -> None:
    """Draws two segments side by side, with what was said of them, as an MP4.

    Args:
        label: NaN if it was skipped.
        fps: frames per second; the environment's if not given.
        watched: is given the pictures of each, and gives them on, or raises.

    Raises:
        UserError: they can't be drawn, or the file not be written.
    """
    # one after the other: they are drawn in the same environment
    left, right = (list(watched(renderer.frames(one))) for one in (first, second))
    width = 2 * MAX_SIDE + GAP
    frames = _side_by_side(left, right, _captions(label))
    write_video(path, frames, fps or renderer.fps, max_side=width, clip=True)


def _in_words(label: float) -> str:
    """What was said of a pair."""
    if np.isnan(label):
        return "skipped"
    return {0.0: "first", 1.0: "second", 0.5: "tie"}.get(float(label), f"{label:.2f}")


def _captions(label: float) -> tuple[str, str]:
    """What stands above the two of a pair."""
    said = _in_words(label)
    if said in ("first", "second"):
        return ("first: preferred", "second") if said == "first" else ("first", "second: preferred")
    # of a tie, a skipped pair, or a probability that the second is preferred
    return f"first ({said})", f"second ({said})"


def _caption(text: str, width: int) -> NDArray:
    """A line of text, green where it says what is preferred; uint8 RGB, [CAPTION, width, 3]."""
    pygame.font.init()
    line = pygame.Surface((width, CAPTION))
    line.fill(GREEN if text.endswith("preferred") else DARK)
    line.blit(pygame.font.Font(None, CAPTION - 4).render(text, True, WHITE), (8, 6))
    return pygame.surfarray.array3d(line).swapaxes(0, 1)


def _side_by_side(
    left: list[NDArray], right: list[NDArray], captions: tuple[str, str] = ("first", "second")
) -> Iterator[NDArray]:
    """Pairs of pictures; the shorter of the two waits for the other in its last one."""
    one, other = (
        _caption(text, side[0].shape[1]) for text, side in zip(captions, (left, right), strict=True)
    )
    gap = np.full((CAPTION, GAP, 3), DARK, dtype=np.uint8)
    head = np.concatenate([one, gap, other], axis=1)
    for step in range(max(len(left), len(right))):
        one, other = (side[min(step, len(side) - 1)] for side in (left, right))
        gap = np.full((one.shape[0], GAP, 3), DARK, dtype=np.uint8)
        yield np.concatenate([head, np.concatenate([one, gap, other], axis=1)])
