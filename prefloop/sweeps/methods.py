"""What `compare` compares: a method is an entry here, beside its assembly in training/methods.py.

Free of PyTorch, so that `--help` is quick: what puts a method together imports when it is called.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from prefloop.agents.settings import (
    AIRLSettings,
    BCSettings,
    DPOSettings,
    PPOSettings,
    SACSettings,
)
from prefloop.rewards.settings import ReedSettings, RewardSettings, RuneSettings, SurfSettings
from prefloop.settings import part
from prefloop.training.settings import (
    ExperienceSettings,
    PebbleSettings,
    PrefPPOSettings,
    ReplaySettings,
)

if TYPE_CHECKING:
    from prefloop.data.stepping import Stepping
    from prefloop.envs.settings import Env
    from prefloop.policies import Policy
    from prefloop.sweeps.running import Bench
    from prefloop.training.answers import Answers
    from prefloop.training.loop import Method


@dataclass(frozen=True, kw_only=True)
class PPOAlone:
    """Settings of PPO on a reward that nobody fits."""

    experience: ExperienceSettings = part(ExperienceSettings)
    agent: PPOSettings = part(PPOSettings)


@dataclass(frozen=True, kw_only=True)
class PPOOnModel(PPOAlone):
    """Settings of PPO on a reward model."""

    reward: RewardSettings = part(RewardSettings)


@dataclass(frozen=True, kw_only=True)
class AIRLAlone(PPOAlone):
    """Settings of AIRL, and of the agent under it."""

    airl: AIRLSettings = part(AIRLSettings)


@dataclass(frozen=True, kw_only=True)
class SACAlone:
    """Settings of SAC: PEBBLE's agent and experience, so that both begin to learn at the same step."""

    experience: ReplaySettings = part(ReplaySettings)
    agent: SACSettings = part(SACSettings)


@dataclass(frozen=True, kw_only=True)
class SACOnModel(SACAlone):
    """Settings of SAC on a reward model."""

    reward: RewardSettings = part(RewardSettings)


@dataclass(frozen=True)
class Compared:
    """A method in a comparison.

    Attributes:
        make: puts it together for one run, from what the run is given and its settings there.
        colour: wherever it is drawn.
        settings: what can be set of it, as it is if nothing is said.
        uses_labels: without labels it has one result for all budgets.
        by_default: it is compared if nothing else is said.
        is_quick: it does not act, and takes seconds.
        has_demonstrators: it starts as the weaker one, or learns from what was said of what both did.
    """

    make: "Callable[[Bench, Any], Method]"
    colour: str
    settings: Any
    uses_labels: bool = True
    by_default: bool = True
    is_quick: bool = False
    has_demonstrators: bool = True

    @property
    def asks(self) -> PrefPPOSettings | PebbleSettings | None:
        """Settings of a method that asks for its labels itself."""
        own = self.settings
        return own if isinstance(own, PrefPPOSettings | PebbleSettings) else None

    @property
    def is_tuned(self) -> bool:
        """Whether it takes what comes with the program for an environment, as its own command does."""
        return isinstance(self.settings, PrefPPOSettings | PebbleSettings | SACAlone)


def _dpo(bench: "Bench", own: DPOSettings) -> "Method":
    from prefloop.training import methods

    return methods.dpo(bench.weak, bench.answers(), own, bench.seed, bench.device)


def _bc(bench: "Bench", own: BCSettings) -> "Method":
    from prefloop.training import methods

    return methods.bc(bench.weak, bench.answers(), own, bench.seed, bench.device)


def _airl(bench: "Bench", own: AIRLAlone) -> "Method":
    from prefloop.training import methods

    return methods.airl(
        bench.env,
        bench.answers(),
        own.airl,
        own.agent,
        own.experience,
        bench.seed,
        bench.device,
        bench.weak_file,
    )


def _pref_ppo(bench: "Bench", own: PrefPPOSettings) -> "Method":
    from prefloop.training import methods

    stepping = methods.stepping_in(bench.env, own.experience.num_envs)
    answers = _teacher(bench, bench.env, stepping, own, lambda: bench.weak)
    method, _ = methods.pref_ppo(
        bench.env, stepping, answers, own, bench.seed, bench.device, bench.weak_file
    )
    return method


