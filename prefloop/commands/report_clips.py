"""Clips of the answers that a report shows, drawn from what the dataset keeps of people's segments."""

import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from numpy.typing import NDArray

from prefloop.commands.clips import draw_pair
from prefloop.data import dataset
from prefloop.data.preferences import Preferences
from prefloop.envs.settings import EnvSettings
from prefloop.errors import UserError, first_line
from prefloop.labelling.arrays import Segment, one_of
from prefloop.labelling.server.rendering import Renderer
from prefloop.progress import say
from prefloop.words import counted

MOST_SECONDS = 60.0  # of drawing: a report is to be there soon
CLIP_SECONDS = 1.0  # that a clip lasts at least


class _TooLongError(Exception):
    """The time for drawing is over."""


class ReportClips:
    """Draws what people answered, where it can be drawn from the dataset that holds the answers."""

    def __init__(
        self,
        folder: Path,
        preferences: Preferences,
        env: EnvSettings,
        into: Path,
        seconds: float = MOST_SECONDS,
    ) -> None:
        """Draws nothing yet.

        Args:
            folder: of the dataset.
            preferences: those of it that were answered.
            env: what they are about.
            into: where clips are written.
            seconds: after which it draws no more.
        """
        self._folder, self._preferences, self._env = folder, preferences, env
        self._into, self._seconds = into, seconds

    def __call__(self, positions: Sequence[int]) -> tuple[dict[int, Path], str]:
        """Draws answers, by their positions.

        Returns:
            Files by position, and why others have none, in a sentence; "" where all have.
        """
        say(
            f"Drawing {counted(len(positions), 'pair')} for the report, {self._seconds:.0f} s at most."
        )
        self._until = time.monotonic() + self._seconds
        clips: dict[int, Path] = {}
        why = ""
        try:
            segments, renderer = self._segments(positions), Renderer(self._env)
            try:
                for position in positions:
                    try:
                        clips[position] = self._draw(position, segments, renderer)
                    except UserError as error:  # of this one; others may have been recorded
                        why = why or _reason(error)
            finally:
                renderer.close()
        except _TooLongError:
            why = f"drawing them took more than {self._seconds:.0f} s"
        except UserError as error:
            why = _reason(error)
        except Exception as error:  # of the simulator, or its driver: the report is good without
            why = first_line(error)
        if not why:
            return clips, ""
        missing = len(positions) - len(clips)
        which = (
            "They have" if not clips else f"{missing} of them {'has' if missing == 1 else 'have'}"
        )
        return clips, f"{which} no clip: {why.rstrip('.')}."

    def _draw(self, position: int, segments: Mapping[int, Segment], renderer: Renderer) -> Path:
        preferences = self._preferences
        first, second = (
            segments[int(side[position])] for side in (preferences.first, preferences.second)
        )
        path = self._into / f"{position}.mp4"
        fps = min(renderer.fps, max(first.length, second.length) / CLIP_SECONDS)
        draw_pair(renderer, first, second, preferences.labels[position], path, fps, self._in_time)
        return path

    def _in_time(self, frames: Iterator[NDArray]) -> Iterator[NDArray]:
        for frame in frames:
            if time.monotonic() > self._until:
                raise _TooLongError
            yield frame

    def _segments(self, positions: Sequence[int]) -> dict[int, Segment]:
        """Those that are compared, with what shows them again, by their places in the dataset."""
        preferences = self._preferences
        wanted = {
            int(side[i]) for i in positions for side in (preferences.first, preferences.second)
        }
        found: dict[int, Segment] = {}
        begin = 0
        for shard in dataset.read_shards(self._folder):
            found |= {
                place: one_of(shard, place - begin)
                for place in wanted
                if begin <= place < begin + len(shard)
            }
            begin += len(shard)
        return found


def _reason(error: UserError) -> str:
    """Why something can't be drawn, without what can be shown instead on a page of the labelling server."""
    return str(error).partition(" A plotted trace")[0]
