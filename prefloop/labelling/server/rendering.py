"""Frames of a segment: what was done, drawn again for people to compare.

Each step of a segment is one frame, and shows what the step's observation was made of. There are
three ways to it, of which `Renderer` takes the first that can be gone:

    observations  Gymnasium's classic control: the simulator's state follows from the observation
    states        MuJoCo: the simulator's states that were recorded while acting, in
                  `replay_states`, [length, state_dim]
    seed          everything else: the environment is reset with `replay_seed` and is given the
                  actions from the episode's first step on again, `replay_actions`, [at least
                  first_step + length, ...]; what it observes must agree with what was recorded

An environment that can't be drawn can still be judged by `trace_frames`: its observations and
actions over time.
"""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium.envs.classic_control import PendulumEnv
from gymnasium.spaces import Discrete
from numpy.typing import NDArray

from prefloop.data.recording import STATE_OF, what_to_record
from prefloop.data.segments import ACTIONS, SEED, STATES
from prefloop.envs.dm_control import SuiteTask
from prefloop.envs.drawing import (
    choose_mujoco_gl,
    draw_robot,
    is_mujoco,
    plain_viewer,
    why_not_drawn,
)
from prefloop.envs.emulated import Emulated
from prefloop.envs.make import make_env
from prefloop.envs.settings import Env, as_settings
from prefloop.envs.termination import USUAL_FPS
from prefloop.errors import UserError
from prefloop.labelling.arrays import Segment
from prefloop.video_files import write_video

MAX_SIDE = 480  # pixels of a clip's longer side: two of them fit beside each other on a laptop


