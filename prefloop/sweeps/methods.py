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
from prefloop.rewards.settings import (
    AuxiliarySettings,
    ReedSettings,
    RewardSettings,
    RuneSettings,
    SurfSettings,
)
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


# rewards that say nothing about what is preferred, and what the page says of them
CONTROLS = {
    "constant": "a reward of 1",
    "flipped": "the learned reward with its sign turned",
    "random": "an untrained network",
}


@dataclass(frozen=True)
class Compared:
    """A method in a comparison: all that is known of it there.

    Attributes:
        make: puts it together for one run, from what the run is given and its settings there.
        colour: wherever it is drawn.
        settings: what can be set of it, as it is if nothing is said; with `experience` where it acts, and with
            `questions` and `exploration_iterations` where it asks for its labels itself.
        uses_labels: without labels it has one result for all budgets.
        by_default: it is compared if nothing else is said.
        is_quick: it does not act, and takes seconds.
        has_demonstrators: it starts as the weaker one, or learns from what was said of what both did.
        from_scratch: it starts with a network of its own, and not as the weaker demonstrator.
        learns_without_ends: it learns in episodes without early ends, which `experience.absorb_termination` is about.
        tuned_as: the section of `prefloop/tuned` whose settings it takes for an environment; none if empty.
        command: the command that takes its best settings as a preset; none if empty.
        control: the reward that it learns from, if that is one of `CONTROLS`.
        is_reference: it is our own agent on the true reward, and the best of these is a score of 1.
    """

    make: "Callable[[Bench, Any], Method]"
    colour: str
    settings: Any
    uses_labels: bool = True
    by_default: bool = True
    is_quick: bool = False
    has_demonstrators: bool = True
    from_scratch: bool = False
    learns_without_ends: bool = False
    tuned_as: str = ""
    command: str = ""
    control: str = ""
    is_reference: bool = False

    @property
    def asks(self) -> bool:
        """Whether it asks for its labels itself."""
        return hasattr(self.settings, "questions")


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
        bench.env, stepping, answers, own, bench.seed, bench.device, bench.directory, kept=kept,
        learns_in=env,
    )  # fmt: skip
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
PEBBLE_SURF = PebbleSettings(auxiliary=AuxiliarySettings(surf=SurfSettings(surf=True)))
PEBBLE_REED = PebbleSettings(auxiliary=AuxiliarySettings(reed=ReedSettings(reed=True)))
SAC, SAC_ON_MODEL = SACAlone(agent=PEBBLE.agent), SACOnModel(agent=PEBBLE.agent)


def _by_sac(
    make: "Callable[[Bench, Any], Method]",
    colour: str,
    settings: Any,
    has_demonstrators: bool = False,
    **facts: Any,
) -> Compared:
    """A method whose agent is SAC: for continuous actions, from scratch, with what is tuned for PEBBLE.

    Args:
        facts: what else `Compared` holds.
    """
    return Compared(
        make, colour, settings, by_default=False, has_demonstrators=has_demonstrators,
        from_scratch=True, learns_without_ends=True, tuned_as="pebble", **facts,
    )  # fmt: skip


def _pebble_with(colour: str, settings: PebbleSettings = PEBBLE) -> Compared:
    return _by_sac(_pebble, colour, settings, command="pebble")


# fmt: off
# in the order in which they stand in tables and plots
METHODS: dict[str, Compared] = {
    "dpo": Compared(_dpo, "C1", DPOSettings(), is_quick=True),
    "ppo-rlhf": Compared(_on_reward("learned"), "C0", PPOOnModel()),
    "pref-ppo": Compared(_pref_ppo, "C2", PrefPPOSettings(), by_default=False, tuned_as="pref-ppo", command="pref-ppo"),
    "pebble": _pebble_with("C9"),
    "pebble+surf": _pebble_with("navy", PEBBLE_SURF),
    "pebble+rune": _pebble_with("teal", PebbleSettings(rune=RuneSettings(rune_beta=0.05))),
    "pebble+reed": _pebble_with("olive", PEBBLE_REED),
    "bc": Compared(_bc, "C3", BCSettings(), is_quick=True),
    "airl": Compared(_airl, "C4", AIRLAlone()),
    "constant": Compared(_on_reward("constant"), "C6", PPOAlone(), uses_labels=False, control="constant"),
    "flipped": Compared(_on_reward("flipped"), "C5", PPOOnModel(), control="flipped"),
    "random": Compared(_on_reward("random"), "C7", PPOOnModel(), uses_labels=False, control="random"),
    "true-reward": Compared(_on_reward("true"), "C8", PPOAlone(), uses_labels=False, command="ppo", is_reference=True),
    "sac-constant": _by_sac(_sac("constant"), "tan", SAC, uses_labels=False, control="constant"),
    # the rewards of these two need the demonstrators' episodes
    "sac-flipped": _by_sac(_sac("flipped"), "brown", SAC_ON_MODEL, has_demonstrators=True, control="flipped"),
    "sac-random": _by_sac(_sac("random"), "silver", SAC_ON_MODEL, has_demonstrators=True, uses_labels=False, control="random"),
    "sac": _by_sac(_sac("true"), "black", SAC, uses_labels=False, command="sac", is_reference=True),
}
# fmt: on
REFERENCES = tuple(name for name, method in METHODS.items() if method.is_reference)
