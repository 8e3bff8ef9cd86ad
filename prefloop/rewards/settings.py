"""Settings of reward models, with defaults; free of PyTorch, so that `--help` is quick."""

from dataclasses import dataclass, replace
from typing import Any

from prefloop.encoder_kinds import ENCODERS_OF_PICTURES, KINDS_IN_WORDS, OF_ENSEMBLES
from prefloop.query_strategies import STRATEGIES
from prefloop.settings import part, require_above_zero, require_between, setting

INPUTS = ("obs", "obs-actions")
ANNOTATOR_ERRORS = ("none", "learned")
# Passes over the answers before the first rate moves: a reward that knows nothing yet takes careful people for
# careless ones as often as the other way round, and would then learn from the wrong ones.
WARM_UP = 10


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
    encoder: str = setting("", f"of pictures: {KINDS_IN_WORDS}; if not given, by their size", flag="reward_encoder", choices=tuple(ENCODERS_OF_PICTURES))
    encoders: str = setting("shared", "one encoder of pictures for all members, or one for each (apart), which takes as many times as long", flag="reward_encoders", choices=OF_ENSEMBLES)
    shift: int = setting(0, "pixels by which each picture is moved at most, at random, whenever it is learned from (Yarats et al. 2021, arXiv:2004.13649)", flag="reward_shift")
    learning_rate: float = setting(None, "step size of Adam; if not given, 3e-3, of pictures 1e-3", flag="reward_learning_rate", usual=3e-3)
    epochs: int = setting(200, "passes over the preferences, at most", flag="reward_epochs")
    patience: int = setting(20, "passes without a lower held-out loss before the fit stops", flag="reward_patience")
    batch_size: int = setting(None, "pairs in each step of Adam; if not given, 128, of pictures 16", flag="reward_batch_size", usual=128)
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
        require_between(self, 0, float("inf"), "weight_decay", "shift")

    def filled(self, pictures: bool) -> "RewardSettings":
        """Fills in the learning rate and the batch size where they are None, for pictures or for vectors."""
        usual: dict[str, Any] = (
            {"learning_rate": 1e-3, "batch_size": 16}
            if pictures
            else {"learning_rate": 3e-3, "batch_size": 128}
        )
        return replace(self, **{k: v for k, v in usual.items() if getattr(self, k) is None})

    @property
    def fit_facts(self) -> dict[str, Any]:
        """Learning rate and batch size, which may not have been given; of settings that are `filled`."""
        return {"learning_rate": self.learning_rate, "batch_size": self.batch_size}


@dataclass(frozen=True, kw_only=True)
class SurfSettings:
    """SURF's. Source: Park et al. 2022, SURF, arXiv:2203.10050.

    Raises:
        ValueError: a value that no fit can have.
    """

    group = "SURF"

    # fmt: off
    surf: bool = setting(False, "learn from pairs that nobody answered, too, where the model is sure of the answer, and from crops of all pairs")
    unlabelled_ratio: float = setting(4.0, "pairs without an answer for each one with", flag="surf_unlabelled_ratio", needs="surf")
    unlabelled_selection: str = setting("uniform", "which pairs these are", flag="surf_selection", choices=tuple(STRATEGIES), needs="surf")
    confidence: float = setting(0.99, "probability of an answer above which the model is sure", flag="surf_confidence", needs="surf")
    surf_weight: float = setting(1.0, "what these pairs count beside those with an answer", needs="surf")
    smallest_crop: float = setting(0.75, "share of a segment that is seen of it, at least", flag="surf_smallest_crop", needs="surf")
    largest_crop: float = setting(0.95, "and at most", flag="surf_largest_crop", needs="surf")
    # fmt: on

    def __post_init__(self) -> None:
        require_above_zero(self, "unlabelled_ratio", "smallest_crop")
        require_between(self, 0.5, 1, "confidence")
        require_between(self, 0, float("inf"), "surf_weight")
        require_between(self, 0, 1, "smallest_crop", "largest_crop")
        if self.smallest_crop > self.largest_crop:
            raise ValueError(
                f"--surf_smallest_crop {self.smallest_crop} is more than --surf_largest_crop {self.largest_crop}"
            )


@dataclass(frozen=True, kw_only=True)
class ReedSettings:
    """REED's. Source: Metcalf et al. 2023, REED, arXiv:2402.17975.

    Raises:
        ValueError: a value that no fit can have.
    """

    group = "REED"

    # fmt: off
    reed: bool = setting(False, "before each fit, let the reward's networks learn from all steps which state follows")
    reed_updates: int = setting(150, "steps of Adam before each fit, of each member", needs="reed")
    reed_batch_size: int = setting(256, "steps in each: a step's next state is to be told from those of all others", needs="reed")
    reed_temperature: float = setting(0.1, "of the softmax over them", needs="reed")
    embedding: int = setting(64, "numbers that a state is told by", flag="reed_embedding", needs="reed")
    # fmt: on

    def __post_init__(self) -> None:
        require_above_zero(self, "reed_updates", "reed_batch_size", "reed_temperature", "embedding")


@dataclass(frozen=True, kw_only=True)
class AuxiliarySettings:
    """What a reward learns from besides answers: settings of its parts, each of which has a switch."""

    surf: SurfSettings = part(SurfSettings)
    reed: ReedSettings = part(ReedSettings)


@dataclass(frozen=True, kw_only=True)
class RuneSettings:
    """RUNE's. Source: Liang et al. 2022, RUNE, arXiv:2205.12401.

    Raises:
        ValueError: a value that no run can have.
    """

    group = "RUNE"

    # fmt: off
    rune_beta: float = setting(0.0, "pay this much for steps that the members of the reward disagree about, as a share of their deviation; 0.05 in the paper")
    rune_decay: float = setting(1e-5, "share of it that goes with each step of experience", needs="rune_beta")
    # fmt: on

    def __post_init__(self) -> None:
        require_between(self, 0, float("inf"), "rune_beta")
        require_between(self, 0, 1, "rune_decay")
