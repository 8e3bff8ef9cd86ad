"""Watching a policy: in a window, or in a video where there is no display."""

import contextlib
import itertools
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")  # it greets on import otherwise

import gymnasium as gym
import numpy as np
import pygame
from gymnasium.wrappers import HumanRendering
from numpy.typing import NDArray

from prefloop.data.rollouts import Act
from prefloop.envs.drawing import has_screen, why_not_drawn
from prefloop.envs.make import make_env
from prefloop.envs.settings import Env, as_settings
from prefloop.envs.termination import USUAL_FPS
from prefloop.errors import UserError
from prefloop.video_files import write_video

SMOOTH = 30.0  # pictures a second


def has_display() -> bool:
    """Whether a window that is opened here would be seen by somebody."""
    if not has_screen():
        return False  # SDL would find out too, with a complaint on stderr
    try:
        pygame.display.init()
        # without a display, SDL may draw into memory instead and call that a success
        return pygame.display.get_driver() not in ("dummy", "offscreen", "evdev")
    except pygame.error:
        return False
    finally:
        pygame.display.quit()


def render_modes(env: Env) -> set[str]:
    """How an environment can be drawn, in Gymnasium's words."""
    made = make_env(env)
    made.close()
    return set(made.metadata.get("render_modes") or ())


def make_in_window(env: Env) -> gym.Env:
    """An environment that shows itself as it steps: in a window of its own, or in one for its pictures."""
    modes = render_modes(env)
    # what is observed as pictures is drawn for that, too: a window of its own hands over none
    is_drawn = as_settings(env).pixels is not None and "rgb_array" in modes
    if "human" in modes and not is_drawn:
        return make_env(env, render_mode="human")
    pictured: gym.Wrapper = gym.Wrapper(make_env(env, render_mode="rgb_array"))
    pictured.metadata = {**pictured.metadata, "render_fps": frames_per_second(env)}
    return HumanRendering(pictured)


def watch_episode(env: Env, act: Act, seed: int, video_path: Path) -> tuple[float, Path | None]:
    """Plays one episode in a window; without a display, into a video.

    Args:
        env: which environment.
        act: chooses actions [1] for observations [1, obs_dim].
        seed: of the environment.
        video_path: where the video goes if one is needed; MP4, H.264.

    Returns:
        The episode's return, and the video's path or None after a window.

    Raises:
        UserError: the environment can't be drawn, or the video can't be written.
    """
    if has_display():
        return sum(step.reward for step, _ in _play(env, act, seed, "human")), None
    return record_episode(env, act, seed, video_path), video_path


def record_episode(
    env: Env, act: Act, seed: int, video_path: Path, every: int = 1, steps: int | None = None
) -> float:
    """Plays one episode into a video; needs no display. Other arguments as in `watch_episode`.

    Args:
        every: of so many steps one is drawn; at the speed of the environment's makers all the same.
        steps: after which it ends in any case.

    Returns:
        The episode's return.

    Raises:
        UserError: the environment can't be drawn, or the video can't be written.
    """
    rewards: list[float] = []
    _draw(
        env,
        act,
        seed,
        video_path,
        lambda step: rewards.append(step.reward),
        every=every,
        steps=steps,
    )
    return sum(rewards)


@dataclass(frozen=True)
class DrawnEpisode:
    """An episode whose pictures are in a video.

    Attributes:
        obs: the observation each action was chosen in; [steps, *obs_shape].
        actions: as the environment received them; [steps] or [steps, action_dim].
        rewards: the environment's; [steps].
        terminated: it ended in a terminal state, and was not cut by a time limit.
    """

    obs: NDArray
    actions: NDArray
    rewards: NDArray
    terminated: bool


