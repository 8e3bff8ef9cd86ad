"""What can be set of comparisons, with defaults; free of PyTorch, so that `--help` is quick."""

from dataclasses import MISSING, dataclass

from prefloop.settings import require_above_zero, setting
from prefloop.teachers.settings import TeacherSettings

# those that learn from labels, and those that need none and so have one result for all budgets
LABELLED = ("dpo", "ppo-rlhf", "pref-ppo", "bc", "airl", "flipped")
UNLABELLED = ("constant", "random", "true-reward")
DEFAULT_METHODS = ("dpo", "ppo-rlhf", "bc", "airl", "constant", "flipped", "random", "true-reward")


def parse_seeds(text: str) -> str:
    """Checks `3` or `0-4`.

    Raises:
        ValueError: it is neither.
    """
    first, _, last = text.partition("-")
    if not (first.isdigit() and (last.isdigit() or not _)):
        raise ValueError(text)
    return text


def segment_length(text: str) -> int | None:
    """`full` for whole episodes, or a number of steps.

    Raises:
        ValueError: neither.
    """
    return None if text == "full" else int(text)


parse_seeds.__name__ = "seed or range"  # as argparse shows them
segment_length.__name__ = "full or a number"


@dataclass(frozen=True, kw_only=True)
class CompareSettings(TeacherSettings):
    """What is compared, and on what.

    Raises:
        ValueError: a value that can't be meant.
    """

    # fmt: off
    env: str = setting(MISSING, "which environment, for instance CartPole-v0")
    methods: tuple[str, ...] = setting(DEFAULT_METHODS, "what is compared", choices=LABELLED + UNLABELLED)
    labels: tuple[int, ...] = setting((20, 50, 200), "label budgets; a smaller one is the beginning of a larger one")
    seeds: tuple[str, ...] = setting(("0-4",), "seeds or ranges of seeds", parse=parse_seeds)
    policies: tuple[str, ...] = setting((), "two demonstrators, the weaker one last; {seed} stands for the seed; if not given, they are trained")
    demonstrator_steps: int = setting(100_000, "of experience of the demonstrators that are trained here")
    weaker: float = setting(0.25, "the weaker demonstrator is the first to come this share of the way to the stronger one's return")
    episodes: int = setting(50, "of each demonstrator, which pairs are made of")
    segment_length: int | None = setting(None, "full (whole episodes) or a number of steps", parse=segment_length)
    segments: int = setting(500, "fixed-length segments that are cut from each demonstrator's episodes")
    steps: int = setting(100_000, "of experience of every method that acts")
    evaluation_episodes: int = setting(100, "by whose true returns a policy is judged")
    out: str = setting(MISSING, "folder that everything is written to; made if missing")
    processes: int = setting(0, "how many at once; 0 for one per core")
    device: str = setting("cpu", "where tensors live: cpu, cuda, mps")
    # fmt: on

    def __post_init__(self) -> None:
        super().__post_init__()
        require_above_zero(
            self, "labels", "demonstrator_steps", "weaker", "episodes", "segment_length",
            "segments", "steps", "evaluation_episodes",
        )  # fmt: skip
        if self.weaker >= 1:
            raise ValueError(f"--weaker must be below 1, not {self.weaker}")
        if self.processes < 0:
            raise ValueError(f"--processes must be at least 0, not {self.processes}")
        if self.policies and len(self.policies) != 2:
            raise ValueError(f"--policies takes two, the weaker one last, not {len(self.policies)}")
        if not self.seed_numbers:
            raise ValueError(f"--seeds {' '.join(self.seeds)} names no seed")

    @property
    def seed_numbers(self) -> list[int]:
        """All seeds, in order."""
        numbers: set[int] = set()
        for text in self.seeds:
            first, _, last = text.partition("-")
            numbers |= set(range(int(first), int(last or first) + 1))
        return sorted(numbers)
