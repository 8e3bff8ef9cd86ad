"""The console command `prefloop`: finds the command, reads its flags, and only then imports more."""

import importlib
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import prefloop
from prefloop.begun import settings_begun_with
from prefloop.command_line import parse_settings
from prefloop.errors import one_sentence_errors
from prefloop.settings import as_flat
from prefloop.startup import (
    import_quickly,
    interrupts_first,
    multiply_on_one_thread,
    terminated_as_interrupted,
)
from prefloop.tuned import Defaults, defaults_for
from prefloop.words import perhaps

COMMANDS = {
    "pairs": "act, cut segments, choose pairs, ask a simulated teacher",
    "reward": "fit a reward model on preferences, and report how far to trust it",
    "reward-report": "how far a learned reward can be trusted, and what it looks at, as a page",
    "ppo": "train a policy by PPO, on the true reward or on a learned one",
    "sac": "train a policy with continuous actions by SAC, which learns from every step it made",
    "dpo": "train a policy on preferences directly, without a reward model",
    "bc": "clone the behaviour that was preferred",
    "airl": "learn a reward from the behaviour that was preferred, and a policy on it",
    "pref-ppo": "act, ask, learn the reward and improve on it, round after round",
    "pebble": "the same with SAC: explore, ask, relabel all that was done, improve at every step",
    "teach": "a person says what is better, and a robot learns it meanwhile: server, page and training in one",
    "evaluate": "play episodes and report the true returns",
    "show": "policies side by side, from the same starts, as a page",
    "compare": "many methods on the same labels, with controls and intervals; or a grid of anything",
    "tune": "search a method's settings, by trials that several machines share",
    "convert": "preferences to Parquet and back",
    "collect": "act, cut segments, and queue pairs of them for people to compare",
    "arena": "people compare policies without knowing whom they see, and their votes rank them",
    "runs": "the labelling server's runs: list, export, import, rename, delete",
    "study": "people who are recruited label by links of their own: make a study, look at it, end links",
    "label": "serve the page on which people label, and its API",
}


def usage() -> str:
    """The text of `prefloop --help`."""
    width = max(map(len, COMMANDS))
    lines = "\n".join(f"  {name:{width}}  {text}" for name, text in COMMANDS.items())
    return (
        "usage: prefloop COMMAND [--flags]\n\n"
        "Reinforcement learning from preferences, for control.\n\n"
        f"{lines}\n\n"
        "prefloop COMMAND --help says what a command takes. A first round, in a minute or two:\n\n"
        "  prefloop compare --env CartPole-v0 --labels 50 --seeds 0-1 --out comparison\n\n"
        "Or teach a robot yourself, by clicking on the better one of two clips, for half an hour:\n\n"
        '  prefloop teach --env CartPole-v1 --goal "Keep the pole up and drift to the left"\n'
    )


def _form(name: str, line: list[str]) -> tuple[str, list[str]]:
    """The module of a command and its arguments: `compare` has forms that take others."""
    if name != "compare" or not line or line[0].startswith("-"):
        return name, line
    return ("compare-merge", line[1:]) if line[0] == "merge" else ("compare-study", line)


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs one command.

    Raises:
        SystemExit: 0 after a help text, 2 after a user's mistake, 130 after Ctrl-C, 143 after SIGTERM.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given[:1] == ["help"]:  # prefloop help pairs
        given = [*given[1:2], "--help"]
    name = given[0].replace("_", "-") if given else "--help"
    if name in ("-h", "--help"):
        print(usage(), end="")
        return
    if name == "--version":
        print(f"prefloop {prefloop.__version__}")
        return
    multiply_on_one_thread()
    program = f"prefloop {name}"
    if name not in COMMANDS:
        print(f"prefloop: error: there is no command {given[0]!r}{perhaps(name, COMMANDS, most=1)} Commands are "
              f"{', '.join(COMMANDS)}.", file=sys.stderr)  # fmt: skip
        raise SystemExit(2)
    try:
        form, line = _form(name, given[1:])
        command = importlib.import_module(f"prefloop.commands.{form.replace('-', '_')}")
        tuned: list[Defaults] = []

        def defaults(values: Mapping[str, Any]) -> list[str]:
            found = None
            if "untuned" in values:
                found = defaults_for(name, command.Settings, values)
            elif hasattr(command, "tuned_defaults"):  # whose method is not chosen yet
                found = command.tuned_defaults(values)
            tuned.extend([found] if found else [])
            return found.arguments if found else []

        if form == "compare-merge":
            program += " merge"
        with one_sentence_errors(program):
            settings = parse_settings(
                command.Settings,
                line,
                defaults,
                partial(settings_begun_with, program=program),
                prog=program,
                description=command.DESCRIPTION,
                epilog=command.EPILOG,
            )
        for found in tuned:
            print(found.sentence(as_flat(settings)))
        import_quickly(*command.IMPORTS)
    except KeyboardInterrupt:  # nothing has begun yet that there is anything to say of
        raise SystemExit(130) from None
    # what trains says it with its run
    saying = settings if hasattr(settings, "when_interrupted") else settings.run
    with (
        one_sentence_errors(program, when_interrupted=saying.when_interrupted),
        terminated_as_interrupted(),
        interrupts_first(),
    ):
        command.main(settings)
