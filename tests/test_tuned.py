import importlib
import importlib.util
import re
import shlex
import subprocess
import sys
from pathlib import Path

import gymnasium as gym
import pytest
from conftest import ROOT, assert_one_sentence

from prefloop.agents.settings import PPOSettings
from prefloop.command_line import parse_settings
from prefloop.envs.make import import_module
from prefloop.envs.settings import EnvSettings
from prefloop.errors import UserError
from prefloop.files import read_json, write_json
from prefloop.settings import as_flat, leaves
from prefloop.sweeps.settings import CompareSettings, demonstrator_settings
from prefloop.tuned import COMMANDS, FOLDER, PRESETS, defaults_for, flags_of, read, tuned

FILES = sorted(FOLDER.rglob("*.yaml"))
SMALL = "--steps 40 --iteration-steps 20 --hidden-sizes 8 --batch-size 8 --random-steps 10 --evaluation-episodes 1"


def settings_of(command):
    return importlib.import_module(f"prefloop.commands.{command.replace('-', '_')}").Settings


def parsed(command, *line):
    """What the flags of a command come to, by the way of its defaults."""
    settings_class = settings_of(command)

    def defaults(given):
        found = defaults_for(command, settings_class, given)
        return found.arguments if found else []

    return as_flat(parse_settings(settings_class, ["--out", "x", *line], defaults))


@pytest.mark.parametrize("file", FILES, ids=lambda path: path.stem)
def test_what_comes_with_the_program_is_of_its_commands(file):
    yaml = pytest.importorskip("yaml")
    content = yaml.safe_load(file.read_text(encoding="utf-8"))
    assert content["source"] and content["reached"]
    assert set(content) <= {"env", "source", "reached", *COMMANDS}
    found = {command: read(file, command, settings_of(command)) for command in COMMANDS}
    assert any(found.values())
    for command in COMMANDS:
        if found[command]:
            env = content.get("env", "Hopper-v5")
            line = ["--env", env, *(["--preset", file.stem] if file.parent == PRESETS else [])]
            flat = parsed(command, *line)
            for flag, value in found[command].items():
                assert flat[flag] == (tuple(value) if isinstance(value, list) else value)
    if file.parent != PRESETS:
        name = file.relative_to(FOLDER).with_suffix("").as_posix()
        whole = content["env"].rpartition("-v")[0]
        assert name in (whole, whole.rpartition("/")[0])  # by which it is found


@pytest.mark.parametrize("file", [file for file in FILES if file.parent != PRESETS], ids=str)
def test_all_commands_have_the_same_environment(file):
    pytest.importorskip("yaml")
    found = {command: read(file, command, settings_of(command)) for command in COMMANDS}
    known = {leaf.flag for leaf in leaves(EnvSettings)}
    changes = {
        command: {flag: value for flag, value in values.items() if flag in known}
        for command, values in found.items()
        if values or command == "compare"  # which runs the others, and has one for all
    }
    assert all(change == changes["compare"] for change in changes.values()), changes


@pytest.mark.parametrize("file", [file for file in FILES if file.parent != PRESETS], ids=str)
@pytest.mark.parametrize("changes", [{}, {"action_repeat": 1}, {"action_repeat": 3, "horizon": 9}])
def test_flags_of_an_environment_come_to_the_same_in_every_command(file, changes):
    yaml = pytest.importorskip("yaml")
    env = EnvSettings(env=yaml.safe_load(file.read_text(encoding="utf-8"))["env"], **changes)
    for command in ("ppo", "sac", "pref-ppo", "pebble", "compare"):
        flat = parsed(command, *shlex.split(flags_of(env)))
        assert {flag: flat[flag] for flag in as_flat(env)} == as_flat(env), command


def test_the_environments_that_papers_on_preferences_use_are_there():
    names = {path.stem for path in FILES}
    assert names >= {"HalfCheetah", "Hopper", "Walker2d", "Ant", "Swimmer", "Reacher", "Pusher"}
    assert names >= {
        "walker-walk", "cheetah-run", "cartpole-swingup", "reacher-easy", "ball_in_cup-catch",
        "hopper-stand", "quadruped-walk",
    }  # fmt: skip


