"""The tasks of the DM Control suite as Gymnasium environments: `dm_control/walker-walk-v0`.

Source: Tunyasuvunakool et al. 2020, arXiv:2006.12983.
"""

import functools
import importlib
import sys
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box
from numpy.typing import NDArray

from prefloop.envs.drawing import choose_mujoco_gl
from prefloop.errors import UserError

NAMESPACE = "dm_control/"
STEPS = 1000  # of an episode, for all tasks
ENDLESS = ("lqr",)  # domains without a limit
UNBOUNDED = 1e9  # a bound beyond it is none
# parts of a model that show, and that tasks may change from episode to episode: where targets and the
# lights on them are, how large, and of which colour
VARIES = tuple(
    f"{part}_{kind}"
    for part, kinds in {
        "body": ("pos", "quat"),
        "geom": ("pos", "quat", "size", "rgba"),
        "site": ("pos", "quat", "size", "rgba"),
        "light": ("pos", "dir"),
        "cam": ("pos", "quat"),
    }.items()
    for kind in kinds
)
# whose ground is another in each episode: too much to record at every step
GROUND_VARIES = (("quadruped", "escape"),)
SIZE = {"height": 360, "width": 480}  # of a picture, in pixels
# what takes most of a processor's time in drawing, and shows nothing of the behaviour; nor does multisampling
LEFT_OUT = {"shadow": False, "reflection": False}


def register() -> None:
    """Tells Gymnasium of every task, as far as it does not know them.

    Raises:
        UserError: dm_control is not installed.
    """
    for domain, task in _suite().ALL_TASKS:
        env_id = f"{NAMESPACE}{domain}-{task}-v0"
        if env_id not in gym.registry:
            gym.register(
                env_id,
                entry_point=f"{__name__}:SuiteTask",
                kwargs={"domain": domain, "task": task},
                max_episode_steps=None if domain in ENDLESS else STEPS,
            )


