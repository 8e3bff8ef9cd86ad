import csv
import subprocess
import sys

import numpy as np
import pytest
from conftest import ROOT, assert_one_sentence

from prefloop.data.minari import _minari_episodes, read_minari, write_minari
from prefloop.data.rollouts import collect_episodes
from prefloop.data.trajectories import Trajectories
from prefloop.envs.make import make_vector_env
from prefloop.envs.settings import EnvSettings
from prefloop.errors import UserError


def episodes(env_id, num=5, seed=0):
    envs = make_vector_env(env_id, 2)
    envs.single_action_space.seed(seed)
    act = lambda obs: np.stack([envs.single_action_space.sample() for _ in obs])  # noqa: E731
    return collect_episodes(envs, act, num, seed)


def assert_same_trajectories(a, b):
    for name in ("obs", "actions", "rewards", "next_obs", "lengths", "terminated", "truncated"):
        one, other = getattr(a, name), getattr(b, name)
        assert one.dtype == other.dtype, name
        np.testing.assert_array_equal(one, other)


@pytest.fixture(autouse=True)
def _library(tmp_path, monkeypatch):
    pytest.importorskip("minari")
    pytest.importorskip("h5py")
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))


FINGERPRINT = """
import numpy as np
from prefloop.data.trajectories import Trajectories
ones = np.ones((3, 1), np.float32)
print(Trajectories(ones, ones, ones, ones, np.array([3]), np.array([True]), np.array([False])).sha256)
"""


def test_the_same_episodes_have_one_fingerprint_in_every_process():
    said = {
        subprocess.run(
            [sys.executable, "-c", FINGERPRINT], cwd=ROOT, capture_output=True, check=True
        ).stdout
        for _ in range(3)
    }
    assert len(said) == 1
    ones = np.ones((3, 1), np.float32)
    rest = (ones, ones, ones, np.array([3]), np.array([True]), np.array([False]))
    other = Trajectories(ones.reshape(3), *rest)
    assert Trajectories(ones, *rest).sha256 != other.sha256


@pytest.mark.parametrize("env_id", ["CartPole-v0", "Pendulum-v1"])
@pytest.mark.parametrize("dataset_id", ["a/b/weak-v0", "weak-v3"])
def test_round_trip(tmp_path, env_id, dataset_id):
    played = episodes(env_id)
    path = write_minari(played, dataset_id, env_id)
    assert path == tmp_path / "minari" / dataset_id
    assert_same_trajectories(played, read_minari(dataset_id, env_id))


def test_evaluate_writes_the_first_policys_episodes(tmp_path, monkeypatch, capsys):
    from prefloop.cli import main

    monkeypatch.chdir(tmp_path)
    small = "--steps 20 --iteration_steps 20 --random_steps 5 --evaluation_episodes 1"
    main(f"sac --env Pendulum-v1 {small} --out p".split())
    dataset_id = "pendulum/weak-v0"
    main(f"evaluate p --episodes 2 --minari {dataset_id}".split())
    evaluated = read_minari(dataset_id, "Pendulum-v1")
    with (tmp_path / "evaluation" / "evaluation.csv").open() as file:
        mean_actions, _ = csv.DictReader(file)
    assert evaluated.obs.shape == (400, 3)
    assert evaluated.returns.mean() == pytest.approx(float(mean_actions["mean_return"]))
    # told before anything is played, whose returns would be lost
    monkeypatch.setattr("prefloop.evaluation.evaluate.play", None)
    for taken, words in ((dataset_id, "already"), ("weak", "is no id of a Minari dataset")):
        with pytest.raises(SystemExit):
            main(f"evaluate p --episodes 2 --minari {taken}".split())
        assert words in capsys.readouterr().err


def test_how_an_episode_ended():
    ends = {"terminated": np.array([1, 0, 1, 0]) > 0, "truncated": np.array([0, 1, 1, 0]) > 0}
    obs = np.random.default_rng(0).normal(size=(8, 4)).astype(np.float32)
    played = Trajectories(
        obs=obs,
        actions=np.ones(8, dtype=np.int64),
        rewards=np.full(8, 0.1),
        next_obs=np.where(np.arange(8)[:, None] % 2 == 0, np.roll(obs, -1, axis=0), obs),
        lengths=np.full(4, 2),
        **ends,
    )
    write_minari(played, "ends-v0", "CartPole-v0")
    read = read_minari("ends-v0")
    assert read.terminated.tolist() == [True, False, True, False]
    # the last was cut by whoever collected it
    assert read.truncated.tolist() == [False, True, True, True]
    np.testing.assert_array_equal(read.rewards, played.rewards)


