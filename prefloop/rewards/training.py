"""Fitting a reward model to preferences, stopped by answers it has not seen."""

import math
from collections.abc import Iterator, Sequence, Set
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from prefloop.bradley_terry import agreement, bradley_terry_loss
from prefloop.checkpoints import require_readable
from prefloop.data.preferences import Preferences, Queries
from prefloop.devices import to_tensor
from prefloop.early_stopping import EarlyStopping
from prefloop.encoders import Encoder, make_encoder, make_encoders
from prefloop.envs.spaces import Spaces
from prefloop.errors import UserError
from prefloop.networks import deviation_or_one
from prefloop.optimizers import Adam
from prefloop.rewards.annotators import AnnotatorErrors
from prefloop.rewards.pair_returns import PairReturns
from prefloop.rewards.reward_model import RewardModel, last_layer
from prefloop.rewards.settings import WARM_UP, RewardSettings, SurfSettings
from prefloop.rewards.surf import Surf
from prefloop.seeding import Stream, generator, integer, uniform_of

# How much quicker the part of a reward that is the same in every step is learned than the rest, where all
# compared segments differ in length. Labels may say little more than that longer is better, or worse, then.
# What a constant explains should not be laid to the states that happened to be long episodes':
# a policy finds such a flaw. Among segments of one length a constant says nothing, and stays 0. Where few
# differ, it is in proportion: so quick a constant would explain these few by more than all steps are worth.
CONSTANT_RATE = 30.0
# probability that a draw from Poisson(1) is at most 0, 1, 2 ...: the last is 1 in float64
POISSON = np.cumsum([math.exp(-1) / math.factorial(k) for k in range(20)])


def make_model(spaces: Spaces, settings: RewardSettings, seed: int) -> RewardModel:
    """A reward model with weights drawn from a seed.

    Args:
        spaces: what a step is made of.

    Raises:
        UserError: observations are neither vectors nor pictures, or vectors where each member is to have an
            encoder or pictures are to be moved; or it is too large for a checkpoint.
    """
    torch.manual_seed(integer(seed, Stream.WEIGHTS, Stream.REWARD_MODEL))
    encoder: Encoder
    if settings.encoders == "apart":
        encoder = make_encoders(spaces, settings.encoder, settings.ensemble)
    else:
        encoder = make_encoder(spaces, settings.encoder)
    model = RewardModel(
        spaces, settings.hidden_sizes, settings.ensemble, settings.inputs == "obs-actions", encoder
    )
    if settings.shift and not model.moves_pictures:
        raise UserError(
            f"--reward_shift is for rewards of pictures; {model.encoder.kind} are not moved."
        )
    require_readable(model)
    return model