def draw_episode(
    env: Env,
    act: Act,
    seed: int,
    video_path: Path,
    max_side: int | None = None,
    clip: bool = False,
    every: int = 1,
) -> DrawnEpisode:
    """Plays one episode into a video, and says what happened in it.

    Arguments as in `record_episode`, and in `prefloop.video_files.write_video`.

    Raises:
        UserError: the environment can't be drawn, or the video can't be written.
    """
    steps: list[_Step] = []
    _draw(env, act, seed, video_path, steps.append, max_side, clip, every)
    return DrawnEpisode(
        obs=np.stack([step.obs for step in steps]),
        actions=np.stack([step.action for step in steps]),
        rewards=np.array([step.reward for step in steps]),
        terminated=steps[-1].terminated,
    )


def _draw(
    env: Env,
    act: Act,
    seed: int,
    video_path: Path,
    saw: "Callable[[_Step], None]",
    max_side: int | None = None,
    clip: bool = False,
    every: int = 1,
    steps: int | None = None,
) -> None:
    """Plays an episode into a video; `saw` is told of each step."""
    try:
        video_path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"Can't write the video {video_path}: {error.strerror}.") from None

    def frames() -> Iterator[NDArray]:
        playing = itertools.islice(_play(env, act, seed, "rgb_array", every), steps)
        for i, (step, frame) in enumerate(playing):
            saw(step)
            if i % every:
                continue
            if frame is None:
                raise UserError(f"{env} can't be drawn as a picture.")
            yield frame

    with _drawing_into_memory():
        write_video(video_path, frames(), frames_per_second(env) / every, max_side, clip)


def require_pictures(env: Env, flag: str) -> None:
    """Draws an environment once.

    Args:
        flag: what needs it, for the sentence.

    Raises:
        UserError: it can't be made, or can't be drawn.
    """
    if "rgb_array" not in render_modes(env):
        raise UserError(
            f"{env} can't be drawn, since it makes no pictures, so {flag} is not for it."
        )
    with _drawing_into_memory():
        made = make_env(env, render_mode="rgb_array")
        try:
            made.reset(seed=0)
            picture = made.render()
        # of whatever draws: drivers, libraries, the environment's makers
        except Exception as error:
            reason = why_not_drawn(error)
            raise UserError(f"{env} can't be drawn here ({reason}), which {flag} needs.") from None
        finally:
            made.close()
    if not isinstance(picture, np.ndarray):
        raise UserError(f"{env} can't be drawn as a picture, which {flag} needs.")


@contextlib.contextmanager
def _drawing_into_memory() -> Iterator[None]:
    """SDL needs a driver for that, too; windows that are opened later are to have their own."""
    before = os.environ.get("SDL_VIDEODRIVER")
    os.environ["SDL_VIDEODRIVER"] = "dummy"
    try:
        yield
    finally:
        if before is None:
            del os.environ["SDL_VIDEODRIVER"]
        else:
            os.environ["SDL_VIDEODRIVER"] = before


@dataclass(frozen=True)
class _Step:
    obs: NDArray
    action: NDArray
    reward: float
    terminated: bool


def _play(
    env: Env, act: Act, seed: int, render_mode: str, every: int = 1
) -> Iterator[tuple[_Step, NDArray | None]]:
    """Yields each step and its picture (None in a window, and between those that are drawn)."""
    made = make_in_window(env) if render_mode == "human" else make_env(env, render_mode=render_mode)
    try:
        obs, _ = made.reset(seed=seed)
        done = False
        for i in itertools.count():
            if done:
                break
            before = np.array(obs)  # some environments hand out what the next step overwrites
            action = act(before[None])[0]
            obs, reward, terminated, truncated, _ = made.step(action)
            done = terminated or truncated
            is_drawn = render_mode == "rgb_array" and i % every == 0
            frame: Any = made.render() if is_drawn else None
            step = _Step(before, np.asarray(action), float(reward), bool(terminated))
            yield step, frame
    finally:
        made.close()


def steps_a_picture(env: Env) -> int:
    """Steps from one picture to the next, of which there are 30 to 60 a second then: more are drawn for nobody."""
    return max(1, int(frames_per_second(env) / SMOOTH))


def frames_per_second(env: Env) -> float:
    """How quickly pictures follow one another at the speed of the environment's makers, one a step."""
    made = make_env(env)
    try:
        return float(made.metadata.get("render_fps") or USUAL_FPS)
    finally:
        made.close()
