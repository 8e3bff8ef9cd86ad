"""What can be set of runs and loops, with defaults; free of PyTorch, so that `--help` is quick."""

import re
from dataclasses import MISSING, dataclass

from prefloop.agents.settings import PPOSettings, SACSettings
from prefloop.queries.schedules import SCHEDULES
from prefloop.query_strategies import STRATEGIES
from prefloop.rewards.settings import AuxiliarySettings, RewardSettings, RuneSettings
from prefloop.settings import part, require_above_zero, require_finite, require_seed, setting
from prefloop.tracking import TRACKERS


def segment_length(text: str) -> int | None:
    """`full` for whole episodes, or a number of steps.

    Raises:
        ValueError: neither.
    """
    return None if text == "full" else int(text)


segment_length.__name__ = "full or a number"  # as argparse shows it


def read_segment_length(text: str) -> int | None:
    """Reads `--segment_length` where it was kept as a text, as `segment_length` does.

    Raises:
        ValueError: it is neither `full` nor a number above 0; names the flag.
    """
    if not re.fullmatch("full|0*[1-9][0-9]*", text):
        raise ValueError(f"--segment_length is full or a number, not {text!r}")
    return segment_length(text)


@dataclass(frozen=True, kw_only=True)
class RunSettings:
    """Where a command writes and what its randomness begins with.

    Raises:
        ValueError: a seed that not every generator takes.
    """

    group = "the run"

    # fmt: off
    out: str = setting(MISSING, "folder that everything is written to; made if missing")
    seed: int = setting(0, "same seed, same result")
    device: str = setting("cpu", "where tensors live: cpu, cuda, mps")
    resume: bool = setting(False, "go on with what was stopped in --out, as it began where nothing else is given")
    track: tuple[str, ...] = setting((), "send metrics to these as well as to metrics.csv", choices=tuple(TRACKERS))
    # fmt: on

    def __post_init__(self) -> None:
        require_seed(self.seed)

    @property
    def when_interrupted(self) -> str:
        """What to say after Ctrl-C."""
        return f"Stopped. Go on with the same command and --resume; {self.out} is whole."


@dataclass(frozen=True, kw_only=True)
class StoppingSettings:
    """When a run ends before its steps are spent, by the true return of its rows.

    Raises:
        ValueError: a value that no run can have.
    """

    group = "stopping early"

    # fmt: off
    stop_at: float | None = setting(None, "end when a row's true_return has reached this, where it has a reward already; never if not given")
    patience: int | None = setting(None, "end when the best true_return of the rows with a reward is so many of them old; never if not given")
    # fmt: on

    def __post_init__(self) -> None:
        require_above_zero(self, "patience")
        require_finite(self, "stop_at")


@dataclass(frozen=True, kw_only=True)
class WatchingSettings:
    """How one can watch an agent while it learns, and what is kept of the way.

    Raises:
        ValueError: a value that no run can have.
    """

    group = "watching"

    # fmt: off
    checkpoint_every: int | None = setting(None, "keep the policy as policy_checkpoint0.params and so on, by row, every so many rows of metrics.csv; only the last if not given")
    video_every: int | None = setting(None, "write a video of an episode of the policy's mean action to videos/, every so many rows of metrics.csv; none if not given")
    render: str = setting("", "show episodes of the policy's mean action in a window while it learns (human)", choices=("human",))
    # fmt: on

    def __post_init__(self) -> None:
        require_above_zero(self, "checkpoint_every", "video_every")


@dataclass(frozen=True, kw_only=True)
class ExperienceSettings:
    """How much an agent acts, and how its steps are divided.

    Raises:
        ValueError: a number below 1.
    """

    group = "experience"

    # fmt: off
    steps: int = setting(200_000, "steps of experience in all")
    iteration_steps: int = setting(20_000, "steps between two rows of metrics.csv; episodes begin anew there, and a stopped run goes on from there")
    num_envs: int = setting(16, "environments that step together")
    rollout_steps: int = setting(128, "steps of each environment between two updates")
    # fmt: on

    def __post_init__(self) -> None:
        require_above_zero(self, "steps", "iteration_steps", "num_envs", "rollout_steps")

    @property
    def divided(self) -> "ExperienceSettings":
        """These settings: they are divided as a plan takes them."""
        return self


