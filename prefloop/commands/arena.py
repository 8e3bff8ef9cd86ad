"""`prefloop arena`: people compare policies without knowing whom they see, and their votes rank them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from prefloop.commands.sending import require_clips
from prefloop.envs.settings import EnvSettings
from prefloop.labelling.client.settings import ServerSettings
from prefloop.labelling.limits import require_readable
from prefloop.settings import part, require_above_zero, require_seed, setting
from prefloop.training.settings import read_segment_length
from prefloop.words import counted

if TYPE_CHECKING:
    from pathlib import Path

    from prefloop.policies import FunctionPolicy, Policy

DESCRIPTION = """Has people compare policies: plays them from the same starts and sends what each two of them did
to the labelling server, whose page shows it without their names. Without --policies, ranks the policies by
the votes so far. The same command goes on where it was stopped; with one more policy, or more --starts, it asks
what is missing."""
EPILOG = """Example: prefloop arena --name walkers --policies ppo sac best=runs/7/final_policy.params, while prefloop
label runs in another terminal; then vote in the browser, and prefloop arena --name walkers. Of exported votes:
prefloop runs export walkers votes, and prefloop arena --preferences votes. Details: docs/arena.md."""
IMPORTS = ()
STEPS = 200  # of a clip: four seconds of CartPole, long enough to see who will fall
MAX_SHOWN = 12  # policies whose table of pairs fits a terminal


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Settings of `prefloop arena`: who is compared, or whose votes are read.

    Raises:
        ValueError: a value that can't be meant.
    """

    # fmt: off
    name: str = setting("", "the arena's name on the server: letters, digits, dots, dashes")
    policies: tuple[str, ...] = setting((), "two or more: folders of runs, checkpoints of vpg.py or of prefloop, or module:function; NAME=POLICY says what the ranking calls it, if not given its folder or file")
    preferences: str = setting("", "rank by the votes in this preference dataset, which was exported from an arena; no server is asked")
    starts: int = setting(20, "starts that the policies are played from; each two policies are compared once from each", needs="policies")
    segment_length: str = setting(str(STEPS), "steps that are shown from each start, or full (whole episodes)", needs="policies")
    greedy: bool = setting(False, "take the most probable action, or the mean one, and draw none; policies of SAC and PEBBLE are always played so", needs="policies")
    instructions: str = setting("", "what annotators read before they begin: what is better", needs="policies")
    annotators_per_query: int | None = setting(None, "how many people are to compare each pair of clips; if not given, as labelling.yaml says", needs="policies")
    trace: bool = setting(False, "show observations and actions as plots where the environment can't be drawn", needs="policies")
    seed: int = setting(0, "same seed, same starts", needs="policies")
    json: bool = setting(False, "print the ranking as JSON")
    environment: EnvSettings = part(EnvSettings, env=setting("", "which environment; if not given, the one that run.json beside the policies names"))
    server: ServerSettings = part(ServerSettings)
    # fmt: on

    def __post_init__(self) -> None:
        require_seed(self.seed)
        require_readable("--instructions", self.instructions)
        require_above_zero(self, "starts", "annotators_per_query")
        read_segment_length(self.segment_length)
        if bool(self.name) == bool(self.preferences):
            raise ValueError("give either --name, of an arena on the server, or --preferences")
        if self.preferences and self.policies:
            raise ValueError("--policies are compared on the server, not in --preferences")
        if len(self.policies) == 1:
            raise ValueError(
                f"an arena compares two policies or more, not {self.policies[0]} alone"
            )
        if self.json and self.policies:
            raise ValueError("--json is for a ranking, which is printed without --policies")

    @property
    def when_interrupted(self) -> str:
        """What to say after Ctrl-C."""
        return "Stopped. The same command goes on; what was sent stays, and every vote."


def main(settings: Settings) -> None:
    """Fills the arena, or ranks."""
    import json

    if settings.policies:
        _fill(settings)
        return
    if settings.preferences:
        facts = _of_dataset(settings.preferences)
    else:
        from prefloop.labelling.client.connecting import connected

        with connected(settings.server) as client:
            facts = client.ranking(settings.name).model_dump()
    if settings.json:
        print(json.dumps(facts, indent=2))
    else:
        print("\n".join(_lines(settings.name or settings.preferences, facts)))


@dataclass(frozen=True)
class _Agent:
    """A policy as it was named on the command line.

    Attributes:
        name: what the ranking calls it.
        file: where it stands; None of a function.
        source: the text that names it to `policy_files.load_acting`.
    """

    name: str
    file: "Path | None"
    source: str


