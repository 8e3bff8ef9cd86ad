"""PEBBLE: explore, ask, learn the reward, relabel all that was ever done, improve at every step.

Source: Lee et al. 2021, arXiv:2106.05091, algorithm 2, whose lines are named here. Details: docs/pebble.md.
"""

from pathlib import Path
from typing import Any

import numpy as np

from prefloop.agents.sac import SAC
from prefloop.data.replay_buffer import ReplayBuffer
from prefloop.data.segments import cut
from prefloop.data.stepping import Rollout, Stepping
from prefloop.envs.registered import time_limit
from prefloop.envs.settings import Env
from prefloop.errors import UserError
from prefloop.evaluation.plots import plot_schedule
from prefloop.queries.selection import select_queries
from prefloop.rewards import reward_model
from prefloop.rewards.reward_model import RewardModel
from prefloop.rewards.training import fit
from prefloop.seeding import Stream, generator, integer
from prefloop.training.answers import Answers
from prefloop.training.exploration import StateEntropy
from prefloop.training.off_policy import act_and_learn, played
from prefloop.training.on_policy import from_model, true_reward
from prefloop.training.plans import Plan, plan_labels
from prefloop.training.pref_ppo import OnFit
from prefloop.training.settings import PebbleSettings


class Pebble:
    """An off-policy agent on a reward that is learned from answers about what it has done.

    The first iterations explore. Every later one begins with a session: questions about what was done so
    far, a fit to all answers, and the new reward for every step in the replay buffer. It stands at the
    beginning, so that an iteration that is done again writes every reward anew before one is read.

    Attributes:
        model: the reward as it stands.
        fitted: whether there was anything to fit it on.
    """

    finished = False

    def __init__(
        self,
        agent: SAC,
        stepping: Stepping,
        env: Env,
        model: RewardModel,
        answers: Answers,
        replay: ReplayBuffer,
        plan: Plan,
        settings: PebbleSettings,
        seed: int,
        wait: bool = True,
        on_fit: OnFit | None = None,
    ) -> None:
        """Plans when the labels are spent.

        Args:
            env: what it is judged in.
            model: not yet fitted.
            replay: keeps true rewards besides.
            wait: for all answers before each fit; otherwise before the first one only, and later
                with those there are.

        Raises:
            UserError: as `plan_labels`.
        """
        self.agent, self.stepping, self.env, self.model = agent, stepping, env, model
        self.answers, self.replay, self.plan, self.settings = answers, replay, plan, settings
        self.seed, self._wait, self._on_fit = seed, wait, on_fit
        before = settings.exploration_iterations
        labels = plan_labels(settings.questions, plan, time_limit(env), before)
        self.labels_per_session = labels
        # the end of each session; there is none while it explores
        self._labels_by = np.concatenate([np.zeros(before, np.int64), np.cumsum(labels)])
        self._exploration = StateEntropy(settings.exploration, agent.device)
        if not settings.exploration.explores:  # random until the first questions
            agent.random_steps = max(agent.random_steps, before * plan.steps(plan.every))
        self.fitted = False

    def iterate(self, iteration: int) -> dict[str, float]:
        """Asks, fits and relabels; then acts and improves.

        Raises:
            UserError: all has been asked and no answer said what is better.
        """
        fit_row = {"held_out_accuracy": float("nan"), "reward_epochs": 0.0}
        if iteration >= self.settings.exploration_iterations:
            # lines 6 to 12: ask, and learn the reward from all answers
            if self._ask(iteration) and (self._wait or not self.fitted):
                self.answers.wait()
            was_fitted = self.fitted
            fit_row |= self._fit()
            if not self.fitted and iteration == self.plan.iterations - 1:
                raise UserError(self._nothing_learned())
            # line 13: what was done is worth what the new reward says
            if self.fitted and (self.settings.relabel or not was_fitted):
                self.replay.relabel(self.model.reward)
            if self.fitted and not was_fitted:
                self._forget_exploration(iteration)
        # lines 2 to 4 and 14 to 19: act, and improve at every step
        reward = from_model(self.model) if self.fitted else true_reward
        rollout, row = act_and_learn(
            self.agent, self.stepping, reward, self.replay, self.plan,
            self.settings.experience.updates_per_step, self.seed, iteration,
            None if self.fitted else self._exploration,
        )  # fmt: skip
        if not self.fitted:
            row["reward"] = float("nan")  # nothing is paid for but what is new
        row |= played(self.agent, rollout, self.env, self.settings.experience, self.seed, iteration)
        said = self.answers.current()
        row["labels"] = len(said.answered) if said is not None else 0
        row["shown"] = self.answers.shown
        return {**row, **fit_row, "reward_correlation": self._correlation(rollout)}

    def _ask(self, iteration: int) -> bool:
        """Brings the number of answers up to the plan; returns whether that took any question."""
        wanted = self.answers.missing(int(self._labels_by[iteration]))
        if wanted <= 0:
            return False
        questions = self.settings.questions
        rng = generator(self.seed, Stream.QUERIES, iteration)
        episodes = self.replay.trajectories(self.settings.recent_episodes)
        # where none is as long, they are shown in shorter segments
        length = min(questions.segment_length, int(episodes.lengths.max()))
        candidates = questions.candidates * wanted
        # two segments for each candidate pair, as far as there are any
        pool = cut(episodes, length, 2 * candidates, rng)
        queries = select_queries(
            questions.selection if self.fitted else "uniform",
            pool,
            wanted,
            rng,
            num_candidates=candidates,
            predict=self.model.probabilities if self.fitted else None,
        )
        self.answers.ask(queries, iteration)
        return True

    def _fit(self) -> dict[str, float]:
        said = self.answers.current()
        # nothing to learn from yet: go on as before, later sessions may tell
        if said is None or (said.answered.labels == 0.5).all():
            return {}
        self.model, rows = fit(self.model, said, self.settings.reward, self.seed, self.agent.device)
        self.fitted = True
        if self._on_fit is not None:
            self._on_fit(self.model, said)
        best = min(rows, key=lambda row: row["held_out_loss"])
        return {"held_out_accuracy": best["held_out_accuracy"], "reward_epochs": len(rows)}

    def _forget_exploration(self, iteration: int) -> None:
        """Critics that know the first reward, and nothing of what was paid for being new."""
        self.agent.reset_critic(self.seed)
        self.agent.begin(integer(self.seed, Stream.CRITIC), iteration)
        rng = generator(self.seed, Stream.REPLAY, iteration, 1)
        for _ in range(self.settings.critic_updates):
            self.agent.update(self.replay.sample(self.agent.settings.batch_size, rng))

    def _nothing_learned(self) -> str:
        said = self.answers.current()
        ties, shown = said.num_ties if said is not None else 0, self.answers.shown
        return (
            f"No reward could be learned: of {shown} queries {ties} were answered with a tie "
            f"and {shown - ties} skipped. Longer segments (--segment_length, now "
            f"{self.settings.questions.segment_length}) or another --teacher may tell them apart."
        )

    def _correlation(self, rollout: Rollout) -> float:
        """Of learned and true reward, step by step, on what was done last; a check, never used."""
        if not self.fitted:
            return float("nan")
        learned, true = (
            from_model(self.model)(rollout)[rollout.valid],
            rollout.rewards[rollout.valid],
        )
        if np.ptp(true) == 0 or np.ptp(learned) == 0:
            return float("nan")
        return float(np.corrcoef(true, learned)[0, 1])

    def save(self, directory: Path) -> None:
        """Writes the reward model and a picture of when it was taught."""
        reward_model.save(directory, self.model)
        plot_schedule(
            directory / "schedule.png", self.labels_per_session, self.settings.questions.schedule
        )

    def state_dict(self) -> dict[str, Any]:
        """Agent, reward and how far replay and plan are; answers and steps are in their own folders."""
        return {
            "sac": self.agent.state_dict(),
            "model": self.model.state_dict(),
            "replay": self.replay.state_dict(),
            "exploration": self._exploration.state(),
            "shown": self.answers.shown,
            "fitted": self.fitted,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes over what `state_dict` gave."""
        self.agent.load_state_dict(state["sac"])
        self.model.load_state_dict(state["model"])
        self.replay.load_state_dict(state["replay"])
        self._exploration.load_state(state["exploration"])
        self.answers.resume(state["shown"])
        self.fitted = state["fitted"]