@dataclass(frozen=True, kw_only=True)
class ReplaySettings:
    """How much an agent acts that learns from all it has done. Source: Haarnoja et al. 2018, arXiv:1812.05905.

    Raises:
        ValueError: a value that no run can have.
    """

    group = "experience"

    # fmt: off
    steps: int = setting(100_000, "steps of experience in all")
    iteration_steps: int = setting(5000, "steps between two rows of metrics.csv; episodes begin anew there, and a stopped run goes on from there")
    num_envs: int = setting(1, "environments that step together")
    updates_per_step: float = setting(1.0, "updates for each step of experience; 0.25 is one every four steps")
    capacity: int = setting(1_000_000, "steps that are kept to learn from, the newest ones")
    evaluation_episodes: int = setting(10, "episodes of the policy's mean action that a row of metrics.csv is about")
    absorb_termination: bool = setting(False, "learn in episodes in which an early end is followed by 50 steps that observe and pay 0; they are judged as they end", needs="termination own")
    # fmt: on

    def __post_init__(self) -> None:
        require_above_zero(
            self, "steps", "iteration_steps", "num_envs", "updates_per_step", "capacity",
            "evaluation_episodes",
        )  # fmt: skip

    @property
    def divided(self) -> ExperienceSettings:
        """Experience as a plan takes it, in rollouts of one step of each environment."""
        return ExperienceSettings(
            steps=self.steps,
            iteration_steps=self.iteration_steps,
            num_envs=self.num_envs,
            rollout_steps=1,
        )


REFITS = ("all", "new")


@dataclass(frozen=True, kw_only=True)
class QuerySettings:
    """What a teacher is asked, and when. Source: Christiano et al. 2017, arXiv:1706.03741.

    Raises:
        ValueError: a value that no run can have.
    """

    group = "questions"

    # fmt: off
    labels: int = setting(700, "answers in all; a skipped query is shown, not answered, and asked for again but in the last session")
    selection: str = setting("disagreement", "which pairs are asked about", "--selection", flag="queries", choices=tuple(STRATEGIES))
    candidates: int = setting(10, "random pairs that each query is chosen from; with uniform, how many segments there are to draw from")
    schedule: str = setting("hyperbolic", "when the labels are spent", choices=tuple(SCHEDULES), needs="not queue")
    segment_length: int = setting(50, "steps of each segment")
    queue: int | None = setting(None, "in place of a schedule, keep so many questions ahead of whoever answers, as long as there are labels to come")
    refit: str = setting("all", "what each later fit of the reward learns from: all answers, or those that are new with as many of the others, drawn anew in each pass (new), which costs what they cost", choices=REFITS)
    # fmt: on

    def __post_init__(self) -> None:
        require_above_zero(self, "labels", "candidates", "segment_length", "queue")


def _require_reward(
    questions: QuerySettings, reward: RewardSettings, auxiliary: AuxiliarySettings
) -> None:
    """Refuses a reward that pairs can't be chosen by, or that can't learn what it is to learn from.

    Raises:
        ValueError: names the flags.
    """
    selections = {"--queries": questions.selection}
    if auxiliary.surf.surf:
        selections["--surf_selection"] = auxiliary.surf.unlabelled_selection
    for flag, selection in selections.items():
        needed = STRATEGIES[selection].min_members
        if reward.ensemble < needed:
            raise ValueError(
                f"{flag} {selection} needs an --ensemble of {needed} or more, not {reward.ensemble}"
            )
    if auxiliary.reed.reed and not reward.hidden_sizes:
        raise ValueError("--reed needs hidden layers in the reward (--reward_hidden_sizes)")


@dataclass(frozen=True, kw_only=True)
class PrefPPOSettings:
    """PrefPPO's: those of its parts.

    Raises:
        ValueError: as they do; or a single network that is to disagree with itself.
    """

    # fmt: off
    experience: ExperienceSettings = part(ExperienceSettings, iteration_steps=setting(10_000, "steps between two sessions of questions; episodes begin anew there, and a stopped run goes on from there"))
    questions: QuerySettings = part(QuerySettings)
    agent: PPOSettings = part(PPOSettings)
    reward: RewardSettings = part(RewardSettings)
    auxiliary: AuxiliarySettings = part(AuxiliarySettings)
    # fmt: on

    def __post_init__(self) -> None:
        _require_reward(self.questions, self.reward, self.auxiliary)

    @property
    def exploration_iterations(self) -> int:
        """Iterations before the first questions: the one that they are about."""
        return 1