def test_what_is_given_wins_and_any_version_of_an_environment_is_meant():
    plain = parsed("sac", "--env", "Swimmer-v5")
    assert plain["gamma"] == 0.999
    assert parsed("sac", "--env", "Swimmer-v4")["gamma"] == 0.999
    assert parsed("sac", "--env", "Swimmer-v5", "--gamma", "0.9")["gamma"] == 0.9
    assert parsed("sac", "--env", "Swimmer-v5", "--untuned")["gamma"] == 0.99
    assert parsed("sac", "--env", "Pendulum-v1")["gamma"] == 0.99
    assert parsed("sac", "--env", "../../etc/passwd")["gamma"] == 0.99
    assert parsed("pebble", "--env", "presets/pebble-2021")["batch_size"] == 128


@pytest.mark.parametrize("command", ["ppo", "pref-ppo"])
def test_what_is_of_vectors_is_left_out_where_pictures_are_observed(command):
    env = ("--env", "HalfCheetah-v5")
    assert parsed(command, *env)["normalise_obs"]
    assert not parsed(command, *env, "--pixels", "42")["normalise_obs"]
    assert not tuned(PPOSettings(), command, env[1], has_pictures=True).normalise_obs
    pictures = CompareSettings(
        methods=("true-reward",), out="c", environment=EnvSettings(env=env[1], pixels=42)
    )
    assert not demonstrator_settings(pictures).normalise_obs


def test_people_see_what_comes_after_an_end():
    hopper = ("--env", "Hopper-v5")
    assert parsed("pebble", *hopper)["absorb_termination"]
    assert not parsed("pebble", *hopper, "--no-absorb-termination")["absorb_termination"]
    assert not parsed("pebble", *hopper, "--keep-termination")["absorb_termination"]
    people = parsed("pebble", *hopper, "--run", "r", "--teacher", "human", "--out", "")
    assert not people["absorb_termination"] and people["schedule"] == "harmonic"


def test_a_preset_stands_in_the_place_of_what_is_tuned():
    walker = ("--env", "dm_control/walker-walk-v0")
    assert parsed("pebble", *walker)["network"] == "residual"
    paper = parsed("pebble", *walker, "--preset", "pebble-2021")
    assert paper["network"] == "mlp" and paper["hidden_sizes"] == (1024, 1024)
    assert paper["action_repeat"] == 1 and paper["held_out"] == 0
    assert (
        parsed("pebble", *walker, "--preset", "pebble-2021", "--batch_size", "64")["batch_size"]
        == 64
    )


