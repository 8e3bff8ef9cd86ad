"""A training that people follow on its run's page, and steer there: paused, asked by, stopped."""

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from prefloop import checkpoints
from prefloop.envs.registered import time_limit
from prefloop.envs.settings import EnvSettings
from prefloop.errors import UserError
from prefloop.evaluation.evaluate import evaluation_seed
from prefloop.evaluation.videos import frames_per_second
from prefloop.labelling.client.on_page import OnPage
from prefloop.labelling.schemas.trainings import MAX_POINTS
from prefloop.policies import Policy
from prefloop.progress import say
from prefloop.run_files import POLICY
from prefloop.startup import raise_swallowed
from prefloop.training.loop import Hooks
from prefloop.training.plans import Plan
from prefloop.training.watching import current, film

PAUSE = 0.2  # seconds between two looks whether a pause is over
SPEED_SECONDS = 10.0  # that the speed is measured over
VIDEO_SECONDS = 60.0  # between two videos, at least: they take time that learning could have
PICTURES_PER_SECOND = 15.0
SHOWN_SECONDS = 10.0  # of an episode, by the environment's clock
STOPPED = "it was stopped on the page"
LATEST = "latest.mp4"  # in the run's folder


class Teachable(Protocol):
    """A learner that can ask between its sessions."""

    @property
    def exploration_iterations(self) -> int:
        """Iterations before the first questions."""
        ...

    @property
    def labels_left(self) -> int:
        """Labels that it may still ask for."""
        ...

    def ask_now(self, wished: bool = False) -> None:
        """Asks about what was done so far, as long as there are labels to come.

        Args:
            wished: by somebody who sees these pairs before all that wait already.
        """
        ...

    def mean_predicted_rewards(self, iterations: int) -> NDArray | None:
        """Mean reward of the steps of each iteration, as the learned reward predicts it now; None where that is not known."""
        ...

    def save(self, directory: Path) -> None:
        """Writes the reward."""
        ...


class Teaching:
    """Tells the page, and does what is wished there."""

    def __init__(
        self,
        page: OnPage,
        learner: Teachable,
        plan: Plan,
        env: EnvSettings,
        ends_early: bool,
        policy: Callable[[], Policy],
        seed: int,
        directory: Path,
    ) -> None:
        """Tells nothing yet.

        Args:
            env: what is acted in.
            ends_early: whether episodes may end before their time limit there.
            policy: gives it as it stands.
            directory: the run's.
        """
        self._page, self._learner, self._plan = page, learner, plan
        self._env, self._limit = env, None if ends_early else time_limit(env)
        self._policy, self._seed, self._directory = policy, seed, directory
        self._steps = self._asked = 0
        # when so many were done: the speed is that of steps, not of what else there is to do
        self._points: deque[tuple[float, int]] = deque()
        self._next_video, self._can_be_drawn = 0.0, True

    def on_steps(self, steps: int) -> None:
        """Counts steps that were done, and tells the page; returns when it is not paused there."""
        self._steps += steps
        now = time.monotonic()
        if not self._points:
            self._points.append((now, self._steps))
        elif now - self._points[-1][0] >= 1:
            self._points.append((now, self._steps))
            while now - self._points[0][0] > SPEED_SECONDS and len(self._points) > 2:
                self._points.popleft()
            self._tell()
        self._ask_if_wished()
        while self._page.wishes.paused and not self._page.wishes.stop:
            self._page.tell(phase="paused", next_pairs=None, steps_per_second=None)
            self._ask_if_wished()
            raise_swallowed()
            time.sleep(PAUSE)
            self._points.clear()

    def _ask_if_wished(self) -> None:
        if (asks := self._page.wishes.asks) > self._asked:
            self._asked = asks
            self._learner.ask_now(wished=True)
            self._page.tell(labels_left=self._learner.labels_left)

    def stop(self, rows: Sequence[Mapping[str, float]]) -> str | None:
        """Why the training is to end now; None to go on."""
        if not self._page.wishes.stop:
            return None
        self._page.tell(said=STOPPED)
        return STOPPED

    def watch(self, rows: Sequence[Mapping[str, float]], trackers: Sequence[Any] = ()) -> None:
        """Tells the page of a new row, and of the rows so far where a run goes on."""
        row = rows[-1]
        self._steps = int(row["steps"])
        self._points.clear()
        accuracy = row.get("held_out_accuracy", float("nan"))
        if not np.isnan(accuracy):
            self._page.tell(held_out_accuracy=accuracy)
        self._page.tell(
            labels=int(row["labels"]),
            labels_left=self._learner.labels_left,
            sessions=sum(bool(r.get("reward_epochs")) for r in rows),
            curve=self._curve(rows),
        )
        self._tell()
        if np.isnan(row["reward"]):  # before there is a reward there is nothing to see
            return
        self._keep()
        if self._can_be_drawn and time.monotonic() >= self._next_video:
            self._record()
            self._next_video = time.monotonic() + VIDEO_SECONDS

    def added_to(self, hooks: Hooks) -> Hooks:
        """Hooks that tell the page, too, and end the run when that is wished there."""
        return Hooks(
            stop=lambda rows: self.stop(rows) or hooks.stop(rows),
            watchers=[*hooks.watchers, self.watch],
            on_steps=self.on_steps,
        )

    def _tell(self) -> None:
        speed = None
        if len(self._points) > 1:
            (begin, before), (now, steps) = self._points[0], self._points[-1]
            speed = (steps - before) / (now - begin)
        every = self._plan.iteration_steps
        explores = every * self._learner.exploration_iterations
        is_exploring = self._steps < explores
        left = explores - self._steps if is_exploring else every - self._steps % every
        self._page.tell(
            phase="exploring" if is_exploring else "learning",
            steps=self._steps,
            until=explores if is_exploring else None,
            steps_per_second=speed,
            next_pairs=left / speed if speed else None,
        )

    def _curve(self, rows: Sequence[Mapping[str, float]]) -> list[dict[str, Any]]:
        """Points of the learning curve, by the reward that there is now."""
        predicted_now = self._learner.mean_predicted_rewards(len(rows))
        points = []
        for i, row in enumerate(rows):
            # where none ends early all are equally long, and the row's are of what it is judged in
            length = None if self._limit else row.get("episode_length")
            mean = row["reward"] if predicted_now is None else predicted_now[i]
            predicted = float(mean) * (self._limit or length or 1.0)
            points.append(
                {
                    "steps": int(row["steps"]),
                    "predicted": None if np.isnan(predicted) else predicted,
                    "length": None if length is None or np.isnan(length) else length,
                }
            )
        every = -(-len(points) // MAX_POINTS)
        return points[::-every][::-1]

    def _keep(self) -> None:
        """Policy and reward as they stand: people end it when they like, and in any way."""
        checkpoints.save(self._directory / POLICY, current(self._policy).state_dict())
        self._learner.save(self._directory)

    def _record(self) -> None:
        """The policy's mean action from a start that is always the same."""
        file = self._directory / LATEST
        seed = evaluation_seed(self._seed, 0)
        try:
            fps = frames_per_second(self._env)
            every = max(1, round(fps / PICTURES_PER_SECOND))
            steps = int(SHOWN_SECONDS * fps)
            film(current(self._policy), self._env, seed, file, every, steps)
            self._page.show(file)
        except (UserError, OSError) as error:  # what can't be drawn is plotted while it is labelled
            self._can_be_drawn = False
            say(f"No video of the policy ({str(error).rstrip('.')}); training goes on.")
