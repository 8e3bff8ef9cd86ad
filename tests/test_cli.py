import contextlib
import importlib
import os
import signal
import subprocess
import sys

import pytest
from conftest import ROOT, assert_one_sentence

from prefloop.cli import COMMANDS
from prefloop.command_line import parse_settings
from prefloop.progress import progress
from prefloop.settings import leaves
from prefloop.startup import interrupts_first, terminated_as_interrupted


def test_help_names_every_command(run):
    outcome = run("prefloop.cli --help")
    assert outcome.code == 0
    for name in COMMANDS:
        assert f"\n  {name} " in outcome.out
    assert run("prefloop.cli").out == outcome.out


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(run, name):
    outcome = run(f"prefloop.cli {name} --help")
    assert outcome.code == 0
    assert f"usage: prefloop {name}" in outcome.out
    assert f"Example: prefloop {name}" in " ".join(outcome.out.split())


def test_an_unknown_command_ends_in_a_sentence(run):
    assert_one_sentence(run("prefloop.cli bogus"), "no command 'bogus'. Commands are", "pref-ppo")
    assert_one_sentence(run("prefloop.cli pebbel"), "no command 'pebbel'; did you mean pebble?")


def test_underscores_and_hyphens_are_alike(run):
    assert run("prefloop.cli pref_ppo --help").out == run("prefloop.cli pref-ppo --help").out
    for flag in ("--segment-length", "--segment_length", "--segment-length=0"):
        outcome = run(
            f"prefloop.cli pairs --env CartPole-v0 --policies a {flag.replace('=0', '')} 0 --out x"
        )
        assert_one_sentence(outcome, "--segment_length must be above 0, not 0")


def flags_of(name):
    """A command's settings, all of its flags, and what a line of it has to say."""
    settings = importlib.import_module(f"prefloop.commands.{name.replace('-', '_')}").Settings
    every = list(leaves(settings))
    needed = [f"--{leaf.flag}=x" for leaf in every if leaf.required]
    for leaf in every:
        if leaf.required and leaf.field.metadata["positional"]:
            needed = [*leaf.field.metadata["choices"], "x"][:1]
    return settings, every, needed


@pytest.mark.parametrize("name", COMMANDS)
def test_no_flag_takes_a_number_that_is_none(capsys, name):
    settings, every, needed = flags_of(name)
    for leaf in every:
        if not str(leaf.field.type).startswith(("float", "<class 'float'")):
            continue
        for number in ("nan", "inf", "-inf"):
            with pytest.raises(SystemExit) as stop:
                parse_settings(settings, [*needed, f"--{leaf.flag}", number])
            assert stop.value.code == 2
            last = capsys.readouterr().err.splitlines()[-1]
            assert last.endswith(f"--{leaf.flag} must be a finite number, not {number}"), last


@pytest.mark.parametrize("name", COMMANDS)
def test_no_flag_takes_a_number_that_no_array_counts(capsys, name):
    settings, every, needed = flags_of(name)
    for leaf in every:
        if not str(leaf.field.type).startswith(("int", "<class 'int'")):
            continue
        for number in (10**30, -(10**30)):
            with pytest.raises(SystemExit) as stop:
                parse_settings(settings, [*needed, f"--{leaf.flag}={number}"])
            assert stop.value.code == 2
            last = capsys.readouterr().err.splitlines()[-1]
            assert f"--{leaf.flag} " in last and str(number) in last, last


def test_the_module_is_the_command():
    command = [sys.executable, "-m", "prefloop", "--version"]
    result = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True)
    assert result.stdout.startswith("prefloop 0.")


@pytest.mark.parametrize("name", ["", *COMMANDS])
def test_help_does_not_import_torch(name):
    code = f"""
import sys
sys.argv = ["prefloop", *"{name}".split(), "--help"]
from prefloop.cli import main
try:
    main()
except SystemExit:
    pass
sys.exit("torch" in sys.modules or "gymnasium" in sys.modules)
"""
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0


@pytest.mark.parametrize(
    ("own", "told"),
    [({}, "1"), ({"OPENBLAS_NUM_THREADS": "3"}, "3"), ({"OMP_NUM_THREADS": "2"}, "nothing")],
)
def test_numpy_multiplies_on_one_thread_where_nobody_says_otherwise(own, told):
    code = """
import os, sys
from prefloop.cli import main
assert "numpy" not in sys.modules  # which reads it when it is imported
try:
    main(["evaluate", "--help"])
except SystemExit:
    print(os.environ.get("OPENBLAS_NUM_THREADS", "nothing"))
"""
    plain = {name: value for name, value in os.environ.items() if "NUM_THREADS" not in name}
    line = [sys.executable, "-c", code]
    done = subprocess.run(line, env=plain | own, capture_output=True, text=True, check=True)
    assert done.stdout.split()[-1] == told


def test_the_check_of_other_pythons_holds_on_this_one():
    """`make pythons` is not part of `make test`, which has to see first what breaks it."""
    checks = ROOT / "tests" / "pythons.py"
    result = subprocess.run(
        [sys.executable, str(checks), "--here"], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    assert " flags of " in result.stdout


@pytest.mark.parametrize("is_swallowed", [True, False])
def test_what_fails_after_ctrl_c_is_the_interrupt(is_swallowed):
    """A library in C may swallow the exception, and fail at what it lacks then."""
    with pytest.raises(KeyboardInterrupt if is_swallowed else TypeError), interrupts_first():
        if is_swallowed:
            with contextlib.suppress(KeyboardInterrupt):
                signal.raise_signal(signal.SIGINT)
        raise TypeError("no common dtype")
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("quiet", [True, False])
def test_an_interrupt_that_a_destructor_swallows_ends_long_work(number, quiet):
    done = 0
    with (
        pytest.raises(KeyboardInterrupt),
        terminated_as_interrupted(),
        interrupts_first(),
        progress(3, "steps", quiet=quiet) as bar,
    ):
        bar.update()
        done += 1
        with contextlib.suppress(KeyboardInterrupt):
            signal.raise_signal(number)
        bar.update()
        done += 1
    assert done == 1
    with terminated_as_interrupted(), interrupts_first(), progress(1, "steps", quiet=quiet) as bar:
        bar.update()  # the next one has nothing to do with it