def _fill(settings: Settings) -> None:
    """Plays the policies and sends what they did."""
    from prefloop.envs.make import make_vector_env
    from prefloop.envs.registered import note_no_time_limit
    from prefloop.envs.spaces import spaces_of
    from prefloop.errors import note
    from prefloop.evaluation.evaluate import openings
    from prefloop.labelling.client.connecting import connected
    from prefloop.policy_files import load_acting
    from prefloop.progress import progress
    from prefloop.seeding import Stream, integer

    agents = _named(settings.policies)
    env = _environment(settings, agents)
    envs = make_vector_env(env, 1)
    acting = {agent.name: load_acting(agent.source, envs) for agent in agents}
    greedy = {name: _is_greedy(policy, settings) for name, policy in acting.items()}
    digests = {agent.name: _digest(agent, greedy[agent.name]) for agent in agents}
    require_clips(env, settings.trace)
    steps = read_segment_length(settings.segment_length)
    if steps is None:
        note_no_time_limit(env)
    with connected(settings.server) as client:
        from prefloop.labelling.client.contests import ask_contests

        before = client.put_run(
            settings.name,
            env=env,
            spaces=spaces_of(envs),
            instructions=settings.instructions or None,
            annotators_per_query=settings.annotators_per_query,
            agents=[{"name": name, "digest": digest} for name, digest in digests.items()],
        ).counts.queries
        segments = {}
        with progress(settings.starts * len(agents), "episodes", leave=False) as bar:
            for name, policy in acting.items():
                # with dice of its own: two that are nearly alike would do the very same by one's
                dice = integer(settings.seed, Stream.POLICY, int(digests[name], 16))
                segments[name] = openings(
                    policy, env, settings.starts, settings.seed, steps, greedy[name],
                    lambda ended: bar.update(units=ended), dice,
                )  # fmt: skip
        alike = ask_contests(client, settings.name, segments, settings.seed)
        counts = client.run(settings.name).counts
    for (one, other), number in alike.items():
        note(
            f"{one} and {other} did the same from {number} of {settings.starts} starts, to the last "
            "bit; nobody is asked about these."
        )
    print(
        f"{settings.name}: {counted(counts.queries, 'pair')} of clips, {counts.queries - before} of them new; "
        f"{counts.answered} answered, {counts.skipped} skipped, {counts.left} left."
    )
    print(f"Next: vote at {client.page(settings.name)}")
    print(f"Then: prefloop arena --name {settings.name}, or {client.results_page(settings.name)}")


def _named(policies: Sequence[str]) -> list[_Agent]:
    """Reads policies, and what each is called, from the command line.

    Raises:
        UserError: two have one name, or one has none that can be kept.
    """
    from pathlib import Path

    from prefloop.checkpoints import policy_file
    from prefloop.errors import UserError
    from prefloop.labelling.limits import MAX_AGENTS, MAX_NAME

    agents: dict[str, _Agent] = {}
    for text in policies:
        name, equals, place = text.partition("=")
        is_named = bool(equals) and not Path(text).exists()
        place = place if is_named else text
        file = policy_file(Path(place))
        is_function = ":" in place and not file.exists()
        if not is_named:
            name = place if is_function else _name_of(file)
        name = name.strip()
        if not 0 < len(name) <= MAX_NAME or not name.isprintable():
            raise UserError(f"The ranking can't call a policy {name!r}; give NAME={place}.")
        if name in agents:
            raise UserError(
                f"{agents[name].source} and {file} are both called {name}; give one of them another name, "
                f"such as {name}-2={place}."
            )
        agents[name] = _Agent(
            name, None if is_function else file, place if is_function else str(file)
        )
    if len(agents) > MAX_AGENTS:
        raise UserError(f"An arena compares at most {MAX_AGENTS} policies, not {len(agents)}.")
    return list(agents.values())


def _name_of(file: "Path") -> str:
    """The run's folder, and which of its policies, if it is not the one that it ended with."""
    folder = file.resolve().parent.name
    if file.stem == "final_policy":
        return folder
    return f"{folder}/{file.stem}" if file.stem.startswith("policy_checkpoint") else file.stem


def _environment(settings: Settings, agents: Sequence[_Agent]) -> EnvSettings:
    """Environment that is given, or else that of the policies.

    Raises:
        UserError: the policies are of different environments, nothing names one, or it can't be changed as is said.
    """
    from prefloop import checkpoints
    from prefloop.envs.settings import from_facts
    from prefloop.errors import UserError

    files = [agent.file for agent in agents if agent.file is not None]
    for file in files:
        # what is wrong with the file comes first
        checkpoints.load_weights(file, checkpoints.LARGEST)
    if settings.environment.env:
        return settings.environment
    trained_in = [(file, env) for file in files if (env := from_facts(checkpoints.run_facts(file)))]
    if not trained_in:
        raise UserError(
            "Nothing beside the policies says which environment they are for; give --env."
        )
    (first, env), *others = trained_in
    for file, other in others:
        if other != env:
            raise UserError(
                f"{first} was trained in {env.described} and {file} in {other.described}; an arena is "
                "of one environment. If both can act in it, give --env."
            )
    return env.changed(settings.environment.changes)


