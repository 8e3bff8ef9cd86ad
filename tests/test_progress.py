import re

import pytest

from prefloop import progress
from prefloop.files import read_csv

PPO = (
    "prefloop.cli ppo --env CartPole-v1 --num-envs 4 --rollout-steps 32 --steps 512 "
    "--iteration-steps 256 --hidden-sizes 8 --out"
)


class Clock:
    """Time that passes when it is told to."""

    now = 100.0

    waited = 0.0  # of it, without anything to compute

    def monotonic(self):
        return self.now

    def process_time(self):
        return self.now - self.waited


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    return clock


def test_a_line_now_and_then(clock, capsys):
    with progress.progress(1000, "steps", initial=200) as shown:
        for second in range(45):
            clock.now += 1
            shown.update(units=5)
            if second == 21:
                shown.update({"true_return": 12.345678}, units=0)
    first, second = capsys.readouterr().err.splitlines()
    assert first == "300 of 1000 steps, 5 steps/s, 2:20 left"
    assert second == "400 of 1000 steps, 5 steps/s, 2:00 left: true_return 12.35"


def test_the_speed_is_that_of_the_last_minutes(clock, capsys):
    with progress.progress(100_000, "steps") as shown:
        clock.now += 20
        shown.update(units=20_000)
        for _ in range(6):
            clock.now += 20
            shown.update(units=200)
    last = capsys.readouterr().err.splitlines()[-1]
    assert last == "21200 of 100000 steps, 10 steps/s, 2:11:20 left"


def test_what_is_quick_at_the_beginning_says_nothing_of_the_rest(clock, capsys):
    with progress.progress(100_000, "steps", quick=1000) as shown:
        clock.now += 21
        shown.update(units=999)
        shown.update(units=1)
        for _ in range(25):
            clock.now += 1
            shown.update(units=10)
    first, second = capsys.readouterr().err.splitlines()
    assert first == "999 of 100000 steps"
    assert second.startswith("1200 of 100000 steps, 10 steps/s, 2:44:40 left")


def test_waiting_for_people_is_no_slowness(clock, capsys):
    with progress.progress(1000, "steps") as shown:
        for _ in range(20):
            clock.now += 1
            shown.update(units=10)
        clock.now, clock.waited = clock.now + 3600, 3590.0
        for _ in range(25):
            clock.now += 1
            shown.update(units=10)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "200 of 1000 steps, 10 steps/s, 1:20 left"
    assert all(float(re.search(r"([0-9.]+) steps/s", line)[1]) > 9 for line in lines)


def test_waiting_for_other_processes_is_what_takes_the_time(clock, capsys):
    with progress.progress(40, "jobs", elsewhere=True) as shown:
        for number in range(20):
            clock.now, clock.waited = clock.now + 60, clock.waited + 60
            shown.update(units=1 + (number == 0))
    last = capsys.readouterr().err.splitlines()[-1]
    assert last == "21 of 40 jobs, 0.0167 jobs/s, 19:00 left"


def test_one_step_after_a_long_evaluation_tells_no_speed(clock, capsys):
    with progress.progress(4000, "steps", quick=1000) as shown:
        shown.update(units=1000)
        clock.now += 25
        shown.update(units=1)
    assert capsys.readouterr().err == "1001 of 4000 steps\n"


@pytest.mark.parametrize("quiet", [True, False])
def test_nothing_is_said_at_once(capsys, quiet):
    with progress.progress(3, "epochs", quiet=quiet) as shown:
        shown.update({"loss": 1.0})
    assert capsys.readouterr().err == ""


def test_a_run_shows_its_steps_while_an_iteration_lasts(run, tmp_path, monkeypatch):
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0.0)
    outcome = run(f"{PPO} p")
    assert outcome.code == 0, outcome.err
    lines = outcome.err.splitlines()
    counts = [int(line.split()[0]) for line in lines]
    assert sorted(set(counts)) == list(range(4, 516, 4))  # every step of the four environments
    assert re.fullmatch(r"512 of 512 steps, [\d.e+]+ steps/s, 0:00 left: .*", lines[-1])
    assert "true_return" in lines[-1] and "true_return" not in lines[0]
    # and nothing of the time it took stands in what is the same each time
    assert not {"seconds", "speed", "time"} & read_csv(tmp_path / "p/metrics.csv")[0].keys()


def test_a_resumed_run_counts_what_was_done(run, monkeypatch):
    assert run(f"{PPO} p --stop-at 0").code == 0
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0.0)
    lines = run(f"{PPO} p --resume").err.splitlines()
    assert lines[0].startswith("260 of 512 steps")
