"""A trainer on its run's page: what it does now, and what people wish of it there."""

import contextlib
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from prefloop.errors import UserError
from prefloop.labelling.client.calling import RefusedError
from prefloop.labelling.client.client import LabellingClient
from prefloop.labelling.schemas.trainings import MAX_SAID, WishesOut
from prefloop.progress import say

EVERY = 1.0  # seconds between two words
CONFLICT = 409  # of HTTP
SECONDS_TO_BE_SEEN = 2.5  # a page looks every two
SECONDS_TO_CLOSE = 5.0  # for a word that is under way
BEGINNING = {"phase": "exploring", "steps": 0}


class OnPage:
    """Keeps a run's page up to date, from a thread of its own: a server that is away holds nothing up.

    Attributes:
        wishes: what people wished when the server last answered.
    """

    def __init__(
        self, client: LabellingClient, run: str, directory: Path, every: float = EVERY
    ) -> None:
        """Says nothing yet.

        Args:
            client: which the thread has for itself; it should not be patient.
            directory: that it trains in, and has for itself: so one that was killed is known again.
            every: seconds between two words.
        """
        self._client, self._run, self._every = client, run, every
        place = f"{uuid.getnode()} {directory.resolve()}"
        trainer = str(uuid.uuid5(uuid.NAMESPACE_URL, place))
        self._told: dict[str, Any] = {**BEGINNING, "trainer": trainer}
        self._video: Path | None = None
        self._over = threading.Event()
        self.wishes = WishesOut(paused=False, stop=False, asks=0)

    def tell(self, **state: Any) -> None:
        """What the trainer does now, as `schemas.trainings.TrainingIn` has it; returns at once."""
        self._told = {**self._told, **state}

    def show(self, video: Path) -> None:
        """Shows a video of the policy; it is read later, and must be left where it is."""
        self._video = video

    def is_over_while_asking(self) -> bool:
        """To be asked while people are waited for: whether it is no use any more."""
        self.tell(phase="paused" if self.wishes.paused else "asking", next_pairs=None)
        return self.wishes.stop

    @contextlib.contextmanager
    def kept(self) -> Iterator["OnPage"]:
        """Keeps it up to date until the block ends, however it ends.

        Raises:
            UserError: another trainer is at work on the run.
        """
        self.tell(begins=True)
        self._say()
        self.tell(begins=False)
        thread = threading.Thread(target=self._work, name=f"page of {self._run}", daemon=True)
        thread.start()
        try:
            yield self
        except UserError as error:
            self.tell(said=str(error).rstrip(".")[:MAX_SAID])
            raise
        except KeyboardInterrupt:
            self.tell(said="its program was stopped, and the same command goes on")
            raise
        finally:
            self._over.set()
            thread.join(SECONDS_TO_CLOSE)
            self.tell(phase="ended", next_pairs=None)
            with contextlib.suppress(UserError):
                self._send_video()
                self._say()
                # somebody looks at the page, whose server may end with this program
                if self.wishes.stop:
                    time.sleep(SECONDS_TO_BE_SEEN)

    def _work(self) -> None:
        is_told = False
        while not self._over.wait(self._every):
            try:
                self._say()
                self._send_video()
            except RefusedError as error:
                # another one began while this one slept; what both learn is only worth less
                if error.status == CONFLICT and not is_told:
                    say(f"{str(error).rstrip('.')}. The page shows that one.")
                    is_told = True
            except UserError:
                continue  # a server that is away: the trainer that asks it says so

    def _say(self) -> None:
        try:
            self.wishes = self._client.put_training(self._run, self._told)
        except RefusedError as error:
            if error.status == CONFLICT or self._over.is_set():
                raise
            # by a server of an earlier version, which shows nothing of training

    def _send_video(self) -> None:
        video, self._video = self._video, None
        if video is not None:
            with contextlib.suppress(OSError):
                self._client.put_training_video(self._run, video.read_bytes())