def _teacher(
    bench: "Bench",
    env: "Env",
    stepping: "Stepping",
    own: PrefPPOSettings | PebbleSettings,
    begins_as: "Callable[[], Policy]",
) -> "Answers":
    from prefloop.training import methods

    answering = methods.simulated_answers(
        env, stepping, bench.teacher, own.questions.segment_length, begins_as, bench.seed,
        bench.directory, bench.program, bench.goes_on,
    )  # fmt: skip
    return bench.stack.enter_context(answering)


def _pebble(bench: "Bench", own: PebbleSettings) -> "Method":
    import torch

    from prefloop.training import methods
    from prefloop.training.off_policy import make_sac

    env = bench.learns_in
    stepping = methods.stepping_in(env, own.experience.num_envs)

    def begins_as() -> "Policy":
        return make_sac(stepping, own.agent, bench.seed, torch.device("cpu")).acting_policy

    answers = _teacher(bench, env, stepping, own, begins_as)
    kept = bench.kept_exploration(own, stepping.state_kind)
    method, _ = methods.pebble(
        bench.env, stepping, answers, own, bench.seed, bench.device, bench.directory, kept=kept
    )
    return method


def _sac(reward: str) -> "Callable[[Bench, SACAlone], Method]":
    """SAC, from scratch, on one of `Bench.reward`."""

    def make(bench: "Bench", own: SACAlone) -> "Method":
        from prefloop.training import methods

        return methods.sac(
            bench.env,
            lambda stepping: bench.reward(reward, stepping.spaces),
            own.agent,
            own.experience,
            bench.seed,
            bench.device,
            bench.directory,
            learns_in=bench.learns_in,
        )

    return make


def _on_reward(reward: str) -> "Callable[[Bench, PPOAlone], Method]":
    """PPO on one of `Bench.reward`."""

    def make(bench: "Bench", own: PPOAlone) -> "Method":
        from prefloop.training import methods

        return methods.ppo(
            bench.env,
            lambda stepping: bench.reward(reward, stepping.spaces),
            own.agent,
            own.experience,
            bench.seed,
            bench.device,
            bench.weak_file,
        )

    return make


PEBBLE = PebbleSettings()
SAC, SAC_ON_MODEL = SACAlone(agent=PEBBLE.agent), SACOnModel(agent=PEBBLE.agent)


def _from_scratch(
    make: "Callable[[Bench, Any], Method]", colour: str, settings: Any, **facts: bool
) -> Compared:
    """A method that has no demonstrators, and is for continuous actions."""
    return Compared(make, colour, settings, by_default=False, has_demonstrators=False, **facts)


# in the order in which they stand in tables and plots
METHODS: dict[str, Compared] = {
    "dpo": Compared(_dpo, "C1", DPOSettings(), is_quick=True),
    "ppo-rlhf": Compared(_on_reward("learned"), "C0", PPOOnModel()),
    "pref-ppo": Compared(_pref_ppo, "C2", PrefPPOSettings(), by_default=False),
    "pebble": _from_scratch(_pebble, "C9", PEBBLE),
    "pebble+surf": _from_scratch(_pebble, "navy", PebbleSettings(surf=SurfSettings(surf=True))),
    "pebble+rune": _from_scratch(
        _pebble, "teal", PebbleSettings(rune=RuneSettings(rune_beta=0.05))
    ),
    "pebble+reed": _from_scratch(_pebble, "olive", PebbleSettings(reed=ReedSettings(reed=True))),
    "bc": Compared(_bc, "C3", BCSettings(), is_quick=True),
    "airl": Compared(_airl, "C4", AIRLAlone()),
    "constant": Compared(_on_reward("constant"), "C6", PPOAlone(), uses_labels=False),
    "flipped": Compared(_on_reward("flipped"), "C5", PPOOnModel()),
    "random": Compared(_on_reward("random"), "C7", PPOOnModel(), uses_labels=False),
    "true-reward": Compared(_on_reward("true"), "C8", PPOAlone(), uses_labels=False),
    "sac-constant": _from_scratch(_sac("constant"), "tan", SAC, uses_labels=False),
    "sac-flipped": Compared(_sac("flipped"), "brown", SAC_ON_MODEL, by_default=False),
    "sac-random": Compared(
        _sac("random"), "silver", SAC_ON_MODEL, uses_labels=False, by_default=False
    ),
    "sac": _from_scratch(_sac("true"), "black", SAC, uses_labels=False),
}