@dataclass(frozen=True, kw_only=True)
class ExplorationSettings:
    """What is done before there is a reward. Source: Lee et al. 2021, PEBBLE, arXiv:2106.05091, section 4.1.

    Raises:
        ValueError: a value that no run can have.
    """

    group = "exploration"

    # fmt: off
    explores: bool = setting(True, "learn to be where it has not been yet, before the first questions; without, actions are random until then, or those of the policy that --init gives", flag="exploration")
    steps: int = setting(5000, "steps before the first questions, in whole iterations; the random ones are the first of them", flag="exploration_steps")
    explore_from: str = setting("", "folder of an exploration that was kept, to go on from; if not given, that of an earlier run that would explore alike, if there is one in ~/.prefloop/PROFILE/explorations", needs="exploration")
    keep: bool = setting(True, "keep what was explored, with the policy at its end, for runs that would explore alike; of the rows before that they have no checkpoints and videos", flag="keep_exploration", needs="exploration")
    neighbours: int = setting(5, "a state is worth the distance to the one that is so many-th nearest", flag="exploration_neighbours")
    states: int = setting(2048, "states of the past that it is compared with, drawn anew for each update", flag="exploration_states")
    # fmt: on

    def __post_init__(self) -> None:
        require_above_zero(self, "steps", "neighbours", "states")
        if self.neighbours >= self.states:
            raise ValueError(
                f"--exploration_neighbours {self.neighbours} are not among --exploration_states {self.states}"
            )


@dataclass(frozen=True, kw_only=True)
class PebbleSettings:
    """PEBBLE's: those of its parts. Source: Lee et al. 2021, PEBBLE, arXiv:2106.05091.

    Raises:
        ValueError: as they do; or a single network that is to disagree with itself.
    """

    # fmt: off
    relabel: bool = setting(True, "give all steps of the past the new reward after each fit")
    scale: str = setting("replay", "steps that the agent's reward has mean 0 and deviation 1 over: all that were made, or those that were asked about", flag="reward_scale", choices=("replay", "asked"))
    recent_episodes: int | None = setting(None, "ask about so many of the newest episodes; if not given, about all")
    critic_updates: int = setting(100, "updates at the first reward, of critics that begin anew there, and of the policy and the temperature with them")
    experience: ReplaySettings = part(ReplaySettings, iteration_steps=setting(2500, "steps between two sessions of questions; episodes begin anew there, and a stopped run goes on from there"))
    exploration: ExplorationSettings = part(ExplorationSettings)
    questions: QuerySettings = part(QuerySettings, labels=setting(100, "answers in all; a skipped query is shown, not answered, and asked for again but in the last session"))
    agent: SACSettings = part(SACSettings, random_steps=setting(1000, "steps of random actions before anything is learned", needs="not init"))
    reward: RewardSettings = part(RewardSettings, hidden_sizes=setting((128, 128), "width of each hidden layer", flag="reward_hidden_sizes"), learning_rate=setting(1e-3, "step size of Adam", flag="reward_learning_rate"))
    auxiliary: AuxiliarySettings = part(AuxiliarySettings)
    rune: RuneSettings = part(RuneSettings)
    # fmt: on

    def __post_init__(self) -> None:
        require_above_zero(self, "recent_episodes")
        if self.critic_updates < 0:
            raise ValueError(f"--critic_updates must be at least 0, not {self.critic_updates}")
        _require_reward(self.questions, self.reward, self.auxiliary)
        if self.rune.rune_beta and self.reward.ensemble < 2:
            raise ValueError("--rune_beta needs an --ensemble of 2 or more, not 1")

    @property
    def exploration_iterations(self) -> int:
        """Iterations before the first questions."""
        return -(-self.exploration.steps // self.experience.iteration_steps)