def test_minari_finds_it():
    import minari

    played = episodes("Pendulum-v1", num=3)
    write_minari(played, "pendulum/random-v0", "Pendulum-v1")
    assert list(minari.list_local_datasets()) == ["pendulum/random-v0"]
    dataset = minari.load_dataset("pendulum/random-v0")
    assert (dataset.total_episodes, dataset.total_steps) == (3, 600)
    assert dataset.recover_environment().spec.id == "Pendulum-v1"
    assert [len(episode.observations) for episode in dataset] == [201] * 3


def test_of_minaris_own_making():
    import minari
    from gymnasium.spaces import Box, Discrete
    from minari.data_collector import EpisodeBuffer

    buffer = EpisodeBuffer(
        observations=np.arange(6.0).reshape(3, 2),
        actions=np.array([2, 1]),
        rewards=[1.0, 0.5],
        terminations=[False, False],
        truncations=[False, True],
    )
    spaces = {"observation_space": Box(-9, 9, (2,)), "action_space": Discrete(3)}
    with pytest.warns(UserWarning):  # about what it wasn't told
        minari.create_dataset_from_buffers("own-v0", [buffer], **spaces)
    read = read_minari("own-v0", "CartPole-v0")  # it names no environment
    np.testing.assert_array_equal(read.obs, [[0, 1], [2, 3]])
    np.testing.assert_array_equal(read.next_obs, [[2, 3], [4, 5]])
    assert (read.returns.tolist(), read.lengths.tolist()) == ([1.5], [2])


CHANGES = [{}, {"action_repeat": 2}, {"horizon": 10}, {"termination": "absorb"}, {"frame_stack": 4}]


@pytest.mark.parametrize("changes", CHANGES, ids=str)
@pytest.mark.parametrize("played_in", CHANGES[:-1], ids=str)
def test_changes_of_the_environment_are_those_that_the_episodes_had(played_in, changes):
    played_in, asked = (EnvSettings(env="CartPole-v1", **said) for said in (played_in, changes))
    played = episodes(played_in)
    write_minari(played, "changed-v0", played_in)
    # a limit is said by nobody who takes the environment's own
    if asked == played_in or (played_in.changes.keys() == {"horizon"} and not changes):
        assert_same_trajectories(played, read_minari("changed-v0", asked))
    else:
        with pytest.raises(UserError, match="changed-v0 holds episodes that were not played in"):
            read_minari("changed-v0", asked)


def test_pairs_of_steps_with_other_sizes_are_not_written(run, tmp_path):
    import minari
    from gymnasium.spaces import Box, Discrete
    from minari.data_collector import EpisodeBuffer

    flags = [False, False], [False, True]
    buffer = EpisodeBuffer(
        observations=np.zeros((3, 2), np.float32),
        actions=np.array([1, 0]),
        rewards=[1.0, 1.0],
        terminations=flags[0],
        truncations=flags[1],
    )
    with pytest.warns(UserWarning):  # it names no environment
        minari.create_dataset_from_buffers(
            "own-v0", [buffer], observation_space=Box(-9, 9, (2,)), action_space=Discrete(2)
        )
    outcome = run("prefloop.cli pairs --minari own-v0 --env CartPole-v1 --pairs 1 --out p")
    assert_one_sentence(outcome, "own-v0 holds steps that are not of CartPole-v1")
    assert not (tmp_path / "p").exists()


@pytest.mark.parametrize("space", ["observation_space", "action_space"])
def test_spaces_that_do_not_fit(space):
    import minari
    from gymnasium.spaces import Box, Dict, Discrete

    spaces = {"observation_space": Box(-9, 9, (2,)), "action_space": Discrete(3)}
    spaces[space] = Dict({"a": Discrete(2)})
    with pytest.warns(UserWarning):
        minari.create_dataset_from_buffers("own-v0", [], **spaces)
    with pytest.raises(UserError, match=r"own-v0 has .* in Dict\(.*a flat Box is needed"):
        read_minari("own-v0")


