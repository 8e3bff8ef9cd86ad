"""Watching an agent while it learns: policies and videos in the run's folder, and a window beside it."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import torch

from prefloop import checkpoints
from prefloop.envs.settings import Env
from prefloop.errors import first_line
from prefloop.evaluation.evaluate import acting_in_episode, env_seed, evaluation_seed
from prefloop.evaluation.videos import record_episode, require_pictures, steps_a_picture
from prefloop.evaluation.window import Window, require_window
from prefloop.files import remove_unfinished
from prefloop.policies import Policy
from prefloop.progress import say
from prefloop.tracking import Tracker, position
from prefloop.training.loop import Watcher
from prefloop.training.settings import WatchingSettings

VIDEOS = "videos"  # their folder in the run's own


def require_watchable(settings: WatchingSettings, env: Env) -> None:
    """Refuses, before anything is done, settings that can't be followed here.

    Raises:
        UserError: the environment can't be drawn, or there is no display for a window.
    """
    if settings.video_every is not None:
        require_pictures(env, "--video_every")
    if settings.render:
        require_window(env, f"--render {settings.render}")


@contextmanager
def watching(
    settings: WatchingSettings,
    env: Env,
    policy: Callable[[], Policy],
    seed: int,
    directory: Path,
) -> Iterator[list[Watcher]]:
    """Watchers that the settings ask for: they keep, film or show the policy after each row of a run.

    Args:
        env: what is shown: what it is judged in.
        policy: gives the policy as it stands.
        seed: the run's.
        directory: the run's.
    """
    now = partial(current, policy)
    watchers: list[Watcher] = []
    if settings.checkpoint_every is not None:
        watchers.append(Checkpoints(settings.checkpoint_every, now, directory))
    if settings.video_every is not None:
        watchers.append(Videos(settings.video_every, env, now, seed, directory / VIDEOS))
    with ExitStack() as stack:
        if settings.render:
            window = Window(env, now(), evaluation_seed(seed, 0))
            stack.callback(window.close)
            watchers.append(
                lambda rows, trackers: (
                    window.show(now(), evaluation_seed(seed, len(rows) - 1))
                    if window.is_open
                    else None
                )
            )
        yield watchers


def current(policy: Callable[[], Policy]) -> Policy:
    """The policy as it stands, of which learning notices nothing: whoever builds one may draw weights first."""
    with torch.random.fork_rng(devices=[]):
        return policy()


def film(
    policy: Policy, env: Env, seed: int, path: Path, every: int, max_steps: int | None = None
) -> float:
    """Writes an episode of a policy's mean action as a video: the first of an evaluation with this seed.

    Args:
        every, max_steps: as `record_episode`.

    Returns:
        The episode's return, as far as it was filmed.
    """
    act = acting_in_episode(policy, seed, 0, greedy=True)
    return record_episode(env, act, env_seed(seed, 0), path, every, max_steps)


class Checkpoints:
    """The policy after every so many rows, to be judged, shown or compared while others learn on.

    A run of many is a set of policies that are ever better: what pairs can be made of.
    """

    def __init__(self, every: int, policy: Callable[[], Policy], directory: Path) -> None:
        """Keeps none yet; `watching` says what the rest is."""
        self._every, self._policy, self._directory = every, policy, directory

    def __call__(
        self, rows: Sequence[Mapping[str, float]], trackers: Sequence[Tracker] = ()
    ) -> None:
        """Keeps the policy if it is time for it; a run that was killed before that does it later."""
        path = checkpoints.checkpoint_path(self._directory, len(rows) - 1)
        if len(rows) % self._every == 0 and not path.exists():
            checkpoints.save(path, self._policy().state_dict())


class Videos:
    """An episode of the policy's mean action as a video, every so many rows.

    It is played in an environment of its own, from random numbers that nothing else depends on, so
    that what is learned is the same with videos and without. Where true_return is that of episodes
    that were played for it, it is the first of these.
    """

    def __init__(
        self, every: int, env: Env, policy: Callable[[], Policy], seed: int, folder: Path
    ) -> None:
        """Makes none yet; `watching` says what the rest is."""
        self._every, self._env, self._policy = every, env, policy
        self._seed, self._folder, self._is_given_up = seed, folder, False
        remove_unfinished(folder)

    def __call__(
        self, rows: Sequence[Mapping[str, float]], trackers: Sequence[Tracker] = ()
    ) -> None:
        """Makes a video if it is time for one, and it is not there yet."""
        if self._is_given_up or not rows or len(rows) % self._every:
            return
        begin = f"{rows[-1]['steps']:08.0f}_steps"
        # a run that was killed in the middle of a video makes it when it goes on
        if any(self._folder.glob(f"{begin}_return_*.mp4")):
            return
        try:
            video = self._record(begin, len(rows) - 1)
        except Exception as error:  # of the simulator, or its driver: it knows nothing of learning
            self._is_given_up = True
            say(f"No more videos ({first_line(error)}); training goes on.")
            return
        for tracker in trackers:
            tracker.show(video, step=position(rows))

    def _record(self, begin: str, iteration: int) -> Path:
        unfinished = self._folder / f".{begin}.{os.getpid()}.mp4"
        seed, every = evaluation_seed(self._seed, iteration), steps_a_picture(self._env)
        try:
            total = film(self._policy(), self._env, seed, unfinished, every)
            return unfinished.replace(self._folder / f"{begin}_return_{total:.1f}.mp4")
        finally:
            unfinished.unlink(missing_ok=True)
