"""SLURM and Ray themselves, where they are installed; the boundary without them is in test_coordinating.py."""

import contextlib
import csv
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from conftest import ROOT
from given import as_given

from prefloop.errors import UserError
from prefloop.sweeps.compare import run_study
from prefloop.sweeps.searching import tune

pytestmark = pytest.mark.slow
STUDY = """
env: CartPole-v0
methods: [dpo, constant, true-reward]
labels: 10
seeds: 0-1
demonstrator_steps: 8000
episodes: 10
steps: 4000
evaluation_episodes: 10
"""


@pytest.fixture
def study(tmp_path):
    file = tmp_path / "study.yaml"
    file.write_text(STUDY)
    run_study(as_given(file, out=str(tmp_path / "here"), processes=2))
    return file


def results(folder):
    with (folder / "results.csv").open(newline="") as file:
        return [{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(file)]


def with_variable(name, value):
    """The processes that were begun with a variable of that value."""
    wanted = f"{name}={value}".encode()
    for place in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            if wanted in (place / "environ").read_bytes().split(b"\0"):
                yield int(place.name)


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    """A cluster of one node, without accounts or munge."""
    pytest.importorskip("submitit")
    if shutil.which("slurmctld") is None or os.getuid() != 0:
        pytest.skip("SLURM is not installed: apt-get install slurmctld slurmd (as root)")
    name, ports = socket.gethostname().partition(".")[0], []
    for _ in range(2):
        with socket.socket() as free:
            free.bind(("", 0))
            ports.append(free.getsockname()[1])
    conf = tmp_path / "slurm.conf"
    for folder in ("state", "spool"):
        (tmp_path / folder).mkdir()
    conf.write_text(
        f"""
ClusterName=test
SlurmctldHost={name}
AuthType=auth/none
CredType=cred/none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SlurmUser=root
SlurmdUser=root
StateSaveLocation={tmp_path}/state
SlurmdSpoolDir={tmp_path}/spool
SlurmctldPidFile={tmp_path}/ctld.pid
SlurmdPidFile={tmp_path}/d.pid
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
ReturnToService=2
MpiDefault=none
SlurmdParameters=config_overrides
NodeName={name} CPUs=4 RealMemory=4000 State=UNKNOWN
PartitionName=main Nodes={name} Default=YES MaxTime=INFINITE State=UP
"""
    )
    monkeypatch.setenv("SLURM_CONF", str(conf))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    programs = {name: subprocess.Popen([name, "-D"]) for name in ("slurmctld", "slurmd")}
    yield programs
    for process in with_variable("SLURM_CONF", conf):  # they would wait for their jobs
        os.kill(process, signal.SIGKILL)
    for program in programs.values():
        program.wait()


def queued():
    line = ["squeue", "--me", "--array", "--noheader", "--format=%i %T"]
    return subprocess.run(line, capture_output=True, text=True, check=True).stdout.splitlines()


def wait_until(holds, seconds=300):
    end = time.monotonic() + seconds
    while not (found := holds()):
        assert time.monotonic() < end
        time.sleep(0.2)
    return found


def test_slurm_does_the_same_and_a_job_that_it_loses_is_given_again(study, slurm, tmp_path):
    study.write_text(STUDY + "engine: {engine: slurm, minutes: 10, memory: 0.9}\n")
    out = tmp_path / "there"
    answering()
    run_study(as_given(study, out=str(out)))
    assert len(queued()) == 2 + 2 + 6  # demonstrators, chance, runs
    lost = max(line.split()[0] for line in queued())
    subprocess.run(["scancel", lost], check=True)
    wait_until(lambda: not queued())
    with pytest.raises(UserError, match=f"Its job {lost} ended without a word"):
        run_study(as_given(study, out=str(out)))
    run_study(as_given(study, out=str(out)), retry_failed=True)
    wait_until(lambda: not queued())
    run_study(as_given(study, out=str(out)))
    assert results(out) == results(tmp_path / "here")


def answering():
    wait_until(lambda: subprocess.run(["sinfo"], capture_output=True, check=False).returncode == 0)


def written(folder):
    """When each result came, which is once."""
    return {file: file.stat().st_mtime_ns for file in folder.glob("*/runs/**/result.json")}


def acting(out, seed):
    """The folder of a run that acts, once it has acted for a while and is far from its end."""
    folder = next(out.glob(f"*/runs/true-reward/labels-0/seed-{seed}"), None)
    if folder is None or not (folder / "metrics.csv").exists():
        return None
    assert not (folder / "result.json").exists(), "it was too quick to be killed"
    return folder


def test_slurm_loses_a_worker_and_then_the_node(slurm, tmp_path):
    file, out = tmp_path / "longer.yaml", tmp_path / "there"
    text = STUDY.replace("\nsteps: 4000", "\nsteps: 200000").replace("dpo, constant, ", "")
    file.write_text(text)
    run_study(as_given(file, out=str(tmp_path / "here"), processes=2))
    file.write_text(text + "engine: {engine: slurm, minutes: 10, memory: 0.9}\n")
    answering()
    run_study(as_given(file, out=str(out)))
    wait_until(lambda: acting(out, 0))
    number = json.loads((out / "queued.json").read_text())[str(acting(out, 0).relative_to(out))]
    array, _, task = number.partition("_")
    ours = set(with_variable("SLURM_ARRAY_JOB_ID", array))
    for worker in ours & set(with_variable("SLURM_ARRAY_TASK_ID", task)):
        os.kill(worker, signal.SIGKILL)
    wait_until(lambda: not any(line.startswith(f"{number} ") for line in queued()))
    wait_until(lambda: acting(out, 1))
    # all that runs on the node ends at once
    for process in with_variable("SLURM_CONF", tmp_path / "slurm.conf"):
        if process != slurm["slurmctld"].pid:
            os.kill(process, signal.SIGKILL)
    slurm["slurmd"].wait()
    times, node = written(out), socket.gethostname().partition(".")[0]
    scontrol = ["scontrol", "update", f"nodename={node}"]
    subprocess.run([*scontrol, "state=down", "reason=lost"], check=True)
    slurm["slurmd"] = subprocess.Popen(["slurmd", "-D"])
    assert any("PENDING" in line for line in queued())
    wait_until(lambda: not queued(), 600)  # it gives them again after two minutes
    # SLURM itself gave again what was on the node; the worker that was killed is named
    with pytest.raises(UserError, match=f"1 of .* Its job {number} ended without a word"):
        run_study(as_given(file, out=str(out)))
    run_study(as_given(file, out=str(out)), retry_failed=True)
    wait_until(lambda: not queued())
    run_study(as_given(file, out=str(out)))
    assert results(out) == results(tmp_path / "here")
    assert written(out) | times == written(out), "what was done is not done again"


def test_slurm_is_given_jobs_and_who_gave_them_is_killed(study, slurm, tmp_path, monkeypatch):
    """In the worst moment: the queue has them, and nobody has noted that."""
    study.write_text(STUDY + "engine: {engine: slurm, minutes: 10, memory: 0.9}\n")
    out, sbatch = tmp_path / "there", tmp_path / "bin" / "sbatch"
    answering()
    sbatch.parent.mkdir()
    sbatch.write_text(f'#!/bin/sh\n{shutil.which("sbatch")} "$@"\nkill -9 $PPID\n')
    sbatch.chmod(0o700)
    line = [sys.executable, "-m", "prefloop", "compare", str(study), "--out", str(out)]
    path = f"{sbatch.parent}{os.pathsep}{os.environ['PATH']}"
    killed = subprocess.run(line, env={**os.environ, "PATH": path}, cwd=tmp_path, check=False)
    assert killed.returncode == -signal.SIGKILL and len(queued()) == 2 + 2
    run_study(as_given(study, out=str(out)))
    wait_until(lambda: not queued())
    times = written(out)
    run_study(as_given(study, out=str(out)))
    assert results(out) == results(tmp_path / "here")
    assert written(out) == times and not list(out.glob("**/failed.json"))


def test_slurm_without_the_partition(study, slurm, tmp_path):
    study.write_text(STUDY + "engine: {engine: slurm, partition: nowhere}\n")
    answering()
    with pytest.raises(UserError, match="SLURM took no jobs"):
        run_study(as_given(study, out=str(tmp_path / "there")))


@pytest.mark.filterwarnings("ignore")
def test_ray_does_the_same_also_when_a_node_is_lost(study, tmp_path, monkeypatch):
    ray = pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), *sys.path]))
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    second = cluster.add_node(num_cpus=1)
    out = tmp_path / "there"

    def lose():
        wait_until(lambda: list(out.glob("*/runs/*/*/*/result.json")))
        cluster.remove_node(second, allow_graceful=False)

    losing = threading.Thread(target=lose)
    losing.start()
    try:
        run_study(as_given(study, out=str(out), engine="ray", address=cluster.address))
    finally:
        losing.join()
        ray.shutdown()
        cluster.shutdown()
    assert results(out) == results(tmp_path / "here")


