"""How episodes end, where it is not the task that ends them.

All of one length: how an episode ends is information that preferences did not give. Sources: Christiano et al. 2017, arXiv:1706.03741, appendix A; Freire et al. 2020, DERAIL,
arXiv:2012.01365 (absorbing states); Kostrikov et al. 2019, arXiv:1809.02925, section 4.2 (one that all ends lead to).
"""

from copy import deepcopy
from typing import Any, SupportsFloat

import gymnasium as gym
import numpy as np

from prefloop.seeding import MAX_SEED, Stream, generator

DIVERGED = "diverged"  # in a step's info: the simulator could not go on
BAD_POSITION, BAD_ACCELERATION = 4, 6  # among MuJoCo's warnings (mjtWarning); velocity between them


class AbsorbAfterEnd(gym.Wrapper, gym.utils.RecordConstructorArgs):
    """Stays where an episode ended, with a reward of 0, until a time limit around it cuts it.

    With `steps`, an episode is cut so many after its end, which is none of the task's: more of the same
    would come. Zeros are observed then, wherever it ended. A learned reward is not to be misread there:
    what it says of a place counts at each of these steps, and an agent finds the places that it is wrong of.
    """

    def __init__(self, env: gym.Env, steps: int | None = None) -> None:
        """Wraps an environment.

        Args:
            steps: how many come after an end; if not given, those to the limit, which observe where it
                ended.
        """
        gym.utils.RecordConstructorArgs.__init__(self, steps=steps)
        gym.Wrapper.__init__(self, env)
        self.observes_zeros = steps is not None  # after an end
        self._steps = steps
        self._last: Any = None  # what was observed at the end; None before it
        self._stayed = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Begins an episode."""
        self._last, self._stayed = None, 0
        return self.env.reset(seed=seed, options=options)

    def step(self, action: Any) -> tuple[Any, SupportsFloat, bool, bool, dict[str, Any]]:
        """Acts, while there is somebody to act."""
        if self._last is not None:
            self._stayed += 1
            obs = self._last if self._steps is None else np.zeros_like(self._last)
            return obs, 0.0, False, self._stayed == self._steps, {}
        obs, reward, terminated, truncated, info = self.env.step(action)
        if info.get(DIVERGED):  # nothing is learned from it, so it need not be as long as others
            return obs, reward, terminated, truncated, info
        if terminated or truncated:
            self._last = obs
        return obs, reward, False, False, info


class RestartAfterEnd(gym.Wrapper, gym.utils.RecordConstructorArgs):
    """Begins anew where an episode ended, within what is one episode for everybody else.

    Source: Christiano et al. 2017, arXiv:1706.03741, appendix A.
    """

    def __init__(self, env: gym.Env) -> None:
        gym.utils.RecordConstructorArgs.__init__(self)
        gym.Wrapper.__init__(self, env)
        self._seeds = generator(0, Stream.RESTARTS)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Begins an episode; what it begins anew with follows from its seed."""
        if seed is not None:
            self._seeds = generator(seed, Stream.RESTARTS)
        return self.env.reset(seed=seed, options=options)

    def step(self, action: Any) -> tuple[Any, SupportsFloat, bool, bool, dict[str, Any]]:
        """Acts."""
        obs, reward, terminated, truncated, info = self.env.step(action)
        if info.get(DIVERGED) or not (terminated or truncated):
            return obs, reward, terminated, truncated, info
        obs, info = self.env.reset(seed=int(self._seeds.integers(MAX_SEED)))
        return obs, reward, False, False, info


class CutAfterFall(gym.Wrapper, gym.utils.RecordConstructorArgs):
    """Goes on where an episode would end, and cuts it, as a time limit does, after so many steps in a row of that.

    For environments that say how they are (`is_healthy`), or that can be stepped on after they have ended.
    """

    def __init__(self, env: gym.Env, steps: int) -> None:
        gym.utils.RecordConstructorArgs.__init__(self, steps=steps)
        gym.Wrapper.__init__(self, env)
        self._steps, self._fallen = steps, 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Begins an episode."""
        self._fallen = 0
        return self.env.reset(seed=seed, options=options)

    def step(self, action: Any) -> tuple[Any, SupportsFloat, bool, bool, dict[str, Any]]:
        """Acts."""
        obs, reward, terminated, truncated, info = self.env.step(action)
        has_fallen = terminated or is_healthy(self.env) is False
        self._fallen = self._fallen + 1 if has_fallen else 0
        return obs, reward, False, truncated or self._fallen >= self._steps, info


def is_healthy(env: gym.Env) -> bool | None:
    """Whether one of Gymnasium's robots is healthy by its own account; None of environments that have none."""
    healthy = getattr(env.unwrapped, "is_healthy", None)
    return bool(healthy) if isinstance(healthy, bool | np.bool_) else None