def _is_greedy(policy: "Policy | FunctionPolicy", settings: Settings) -> bool:
    return settings.greedy or policy.evaluates_greedily


def _digest(agent: _Agent, greedy: bool) -> str:
    """Digest that tells an agent from another of its name; a function is known by its own name."""
    import hashlib

    from prefloop.files import sha256

    acts = sha256(agent.file) if agent.file is not None else agent.source
    text = f"{agent.name}\n{acts}\n{'greedy' if greedy else 'drawn'}"
    return hashlib.sha256(text.encode()).hexdigest()


def _of_dataset(folder: str) -> dict[str, Any]:
    """The ranking by the votes of an export.

    Raises:
        UserError: as `dataset.read`; or it does not say whom its preferences are about.
    """
    from pathlib import Path

    import numpy as np

    from prefloop.data import dataset
    from prefloop.errors import UserError
    from prefloop.evaluation.agent_ranking import as_facts, rank

    labels, lines = dataset.read(Path(folder)).labels, dataset.read_facts(Path(folder))
    sides = ("first_agent", "second_agent")
    if not all(isinstance(line.get(side), str) for line in lines for side in sides):
        raise UserError(
            f"{folder} does not say whose its preferences are; what `prefloop runs export` wrote of an "
            "arena does."
        )
    for line in lines:
        if line["first_agent"] == line["second_agent"]:
            raise UserError(f"{folder} compares {line['first_agent']} with itself.")
    names = sorted({str(line[side]) for line in lines for side in sides})
    first, second = ([names.index(line[side]) for line in lines] for side in sides)
    # several people's votes about one pair of clips are resampled together
    _, query = np.unique(
        [str(line.get("query", i)) for i, line in enumerate(lines)], return_inverse=True
    )
    votes = int((~np.isnan(labels)).sum())
    facts = as_facts(names, rank(len(names), first, second, labels, query), votes)
    return {**facts, "skips": len(labels) - votes}


def _lines(title: str, facts: dict[str, Any]) -> list[str]:
    """The ranking as text."""
    agents = facts["agents"]
    ranked = [agent for agent in agents if agent["strength"] is not None]
    ties = sum(agent["ties"] for agent in agents) / 2
    lines = [f"{title}: {facts['votes']} votes ({ties:g} ties), {facts['skips']} skips."]
    if not ranked:
        return [*lines, "Nobody is ranked yet."]
    width = max(len("policy"), *(len(agent["name"]) for agent in agents))
    lines += ["", f"{'policy':{width}}  strength  95 % interval    won  lost  tied"]
    for agent in ranked:
        interval = f"[{agent['low']:.2f}, {agent['high']:.2f}]"
        lines.append(
            f"{agent['name']:{width}}  {agent['strength']:8.2f}  {interval:15}"
            f"{agent['wins']:5g} {agent['losses']:5g} {agent['ties']:5g}"
        )
    lines += [*_apart(facts["groups"]), *_pairs(facts, width)]
    return lines


def _apart(groups: Sequence[Sequence[str]]) -> list[str]:
    """Says which policies can't be compared, if there are any."""
    together = [group for group in groups if len(group) > 1]
    alone = [name for group in groups if len(group) == 1 for name in group]
    lines = []
    if len(together) > 1:
        connected = " with ".join(", ".join(group) for group in together)
        lines.append(
            f"No votes connect {connected}: strengths are relative to each group's own mean."
        )
    if alone:
        lines.append(f"Not ranked, since no votes are about them yet: {', '.join(alone)}.")
    return lines and ["", *lines]


def _pairs(facts: dict[str, Any], width: int) -> list[str]:
    """How likely each beats each, as far as that is known and fits."""
    names = [agent["name"] for agent in facts["agents"] if agent["strength"] is not None]
    if len(names) > MAX_SHOWN:
        return ["", f"How likely each beats each of {len(names)} does not fit here; --json has it."]
    columns = [max(len(name), 11) for name in names]
    lines = [
        "",
        "How likely the row beats the column, a tie counting half; in brackets, the share of resamples of",
        "the votes in which it is ranked above it:",
        f"{'':{width}}  " + "  ".join(f"{n:>{w}}" for n, w in zip(names, columns, strict=True)),
    ]
    for name, beats, above in zip(names, facts["beats"], facts["above"], strict=False):
        cells = [
            "-" if p is None else f"{_sure(p)} ({_sure(share)})"
            for p, share in zip(beats, above, strict=True)
        ]
        row = "  ".join(f"{cell:>{w}}" for cell, w in zip(cells, columns, strict=False))
        lines.append(f"{name:{width}}  {row}")
    return lines


def _sure(share: float) -> str:
    """A share in percent that is never called certain."""
    if share > 0.995:
        return ">99%"
    return "<1%" if share < 0.005 else f"{share:.0%}"