@pytest.mark.filterwarnings("ignore")
def test_ray_loses_a_worker_and_then_who_gave_the_jobs(study, tmp_path, monkeypatch):
    ray = pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), *sys.path]))
    monkeypatch.setenv("OF_THIS_TEST", str(tmp_path))  # others may have a cluster here, too
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2})
    out = tmp_path / "there"

    def workers():
        for process in with_variable("OF_THIS_TEST", tmp_path):
            with contextlib.suppress(OSError):
                if Path(f"/proc/{process}/cmdline").read_bytes().startswith(b"ray::_call"):
                    yield process

    line = [sys.executable, "-m", "prefloop", "compare", str(study), "--out", str(out)]
    line += ["--engine", "ray", "--address", cluster.address]
    try:
        giving = subprocess.Popen(line, cwd=tmp_path)
        wait_until(lambda: list(out.glob("*/seeds/*/prepared.json")))
        os.kill(wait_until(lambda: list(workers()))[0], signal.SIGKILL)
        wait_until(lambda: written(out))
        assert giving.poll() is None
        giving.kill()
        giving.wait()
        times = written(out)
        run_study(as_given(study, out=str(out), engine="ray", address=cluster.address))
    finally:
        ray.shutdown()
        cluster.shutdown()
    assert results(out) == results(tmp_path / "here")
    assert times and written(out) | times == written(out), "what was done is not done again"
    assert not list(out.glob("**/failed.json"))


@pytest.mark.filterwarnings("ignore")
def test_a_search_on_ray_is_the_one_here(tmp_path, monkeypatch):
    pytest.importorskip("ray")
    pytest.importorskip("optuna")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), *sys.path]))
    file, found = tmp_path / "search.yaml", []
    search = "search: {trials: 3, ranges: {learning_rate: {low: 1e-4, high: 1e-2, log: true}}}\n"
    file.write_text(STUDY.replace("[dpo, constant, true-reward]", "[true-reward]") + search)
    for engine in ("local", "ray"):
        out = tmp_path / engine
        tune(as_given(file, out=str(out), engine=engine))
        with (out / "trials.csv").open(newline="") as table:
            rows = list(csv.DictReader(table))
        found.append([{k: v for k, v in row.items() if k != "seconds"} for row in rows])
    assert found[0] == found[1] and len(found[0]) == 3
