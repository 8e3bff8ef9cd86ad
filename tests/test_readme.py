"""Every command of the assignment, in its order, with small arguments added."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SMALL = {
    "vpg.py": "--batch_size 200 --num_envs 4",
    "offline_reward_learning.py": "--demos_per_checkpoint 2 --num_pairs 50 --num_iter 10",
    "rollout_policy.py": "",
}


def commands():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assignment = text.partition("<!-- assignment -->")[2].partition("<!-- /assignment -->")[0]
    return re.findall(r"^python (\w+\.py.*)$", assignment, re.MULTILINE)


def test_the_commands_of_the_assignment(run, tmp_path, monkeypatch):
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    monkeypatch.delenv("DISPLAY", raising=False)
    lines = commands()
    assert [line.split()[0] for line in lines] == [
        "vpg.py",
        "offline_reward_learning.py",
        "vpg.py",
        "rollout_policy.py",
        "rollout_policy.py",
    ]
    for line in lines:
        outcome = run(f"{line} {SMALL[line.split()[0]]}")
        assert outcome.code == 0, (line, outcome)
    assert (tmp_path / "reward.params").exists()
    assert (tmp_path / "rlhf" / "policy_checkpoint49.params").exists()


SMALL_PREFLOOP = {
    "compare": "--methods constant --seeds 0 --labels 5 --demonstrator-steps 4000 --steps 2000 "
    "--evaluation-episodes 5 --processes 1",
    "pairs": "--episodes 5 --pairs 10",
    "reward": "--reward-epochs 2",
    "ppo": "--steps 256 --iteration-steps 256 --num-envs 2",
    "reward-report": "",
    "dpo": "--dpo-updates 2",
    "evaluate": "--episodes 2",
    "show": "--episodes 2 --clips 1 --steps 5 --no-browser",
    "pebble": "--random-steps 50 --labels 6 --segment-length 10 --steps 300 --iteration-steps 100 --exploration-steps 100 "
    "--reward-epochs 2 --evaluation-episodes 1 --no-keep-exploration",
    "sac": "--steps 200 --iteration-steps 100 --random-steps 50 --evaluation-episodes 1",
    "pref-ppo": "--labels 6 --segment-length 10 --steps 600 --iteration-steps 200 --num-envs 2 "
    "--rollout-steps 50 --reward-epochs 2",
}


def test_the_commands_of_the_library(run, tmp_path, monkeypatch):
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    text = (ROOT / "README.md").read_text(encoding="utf-8").partition("<!-- assignment -->")[0]
    text = text.replace("\\\n", "")  # a command may go on in the next line
    lines = re.findall(r"^(python vpg\.py .*|prefloop .*)$", text, re.MULTILINE)
    assert len(lines) == 23
    # what needs people is run in tests/labelling: test_teaching.py, test_teach.py, test_arena_command.py
    # and test_study_command.py
    people = r"prefloop (label|collect|arena|teach|study)|human"
    for line in (line for line in lines if not re.search(people, line)):
        program, name = line.split()[:2]
        small = f"--epochs 1 {SMALL[name]}" if program == "python" else SMALL_PREFLOOP[name]
        program = "" if program == "python" else "prefloop.cli "
        outcome = run(f"{program}{line.split(maxsplit=1)[1]} {small}")
        if outcome.code and "libegl1" in outcome.err:  # the machine can't draw; all else is tried
            outcome = run(f"{program}{line.split(maxsplit=1)[1].replace(' --video', '')} {small}")
        assert outcome.code == 0, (line, outcome)
    for name in ("comparison/index.html", "ppo/final_policy.params", "pendulum/reward.params"):
        assert (tmp_path / name).exists()


def test_what_each_reader_starts_with_is_tried_elsewhere():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    table = text.partition("**Which of the five are you?**")[2].partition("![")[0]
    commands = re.findall(r"`((?:make|python|prefloop) [^`]+)`", table)
    assert len(commands) == 9
    # tests run these lines, of this page and of two others, or their like; the journey was gone by hand
    names = ("README.md", "docs/course.md", "docs/labelling.md", "docs/journey.md")
    pages = [ROOT / name for name in names]
    lines = "\n".join(page.read_text(encoding="utf-8") for page in pages).splitlines()
    shown = {line.partition("  #")[0].strip() for line in lines}
    assert [command for command in commands if command not in shown] == []


@pytest.mark.parametrize(
    "name", ["help", "install", "docs", "assignment", "test", "test-slow", "check", "benchmark"]
)
def test_make_targets(name):
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert re.search(rf"^{name}:.*## ", text, re.MULTILINE)


def test_what_people_are_to_compare_was_made_before_in_one_environment():
    text = (ROOT / "README.md").read_text(encoding="utf-8").replace("\\\n", "")
    made = {}
    for line in re.findall(r"^(prefloop .*)$", text, re.MULTILINE):
        if found := re.search(r"--env (\S+).*--out (\S+)", line):
            made[found[2]] = found[1]
        if found := re.search(r"^prefloop (?:arena --name \S+ --policies|show) ([^#]+)", line):
            assert len({made[name] for name in found[1].split()}) == 1, line
