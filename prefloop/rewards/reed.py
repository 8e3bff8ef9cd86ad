"""REED: networks that judge steps learn first what steps lead to, which needs no answers.

Source: Metcalf et al. 2023, arXiv:2402.17975; its contrast between next states is van den Oord et al. 2018,
arXiv:1807.03748. Details: docs/reed.md.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from prefloop.data.trajectories import Trajectories
from prefloop.devices import to_tensor
from prefloop.errors import UserError
from prefloop.networks import InPlaceReLU, deviation_or_one, mlp
from prefloop.optimizers import Adam
from prefloop.rewards.reward_model import RewardModel
from prefloop.rewards.settings import ReedSettings
from prefloop.seeding import Stream, generator, integer

WIDTH = 128  # of the layer between a state and its embedding
SCALE_STEPS = 10_000  # that inputs are standardised by


class Reed:
    """Networks that tell, for each member of a reward model, which state follows on a step.

    A member's layers but the last one encode observation and action; from there a linear layer
    predicts the embedding of the next state, which is to be told from those of other steps.
    """

    def __init__(self, settings: ReedSettings, model: RewardModel, learning_rate: float, seed: int):
        """Draws the weights.

        Args:
            model: of vectors: its members see observations as they are.

        Raises:
            UserError: the model's encoder of pictures is learned, which this would leave as it was drawn.
            ValueError: the members have no layer in between that could encode anything.
        """
        if model.encoder_learns:
            raise UserError("--reed is for rewards of vectors; here are pictures.")
        if len(model.sizes) < 3:
            raise ValueError("REED needs a reward model with hidden layers")
        self._settings, self._learning_rate, self._seed = settings, learning_rate, seed
        torch.manual_seed(integer(seed, Stream.WEIGHTS, Stream.DYNAMICS))
        encoded, obs = model.sizes[-2], model.encoder.features
        device = model.input_mean.device
        self._predict = nn.ModuleList(
            nn.Linear(encoded, settings.embedding) for _ in range(model.members)
        ).to(device)
        self._embed = nn.ModuleList(
            mlp([obs, WIDTH, settings.embedding], InPlaceReLU) for _ in range(model.members)
        ).to(device)

    def learn(self, model: RewardModel, episodes: Trajectories, number: int) -> float:
        """Lets each member's layers learn from steps, before the model is fitted to answers.

        Args:
            number: of the session, which the drawing follows from.

        Returns:
            Share of the last steps whose next state was told from all others.
        """
        rng = generator(self._seed, Stream.DYNAMICS, number)
        self._standardise(model, episodes, rng)
        # without the last layer, and what stands after it
        heads = [nn.Sequential(*list(network.children())[:-2]) for network in model.networks]
        weights = [p for part in (*heads, self._predict, self._embed) for p in part.parameters()]
        optimizer = Adam(weights, lr=self._learning_rate, fused=True)
        accuracy = 0.0
        for _ in range(self._settings.reed_updates):
            steps = rng.integers(len(episodes.obs), size=self._settings.reed_batch_size)
            x, following = self._inputs(model, episodes, steps)
            target = torch.arange(len(steps), device=x.device)
            loss, accuracy = x.new_zeros(()), 0.0
            for head, predict, embed in zip(heads, self._predict, self._embed, strict=True):
                guess = functional.normalize(predict(head(x)), dim=1)
                true = functional.normalize(embed(following), dim=1)
                likeness = guess @ true.T / self._settings.reed_temperature
                loss = loss + functional.cross_entropy(likeness, target)
                accuracy += (likeness.detach().argmax(1) == target).float().mean().item()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return accuracy / model.members

    @torch.no_grad()
    def _standardise(
        self, model: RewardModel, episodes: Trajectories, rng: np.random.Generator
    ) -> None:
        """Standardises the inputs by what was done so far; a reward that was learned stays what it was."""
        steps = rng.integers(len(episodes.obs), size=min(SCALE_STEPS, len(episodes.obs)))
        obs, actions = (
            to_tensor(np.ascontiguousarray(column[steps]), model.input_mean.device)
            for column in (episodes.obs, episodes.actions)
        )
        x = model.raw_inputs(obs, actions)
        model.standardise_inputs(x.mean(0), deviation_or_one(x.std(0, correction=0)))

    def _inputs(
        self, model: RewardModel, episodes: Trajectories, steps: NDArray
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Computes the inputs of the heads, and the features of the next observations; [steps, ...] both."""
        device, features = model.input_mean.device, model.encoder.features
        obs, actions, next_obs = (
            to_tensor(np.ascontiguousarray(column[steps]), device)
            for column in (episodes.obs, episodes.actions, episodes.next_obs)
        )
        with torch.no_grad():
            following = model.encoder(next_obs) - model.input_mean[:features]
            return model.inputs(obs, actions), following / model.input_std[:features]

    def state_dict(self) -> dict[str, Any]:
        """Its weights, which go on from session to session."""
        return {"predict": self._predict.state_dict(), "embed": self._embed.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes over what `state_dict` gave."""
        self._predict.load_state_dict(state["predict"])
        self._embed.load_state_dict(state["embed"])