class SuiteTask(gym.Env[NDArray, NDArray]):
    """A task of the suite; its observations are one vector, in the order in which the suite names them.

    The suite cuts an episode after 1000 steps; here Gymnasium's time limit does, as registered, so
    that `terminated` is what the task itself calls an end.
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"]}  # noqa: RUF012 - Gymnasium's way

    def __init__(self, domain: str, task: str, render_mode: str | None = None) -> None:
        self._name, self._random = (domain, task), np.random.RandomState(0)
        self._is_drawn = False
        self._env = _loaded(domain, task, self._random)
        quality = self.physics.model.vis.quality
        quality.offsamples = quality.shadowsize = 0
        self.metadata = {**self.metadata, "render_fps": 1 / self._env.control_timestep()}
        self.render_mode = render_mode
        spec = self._env.action_spec()
        low, high = (
            np.broadcast_to(bound, spec.shape).astype(np.float32)
            for bound in (spec.minimum, spec.maximum)
        )
        unbounded = (low < -UNBOUNDED) | (high > UNBOUNDED)
        self.action_space = Box(
            np.where(unbounded, -np.inf, low), np.where(unbounded, np.inf, high)
        )
        self.observation_space = Box(-np.inf, np.inf, (sum(self.observation_sizes.values()),))

    @property
    def observation_sizes(self) -> dict[str, int]:
        """How many numbers each part of an observation has, by the suite's names, in their order."""
        parts = self._env.observation_spec().items()
        return {name: int(np.prod(part.shape)) for name, part in parts}

    @property
    def is_shown_by_its_state(self) -> bool:
        """Whether `simulator_state` is all that it takes to draw what is now."""
        return self._name not in GROUND_VARIES

    @property
    def physics(self) -> Any:
        """The simulator."""
        return self._env.physics

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray, dict[str, Any]]:
        """Begins an episode."""
        super().reset(seed=seed)
        if seed is not None:
            self._random.seed(seed)
        return self._vector(self._env.reset().observation), {}

    def step(self, action: NDArray) -> tuple[NDArray, float, bool, bool, dict[str, Any]]:
        """Acts; all is NaN where the simulator can't go on."""
        try:
            step = self._env.step(action)
        except _divergence():
            nothing = np.full(self.observation_space.shape or (), np.nan, np.float32)
            return nothing, float("nan"), False, True, {}
        terminated = step.last() and step.discount == 0
        return self._vector(step.observation), float(step.reward or 0.0), terminated, False, {}

    def render(self) -> NDArray:
        """A picture of now, from the first camera; uint8 RGB, [height, width, 3]."""
        return self.drawn(**SIZE)

    def drawn(self, height: int, width: int) -> NDArray:
        """A picture of now in another size; uint8 RGB, [height, width, 3]."""
        self._is_drawn = True
        self._make_current()
        # a copy: the simulator draws into the same memory again
        drawn = self.physics.render(height, width, camera_id=0, render_flag_overrides=LEFT_OUT)
        return np.array(drawn)

    def close(self) -> None:
        """Lets go of the simulator, and of what it is drawn on."""
        if self._is_drawn:  # which the suite leaves to the garbage collector
            self._is_drawn = False
            self._make_current()
            self.physics.free()
        self._env.close()

    def _make_current(self) -> None:
        """Draws on what is its own: the suite knows which of its robots was drawn last, and of no others (`DrawnRobot`)."""
        own = self.physics.contexts.gl
        with own.make_current() as thread:
            thread.call(own._platform_make_current)

    def simulator_state(self) -> NDArray:
        """All that shows what is now: the simulator's state, and what this task changes in its model.

        Returns:
            float64; [state_dim].
        """
        model = self.physics.model
        parts = [np.asarray(getattr(model, name)).ravel()[at] for name, at in _varying(*self._name)]
        return np.concatenate([self.physics.get_state(), *parts])

    def set_simulator_state(self, state: NDArray) -> None:
        """Goes back to what `simulator_state` gave."""
        model = self.physics.model
        size = len(self.physics.get_state())
        own, rest = state[:size], state[size:]
        for name, at in _varying(*self._name):
            array = np.asarray(getattr(model, name))
            array.reshape(-1)[at] = rest[: len(at)]
            rest = rest[len(at) :]
        with self.physics.reset_context():  # which computes all that follows from a state
            self.physics.set_state(own)

    @staticmethod
    def _vector(observation: dict[str, Any]) -> NDArray:
        parts = [np.ravel(part) for part in observation.values()]
        return np.concatenate(parts).astype(np.float32)


def _divergence() -> type[Exception]:
    """The error that the suite raises where its simulator can't go on."""
    error: type[Exception] = importlib.import_module("dm_control.rl.control").PhysicsError
    return error


def _loaded(domain: str, task: str, random: np.random.RandomState) -> Any:
    limit = {} if domain in ENDLESS else {"time_limit": float("inf")}
    return _suite().load(domain, task, {"random": random, **limit})


@functools.cache
def _varying(domain: str, task: str) -> list[tuple[str, NDArray]]:
    """Where in the model's arrays episodes of a task differ, found by beginning some."""
    random = np.random.RandomState(0)
    env = _loaded(domain, task, random)
    seen: dict[str, list[NDArray]] = {name: [] for name in VARIES}
    for seed in range(4):
        random.seed(seed)
        env.reset()
        for name, arrays in seen.items():
            arrays.append(np.array(getattr(env.physics.model, name)).ravel())
    env.close()
    places = {name: np.flatnonzero(np.ptp(np.stack(x), axis=0)) for name, x in seen.items()}
    return [(name, at) for name, at in places.items() if len(at)]


def _suite() -> Any:
    choose_mujoco_gl()
    try:
        return importlib.import_module("dm_control.suite")
    except ImportError as error:
        lines = "`pip install 'prefloop[mujoco]'`"
        if sys.version_info >= (3, 13):  # pyproject.toml says why
            lines += " and then `pip install --no-deps dm_control`"
        raise UserError(
            f"DM Control's tasks need dm_control, which comes by {lines}: {error}."
        ) from None
