"""A reward of one's own making: to be where one has not been yet.

Source: Liu and Abbeel 2021, APT, arXiv:2103.04551; Lee et al. 2021, PEBBLE, arXiv:2106.05091, section 4.1.
"""

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from prefloop.data.replay_buffer import ReplayBuffer, Transitions
from prefloop.devices import to_tensor
from prefloop.networks import deviation_or_one
from prefloop.running_moments import RunningMoments
from prefloop.training.settings import ExplorationSettings

FAR = 100  # deviations from 0
FEW = 4  # times that each state would be drawn: so often it would be its own neighbour, and worth nothing
# raise it with each change of what is paid: what was explored by another is not gone on from
FORMAT = 2


class StateEntropy:
    """Pays for a state what it adds to the entropy of all states: how far away the next ones lie.

    It is computed when steps are drawn to learn from, not when they are made: what was new once is old
    when there is more of it. States are compared in units of their own deviation with as many of the
    past as `settings.states`, so that its cost stays what it is.
    """

    def __init__(self, settings: ExplorationSettings, device: torch.device) -> None:
        """Has seen nothing yet."""
        self._settings, self._device = settings, device
        self._scale = RunningMoments()  # of what it pays

    def __call__(
        self, batch: Transitions, replay: ReplayBuffer, rng: np.random.Generator
    ) -> Transitions:
        """Gives drawn steps this reward in place of their own."""
        few = FEW * len(replay) <= self._settings.states
        past = replay.every_state() if few else replay.sample(self._settings.states, rng).next_obs
        paid = state_entropy(batch.next_obs, past, self._settings.neighbours, self._device)
        self._scale.update(paid)
        return replace(batch, rewards=(paid / self._scale.std).astype(np.float32))

    def state(self) -> list[Any]:
        """Everything that it depends on, as plain values."""
        return self._scale.state()

    def load_state(self, state: list[Any]) -> None:
        """Takes over what `state` gave."""
        self._scale.load_state(state)


def state_entropy(
    obs: NDArray, past: NDArray, neighbours: int, device: torch.device | str = "cpu"
) -> NDArray:
    """log(1 + distance to the `neighbours`-th nearest state of the past), a particle estimate of entropy.

    Args:
        obs: [batch, *obs_shape].
        past: [states, *obs_shape]. The nearest does not count: it is the state itself, at distance 0, where that
            stands in both.

    Returns:
        float64; [batch].
    """
    states, others = (to_tensor(x, device).float().flatten(1) for x in (obs, past))
    deviation = others.std(0, correction=min(1, len(others) - 1))  # of a single one there is none
    scale = deviation_or_one(deviation)
    # distances come of squares and products, in which a large offset leaves no digits for what differs
    mean = others.mean(0)
    centre = torch.where(mean.abs() > FAR * scale, mean, torch.zeros_like(mean))
    distances = torch.cdist((states - centre) / scale, (others - centre) / scale)
    # the nearest may be itself; topk finds the few in a third of kthvalue's time
    nearest = distances.topk(min(neighbours + 1, len(others)), dim=1, largest=False).values[:, -1]
    return torch.log1p(nearest).cpu().double().numpy()