USUAL_FPS = 30  # where an environment does not say how quickly it is to be shown


class RepeatActions(gym.Wrapper, gym.utils.RecordConstructorArgs):
    """Takes each action several times, or until the episode ends; rewards add up."""

    def __init__(self, env: gym.Env, times: int) -> None:
        gym.utils.RecordConstructorArgs.__init__(self, times=times)
        gym.Wrapper.__init__(self, env)
        self.times = times
        # pictures are drawn once for all of them, and are to be shown as quickly as it happened
        fps = float(env.metadata.get("render_fps") or USUAL_FPS)
        self.metadata = {**env.metadata, "render_fps": fps / times}

    def step(self, action: Any) -> tuple[Any, SupportsFloat, bool, bool, dict[str, Any]]:
        """Acts."""
        total = 0.0
        for _ in range(self.times):
            obs, reward, terminated, truncated, info = self.env.step(action)
            total += float(reward)
            if terminated or truncated:
                break
        return obs, total, terminated, truncated, info


class CutWhereItDiverged(gym.Wrapper, gym.utils.RecordConstructorArgs):
    """Cuts an episode, as a time limit does, where MuJoCo's numbers became NaN, infinite or huge.

    MuJoCo itself would begin anew in the middle of the episode and say nothing of it. What was
    observed before stands in for what is not known, and the step's info says `DIVERGED`.
    """

    def __init__(self, env: gym.Env) -> None:
        gym.utils.RecordConstructorArgs.__init__(self)
        gym.Wrapper.__init__(self, env)
        self._obs: Any = None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Begins an episode."""
        obs, info = self.env.reset(seed=seed, options=options)
        warnings = simulated_data(self.env.unwrapped).warning
        for kind in range(BAD_POSITION, BAD_ACCELERATION + 1):
            warnings[kind].number = 0  # a user's own reset may leave them
        self._obs = _copied(obs)
        return obs, info

    def step(self, action: Any) -> tuple[Any, SupportsFloat, bool, bool, dict[str, Any]]:
        """Acts, as far as that is possible."""
        obs, reward, terminated, truncated, info = self.env.step(action)
        known = _is_finite(obs) and np.isfinite(float(reward))
        if known and not self._has_warned():
            self._obs = _copied(obs)
            return obs, reward, terminated, truncated, info
        return self._obs, 0.0, False, True, {**info, DIVERGED: True}

    def _has_warned(self) -> bool:
        """Whether MuJoCo has said that positions, velocities or accelerations can't be."""
        number = simulated_data(self.env.unwrapped).warning.number
        return bool(number[BAD_POSITION : BAD_ACCELERATION + 1].any())


def simulated_data(base: Any) -> Any:
    """MuJoCo's data of an environment without its wrappers, whoever wrote it; None where it is not MuJoCo that simulates."""
    for holder in (getattr(base, "physics", None), base):  # the first: of DM Control's tasks
        data = getattr(holder, "data", None)
        if hasattr(data, "qvel") and hasattr(data, "warning"):
            return data
    return None


def _copied(obs: Any) -> Any:
    return obs.copy() if isinstance(obs, np.ndarray) else deepcopy(obs)


def _is_finite(obs: Any) -> bool:
    """Whether no number is NaN or infinite of what was observed, in parts or whole."""
    if isinstance(obs, dict):
        obs = tuple(obs.values())
    if isinstance(obs, tuple):
        return all(map(_is_finite, obs))
    values = np.asarray(obs)
    return not np.issubdtype(values.dtype, np.inexact) or bool(np.isfinite(values).all())
