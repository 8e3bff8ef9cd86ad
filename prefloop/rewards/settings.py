"""What can be set of reward models, with defaults; free of PyTorch, so that `--help` is quick."""

from dataclasses import dataclass

from prefloop.settings import require_above_zero, require_between, setting

INPUTS = ("obs", "obs-actions")


@dataclass(frozen=True, kw_only=True)
class RewardSettings:
    """A reward model's. Source: Christiano et al. 2017 (C), arXiv:1706.03741, section 2.2.3.

    Raises:
        ValueError: a value that no fit can have.
    """

    group = "the reward model"

    # fmt: off
    ensemble: int = setting(3, "members; they differ by initialisation and by bootstrap (C)")
    inputs: str = setting("obs-actions", "what a reward depends on", flag="reward_inputs", choices=INPUTS)
    hidden_sizes: tuple[int, ...] = setting((32, 32), "width of each hidden layer", flag="reward_hidden_sizes")
    learning_rate: float = setting(3e-3, "step size of Adam", flag="reward_learning_rate")
    epochs: int = setting(200, "passes over the preferences, at most", flag="reward_epochs")
    patience: int = setting(20, "passes without a lower held-out loss before the fit stops", flag="reward_patience")
    batch_size: int = setting(128, "pairs in each step of Adam", flag="reward_batch_size")
    held_out: float = setting(0.2, "share of the pairs that the fit stops by and is judged on")
    label_noise: float = setting(0.1, "how likely an answer is a coin toss (C)")
    weight_decay: float = setting(1e-4, "L2, in Adam (C)")
    # fmt: on

    def __post_init__(self) -> None:
        require_above_zero(
            self, "ensemble", "hidden_sizes", "learning_rate", "epochs",
            "patience", "batch_size",
        )  # fmt: skip
        require_between(self, 0, 0.9, "held_out", "label_noise")
        require_between(self, 0, float("inf"), "weight_decay")