def test_a_run_says_what_it_uses(run, tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("sac:\n  gamma: 0.9\n  surf: 1\n", encoding="utf-8")
    line = f"prefloop.cli sac --env Pendulum-v1 {SMALL} --out p --preset"
    outcome = run(f"{line} mine.yaml")
    assert_one_sentence(outcome, "mine.yaml, line 3: surf is no setting of prefloop sac")
    file.write_text("sac:\n  gamma: 0.9\n  tau: 0.01\n", encoding="utf-8")
    outcome = run(f"{line} mine.yaml --tau 0.02")
    assert outcome.code == 0, outcome.err
    assert "Settings for mine.yaml (mine.yaml): gamma 0.9." in outcome.out
    settings = read_json(tmp_path / "p/run.json")["settings"]
    assert (settings["gamma"], settings["tau"], settings["preset"]) == (0.9, 0.02, "mine.yaml")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("sac:\n  gama: 1\n", "line 2: gama is no setting of prefloop sac"),
        (
            "# one\nsac:\n  network: mlp\n  hidden_sizes: big\n",
            "line 4: hidden_sizes can't be 'big'",
        ),
        ("sac:\n  network: cnn\n", "line 2: network can't be 'cnn'"),
        ("sac:\n  gamma: [1, 2]\n", r"line 2: gamma can't be \[1, 2\]"),
        ("sac:\n  gamma: true\n", "line 2: gamma can't be True"),
        ("sac:\n  resume: true\n", "line 2: resume is no setting"),
        ("sac:\n  tau: 0.1\n  gamma: 2\n", "line 3: --gamma must be between 0 and 1, not 2.0"),
        ("sac:\n  gamma: 0.9\n  gamma: 0.8\n", "line 3: gamma stands here for the second time"),
        ("sac:\n  hidden_sizes: []\n", r"line 2: hidden_sizes can't be \[\]"),
        ("sac:\n  gamma:\n", "line 2: gamma can't be None"),
        (
            "sac:\n  tau: 0.1\n  network: residual\n  hidden_sizes: [8, 9]\n",
            "line 3: the blocks of --network residual are equally wide, not 8 9",
        ),
        ("env: x\nsca:\n  gamma: 1\n", "line 2: sca is none of sac, pebble, ppo, pref-ppo"),
        ("sac: {gamma: 2020-13-45}\n", "line 1: gamma can't be '2020-13-45'"),
        ("sac: 3\n", "line 1: `key: value` lines are needed"),
        ("- sac\n", "line 1: `key: value` lines are needed"),
        ("sac: {a\n", r"line 2: expected ',' or"),
    ],
)
def test_what_is_wrong_in_a_file_is_said_with_its_line(tmp_path, text, said):
    file = tmp_path / "x.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=said):
        read(file, "sac", settings_of("sac"))


def test_a_preset_that_is_not_there_is_named():
    with pytest.raises(UserError, match=r"no preset 'peble'.*pebble-2021"):
        defaults_for("pebble", settings_of("pebble"), {"preset": "peble"})


def test_a_file_that_says_nothing_of_a_command_changes_nothing(tmp_path):
    (tmp_path / "x.yaml").write_text("", encoding="utf-8")
    assert read(tmp_path / "x.yaml", "sac", settings_of("sac")) == {}
    assert defaults_for("ppo", settings_of("ppo"), {"env": "Pendulum-v1"}) is None


@pytest.mark.parametrize("command", ["ppo", "pref-ppo"])
@pytest.mark.parametrize(
    ("env", "flag"), [("HalfCheetah-v5", "normalise_obs"), ("prefloop/Dot-v0", "encoder")]
)
def test_a_policy_that_is_given_brings_its_own(command, env, flag):
    assert parsed(command, "--env", env)[flag]
    assert not parsed(command, "--env", env, "--init", "p")[flag]
    assert not getattr(tuned(PPOSettings(), command, env, has_init=True), flag)


def test_values_are_what_their_flags_make_of_them(tmp_path):
    file = tmp_path / "x.yaml"
    file.write_text(
        "pebble:\n  learning_rate: 1e-3\n  hidden_sizes: 64\n  relabel: false\n"
        "  keep_termination: false\n  skip_below: -3\n  explore_from: -odd\n",
        encoding="utf-8",
    )
    line = ("--env", "Hopper-v5", "--preset", str(file))
    flat = parsed("pebble", *line)
    assert (flat["learning_rate"], flat["hidden_sizes"]) == (0.001, (64,))
    assert not flat["relabel"] and not flat["keep_termination"]
    assert (flat["skip_below"], flat["explore_from"]) == (-3, "-odd")
    found = defaults_for("pebble", settings_of("pebble"), {"preset": str(file)})
    assert "learning_rate 0.001, hidden_sizes 64, relabel False" in found.sentence(flat)


