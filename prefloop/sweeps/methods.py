"""What `compare` compares: a method is an entry here, beside its assembly in training/methods.py.

Free of PyTorch, so that `--help` is quick: what puts a method together imports when it is called.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from prefloop.sweeps.running import Bench
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
    """

    make: "Callable[[Bench], Method]"
    colour: str
    uses_labels: bool = True
    by_default: bool = True
    is_quick: bool = False


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

    own = bench.pref_ppo_settings
    stepping = methods.stepping_in(bench.env, own.experience.num_envs)
    answers = bench.stack.enter_context(
        methods.simulated_answers(
            bench.env, stepping, bench.teacher, own.questions.segment_length, lambda: bench.weak,
            bench.seed, bench.directory,
        )
    )  # fmt: skip
    method, _ = methods.pref_ppo(
        bench.env, stepping, answers, own, bench.seed, bench.device, bench.weak_file
    )
    return method


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


# in the order in which they stand in tables and plots
METHODS: dict[str, Compared] = {
    "dpo": Compared(_dpo, "C1", is_quick=True),
    "ppo-rlhf": Compared(_on_reward("learned"), "C0"),
    "pref-ppo": Compared(_pref_ppo, "C2", by_default=False),
    "bc": Compared(_bc, "C3", is_quick=True),
    "airl": Compared(_airl, "C4"),
    "constant": Compared(_on_reward("constant"), "C6", uses_labels=False),
    "flipped": Compared(_on_reward("flipped"), "C5"),
    "random": Compared(_on_reward("random"), "C7", uses_labels=False),
    "true-reward": Compared(_on_reward("true"), "C8", uses_labels=False),
}
