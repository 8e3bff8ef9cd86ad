"""What can be set of each algorithm, with defaults; free of PyTorch, so that `--help` is quick."""

from dataclasses import dataclass, replace

from prefloop.encoder_kinds import ENCODERS_OF_PICTURES, KINDS_IN_WORDS
from prefloop.settings import require_above_zero, require_between, setting


@dataclass(frozen=True, kw_only=True)
class PPOSettings:
    """PPO's. Sources: Schulman et al. 2017 (P), arXiv:1707.06347; Huang et al. 2022 (H).

    Raises:
        ValueError: a value that no run can have.
    """

    group = "PPO"

    # fmt: off
    hidden_sizes: tuple[int, ...] = setting(None, "width of each hidden layer, of policy and value, of the value alone with --init; if not given, 64 64 (P, table 3), and none after an encoder", usual=(64, 64))
    encoder: str = setting("", f"of pictures, for policy and value together: {KINDS_IN_WORDS}; if not given, by their size", choices=tuple(ENCODERS_OF_PICTURES))
    gamma: float = setting(0.995, "discount; near 1, since preferences are about undiscounted returns")
    gae_lambda: float = setting(0.95, "0 trusts the values, 1 the rewards (P)")
    learning_rate: float = setting(1e-3, "step size of Adam; falls to 0 over the run (H, detail 4)")
    update_epochs: int = setting(10, "passes over the experience of an update (P)")
    minibatch_size: int = setting(512, "steps in each step of Adam")
    clip: float = setting(0.2, "how far the probability of an action may move, as a ratio (P, epsilon)")
    value_coef: float = setting(0.5, "weight of the value's loss (H, detail 9)")
    entropy_coef: float = setting(0.0, "weight of the entropy (P)")
    max_grad_norm: float = setting(0.5, "the gradient is cut to this length (H, detail 11)")
    kl_coef: float = setting(0.0, "penalty on log(policy / reference) for each step; the reference is --init")
    normalise_obs: bool = setting(False, "bring observations to mean 0 and standard deviation 1; only without --init, and not of pictures")
    clip_rewards: bool = setting(False, "learn from rewards between -1 and 1; returns are reported as they are")
    # fmt: on

    def __post_init__(self) -> None:
        require_above_zero(
            self, "hidden_sizes", "learning_rate", "update_epochs", "minibatch_size", "clip",
            "max_grad_norm",
        )  # fmt: skip
        require_between(self, 0, 1, "gamma", "gae_lambda")
        require_between(self, 0, float("inf"), "value_coef", "entropy_coef", "kl_coef")

    def filled(self, pictures: bool) -> "PPOSettings":
        """With what is meant where nothing is said, of pictures or of vectors."""
        return replace(self, hidden_sizes=self.hidden_sizes or (() if pictures else (64, 64)))


@dataclass(frozen=True, kw_only=True)
class SACSettings:
    """SAC's. Sources: Haarnoja et al. 2018 (H), arXiv:1812.05905; Lee et al. 2024 (L), SimBa, arXiv:2410.09754.

    Raises:
        ValueError: a value that no run can have.
    """

    group = "SAC"

    # fmt: off
    network: str = setting("mlp", "of policy and critics, of the critics alone with --init: layers one after the other, or residual blocks on observations of mean 0 and deviation 1 (L)", choices=("mlp", "residual"))
    hidden_sizes: tuple[int, ...] = setting((), "width of each hidden layer, or residual block, of the critics alone with --init; if not given, 256 256 (H), or one block of 128")
    gamma: float = setting(0.99, "discount (H)")
    tau: float = setting(0.005, "how far the target critics follow at each update (H)")
    learning_rate: float = setting(1e-3, "step size of Adam, for policy, critics and temperature")
    batch_size: int = setting(128, "steps in each update; 256 in H")
    temperature: float = setting(1.0, "weight of the entropy at first; it is learned (H)")
    random_steps: int = setting(5000, "steps of random actions before anything is learned", needs="not init")
    # fmt: on

    def __post_init__(self) -> None:
        require_above_zero(
            self, "hidden_sizes", "learning_rate", "batch_size", "temperature", "tau"
        )
        require_between(self, 0, 1, "gamma", "tau")
        require_between(self, 0, float("inf"), "random_steps")
        if self.network == "residual" and len(set(self.hidden_sizes)) > 1:
            raise ValueError(
                f"the blocks of --network residual are equally wide, not {' '.join(map(str, self.hidden_sizes))}"
            )

    @property
    def sizes(self) -> tuple[int, ...]:
        """`hidden_sizes`, or what goes with the network."""
        return self.hidden_sizes or {"mlp": (256, 256), "residual": (128,)}[self.network]


@dataclass(frozen=True, kw_only=True)
class DPOSettings:
    """DPO's. Sources: Rafailov et al. 2023 (R), arXiv:2305.18290; Mitchell 2023 (M), "A note on DPO".

    Raises:
        ValueError: a value that no run can have.
    """

    group = "DPO"

    # fmt: off
    beta: float = setting(0.01, "how strongly it is held to the reference: with a small one it goes far (R)")
    updates: int = setting(200, "steps of Adam; in whole passes over the preferences", flag="dpo_updates")
    learning_rate: float = setting(1e-3, "step size of Adam", flag="dpo_learning_rate")
    batch_size: int = setting(32, "pairs in each step of Adam", flag="dpo_batch_size")
    conservative: float = setting(0.0, "share of the labels that is taken to be wrong, below 0.5 (M, epsilon)")
    # fmt: on

    def __post_init__(self) -> None:
        require_above_zero(self, "beta", "updates", "learning_rate", "batch_size")
        if not 0 <= self.conservative < 0.5:
            raise ValueError(
                f"--conservative must be at least 0 and below 0.5, not {self.conservative}"
            )


@dataclass(frozen=True, kw_only=True)
class BCSettings:
    """Behaviour cloning's.

    Raises:
        ValueError: a value that no run can have.
    """

    group = "behaviour cloning"

    # fmt: off
    epochs: int = setting(200, "passes over the demonstrations, at most", flag="bc_epochs")
    patience: int = setting(10, "passes without a lower held-out loss before it stops", flag="bc_patience")
    learning_rate: float = setting(1e-3, "step size of Adam", flag="bc_learning_rate")
    batch_size: int = setting(256, "steps in each step of Adam", flag="bc_batch_size")
    held_out: float = setting(0.1, "share of the demonstrations that it stops by", flag="bc_held_out")
    # fmt: on

    def __post_init__(self) -> None:
        require_above_zero(self, "epochs", "patience", "learning_rate", "batch_size")
        require_between(self, 0, 0.9, "held_out")


@dataclass(frozen=True, kw_only=True)
class AIRLSettings:
    """Adversarial inverse RL's. Source: Fu et al. 2018, arXiv:1710.11248.

    Raises:
        ValueError: a value that no run can have.
    """

    group = "AIRL"

    # fmt: off
    hidden_sizes: tuple[int, ...] = setting((32, 32), "width of each hidden layer, of reward and shaping", flag="airl_hidden_sizes")
    learning_rate: float = setting(3e-4, "step size of Adam, for the discriminator; faster, it can win at once and the policy learns to end episodes", flag="airl_learning_rate")
    batch_size: int = setting(512, "steps of either side in one update of the discriminator", flag="airl_batch_size")
    updates: int = setting(8, "updates of the discriminator after each rollout", flag="airl_updates")
    # fmt: on

    def __post_init__(self) -> None:
        require_above_zero(self, "hidden_sizes", "learning_rate", "batch_size", "updates")
