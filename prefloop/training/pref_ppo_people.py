"""PrefPPO with people who answer: it waits for them, or learns on while they label.

Source: Christiano et al. 2017, arXiv:1706.03741, section 2.2 (labels arrive while the policy
learns). Details: docs/labelling.md.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from prefloop.agents.ppo import PPO
from prefloop.agents.rollout import Rollout
from prefloop.data.preferences import Preferences
from prefloop.data.segments import Segments
from prefloop.data.trajectories import Trajectories
from prefloop.envs import step_sizes
from prefloop.labelling.client import LabellingClient
from prefloop.labelling.people import People, report_reward
from prefloop.labelling.recording import RecordedEnvs
from prefloop.rewards.reward_model import RewardModel
from prefloop.rewards.training import make_model
from prefloop.training.pref_ppo import PREFERENCES, PrefPPO
from prefloop.training.settings import PrefPPOSettings


@dataclass
class _Fetched:
    """What people have said so far, as it was fetched last."""

    preferences: Preferences | None = None


class PeoplePrefPPO(PrefPPO):
    """PrefPPO whose answers stand on the labelling server, whoever asked for them.

    The plan counts all answers of the run, those to `prefloop collect` included, and what is asked
    but not answered yet is not asked for again. So a run that is taken up asks for what is missing.
    """

    def __init__(
        self,
        ppo: PPO,
        model: RewardModel,
        people: People,
        recorded: RecordedEnvs,
        settings: PrefPPOSettings,
        seed: int,
        wait: bool,
    ) -> None:
        """Plans when the labels are spent.

        Args:
            model: not yet fitted.
            recorded: what `ppo` acts in and records, so that people see what it did.
            wait: for all labels that were asked for, before each fit; otherwise before the first
                one only, and later with those there are.

        Raises:
            UserError: as `plan_labels`.
        """
        self._fetched = _Fetched()
        super().__init__(ppo, model, None, self._fetched, settings, seed)  # type: ignore[arg-type]
        self.people, self.recorded, self.wait = people, recorded, wait

    def iterate(self, iteration: int) -> dict[str, float]:
        """As PrefPPO's; but what was labelled before it began is learned from at once."""
        if not self.fitted:
            self._fetched.preferences = self.people.preferences()
            self._fit()
        row = super().iterate(iteration)
        if iteration >= len(self.plan) and not self.wait:
            self._fetched.preferences = self.people.preferences()
            self._fit()  # labels that came after the last question
        return row

    def _ask(self, rollouts: list[Rollout], iteration: int) -> None:
        counts = self.people.counts()
        # not answered + left: what one of several annotators has answered is in both
        wanted = int(self.plan[iteration]) - (counts.queries - counts.skipped)
        if wanted > 0:
            queries, replay = self._choose(rollouts, wanted, iteration)
            self.people.ask(queries, iteration, replay)
        if self.wait or not self.fitted:  # without any label there is nothing to go on with
            self.people.wait()
        self.shown = self.people.counts().queries
        self._fetched.preferences = self.people.preferences()

    def _cut(
        self, trajectories: Trajectories, num_segments: int, rng: np.random.Generator
    ) -> tuple[Segments, Mapping[str, NDArray]]:
        # a policy that people have taught to fall sooner is shown in shorter segments
        length = min(self.settings.segment_length, int(trajectories.lengths.max()))
        return self.recorded.recording(trajectories).cut(length, num_segments, rng)

    def _fit(self) -> dict[str, float]:
        row = super()._fit()
        answers = self._fetched.preferences
        if row and answers is not None:
            report_reward(self.people, answers, self.model.probabilities(answers).mean(axis=0))
        return row


@contextmanager
def opened_with_people(
    ppo: PPO,
    recorded: RecordedEnvs,
    settings: PrefPPOSettings,
    seed: int,
    directory: Path,
    client: LabellingClient,
    run: str,
    wait: bool,
) -> Iterator[PeoplePrefPPO]:
    """PrefPPO with an unfitted reward and the people of a run on the labelling server.

    Args:
        recorded: what `ppo` acts in and records.
        run: its name; it must exist.

    Raises:
        UserError: as `plan_labels`.
    """
    model = make_model(step_sizes(ppo.envs), settings, seed).to(ppo.device)
    people = People(client, run, directory / PREFERENCES)
    learner = PeoplePrefPPO(ppo, model, people, recorded, settings, seed, wait)
    yield learner
