"""The people behind a run: they are asked, waited for, and what they said is fetched."""

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from prefloop.data import dataset
from prefloop.data.preferences import Preferences, Queries
from prefloop.labelling.client import LabellingClient
from prefloop.labelling.managing import counted, write_export
from prefloop.labelling.schemas.runs import CountsOut
from prefloop.teachers.human import HumanTeacher

PAUSE = 1.0  # seconds between two looks for new labels
HARDEST = 10  # queries that the results page shows


class People:
    """Annotators of one run.

    All that they have said stands on the server, also what was asked by others or before a trainer
    was killed; so whoever goes on meets it there.
    """

    def __init__(
        self,
        client: LabellingClient,
        run: str,
        folder: Path,
        say: Callable[[str], None] = print,
        pause: float = PAUSE,
    ) -> None:
        """Asks nothing yet.

        Args:
            folder: where their labels are kept as a preference dataset, each time they are fetched.
            say: told, in a sentence, that people are waited for.
        """
        self.client, self.run, self.folder = client, run, folder
        self._say, self._pause = say, pause
        self._teacher = HumanTeacher(client, run)

    def counts(self) -> CountsOut:
        """How far they are."""
        return self.client.run(self.run).counts

    def ask(
        self, queries: Queries, iteration: int, replay: Mapping[str, NDArray] | None = None
    ) -> None:
        """Queues queries; does not wait. `replay` as `HumanTeacher.ask` takes it."""
        self._teacher.iteration = iteration
        self._teacher.ask(queries, replay)

    def wait(self) -> None:
        """Waits until nothing is left to label."""
        told = 0
        while (left := self.counts().left) > 0:
            # more than was said: it is to be labelled again, say; or much less
            if left > told or 2 * left <= told:
                self._say(
                    f"Waiting for {counted(left, 'label')} at {self.client.page(self.run)} (Ctrl-C stops, "
                    "the same command goes on)."
                )
                told = left
            time.sleep(self._pause)

    def preferences(self) -> Preferences | None:
        """Every label that stands, one preference each; None while there are none."""
        if not self.counts().labels:
            return None
        write_export(self.client, self.run, self.folder)
        return dataset.read(self.folder)


def report_reward(people: People, preferences: Preferences, probabilities: NDArray) -> None:
    """Tells the results page how well a reward model agrees with the labels.

    Args:
        preferences: as `People.preferences` gave them.
        probabilities: the model's, that the second is preferred; [preferences].
    """
    labels = preferences.labels
    decided = ~np.isnan(labels) & (labels != 0.5)
    if not decided.any():
        return
    agrees = (probabilities > 0.5) == (labels > 0.5)
    p = np.clip(probabilities, 1e-12, 1 - 1e-12)
    loss = -(labels * np.log(p) + (1 - labels) * np.log1p(-p))
    lines = (people.folder / dataset.PREFERENCES).read_text(encoding="utf-8").splitlines()
    of_query: dict[str, dict[str, float | str]] = {}
    for i in np.argsort(-np.where(decided, loss, -np.inf), kind="stable"):
        query = json.loads(lines[i])["query"]
        if decided[i] and len(of_query) < HARDEST:
            hard = {"query": query, "label": float(labels[i]), "probability": float(p[i])}
            of_query.setdefault(query, hard)
    people.client.put_reward_report(
        people.run, float(agrees[decided].mean()), int(decided.sum()), list(of_query.values())
    )
