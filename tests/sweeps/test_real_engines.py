"""SLURM and Ray themselves, where they are installed; the boundary without them is in test_coordinating.py."""

import csv
import os
import shutil
import socket
import subprocess
import sys
import threading
import time

import pytest
from conftest import ROOT

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
    run_study(file, out=str(tmp_path / "here"), processes=2)
    return file


def results(folder):
    with (folder / "results.csv").open(newline="") as file:
        return [{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(file)]


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
NodeName={name} CPUs=2 RealMemory=2000 State=UNKNOWN
PartitionName=main Nodes={name} Default=YES MaxTime=INFINITE State=UP
"""
    )
    monkeypatch.setenv("SLURM_CONF", str(conf))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    programs = [subprocess.Popen([program, "-D"]) for program in ("slurmctld", "slurmd")]
    yield
    subprocess.run(["scancel", "--me"], check=False)
    for program in programs:
        program.terminate()
        program.wait()


def queued():
    line = ["squeue", "--me", "--array", "--noheader", "--format=%i %T"]
    return subprocess.run(line, capture_output=True, text=True, check=True).stdout.splitlines()


def wait_until(holds, seconds=300):
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.5)


def test_slurm_does_the_same_and_a_job_that_it_loses_is_given_again(study, slurm, tmp_path):
    study.write_text(STUDY + "engine: {engine: slurm, minutes: 10, memory: 0.9}\n")
    out = tmp_path / "there"
    wait_until(lambda: subprocess.run(["sinfo"], capture_output=True, check=False).returncode == 0)
    run_study(study, out=str(out))
    assert len(queued()) == 2 + 2 + 6  # demonstrators, chance, runs
    lost = max(line.split()[0] for line in queued())
    subprocess.run(["scancel", lost], check=True)
    wait_until(lambda: not queued())
    with pytest.raises(UserError, match=f"Its job {lost} ended without a word"):
        run_study(study, out=str(out))
    run_study(study, out=str(out), retry_failed=True)
    wait_until(lambda: not queued())
    run_study(study, out=str(out))
    assert results(out) == results(tmp_path / "here")


def test_slurm_without_the_partition(study, slurm, tmp_path):
    study.write_text(STUDY + "engine: {engine: slurm, partition: nowhere}\n")
    wait_until(lambda: subprocess.run(["sinfo"], capture_output=True, check=False).returncode == 0)
    with pytest.raises(UserError, match="SLURM took no jobs"):
        run_study(study, out=str(tmp_path / "there"))


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
        run_study(study, out=str(out), engine="ray", address=cluster.address)
    finally:
        losing.join()
        ray.shutdown()
        cluster.shutdown()
    assert results(out) == results(tmp_path / "here")


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
        tune(file, out=str(out), engine=engine)
        with (out / "trials.csv").open(newline="") as table:
            rows = list(csv.DictReader(table))
        found.append([{k: v for k, v in row.items() if k != "seconds"} for row in rows])
    assert found[0] == found[1] and len(found[0]) == 3