def test_a_run_that_goes_on_keeps_what_it_began_with(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    walker = "dm_control/walker-walk-v0"
    people = ("--teacher", "human", "--run", "r", "--out", "")
    assert parsed("pebble", *people)["network"] == "mlp"
    began = parsed("pebble", *people, "--env", walker)
    assert began["network"] == "residual"
    (tmp_path / "r").mkdir()
    file = tmp_path / "r" / "run.json"
    write_json(file, {"env": walker, "settings": began})
    # what is usual of the rest is known when the environment is
    assert parsed("pebble", *people) == {**began, "env": "", "frame_stack": None}
    # plainly, as before there was a file; and another file than today's
    for old in ({}, {"network": "mlp", "action_repeat": 4, "random_steps": 7}):
        write_json(file, {"env": walker, "settings": old})
        flat = parsed("pebble", *people)
        assert (flat["network"], flat["action_repeat"]) == ("mlp", old.get("action_repeat"))
        assert flat["random_steps"] == old.get("random_steps", 1000)
    line = ("--env", walker, "--out", "r")
    assert parsed("sac", *line)["network"] == "residual"  # which a folder with a run refuses
    assert parsed("sac", *line, "--resume")["network"] == "mlp"
    assert parsed("sac", *line, "--resume", "--network", "residual")["network"] == "residual"


def test_a_run_that_goes_on_says_so(run, tmp_path):
    line = f"prefloop.cli sac --env Swimmer-v5 {SMALL} --horizon 10 --out p"
    pytest.importorskip("mujoco")
    outcome = run(f"{line} --untuned")
    assert outcome.code == 0 and "Settings for" not in outcome.out
    outcome = run(f"{line} --resume")
    assert outcome.code == 0, outcome.err
    assert "Settings for Swimmer-v5 (run.json): network mlp" in outcome.out
    assert "gamma 0.99." in outcome.out and "untuned" not in outcome.out.splitlines()[0]


def test_a_preset_without_the_command_is_refused():
    with pytest.raises(UserError, match=r"pebble-2021\.yaml says nothing of prefloop sac"):
        parsed("sac", "--env", "Hopper-v5", "--preset", "pebble-2021")


def test_names_too_long_for_a_file_are_no_files():
    name = "a" * 300
    assert parsed("sac", "--env", f"{name}-v0")["network"] == "mlp"
    with pytest.raises(UserError, match="There is no preset"):
        parsed("sac", "--env", "Hopper-v5", "--preset", name)


@pytest.mark.parametrize("file", [file for file in FILES if file.parent != PRESETS], ids=str)
def test_the_environments_exist(file):
    yaml = pytest.importorskip("yaml")
    env = yaml.safe_load(file.read_text(encoding="utf-8"))["env"]
    if not env.startswith("dm_control/"):
        if env.startswith("ALE/"):
            pytest.importorskip("ale_py")
        import_module(env)
        assert env in gym.registry
        return
    suite = importlib.util.find_spec("dm_control")
    if suite is None:
        pytest.skip("could not import dm_control")
    # in its text: importing the suite starts a simulator
    domain, task = re.fullmatch(r"dm_control/(\w+)-(\w+)-v0", env).groups()
    text = Path(suite.submodule_search_locations[0], "suite", f"{domain}.py").read_text("utf-8")
    assert re.search(rf"^def {task}\(", text, re.MULTILINE)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_the_flags_and_takes_no_yaml(command):
    code = f"""
import sys
sys.modules["yaml"] = None
from prefloop.cli import main
main(["{command}", "--help"])
"""
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert out.returncode == 0, out.stderr
    assert "--untuned" in out.stdout
    assert ("--preset" in out.stdout) == (command != "compare")  # many methods, many sections


def test_a_value_that_holds_itself_a_thousand_million_times_is_refused_at_once(tmp_path):
    levels = [f"  l{i}: &l{i} [{', '.join([f'*l{i - 1}'] * 10)}]" for i in range(1, 10)]
    text = "\n".join(["sac:", "  l0: &l0 [1]", *levels, "  gamma: *l9"])
    (tmp_path / "x.yaml").write_text(text.replace("sac:", "source:") + "\n", encoding="utf-8")
    assert read(tmp_path / "x.yaml", "sac", settings_of("sac")) == {}
    (tmp_path / "x.yaml").write_text(
        "source: {"
        + ", ".join(line.strip() for line in text.splitlines()[1:-1])
        + "}\nsac: {gamma: *l9}\n",
        encoding="utf-8",
    )
    with pytest.raises(UserError, match=r"line 2: gamma can't be \["):
        read(tmp_path / "x.yaml", "sac", settings_of("sac"))
