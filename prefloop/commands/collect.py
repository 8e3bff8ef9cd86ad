"""`prefloop collect`: act, cut segments, and queue pairs of them for people to compare."""

from dataclasses import MISSING, dataclass

from prefloop.commands.sending import require_clips
from prefloop.envs.settings import EnvSettings
from prefloop.labelling.client.settings import ServerSettings
from prefloop.labelling.limits import require_readable
from prefloop.settings import part, require_above_zero, require_between, require_seed, setting
from prefloop.training.settings import read_segment_length
from prefloop.words import counted

DESCRIPTION = """Acts with one policy or several (one that nobody has trained, if none is given), cuts
what they did into segments and sends pairs of them to the labelling server, which renders the clips.
A name that is known is continued: the same command goes on where it was stopped, and with more
--pairs the run grows."""
EPILOG = """Example: prefloop collect --name cartpole-01 --env CartPole-v1 --pairs 50, while prefloop
label runs in another terminal. Then label in the browser. Details: docs/labelling.md."""
IMPORTS = ("torch", "gymnasium")
STEPS = 50  # of a segment: a second of CartPole, long enough to see what happens


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Settings of `prefloop collect`: what people are asked about.

    Raises:
        ValueError: a value that can't be meant.
    """

    # fmt: off
    name: str = setting(MISSING, "the run's name on the server: letters, digits, dots, dashes")
    policies: tuple[str, ...] = setting((), "who acts: checkpoints of vpg.py or of prefloop, or module:function, a Python function from observations to actions; if none, an untrained policy does")
    pairs: int = setting(50, "queries of this command in all; those that are there already stay")
    segment_length: str = setting("", f"full (whole episodes) or a number of steps, fewer for a policy whose episodes are shorter; if not given, {STEPS}, or full where no episode is that long")
    segments: int = setting(500, "fixed-length segments that are cut from each policy's episodes")
    episodes: int = setting(50, "episodes of each policy")
    instructions: str = setting("", "what annotators read before they begin")
    annotators_per_query: int | None = setting(None, "how many people are to label each query; if not given, as labelling.yaml says")
    repeats: float | None = setting(None, "share of queries that an annotator gets a second time, in [0, 1]; if not given, as labelling.yaml says")
    trace: bool = setting(False, "show observations and actions as plots where the environment can't be drawn")
    seed: int = setting(0, "same seed, same pairs")
    environment: EnvSettings = part(EnvSettings)
    server: ServerSettings = part(ServerSettings)
    # fmt: on

    def __post_init__(self) -> None:
        require_seed(self.seed)
        require_readable("--instructions", self.instructions)
        require_above_zero(self, "pairs", "segments", "episodes", "annotators_per_query")
        if self.segment_length:
            read_segment_length(self.segment_length)
        if self.segment_length == "full" and self.segments != type(self).segments:
            raise ValueError("--segments does nothing with --segment_length full")
        if self.repeats is not None:
            require_between(self, 0, 1, "repeats")

    @property
    def when_interrupted(self) -> str:
        """What to say after Ctrl-C."""
        return "Stopped. The same command goes on; what was queued stays."


def main(settings: Settings) -> None:
    """Fills the queue."""
    import torch

    from prefloop import policies, policy_files
    from prefloop.data.preferences import Queries
    from prefloop.data.recording import MAX_ENVS, RecordedEnvs
    from prefloop.envs.make import make_vector_env
    from prefloop.envs.registered import note_no_time_limit
    from prefloop.envs.spaces import spaces_of
    from prefloop.labelling.client.asking import ask
    from prefloop.labelling.client.connecting import connected
    from prefloop.queries.selection import random_pairs, worth_showing
    from prefloop.seeding import Stream, generator, integer
    from prefloop.training import demonstrations as demos

    env = settings.environment
    envs = make_vector_env(env, 1)
    spaces = spaces_of(envs)
    require_clips(env, settings.trace)
    torch.manual_seed(integer(settings.seed, Stream.WEIGHTS))
    acting = [policy_files.load_acting(name, envs) for name in settings.policies] or [
        policies.make_policy(spaces, (64, 64))
    ]
    note_no_time_limit(env)
    with connected(settings.server) as client:
        recorded = RecordedEnvs.make(env, min(settings.episodes, MAX_ENVS))
        collected = demos.act(
            recorded.envs, acting, settings.episodes, settings.seed, recorded.record
        )
        recorded.envs.close()
        longest = max(int(episodes.lengths.max()) for episodes in collected)
        length = read_segment_length(settings.segment_length or str(STEPS))
        if not settings.segment_length and longest < STEPS:
            length = None
        segments = demos.as_segments(collected, length, settings.segments, settings.seed)
        if length is not None:
            segments = worth_showing(segments, settings.pairs)
        rng = generator(settings.seed, Stream.QUERIES)
        first, second = random_pairs(len(segments), settings.pairs, rng).T
        before = client.put_run(
            settings.name,
            env=env,
            spaces=spaces,
            instructions=settings.instructions or None,
            annotators_per_query=settings.annotators_per_query,
            repeats=settings.repeats,
        ).counts.queries
        ask(client, settings.name, Queries(segments, first, second))
        counts = client.run(settings.name).counts
    print(
        f"{settings.name}: {counted(counts.queries, 'query', 'queries')}, {counts.queries - before} of them new; "
        f"{counts.answered} answered, {counts.skipped} skipped, {counts.left} left."
    )
    print(f"Next: label at {client.page(settings.name)}")
    print(f"Then: prefloop reward --run {settings.name} --out {settings.name}-reward")
