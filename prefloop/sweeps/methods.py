"""What `compare` compares: a method is an entry here, beside its assembly in training/methods.py.

Free of PyTorch, so that `--help` is quick: what puts a method together imports when it is called.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from prefloop.agents.settings import SACSettings
from prefloop.rewards.settings import ReedSettings, RuneSettings, SurfSettings
from prefloop.settings import part
from prefloop.training.settings import PebbleSettings, PrefPPOSettings, ReplaySettings

if TYPE_CHECKING:
    from prefloop.data.stepping import Stepping
    from prefloop.envs.settings import Env
    from prefloop.policies import Policy
    from prefloop.sweeps.running import Bench
    from prefloop.training.answers import Answers
    from prefloop.training.methods import Method


@dataclass(frozen=True)
class Compared:
    """A method in a comparison.

    Attributes:
        make: puts it together for one run, from what the run is given.
        colour: wherever it is drawn.
        uses_labels: without labels it has one result for all budgets.
        by_default: it is compared if nothing else is said.
        is_quick: it does not act, and takes seconds.
        has_demonstrators: it starts as the weaker one, or learns from what was said of what both did.
        settings: of a method that has some for the environment, as its own command has.
    """

    make: "Callable[[Bench], Method]"
    colour: str
    uses_labels: bool = True
    by_default: bool = True
    is_quick: bool = False
    has_demonstrators: bool = True
    settings: "PrefPPOSettings | PebbleSettings | SACAlone | None" = None

    @property
    def asks(self) -> PrefPPOSettings | PebbleSettings | None:
        """Settings of a method that asks for its labels itself."""
        return None if isinstance(self.settings, SACAlone) else self.settings


def _dpo(bench: "Bench") -> "Method":
    from prefloop.agents.settings import DPOSettings
    from prefloop.training import methods

    return methods.dpo(bench.weak, bench.answers(), DPOSettings(), bench.seed, bench.device)


def _bc(bench: "Bench") -> "Method":
    from prefloop.agents.settings import BCSettings
    from prefloop.training import methods

    return methods.bc(bench.weak, bench.answers(), BCSettings(), bench.seed, bench.device)


def _airl(bench: "Bench") -> "Method":
    from prefloop.agents.settings import AIRLSettings, PPOSettings
    from prefloop.training import methods

    return methods.airl(
        bench.env,
        bench.answers(),
        AIRLSettings(),
        PPOSettings(),
        bench.experience,
        bench.seed,
        bench.device,
        bench.weak_file,
    )


def _pref_ppo(bench: "Bench") -> "Method":
    from prefloop.training import methods

    own = bench.shared(PREF_PPO)
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
        bench.directory,
    )  # fmt: skip
    return bench.stack.enter_context(answering)


def _pebble(settings: PebbleSettings) -> "Callable[[Bench], Method]":
    def make(bench: "Bench") -> "Method":
        import torch

        from prefloop.training import methods
        from prefloop.training.off_policy import make_sac

        own, env = bench.shared(settings), bench.learns_in
        stepping = methods.stepping_in(env, own.experience.num_envs)

        def begins_as() -> "Policy":
            return make_sac(stepping, own.agent, bench.seed, torch.device("cpu")).acting_policy

        answers = _teacher(bench, env, stepping, own, begins_as)
        kept = bench.kept_exploration(own, stepping.state_kind)
        method, _ = methods.pebble(
            bench.env, stepping, answers, own, bench.seed, bench.device, bench.directory, kept=kept
        )
        return method

    return make


def _sac(reward: str, settings: "SACAlone") -> "Callable[[Bench], Method]":
    """SAC, from scratch, on one of `Bench.reward`."""

    def make(bench: "Bench") -> "Method":
        from prefloop.training import methods

        own = bench.tuned(settings)
        return methods.sac(
            bench.env,
            lambda stepping: bench.reward(reward, stepping.spaces),
            own.agent,
            replace(own.experience, steps=bench.experience.steps),
            bench.seed,
            bench.device,
            bench.directory,
            learns_in=bench.learns_in,
        )

    return make


def _on_reward(reward: "str") -> "Callable[[Bench], Method]":
    """PPO on one of `Bench.rewards`."""

    def make(bench: "Bench") -> "Method":
        from prefloop.agents.settings import PPOSettings
        from prefloop.training import methods

        return methods.ppo(
            bench.env,
            lambda stepping: bench.reward(reward, stepping.spaces),
            PPOSettings(),
            bench.experience,
            bench.seed,
            bench.device,
            bench.weak_file,
        )

    return make


@dataclass(frozen=True, kw_only=True)
class SACAlone:
    """Settings of SAC: PEBBLE's agent and experience, so that both begin to learn at the same step."""

    experience: ReplaySettings = part(ReplaySettings)
    agent: SACSettings = part(SACSettings)


PREF_PPO, PEBBLE = PrefPPOSettings(), PebbleSettings()
SAC = SACAlone(agent=PEBBLE.agent)
PEBBLE_SURF = PebbleSettings(surf=SurfSettings(surf=True))
PEBBLE_RUNE = PebbleSettings(rune=RuneSettings(rune_beta=0.05))
PEBBLE_REED = PebbleSettings(reed=ReedSettings(reed=True))

# in the order in which they stand in tables and plots
METHODS: dict[str, Compared] = {
    "dpo": Compared(_dpo, "C1", is_quick=True),
    "ppo-rlhf": Compared(_on_reward("learned"), "C0"),
    "pref-ppo": Compared(_pref_ppo, "C2", by_default=False, settings=PREF_PPO),
    "pebble": Compared(
        _pebble(PEBBLE), "C9", by_default=False, has_demonstrators=False, settings=PEBBLE
    ),
    "pebble+surf": Compared(
        _pebble(PEBBLE_SURF),
        "navy",
        by_default=False,
        has_demonstrators=False,
        settings=PEBBLE_SURF,
    ),
    "pebble+rune": Compared(
        _pebble(PEBBLE_RUNE),
        "teal",
        by_default=False,
        has_demonstrators=False,
        settings=PEBBLE_RUNE,
    ),
    "pebble+reed": Compared(
        _pebble(PEBBLE_REED),
        "olive",
        by_default=False,
        has_demonstrators=False,
        settings=PEBBLE_REED,
    ),
    "bc": Compared(_bc, "C3", is_quick=True),
    "airl": Compared(_airl, "C4"),
    "constant": Compared(_on_reward("constant"), "C6", uses_labels=False),
    "flipped": Compared(_on_reward("flipped"), "C5"),
    "random": Compared(_on_reward("random"), "C7", uses_labels=False),
    "true-reward": Compared(_on_reward("true"), "C8", uses_labels=False),
    "sac-constant": Compared(
        _sac("constant", SAC),
        "tan",
        uses_labels=False,
        by_default=False,
        has_demonstrators=False,
        settings=SAC,
    ),
    "sac-flipped": Compared(_sac("flipped", SAC), "brown", by_default=False, settings=SAC),
    "sac-random": Compared(
        _sac("random", SAC), "silver", uses_labels=False, by_default=False, settings=SAC
    ),
    "sac": Compared(
        _sac("true", SAC),
        "black",
        uses_labels=False,
        by_default=False,
        has_demonstrators=False,
        settings=SAC,
    ),
}
