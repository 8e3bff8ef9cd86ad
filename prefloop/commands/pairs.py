"""`prefloop pairs`: act, cut segments, choose pairs, ask a simulated teacher."""

from dataclasses import MISSING, dataclass

from prefloop.envs.settings import EnvSettings
from prefloop.query_strategies import STRATEGIES
from prefloop.settings import (
    as_flat,
    meant_by_default,
    part,
    require_above_zero,
    require_seed,
    setting,
)
from prefloop.teachers.settings import TeacherSettings
from prefloop.training.settings import segment_length
from prefloop.words import counted

DESCRIPTION = """Acts with one policy or several, cuts what they did into segments, chooses pairs of
them and asks a simulated teacher, who judges by the true return, which of the two is better."""
EPILOG = """Example: prefloop pairs --env CartPole-v0 --policies strong.params weak.params --pairs
200 --segment-length full --teacher oracle --out prefs. Writes a preference dataset
(docs/data_format.md); with --resume, an existing one grows to --pairs."""
IMPORTS = ("torch", "gymnasium")
# ways to choose queries: among candidates; by a reward; and without one
CHOOSING = [name for name, strategy in STRATEGIES.items() if strategy.choose is not None]
BY_REWARD = [name for name, strategy in STRATEGIES.items() if strategy.min_members]
WITHOUT_REWARD = [name for name in STRATEGIES if name not in BY_REWARD]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Settings of `prefloop pairs`: what is asked about, and who answers.

    Raises:
        ValueError: a value that can't be meant.
    """

    # fmt: off
    policies: tuple[str, ...] = setting((), "who acts: checkpoints of vpg.py or of prefloop, or module:function, a Python function from observations to actions")
    minari: str = setting("", "take the episodes from this Minari dataset, not from --policies")
    episodes: int = setting(50, "episodes of each policy", needs="policies")
    pairs: int = setting(200, "queries in all, skipped ones included")
    segment_length: int | None = setting(None, "full (whole episodes; the default) or a number of steps, fewer for a policy whose episodes are shorter", parse=segment_length)
    segments: int = setting(500, "fixed-length segments that are cut from each policy's episodes", needs="segment_length")
    selection: str = setting("uniform", f"which pairs; all but {' and '.join(WITHOUT_REWARD)} need --reward", "--selection", flag="queries", choices=tuple(STRATEGIES))
    candidates: int = setting(10, "random pairs that each query is chosen from", needs=f"queries {' '.join(CHOOSING)}")
    reward: str = setting("", "the reward model whose members disagree or are uncertain")
    out: str = setting(MISSING, "the dataset's folder; made if missing")
    seed: int = setting(0, "same seed, same pairs")
    device: str = setting("cpu", "where --reward is computed: cpu, cuda, mps", needs="reward")
    resume: bool = setting(False, "add to the dataset in --out until it has --pairs, as it began where nothing else is given")
    environment: EnvSettings = part(EnvSettings)
    teacher: TeacherSettings = part(TeacherSettings)
    # fmt: on

    def __post_init__(self) -> None:
        require_seed(self.seed)
        require_above_zero(self, "episodes", "pairs", "segment_length", "segments", "candidates")
        if bool(self.policies) == bool(self.minari):
            raise ValueError("give either --policies or --minari")
        needs_reward = self.selection in BY_REWARD
        if needs_reward and not self.reward:
            raise ValueError(f"--queries {self.selection} needs --reward, an ensemble's folder")
        if self.reward and not needs_reward:
            raise ValueError(
                f"--reward is for --queries {' or '.join(BY_REWARD)}, not {self.selection}"
            )

    @property
    def when_interrupted(self) -> str:
        """What to say after Ctrl-C."""
        return f"Stopped. Go on with the same command and --resume; {self.out} is whole."


def main(settings: Settings) -> None:
    """Writes the dataset."""
    from pathlib import Path
    from typing import Any

    import numpy as np

    from prefloop import policy_files
    from prefloop.devices import usable_device
    from prefloop.envs.make import make_vector_env
    from prefloop.envs.registered import note_no_time_limit
    from prefloop.envs.spaces import as_stored, spaces_of
    from prefloop.errors import UserError
    from prefloop.files import sha256
    from prefloop.rewards import reward_model
    from prefloop.training import demonstrations as demos

    env = settings.environment
    envs = make_vector_env(env, min(settings.episodes, 64))
    # a file may have been changed since, or may be called otherwise
    contents: dict[str, Any] = {}
    if settings.minari:
        from prefloop.data.minari import read_minari

        trajectories = [read_minari(settings.minari, env)]
        played = trajectories[0]
        if not spaces_of(envs).allows(as_stored(np.asarray(played.obs)), played.actions):
            raise UserError(
                f"{settings.minari} holds steps that are not of {env.described}: they have other sizes."
            )
        contents["minari_sha256"] = trajectories[0].sha256
    else:
        acting = [policy_files.load_acting(name, envs) for name in settings.policies]
        # a function has no file of its own: it is known by its name
        contents["policies_sha256"] = [
            sha256(Path(name)) if Path(name).exists() else name for name in settings.policies
        ]
        note_no_time_limit(env)
        trajectories = demos.act(envs, acting, settings.episodes, settings.seed)
    segments = demos.as_segments(
        trajectories, settings.segment_length, settings.segments, settings.seed
    )
    predict = None
    if settings.reward:
        model = reward_model.load(Path(settings.reward), envs)
        needed = STRATEGIES[settings.selection].min_members
        if model.members < needed:
            raise UserError(
                f"{settings.reward} has {counted(model.members, 'member')}, and --queries "
                f"{settings.selection} needs {needed} or more."
            )
        contents["reward_sha256"] = sha256(reward_model.file(Path(settings.reward)))
        predict = model.to(usable_device(settings.device)).probabilities
    preferences = demos.ask_for_pairs(
        Path(settings.out),
        segments,
        settings.pairs,
        demos.make_teacher(
            settings.teacher.teacher, segments, settings.seed, settings.teacher.overrides
        ),
        {
            "program": "prefloop pairs",
            **env.facts,
            "settings": {**as_flat(settings), **contents},
        },
        settings.seed,
        settings.resume,
        settings.selection,
        settings.candidates * settings.pairs,
        predict,
        meant_by_default(Settings),
    )
    answered = preferences.answered
    print(
        f"{settings.out} holds {counted(len(preferences), 'query', 'queries')} about {len(preferences.segments)} "
        f"segments: {len(answered)} answered ({counted(answered.num_ties, 'tie')}), "
        f"{len(preferences) - len(answered)} skipped."
    )
    for i, name in enumerate(settings.policies or (settings.minari,)):
        returns = segments.returns[segments.policy == i]
        print(f"  {name}: mean true return of a segment {returns.mean():.1f}")
    try:
        preferences.require_something_to_learn()
    except UserError as error:
        print(f"Note: {error} Ask about more --pairs, other segments, or another --teacher.")
    else:
        print(f"Next: prefloop reward --preferences {settings.out} --out reward")