def test_an_id_that_is_taken(tmp_path):
    played, others = episodes("CartPole-v0"), episodes("CartPole-v0", seed=1)
    path = write_minari(played, "cartpole/weak-v0", "CartPole-v0")
    before = {p: p.read_bytes() for p in path.rglob("*") if p.is_file()}
    with pytest.raises(UserError, match="There is a Minari dataset cartpole/weak-v0 already"):
        write_minari(others, "cartpole/weak-v0", "CartPole-v0")
    assert {p: p.read_bytes() for p in path.rglob("*") if p.is_file()} == before


def test_a_failed_write_leaves_nothing(tmp_path, monkeypatch):
    from minari.dataset._storages.hdf5_storage import HDF5Storage

    def full_disk(self, buffers):
        raise OSError(28, "No space left on device")

    played = episodes("CartPole-v0")
    with monkeypatch.context() as patch:
        patch.setattr(HDF5Storage, "update_episodes", full_disk)
        with pytest.raises(UserError, match=r"Can't write .*: No space left on device"):
            write_minari(played, "weak-v0", "CartPole-v0")
    assert list((tmp_path / "minari").iterdir()) == []
    write_minari(played, "weak-v0", "CartPole-v0")


@pytest.mark.parametrize("dataset_id", ["weak", "", "../weak-v0", "a/../../weak-v0", "we.ak-v0"])
def test_what_is_no_id(tmp_path, dataset_id):
    with pytest.raises(UserError, match="is no id of a Minari dataset"):
        read_minari(dataset_id)
    with pytest.raises(UserError, match="is no id of a Minari dataset"):
        write_minari(episodes("CartPole-v0"), dataset_id, "CartPole-v0")
    assert not list(tmp_path.rglob("*.hdf5"))


def test_another_environment():
    played = episodes("CartPole-v0")
    with pytest.raises(UserError, match="are not of Pendulum-v1"):
        write_minari(played, "weak-v0", "Pendulum-v1")
    write_minari(played, "weak-v0", "CartPole-v0")
    with pytest.raises(UserError, match="holds episodes of CartPole-v0, not Pendulum-v1"):
        read_minari("weak-v0", "Pendulum-v1")


def test_no_such_dataset():
    with pytest.raises(UserError, match="There is no Minari dataset cartpole/weak-v0 in"):
        read_minari("cartpole/weak-v0")


@pytest.mark.parametrize("name", ["main_data.hdf5", "metadata.json"])
def test_a_damaged_dataset(name):
    path = write_minari(episodes("CartPole-v0"), "weak-v0", "CartPole-v0")
    for content in ((path / "data" / name).read_bytes()[:200], b"", b"{}", None):
        (path / "data" / name).unlink()
        if content is not None:
            (path / "data" / name).write_bytes(content)
        with pytest.raises(UserError, match=r"Can't read the Minari dataset weak-v0: [^\n]+"):
            read_minari("weak-v0")


def test_observations_that_are_missing():
    import h5py

    path = write_minari(episodes("CartPole-v0"), "weak-v0", "CartPole-v0")
    with h5py.File(path / "data" / "main_data.hdf5", "a") as file:
        observations = file["episode_3"]["observations"]
        observations.resize(len(observations) - 1, axis=0)
    with pytest.raises(UserError, match=r"damaged: episode 3 of .* steps has observations"):
        read_minari("weak-v0")


def test_steps_that_do_not_follow_each_other():
    played = episodes("CartPole-v0", num=1)
    played.obs[1] += 1
    with pytest.raises(ValueError, match="episode 0 has a step that does not begin where"):
        _minari_episodes(played)


def test_without_minari_or_h5py(monkeypatch):
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(UserError, match=r"needs h5py: pip install 'prefloop\[data\]'\.$"):
        read_minari("a-v0")
    monkeypatch.setitem(sys.modules, "minari", None)
    with pytest.raises(UserError, match=r"needs minari: pip install 'prefloop\[data\]'\.$"):
        write_minari(episodes("CartPole-v0", num=1), "a-v0", "CartPole-v0")