class Renderer:
    """Draws segments of one environment; keeps it, and what it draws on, for the next segment.

    Attributes:
        fps: frames per second at which the environment's makers show it.
    """

    def __init__(self, env: Env) -> None:
        """Makes the environment.

        Raises:
            UserError: it can't be made, or can't be drawn as a picture.
        """
        _draw_without_display()
        self._settings = as_settings(env)
        plain = self._call(make_env, self._settings)
        plain.close()
        if "rgb_array" not in (plain.metadata.get("render_modes") or ()):
            raise self._cannot("it makes no pictures")
        self._env = self._call(make_env, self._settings, render_mode="rgb_array")
        self.fps = float(self._env.metadata.get("render_fps") or USUAL_FPS)
        self._way = what_to_record(self._env)
        # an emulator forgets all of the game before; to load one takes as long as to begin in it
        is_emulated = isinstance(self._env.unwrapped, Emulated)
        self._begins_as_new = is_emulated and not self._settings.wrappers
        self._call(self._env.reset, seed=0)  # some can't be drawn before
        # at once: where the camera looks is taken from the state it is made in, and must not
        # depend on which segment comes first
        self._is_robot = is_mujoco(self._env.unwrapped)
        if self._is_robot:
            self._call(plain_viewer, self._env.unwrapped)

    def frames(self, segment: Segment) -> Iterator[NDArray]:
        """Draws each of the segment's steps.

        Yields:
            Pictures, uint8 RGB; [height, width, 3].

        Raises:
            UserError: the environment can't be drawn, what is needed for it was not recorded or
                does not fit, or a replay does not do what was recorded.
        """
        if self._way == "observations":
            return self._from_observations(segment)
        if STATES in segment.replay and self._way == "states":
            return self._from_states(segment)
        if SEED in segment.replay and ACTIONS in segment.replay:
            return self._from_seed(segment)
        missing = "the simulator's states" if self._way == "states" else "the seed and all actions"
        raise self._cannot(f"{missing} were not recorded with the segment")

    def close(self) -> None:
        """Lets go of the environment."""
        self._env.close()

    def _from_observations(self, segment: Segment) -> Iterator[NDArray]:
        base: Any = self._env.unwrapped
        space = base.observation_space
        if segment.obs.shape[1:] != space.shape:
            raise UserError(f"{self._settings} has {space.shape[0]} numbers in an observation.")
        state_of = STATE_OF[type(base)]
        for step, obs in enumerate(segment.obs):
            base.state = state_of(obs.astype(np.float64))
            if isinstance(base, PendulumEnv):
                # its arrow is the torque that led here, which is not known of the first step
                torque = segment.actions[step - 1] if step else None
                limit = base.max_torque
                base.last_u = None if torque is None else float(np.clip(torque[0], -limit, limit))
            yield self._picture()

    def _from_states(self, segment: Segment) -> Iterator[NDArray]:
        base: Any = self._env.unwrapped
        states, is_suite = segment.replay[STATES], isinstance(base, SuiteTask)
        size = len(base.simulator_state()) if is_suite else base.model.nq + base.model.nv
        shape = (segment.length, size)
        if states.ndim != 2 or states.shape[1] != shape[1] or len(states) < shape[0]:
            raise UserError(
                f"{self._settings} needs states {list(shape)}, not {list(states.shape)}."
            )
        if not np.isfinite(states).all():
            raise UserError(f"{self._settings} can't be shown with NaN or infinite states.")
        for state in states[: segment.length].astype(np.float64):
            if is_suite:
                self._call(base.set_simulator_state, state)
            else:
                self._call(base.set_state, state[: base.model.nq], state[base.model.nq :])
            yield self._picture()

    def _from_seed(self, segment: Segment) -> Iterator[NDArray]:
        actions, first = segment.replay[ACTIONS], segment.first_step
        if len(actions) < first + segment.length:
            raise UserError(f"{self._settings} needs all actions from the episode's first step on.")
        if not self._is_robot and not self._begins_as_new:
            # as `SeededEpisodes`: what was drawn before must not show
            self._env.close()
            self._env = self._call(make_env, self._settings, render_mode="rgb_array")
        obs, _ = self._call(self._env.reset, seed=int(segment.replay[SEED]))
        for step in range(first + segment.length):
            if step >= first:
                self._require_agreement(obs, segment.obs[step - first], step)
                yield self._picture()
            obs, _, terminated, truncated, _ = self._call(
                self._env.step, self._as_action(actions[step])
            )
            if (terminated or truncated) and step + 1 < first + segment.length:
                raise self._disagrees(step)

    def _require_agreement(self, obs: Any, recorded: NDArray, step: int) -> None:
        seen = np.asarray(obs, dtype=np.float64).ravel()
        # another processor may round otherwise; what is seen by eye is the same within this
        recorded = recorded.ravel()  # pictures, and stacks of frames
        if seen.shape != recorded.shape or not np.allclose(seen, recorded, rtol=1e-3, atol=1e-3):
            raise self._disagrees(step)

    def _disagrees(self, step: int) -> UserError:
        return self._cannot(
            f"acting again with the same seed and actions does not agree with what was recorded, "
            f"from step {step} of the episode"
        )

    def _as_action(self, action: NDArray) -> Any:
        space = self._env.action_space
        if isinstance(space, Discrete):
            return int(action)
        return np.asarray(action, dtype=space.dtype).reshape(space.shape)

    def _picture(self) -> NDArray:
        base = self._env.unwrapped
        frame = self._call(draw_robot, base) if self._is_robot else self._call(base.render)
        if not isinstance(frame, np.ndarray) or frame.ndim != 3 or frame.shape[2] != 3:
            raise self._cannot("it makes no pictures")
        return frame.astype(np.uint8, copy=False)

    def _call(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Calls what others wrote; its exceptions become a sentence."""
        try:
            return function(*args, **kwargs)
        except UserError:
            raise
        except Exception as error:
            raise self._cannot(why_not_drawn(error)) from error

    def _cannot(self, reason: str) -> UserError:
        return UserError(
            f"{self._settings} can't be drawn: {reason}. A plotted trace of its observations and "
            f"actions can be shown instead."
        )


def write_clip(path: Path, frames: Iterator[NDArray], fps: float) -> None:
    """Writes frames as a clip that browsers play, step through and scrub.

    Raises:
        UserError: the frames can't be drawn, or the file can't be written.
    """
    write_video(path, frames, fps, max_side=MAX_SIDE, clip=True)


def _draw_without_display() -> None:
    os.environ["SDL_VIDEODRIVER"] = "dummy"  # drawing into memory needs a driver, too
    os.environ["SDL_NO_SIGNAL_HANDLERS"] = "1"  # SIGTERM is to end us, not to close a window
    choose_mujoco_gl()
