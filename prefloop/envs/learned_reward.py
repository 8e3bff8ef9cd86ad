"""A learned reward in the place of the environment's: any library's agent can be trained on it."""

from collections.abc import Callable
from typing import Any, SupportsFloat

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from prefloop.envs.steps import require_next_step

TRUE_REWARD = "true_reward"  # in `info`: what the environment paid itself

# observations [steps, *obs_shape], actions as the environment received them, next observations -> [steps]
Reward = Callable[[NDArray, NDArray, NDArray], NDArray]


class LearnedReward(gym.Wrapper):
    """One environment that pays a learned reward; its own stands in `info["true_reward"]`.

    Args:
        env: the environment.
        reward: `RewardModel.reward`, or any function of steps.
    """

    def __init__(self, env: gym.Env, reward: Reward) -> None:
        super().__init__(env)
        self._reward, self._obs = reward, np.zeros(0)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Begins an episode."""
        obs, info = self.env.reset(seed=seed, options=options)
        self._obs = np.array(obs)  # some environments hand out an array and write to it again
        return obs, info

    def step(self, action: Any) -> tuple[Any, SupportsFloat, bool, bool, dict[str, Any]]:
        """Acts, and judges what was done."""
        obs, true_reward, terminated, truncated, info = self.env.step(action)
        next_obs = np.array(obs)
        reward = self._reward(self._obs[None], np.asarray(action)[None], next_obs[None])[0]
        self._obs = next_obs
        return obs, float(reward), terminated, truncated, {**info, TRUE_REWARD: true_reward}


class LearnedRewardVector(gym.vector.VectorWrapper):
    """As `LearnedReward`, of environments that step together: all are judged at once.

    A step that only resets pays nothing.

    Args:
        env: environments that reset on the step after an episode's end.
        reward: `RewardModel.reward`, or any function of steps.

    Raises:
        UserError: they reset otherwise.
    """

    def __init__(self, env: gym.vector.VectorEnv, reward: Reward) -> None:
        require_next_step(env, env)
        super().__init__(env)
        self._reward, self._obs = reward, np.zeros(0)
        self._resets = np.zeros(env.num_envs, dtype=bool)

    def reset(
        self,
        *,
        seed: int | list[int | None] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[Any, dict[str, Any]]:
        """Begins an episode in each."""
        obs, info = self.env.reset(seed=seed, options=options)  # type: ignore[arg-type]
        self._obs, self._resets = np.array(obs), np.zeros(self.num_envs, dtype=bool)
        return obs, info

    def step(self, actions: Any) -> tuple[Any, NDArray, NDArray, NDArray, dict[str, Any]]:
        """Acts in all, and judges what was done."""
        obs, true_rewards, terminated, truncated, info = self.env.step(actions)
        next_obs = np.array(obs)
        rewards = np.asarray(self._reward(self._obs, np.asarray(actions), next_obs))
        rewards = np.where(self._resets, 0.0, rewards)
        self._obs, self._resets = next_obs, terminated | truncated
        return obs, rewards, terminated, truncated, {**info, TRUE_REWARD: true_rewards}
