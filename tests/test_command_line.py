from dataclasses import MISSING, dataclass

import pytest

from prefloop.command_line import parse_settings
from prefloop.settings import as_flat, part, require_above_zero, setting


@dataclass(frozen=True)
class Example:
    paths: tuple[str, ...] = setting(MISSING, "files")
    sizes: tuple[int, ...] = setting((32, 16), "widths", "--widths")
    rate: float = setting(0.5, "95 % of it")
    limit: float | None = setting(None, "a limit")
    quick: bool = setting(False, "no waiting")

    def __post_init__(self):
        require_above_zero(self, "rate", "sizes")


def test_defaults_and_types():
    s = parse_settings(Example, ["--paths", "a", "b"])
    assert s == Example(("a", "b"), (32, 16), 0.5, None, False)
    s = parse_settings(
        Example, ["--paths", "a", "--widths", "8", "--rate", "2", "--limit", "3", "--quick"]
    )
    assert s == Example(("a",), (8,), 2.0, 3.0, True)
    assert isinstance(s.limit, float)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("", "--paths"),
        ("--paths a --rate x", "--rate"),
        ("--paths a --rate 0", "--rate must be above 0, not 0.0"),
        ("--paths a --rate nan", "--rate must be a finite number, not nan"),
        ("--paths a --limit -inf", "--limit must be a finite number, not -inf"),
        ("--paths a --sizes 4 -1", "--sizes must be above 0, not 4 -1"),
        ("--paths a --limit", "--limit"),
        ("--paths a --limmit 3", "there is no flag --limmit; did you mean --limit?"),
        ("--paths a --zzz=3", "there is no flag --zzz."),
        ("--paths a --rate 2 3", "unrecognized arguments: 3"),
    ],
)
def test_a_wrong_value_is_named(capsys, line, words):
    with pytest.raises(SystemExit) as stop:
        parse_settings(Example, line.split())
    assert stop.value.code == 2
    assert words in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize("number", ["-1e3", "-1E+3", "-1.5e-2", "-.5e2", "-4", "-0.5"])
def test_a_negative_number_is_no_flag(number):
    for line in (["--limit", number], [f"--limit={number}"]):
        assert parse_settings(Example, ["--paths", "a", *line, "--quick"]).limit == float(number)


@dataclass(frozen=True)
class Whole:
    example: Example = part(Example, rate=setting(2.0, "twice"), quick=None)


def test_a_part_has_other_defaults_here_and_leaves_out_what_has_no_meaning(capsys):
    found = parse_settings(Whole, ["--paths", "a"])
    assert found.example == Example(("a",), rate=2.0)
    assert "quick" not in as_flat(found)
    with pytest.raises(SystemExit):
        parse_settings(Whole, ["--paths", "a", "--quick"])
    assert "--quick" in capsys.readouterr().err


def test_help_teaches(capsys):
    with pytest.raises(SystemExit) as stop:
        parse_settings(Example, ["--help"], description="What it does.")
    assert stop.value.code == 0
    out = " ".join(capsys.readouterr().out.split())
    for words in ("What it does.", "95 % of it (default: 0.5)", "widths (default: 32 16)"):
        assert words in out
    assert "default: None" not in out


def test_home_is_expanded_after_an_equals_sign(monkeypatch, tmp_path):
    for name in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(name, str(tmp_path))

    @dataclass(frozen=True)
    class Paths:
        out: str = setting("", "a folder")

    assert parse_settings(Paths, ["--out=~/x"]).out == str(tmp_path / "x")
    assert parse_settings(Paths, ["--out=~no-such-person/x"]).out == "~no-such-person/x"
    assert parse_settings(Paths, ["--out", "a~b"]).out == "a~b"


@dataclass(frozen=True)
class Switched:
    crops: bool = setting(False, "look at parts")
    crop: float = setting(0.5, "how large they are", needs="crops")
    pairs: str = setting("random", "which", choices=("random", "close", "far"))
    candidates: int = setting(10, "of each pair", needs="pairs close far")
    keep: bool = setting(True, "keep what was found", needs="explore")
    explore: bool = setting(True, "look around")
    init: str = setting("", "a policy")
    first: int = setting(5, "random steps", needs="not init")
    bonus: float = setting(0.0, "for what is new")
    decay: float = setting(0.1, "of it", needs="bonus")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("--crop 0.5", "--crop does nothing without --crops"),
        (
            "--candidates 3",
            "--candidates does nothing with --pairs random; give --pairs close or far",
        ),
        ("--no-keep --no-explore", "--no_keep does nothing with --no_explore"),
        ("--first 3 --init p", "--first does nothing with --init"),
        ("--decay 0.2", "--decay does nothing without --bonus"),
        ("--decay 0.2 --bonus 0", "--decay does nothing with --bonus 0.0"),
    ],
)
def test_what_would_do_nothing_is_refused(capsys, line, words):
    with pytest.raises(SystemExit) as stop:
        parse_settings(Switched, line.split())
    assert stop.value.code == 2
    assert words in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize(
    "line", ["", "--crops --crop 0.5", "--candidates 3 --pairs far", "--no-keep", "--first 3"]
)
def test_what_does_something_is_not(line):
    parse_settings(Switched, line.split())


def test_help_says_what_a_flag_needs(capsys):
    with pytest.raises(SystemExit):
        parse_settings(Switched, ["--help"])
    out = " ".join(capsys.readouterr().out.split())
    for words in ("they are; with --crops", "with --pairs close or --pairs far", "not with --init"):
        assert words in out


def test_what_a_file_sets_is_not_what_was_given():
    found = parse_settings(Switched, ["--pairs", "close"], lambda given: ["--crop=0.1"])
    assert found.crop == 0.1
    assert parse_settings(Switched, ["--crop", "0.2"], lambda given: ["--crops"]).crop == 0.2


def test_what_a_file_switches_on_can_be_switched_off(capsys):
    found = parse_settings(Switched, ["--no-crops"], lambda given: ["--crops"])
    assert not found.crops and parse_settings(Switched, [], lambda given: ["--crops"]).crops
    with pytest.raises(SystemExit):
        parse_settings(Switched, ["--help"])
    out = capsys.readouterr().out
    assert "--no_explore" in out and "--no_crops" not in out  # which changes nothing by itself
