"""What is handed to a queue and left there, with one of the same interface that does nothing by itself."""

import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
from given import as_given
from test_sweep_results import STUDY

from prefloop.errors import UserError
from prefloop.files import ClaimedError, claimed_directory, read_json, write_json
from prefloop.sweeps import running
from prefloop.sweeps.compare import run_study
from prefloop.sweeps.coordinating import QUEUED, Running, do_all, leave
from prefloop.sweeps.engine_settings import EngineSettings
from prefloop.sweeps.engines import RayCluster, Slurm
from prefloop.sweeps.jobs import Job, do, do_with_patience
from prefloop.sweeps.study import read_study


class Waiting:
    """A queue in which everything waits until it is told otherwise."""

    most = 1000

    def __init__(self):
        self.jobs: dict[str, Job] = {}
        self.after: dict[str, list[str]] = {}
        self._arrays, self._states = 0, {}

    def submit(self, function, jobs, after=()):
        self._arrays += 1
        numbers = [f"{self._arrays}_{i}" for i in range(len(jobs))]
        self.jobs |= dict(zip(numbers, jobs, strict=True))
        self.after |= {number: list(after) for number in numbers}
        self._states |= dict.fromkeys(numbers, "PENDING")
        return numbers

    def states(self):
        return dict(self._states)

    def log_of(self, job_id):
        return Path(f"{job_id}.err")

    def ends(self, number, done):
        del self._states[number]
        job = self.jobs[number]
        if done:
            job.folder.mkdir(parents=True, exist_ok=True)
            name = "prepared.json" if job.function == "prepare" else "result.json"
            write_json(job.folder / name, {})


@pytest.fixture
def study(tmp_path):
    (tmp_path / "s.yaml").write_text(STUDY.replace(", Acrobot-v1", "").replace("0-2", "0-1"))
    (comparison,) = read_study(as_given(tmp_path / "s.yaml", out=str(tmp_path / "c"))).comparisons
    (tmp_path / "c").mkdir()
    cells = [Job("run_cell", comparison.settings, cell) for cell in comparison.cells]
    prepared = [Job("prepare", comparison.settings, seed) for seed in (0, 1)]
    return cells, {p: [c for c in cells if c.what.seed == p.what] for p in prepared}, tmp_path / "c"


def test_what_was_given_is_not_given_again(study, capsys):
    cells, then, root = study
    queue = Waiting()
    leave(queue, list(then), then, root)
    # each once, and what needs demonstrators after them
    assert sorted(map(str, queue.jobs.values())) == sorted(map(str, (*then, *cells)))
    first = [number for number, job in queue.jobs.items() if job.function == "prepare"]
    assert all(after == ([] if number in first else first) for number, after in queue.after.items())
    leave(queue, list(then), then, root)
    assert len(queue.jobs) == len(then) + len(cells)
    assert (
        f"given 0 jobs; of earlier ones {len(queue.jobs)} wait, 0 run, 0 ended"
        in capsys.readouterr().out
    )
    # some are done, one ended without a word: a node was lost, or its time was over
    for number in first:
        queue.ends(number, done=True)
    others = [number for number in queue.jobs if number not in first]
    queue.ends(others[0], done=True)
    queue.ends(others[1], done=False)
    left = {p: [c for c in after if not c.is_done] for p, after in then.items()}
    leave(queue, list(left), left, root)
    assert len(queue.jobs) == len(then) + len(cells)
    assert f"{len(cells) - 2} wait, 0 run, 1 ended" in capsys.readouterr().out
    lost = queue.jobs[others[1]]
    assert f"Its job {others[1]} ended without a word; {others[1]}.err is not there" in lost.failure
    # whoever takes the failure away, as --retry_failed does with what it tries, has it given again
    lost.forget_failure()
    leave(queue, list(left), left, root)
    again = [job for number, job in queue.jobs.items() if number.startswith(("7_", "8_"))]
    prepared = Job("prepare", lost.settings, lost.what.seed)
    assert again == [prepared, lost]
    # what is over is forgotten; what waits is not
    assert len(read_json(root / QUEUED)) == len(cells) - 2 + len(again)


