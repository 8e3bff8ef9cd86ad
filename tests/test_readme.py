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


@pytest.mark.parametrize("name", ["help", "assignment", "test", "test-slow", "check", "benchmark"])
def test_make_targets(name):
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert re.search(rf"^{name}:.*## ", text, re.MULTILINE)
