"""An agent with environments of its own, as tests of the agent alone want it."""

from prefloop.agents.ppo import PPO
from prefloop.data.stepping import Stepping


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