def test_more_labels_wait_for_more_pairs(study):
    cells, then, root = study
    queue = Waiting()

    def of(labels):
        """The same comparison, with these budgets alone."""
        found: dict[Job, list[Job]] = {}
        for prepared, after in then.items():
            settings = replace(prepared.settings, labels=labels)
            cells = [job for job in after if job.what.labels in (0, *labels)]
            found[prepared._replace(settings=settings)] = [
                job._replace(settings=settings) for job in cells
            ]
        return found

    few, many = of((20,)), of((20, 50))
    leave(queue, list(few), few, root)
    num_few = len(queue.jobs)
    leave(queue, list(many), many, root)
    # those that wait would make 20 pairs, and runs with 50 labels do not follow them
    new = {number: job for number, job in queue.jobs.items() if int(number.split("_")[0]) > 2}
    assert len(queue.jobs) == num_few + len(new) == 2 * len(then) + len(cells)
    prepared = [number for number, job in new.items() if job.function == "prepare"]
    assert [new[number].settings.labels for number in prepared] == [(20, 50)] * len(then)
    assert all(queue.after[n] == prepared for n, job in new.items() if job.function == "run_cell")
    leave(queue, list(many), many, root)
    assert len(queue.jobs) == num_few + len(new)


def test_what_a_command_is_not_about_is_not_given_again_by_the_next(study):
    cells, then, root = study
    queue = Waiting()
    leave(queue, list(then), then, root)
    num = len(queue.jobs)
    some = {prepared: after[:1] for prepared, after in list(then.items())[:1]}
    leave(queue, list(some), some, root)
    leave(queue, list(then), then, root)
    assert len(queue.jobs) == num == len(then) + len(cells)