class RewardFit:
    """A reward model on its way: one pass over the preferences at a time.

    Attributes:
        model: as it stands; `finish` puts the best one in its place.
        train, held_out: positions of the answers that are learned from, and judged by.
        errors: how often each annotator errs, where that is learned; else None.
        finished: whether the held-out loss has stopped falling.
    """

    def __init__(
        self,
        model: RewardModel,
        preferences: Preferences,
        settings: RewardSettings,
        seed: int,
        device: torch.device | str = "cpu",
        surf: SurfSettings | None = None,
        unlabelled: Queries | None = None,
        annotators: Sequence[str] | None = None,
        learned_before: Set[bytes] = frozenset(),
    ) -> None:
        """Splits the answers and draws each member's bootstrap.

        Args:
            unlabelled: pairs for SURF to learn from, where its settings are given.
            annotators: who gave each answer, if it is to be learned how often they err; [answers], those
                of skipped queries left out.
            learned_before: pairs (`Queries.pairs`) that an earlier fit of this model has learned from: a pass takes as many of
                them, at random, as there are others, so that it costs what is new. All of them where there is nothing new.

        Raises:
            UserError: the preferences say nothing about what is better, or hold numbers too large
                to compute with.
        """
        preferences.require_something_to_learn()
        self.settings = settings = settings.filled(model.encoder_learns)
        self.seed, self.device = seed, torch.device(device)
        # what nobody was asked about must not show, not even in the scale
        self.preferences = preferences = preferences.answered.compact
        self.model = model.to(self.device)
        pairs = preferences.pairs
        self.held_out, self.train = split(pairs, preferences.labels, settings.held_out, seed)
        self._was_learned = np.array([pairs[i] in learned_before for i in self.train], bool)
        if self._was_learned.all():
            self._was_learned[:] = False
        weights = _bootstrap(pairs, self.train, settings.ensemble, seed)
        self.errors: AnnotatorErrors | None = None
        if annotators is not None:
            self.errors = AnnotatorErrors(annotators, settings.label_noise, self.device)
            # bool, [members, answers]. Not what is held out: rates that had learned from it could explain it
            # away, and the fit would stop by that
            unseen = weights == 0
            unseen[:, self.held_out] = False
            self._unseen = self._tensor(unseen)
        self._weights = self._tensor(weights.astype(np.float32))
        segments = preferences.segments
        if not model.encoder_learns:
            obs, actions = segments.obs, segments.actions
            self._standardise_inputs(obs[segments.mask], actions[segments.mask])
        self._returns = PairReturns(model, preferences, self.device)
        self._surf: Surf | None = None
        if surf is not None and unlabelled is not None:
            self._surf = Surf(surf, model, unlabelled, self.device)
        self._labels = self._tensor(preferences.labels.astype(np.float32))
        constants = [last_layer(network).bias for network in model.networks]
        others = [p for p in model.parameters() if all(p is not c for c in constants)]
        lengths = segments.lengths
        differ = float(np.mean(lengths[preferences.first] != lengths[preferences.second]))
        quicker = max(1.0, CONSTANT_RATE * differ) * settings.learning_rate
        groups: list[dict[str, Any]] = [{"params": others}]
        if np.ptp(lengths):
            groups.append({"params": constants, "lr": quicker, "weight_decay": 0.0})
        self.optimizer = Adam(
            groups,
            lr=settings.learning_rate,
            weight_decay=settings.weight_decay,
            fused=True,  # one call, not 80
        )
        # the rates that are kept are those that were learned with the weights that are
        kept = model if self.errors is None else nn.ModuleList([model, self.errors])
        self._stopping = EarlyStopping(
            kept, settings.patience, has_held_out=bool(len(self.held_out))
        )

    @property
    def finished(self) -> bool:
        """Whether the held-out loss has not fallen for `patience` passes."""
        return self._stopping.finished

    @property
    def best_epoch(self) -> int:
        """The pass whose weights are kept."""
        return self._stopping.best_epoch

    @property
    def annotators(self) -> dict[str, dict[str, Any]]:
        """Number of `answers` and learned `error` rate of each annotator, by name.

        Empty where it was not to be learned, or where the weights that are kept are from before it was.
        """
        if self.errors is None or self.best_epoch < WARM_UP:
            return {}
        return self.errors.facts()

    def facts(self) -> dict[str, Any]:
        """Learning rate and batch size, which the settings may leave open, for run.json."""
        return self.settings.fit_facts

    def iterate(self, epoch: int) -> dict[str, float]:
        """One pass over the answers that are learned from.

        Returns:
            Loss and accuracy of each member on its own bootstrap, on average, and those of the
            whole ensemble on held-out answers; NaN where there are none.
        """
        rng = generator(self.seed, Stream.MINIBATCHES, Stream.REWARD_MODEL, epoch)
        order = self._tensor(rng.permutation(self._of_a_pass(rng)))
        train = self._tensor(self.train)
        losses, right, decided = 0.0, 0.0, 0
        batches = order.split(self.settings.batch_size)
        for batch in batches:
            loss = torch.zeros((), device=self.device)
            for i, pairs, first, second in self._members_returns(train[batch], rng):
                loss = loss + self._loss(first, second, pairs, self._weights[i, pairs][None])
                if self._surf:
                    loss = loss + self._surf.loss(self.model.networks[i], len(pairs), rng)
                agrees = self._agreement(first, second, pairs)
                right, decided = right + agrees.sum().item(), decided + len(agrees)
            if not loss.requires_grad:
                continue
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            losses += loss.item() / self.model.members
        row = {"epoch": epoch, "loss": losses / len(batches), "accuracy": _share(right, decided)}
        if self.errors is not None and epoch >= WARM_UP:
            self._learn_errors(self.errors)
        row["held_out_loss"], row["held_out_accuracy"] = self._held_out_loss_and_accuracy()
        self._stopping.watch(epoch, row["held_out_loss"])
        return row

    def _of_a_pass(self, rng: np.random.Generator) -> NDArray:
        """Positions, among the answers that are learned from, of those that a pass takes."""
        if not self._was_learned.any():
            return np.arange(len(self.train))
        new, old = np.flatnonzero(~self._was_learned), np.flatnonzero(self._was_learned)
        again = rng.choice(old, min(len(new), len(old)), replace=False)
        return np.concatenate([new, again])

    def finish(self) -> RewardModel:
        """Puts the weights of the lowest held-out loss in place, and the agent's scale with them.

        Raises:
            UserError: there never was a loss.
        """
        if len(self.held_out) and self.best_epoch < 0:
            raise UserError(
                "The reward's held-out loss is no number in any pass: learning diverged. A lower "
                "--reward_learning_rate helps."
            )
        self._stopping.restore_best()
        self.model.set_scale(self.preferences.segments)
        return self.model.eval()

    def _members_returns(
        self, batch: torch.Tensor, rng: np.random.Generator
    ) -> Iterator[tuple[int, torch.Tensor, torch.Tensor, torch.Tensor]]:
        """Predicts the returns of a batch's pairs, by each member of those in its bootstrap, about two thirds.

        Yields:
            Its number, these pairs, and what it predicts of first and second segments; [1, pairs] both.
        """
        networks, drawn = self.model.networks, self._weights > 0
        if self.model.encoder_learns:  # what is seen in pictures is made once for all members
            keep = self._surf.crops(self._returns, batch, rng) if self._surf else None
            most = self.settings.shift if self.model.moves_pictures else 0
            moves = (most, rng) if most else None
            first, second = self._returns(networks, batch, keep, moves)
            for i in range(len(networks)):
                mine = drawn[i, batch]
                if mine.any():
                    yield i, batch[mine], first[i : i + 1, mine], second[i : i + 1, mine]
            return
        for i, network in enumerate(networks):
            pairs = batch[drawn[i, batch]]
            if len(pairs):
                keep = self._surf.crops(self._returns, pairs, rng) if self._surf else None
                yield i, pairs, *self._returns([network], pairs, keep)

    def _loss(
        self,
        first: torch.Tensor,
        second: torch.Tensor,
        pairs: torch.Tensor,
        weight: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Loss of predicted returns, [members, pairs], under the labels of these pairs; a scalar."""
        labels = self._labels[pairs].expand_as(first)
        noise: float | torch.Tensor = self.settings.label_noise
        if self.errors is not None:
            noise = self.errors.label_noise(pairs)
        return bradley_terry_loss(first, second, labels, noise, weight)

    @torch.no_grad()
    def _learn_errors(self, errors: AnnotatorErrors) -> None:
        """Moves the error rates, by members' predictions of pairs that they have not learned from."""
        answers = torch.nonzero(self._unseen.any(0))[:, 0]
        if not len(answers):
            return
        probabilities = []
        for pairs in answers.split(self.settings.batch_size):
            first, second = self._returns(self.model.networks, pairs)
            unseen = self._unseen[:, pairs].float()
            members = torch.sigmoid(second - first)
            probabilities.append((members * unseen).sum(0) / unseen.sum(0))
        errors.learn(answers, torch.cat(probabilities), self._labels[answers])

    @torch.no_grad()
    def _held_out_loss_and_accuracy(self) -> tuple[float, float]:
        """Loss of all members on held-out answers, and accuracy of their mean; NaN where there are none."""
        if not len(self.held_out):
            return float("nan"), float("nan")
        pairs = self._tensor(self.held_out)
        at_once = self.settings.batch_size if self.model.encoder_learns else len(pairs)
        returns = [self._returns(self.model.networks, some) for some in pairs.split(at_once)]
        first, second = (torch.cat(sides, dim=1) for sides in zip(*returns, strict=True))
        loss = self._loss(first, second, pairs).item()
        agrees = self._agreement(first, second, pairs)
        return loss, _share(agrees.sum().item(), len(agrees))

    def _agreement(
        self, first: torch.Tensor, second: torch.Tensor, pairs: torch.Tensor
    ) -> torch.Tensor:
        """Agreement of the members' mean return with the answers that are no ties; [decided]."""
        return agreement((second - first).mean(0).detach(), self._labels[pairs])

    def _standardise_inputs(self, obs: NDArray, actions: NDArray) -> None:
        x = self.model.raw_inputs(self._tensor(obs), self._tensor(actions))
        std = x.std(0, correction=0)
        if not torch.isfinite(std).all():
            raise UserError(
                "The segments' observations or actions are too large for 32-bit numbers; scale them."
            )
        self.model.standardise_inputs(x.mean(0), deviation_or_one(std))

    def _tensor(self, array: NDArray) -> torch.Tensor:
        return to_tensor(array, self.device)

    def state_dict(self) -> dict[str, Any]:
        """Everything that the next pass depends on."""
        state = {
            "model": self.model.state_dict(),
            "stopping": self._stopping.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }
        if self.errors is not None:
            state["errors"] = self.errors.state_dict()
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes over what `state_dict` gave."""
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self._stopping.load_state_dict(state["stopping"])
        if self.errors is not None:
            self.errors.load_state_dict(state["errors"])


def fit(
    model: RewardModel,
    preferences: Preferences,
    settings: RewardSettings,
    seed: int,
    device: torch.device | str = "cpu",
    surf: SurfSettings | None = None,
    unlabelled: Queries | None = None,
    learned_before: Set[bytes] = frozenset(),
) -> tuple[RewardModel, list[dict[str, float]]]:
    """Fits until the held-out loss stops falling. Arguments as of `RewardFit`.

    Returns:
        The model, and a row of metrics for each pass.

    Raises:
        UserError: the preferences say nothing about what is better.
    """
    fitting = RewardFit(
        model, preferences, settings, seed, device, surf, unlabelled, learned_before=learned_before
    )
    rows = []
    for epoch in range(settings.epochs):
        rows.append(fitting.iterate(epoch))
        if fitting.finished:
            break
    return fitting.finish(), rows


def split(
    pairs: Sequence[bytes], labels: NDArray, share: float, seed: int
) -> tuple[NDArray, NDArray]:
    """Positions of held-out answers and of the others.

    All answers to a pair fall on one side, or a model would be judged by a pair whose answer it has
    learned from somebody else. The side depends on the pair and the seed alone: a model that is
    fitted again when there are more answers is never judged by what it has learned from. The
    pair of the first answer that decides is learned from.
    """
    is_held_out = uniform_of(pairs, seed, Stream.HELD_OUT) < share
    decides = pairs[int((labels != 0.5).argmax())]
    is_held_out[[pair == decides for pair in pairs]] = False
    return np.flatnonzero(is_held_out), np.flatnonzero(~is_held_out)


def _bootstrap(pairs: Sequence[bytes], train: NDArray, members: int, seed: int) -> NDArray:
    """How often each member sees each answer; [members, answers]. A single member sees all once.

    Poisson weights: what a draw with replacement comes to in a large sample (Oza 2001). Pairs are
    drawn, not answers: what a member leaves out it has not seen from somebody else either.
    """
    if members == 1:
        return np.ones((1, len(pairs)))
    uniform = np.stack([uniform_of(pairs, seed, Stream.MEMBERS, i) for i in range(members)])
    weights = np.searchsorted(POISSON, uniform, side="right")
    # a member without any pair would learn nothing
    weights[weights[:, train].sum(axis=1) == 0] = 1
    return weights


def _share(part: float, whole: int) -> float:
    return part / whole if whole else float("nan")
