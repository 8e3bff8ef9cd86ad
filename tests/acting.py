"""Acting, as tests want it: an agent with environments of its own, and steps up to a budget."""

import numpy as np

from prefloop.agents.ppo import PPO
from prefloop.data import rollouts
from prefloop.data.stepping import Stepping
from prefloop.envs.make import reset
from prefloop.seeding import Stream


class ActingPPO(PPO):
    def __init__(self, settings, envs, device, init=None, record=None, rollout_steps=32):
        self.stepping, self.envs = Stepping(envs, record), envs
        self.rollout_steps = rollout_steps
        super().__init__(settings, self.stepping.spaces, device, init)

    def begin(self, seed, iteration=0):
        self.stepping.begin(seed, iteration)
        super().begin(seed, iteration)

    def collect(self):
        return self.stepping.act(self.act, self.rollout_steps)


def collect_steps(envs, act, min_steps, seed, stream=(Stream.ENVIRONMENTS,)):
    """Every episode that starts before so many steps were taken, run to its end."""
    obs, _ = reset(envs, seed, *stream)
    may_start = lambda steps, finished: np.full(envs.num_envs, steps < min_steps)  # noqa: E731
    return rollouts._collect(envs, act, may_start, obs, None)