def test_an_engine_that_is_not_there(study, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    monkeypatch.setitem(__import__("sys").modules, "submitit", None)
    with pytest.raises(UserError, match=r"--engine ray needs ray: pip install 'prefloop\[ray\]'"):
        RayCluster(EngineSettings(engine="ray"))
    with pytest.raises(UserError, match=r"--engine slurm needs submitit"):
        Slurm(tmp_path, EngineSettings(engine="slurm"))
    cells, _, root = study
    how = Running(engine=EngineSettings(engine="slurm"))
    with pytest.raises(UserError, match="needs submitit"):
        do_all([], cells, how, root)
    assert not any(job.failure for job in cells)
    with pytest.raises(UserError, match="--engine ray needs ray"):
        run_study(as_given(root.with_name("s.yaml"), out=str(tmp_path / "new"), engine="ray"))
    assert not (tmp_path / "new").exists()


def test_what_another_process_does_is_waited_for(study, monkeypatch):
    """The workers of a command that was killed live on for a second."""
    ran, (job, other, *_), _, _ = [], *study
    monkeypatch.setattr(running, "run_cell", lambda settings, cell: ran.append(cell))
    with claimed_directory(job.folder):
        waiting = threading.Thread(target=do, args=(job,))
        waiting.start()
        waiting.join(0.5)
        assert waiting.is_alive() and not ran
        write_json(job.folder / "result.json", {"mean_return": 1.0})
    waiting.join(10)
    assert not waiting.is_alive() and not ran, "it is done, and not done again"
    with claimed_directory(other.folder):
        do(other, patience=0.3)
    assert ran == [other.what], "who would wait for ever hears what is wrong"


def test_two_that_begin_at_the_same_moment(study, monkeypatch):
    """As where a queue was given a job twice: each looks, and neither sees the other."""
    ran, (job, *_), _, _ = [], *study

    def run_cell(settings, cell):
        ran.append(cell)
        if len(ran) == 1:
            raise ClaimedError("Another process is writing to it.")
        write_json(job.folder / "result.json", {"mean_return": 1.0})

    monkeypatch.setattr(running, "run_cell", run_cell)
    do_with_patience(job)
    assert len(ran) == 2 and job.is_done and job.failure is None
    (job.folder / "result.json").unlink()
    ran.clear()
    with pytest.raises(ClaimedError):
        do(job, patience=0)
    assert job.failure == "Another process is writing to it."


def test_demonstrators_are_made_by_one_at_a_time(study, monkeypatch):
    at_once, most, (prepared, *_) = [], [], list(study[1])

    def make(settings, seed, folder):
        at_once.append(seed)
        most.append(len(at_once))
        time.sleep(0.3)
        at_once.pop()

    monkeypatch.setattr(running, "_prepare", make)
    both = [threading.Thread(target=do_with_patience, args=(prepared,)) for _ in range(2)]
    for one in both:
        one.start()
    for one in both:
        one.join(20)
    assert most == [1, 1] and prepared.failure is None


def test_more_jobs_than_a_queue_takes_together_are_given_in_several_arrays(study):
    cells, then, root = study

    class Small(Waiting):
        most, left = 3, 3

        def submit(self, function, jobs, after=()):
            assert len(jobs) <= self.most
            if not self.left:
                raise UserError("SLURM took no jobs: the limit is reached.")
            self.left -= 1
            return super().submit(function, jobs, after)

    queue = Small()
    with pytest.raises(UserError, match="the limit is reached"):
        leave(queue, list(then), then, root)
    assert len(read_json(root / QUEUED)) == len(queue.jobs) == len(then) + 2 * queue.most
    queue.left = 100
    leave(queue, list(then), then, root)
    assert sorted(map(str, queue.jobs.values())) == sorted(map(str, (*then, *cells)))
    prepared = [number for number, job in queue.jobs.items() if job.function == "prepare"]
    assert {tuple(after) for after in queue.after.values()} == {(), tuple(prepared)}


def test_what_the_queue_took_is_noted_before_it_refuses_the_rest(study):
    cells, then, root = study

    class Full(Waiting):
        def submit(self, function, jobs, after=()):
            if after:
                raise UserError("SLURM took no jobs: the limit is reached.")
            return super().submit(function, jobs, after)

    queue = Full()
    with pytest.raises(UserError, match="the limit is reached"):
        leave(queue, list(then), then, root)
    assert len(read_json(root / QUEUED)) == len(then)
    others = Waiting()
    others.jobs, others._arrays, others._states = queue.jobs, 1, queue._states
    leave(others, list(then), then, root)
    assert sorted(map(str, others.jobs.values())) == sorted(map(str, (*then, *cells)))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("engine: cloud", "line 9: engine can't be 'cloud'; choose from local, slurm, ray"),
        ("engine: {engine: slurm, minuts: 5}", "line 9: minuts is no setting of an engine; did you mean minutes?"),
        ("engine:\n  engine: slurm\n  minutes: 0", "line 11: minutes must be above 0"),
        ("engine:\n  minutes: 5", "line 10: minutes does nothing with engine local"),
        ("engine: {engine: ray, partition: main}", "partition does nothing with engine ray"),
    ],
)  # fmt: skip
def test_engines_in_a_file(tmp_path, text, words):
    file = tmp_path / "s.yaml"
    file.write_text(STUDY + text)
    with pytest.raises(UserError) as refused:
        read_study(as_given(file))
    assert words in str(refused.value)


def test_an_engine_of_a_file_and_of_a_flag(tmp_path):
    file = tmp_path / "s.yaml"
    file.write_text(
        STUDY + "engine: {engine: slurm, gpus: 1, setup: [module load cuda, conda activate x]}"
    )
    study = read_study(as_given(file))
    assert study.engine == EngineSettings(
        engine="slurm", gpus=1, setup=("module load cuda", "conda activate x")
    )
    # workers begin in folders of their own
    assert all(c.folder.is_absolute() for c in study.comparisons)
    file.write_text(STUDY)
    assert (
        read_study(as_given(file, engine="ray", address="10.0.0.1:6379")).engine.address
        == "10.0.0.1:6379"
    )
