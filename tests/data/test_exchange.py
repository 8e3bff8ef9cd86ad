import json
import sys

import numpy as np
import pytest
from made_up import make_segments, preferences, random_segments

from prefloop.data import exchange
from prefloop.data.preferences import Preferences
from prefloop.data.rollouts import collect_episodes
from prefloop.data.segments import whole_episodes
from prefloop.data.trajectories import Trajectories
from prefloop.envs import make_vector_env
from prefloop.errors import UserError

METADATA = {"schema": 1, "env": "CartPole-v0", "settings": {"pairs": 3, "policies": ["ä.params"]}}
NAN = float("nan")


def episodes(env_id, num=5, seed=0):
    envs = make_vector_env(env_id, 2)
    envs.single_action_space.seed(seed)
    act = lambda obs: np.stack([envs.single_action_space.sample() for _ in obs])  # noqa: E731
    return collect_episodes(envs, act, num, seed)


def assert_same_segments(a, b):
    assert len(a) == len(b)
    for i in range(len(a)):
        assert a.lengths[i] == b.lengths[i]
        for name in ("obs", "actions", "rewards"):
            one, other = (getattr(x, name)[i, : x.lengths[i]] for x in (a, b))
            assert one.dtype == other.dtype
            np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(a.policy, b.policy)
    np.testing.assert_array_equal(a.first_step, b.first_step)


def assert_same_preferences(a, b):
    np.testing.assert_array_equal(a.labels, b.labels)
    assert_same_segments(a.segments[a.first], b.segments[b.first])
    assert_same_segments(a.segments[a.second], b.segments[b.second])


def assert_same_trajectories(a, b):
    for name in ("obs", "actions", "rewards", "next_obs", "lengths", "terminated", "truncated"):
        one, other = getattr(a, name), getattr(b, name)
        assert one.dtype == other.dtype, name
        np.testing.assert_array_equal(one, other)


class TestParquet:
    @pytest.fixture(autouse=True)
    def _library(self):
        pytest.importorskip("pyarrow")

    @pytest.mark.parametrize("discrete", [True, False])
    def test_round_trip_of_ragged_segments(self, tmp_path, discrete):
        rng = np.random.default_rng(0)
        segments = random_segments(6, 9, rng, discrete, lengths=np.array([1, 9, 3, 3, 8, 2]))
        segments.policy[:] = [0, 0, 1, 1, 2, 2]
        segments.first_step[:] = [0, 7, 0, 5, 2, 1]
        prefs = preferences(segments, (0, 1, 1.0), (5, 1, 0.0), (2, 3, 0.5), (4, 0, NAN))
        exchange.write_parquet(tmp_path / "p.parquet", prefs, METADATA)
        read, metadata = exchange.read_parquet(tmp_path / "p.parquet")
        assert metadata == METADATA
        assert_same_preferences(prefs, read)
        assert len(read.segments) == 6  # each once, though two were asked about twice
        assert (read.segments.obs[~read.segments.mask] == 0).all()

    def test_round_trip_of_episodes(self, tmp_path):
        segments = whole_episodes(episodes("CartPole-v0"))
        assert len(set(segments.lengths)) > 1
        prefs = preferences(segments, (0, 1, 0.25), (3, 4, 1.0))
        exchange.write_parquet(tmp_path / "p.parquet", prefs, METADATA)
        assert_same_preferences(prefs, exchange.read_parquet(tmp_path / "p.parquet")[0])

    def test_what_others_see(self, tmp_path):
        import pyarrow.parquet as pq

        obs = np.arange(8).reshape(2, 2, 2) / 4
        segments = make_segments(
            obs, [[1, 0], [0, 1]], np.array([2, 1]), np.array([[1.0, 2], [3, 4]])
        )
        prefs = preferences(segments, (0, 1, 1.0), (1, 0, NAN))
        exchange.write_parquet(tmp_path / "p.parquet", prefs, METADATA)
        table = pq.read_table(tmp_path / "p.parquet")
        zero = {
            "obs": [[0.0, 0.25], [0.5, 0.75]],
            "actions": [1, 0],
            "rewards": [1.0, 2.0],
            "policy": 0,
            "first_step": 0,
        }
        one = {
            "obs": [[1.0, 1.25]],
            "actions": [0],
            "rewards": [3.0],
            "policy": 0,
            "first_step": 0,
        }
        assert table.to_pylist() == [
            {"label": 1.0, "first": zero, "second": one},
            {"label": None, "first": one, "second": zero},
        ]
        assert json.loads(table.schema.metadata[b"prefloop"]) == METADATA

    def test_what_others_filtered(self, tmp_path):
        import pyarrow.parquet as pq

        segments = random_segments(4, 3, np.random.default_rng(0), lengths=np.array([3, 1, 2, 3]))
        prefs = preferences(segments, (0, 1, 1.0), (1, 2, NAN), (2, 3, 0.0))
        exchange.write_parquet(tmp_path / "all.parquet", prefs, METADATA)
        table = pq.read_table(tmp_path / "all.parquet")
        pq.write_table(
            table.filter(table["label"].is_valid()), tmp_path / "p.parquet", row_group_size=1
        )
        read = exchange.read_parquet(tmp_path / "p.parquet")[0]
        assert_same_preferences(prefs.answered, read)

    def test_no_queries(self, tmp_path):
        segments = random_segments(2, 3, np.random.default_rng(0))
        none = Preferences(segments, *np.zeros((2, 0), dtype=np.int64), np.zeros(0))
        exchange.write_parquet(tmp_path / "p.parquet", none, METADATA)
        read, _ = exchange.read_parquet(tmp_path / "p.parquet")
        assert len(read) == len(read.segments) == 0
        assert read.segments.obs.shape[2] == 3

    @pytest.mark.parametrize(
        "damage",
        [
            lambda data: b"",
            lambda data: b"label,first,second\n1,2,3\n",
            lambda data: data[: len(data) // 2],
            lambda data: data[:40] + bytes([data[40] ^ 1]) + data[41:],
            lambda data: data[:-20] + b"\xff" * 20,
        ],
    )
    def test_a_damaged_file(self, tmp_path, damage):
        path = tmp_path / "p.parquet"
        segments = random_segments(3, 4, np.random.default_rng(0))
        exchange.write_parquet(path, preferences(segments, (0, 1, 1.0), (1, 2, 0.0)), METADATA)
        path.write_bytes(damage(path.read_bytes()))
        with pytest.raises(UserError, match=r"^Can't read .*p\.parquet as Parquet: [^\n]*\.$"):
            exchange.read_parquet(path)

    def test_no_flipped_bit_passes_unseen(self, tmp_path):
        path = tmp_path / "p.parquet"
        segments = random_segments(3, 4, np.random.default_rng(0))
        prefs = preferences(segments, (0, 1, 1.0), (1, 2, 0.0))
        exchange.write_parquet(path, prefs, METADATA)
        whole = path.read_bytes()
        refused = 0
        for place in np.random.default_rng(0).integers(len(whole), size=150):
            path.write_bytes(whole[:place] + bytes([whole[place] ^ 16]) + whole[place + 1 :])
            try:
                read, _ = exchange.read_parquet(path)
            except UserError:
                refused += 1
            else:
                assert_same_preferences(prefs, read)
        assert refused > 20

    def test_a_foreign_file(self, tmp_path):
        import pyarrow as pa
        import pyarrow.parquet as pq

        path, key = tmp_path / "p.parquet", "prefloop"
        pq.write_table(pa.table({"label": [1.0]}), path)
        with pytest.raises(UserError, match="holds no preferences that prefloop wrote"):
            exchange.read_parquet(path)
        for text, words in (
            ("[]", "no preferences"),
            ("{", "no preferences"),
            ("{}", "names no schema"),
            ('{"schema": 2}', "has schema 2, and this prefloop reads up to 1"),
            ('{"schema": 1}', "other columns"),
        ):
            table = pa.table({"label": [1.0], "first": [{"obs": [[1.0]]}], "second": [3]})
            pq.write_table(table.replace_schema_metadata({key: text}), path)
            with pytest.raises(UserError, match=words):
                exchange.read_parquet(path)

    def test_numbers_that_can_not_be(self, tmp_path):
        import pyarrow as pa
        import pyarrow.parquet as pq

        path = tmp_path / "p.parquet"
        segments = random_segments(3, 4, np.random.default_rng(0))
        exchange.write_parquet(path, preferences(segments, (0, 1, 1.0)), METADATA)
        table = pq.read_table(path)
        (row,) = table.to_pylist()
        empty = {**row["first"], "obs": [], "actions": [], "rewards": []}
        for change, words in (
            ({"label": 1.5}, "a label must be in"),
            ({"label": NAN}, "a label is NaN"),
            ({"first": {**row["first"], "rewards": [0.0, NAN, 0.0, 0.0]}}, "rewards are NaN"),
            ({"second": {**row["second"], "actions": [1]}}, "other numbers of obs than of actions"),
            ({"second": empty}, "a segment has no steps"),
        ):
            pq.write_table(pa.Table.from_pylist([{**row, **change}], table.schema), path)
            with pytest.raises(UserError, match=f"is damaged: .*{words}"):
                exchange.read_parquet(path)

    def test_no_such_file(self, tmp_path):
        with pytest.raises(UserError, match="There is no file"):
            exchange.read_parquet(tmp_path / "p.parquet")
        with pytest.raises(UserError, match="Can't read"):
            exchange.read_parquet(tmp_path)

    def test_a_place_that_can_not_be_written(self, tmp_path):
        prefs = preferences(random_segments(2, 2, np.random.default_rng(0)), (0, 1, 1.0))
        with pytest.raises(UserError, match="Can't write"):
            exchange.write_parquet(tmp_path / "missing" / "p.parquet", prefs, METADATA)


class TestMinari:
    @pytest.fixture(autouse=True)
    def _library(self, tmp_path, monkeypatch):
        pytest.importorskip("minari")
        pytest.importorskip("h5py")
        monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))

    @pytest.mark.parametrize("env_id", ["CartPole-v0", "Pendulum-v1"])
    @pytest.mark.parametrize("dataset_id", ["a/b/weak-v0", "weak-v3"])
    def test_round_trip(self, tmp_path, env_id, dataset_id):
        played = episodes(env_id)
        path = exchange.write_minari(played, dataset_id, env_id)
        assert path == tmp_path / "minari" / dataset_id
        assert_same_trajectories(played, exchange.read_minari(dataset_id, env_id))

    def test_how_an_episode_ended(self):
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
        exchange.write_minari(played, "ends-v0", "CartPole-v0")
        read = exchange.read_minari("ends-v0")
        assert read.terminated.tolist() == [True, False, True, False]
        # the last was cut by whoever collected it
        assert read.truncated.tolist() == [False, True, True, True]
        np.testing.assert_array_equal(read.rewards, played.rewards)

    def test_minari_finds_it(self):
        import minari

        played = episodes("Pendulum-v1", num=3)
        exchange.write_minari(played, "pendulum/random-v0", "Pendulum-v1")
        assert list(minari.list_local_datasets()) == ["pendulum/random-v0"]
        dataset = minari.load_dataset("pendulum/random-v0")
        assert (dataset.total_episodes, dataset.total_steps) == (3, 600)
        assert dataset.recover_environment().spec.id == "Pendulum-v1"
        assert [len(episode.observations) for episode in dataset] == [201] * 3

    def test_of_minaris_own_making(self):
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
        read = exchange.read_minari("own-v0", "CartPole-v0")  # it names no environment
        np.testing.assert_array_equal(read.obs, [[0, 1], [2, 3]])
        np.testing.assert_array_equal(read.next_obs, [[2, 3], [4, 5]])
        assert (read.returns.tolist(), read.lengths.tolist()) == ([1.5], [2])

    @pytest.mark.parametrize("space", ["observation_space", "action_space"])
    def test_spaces_that_do_not_fit(self, space):
        import minari
        from gymnasium.spaces import Box, Dict, Discrete

        spaces = {"observation_space": Box(-9, 9, (2,)), "action_space": Discrete(3)}
        spaces[space] = Dict({"a": Discrete(2)})
        with pytest.warns(UserWarning):
            minari.create_dataset_from_buffers("own-v0", [], **spaces)
        with pytest.raises(UserError, match=r"own-v0 has .* in Dict\(.*a flat Box is needed"):
            exchange.read_minari("own-v0")

    def test_an_id_that_is_taken(self, tmp_path):
        played, others = episodes("CartPole-v0"), episodes("CartPole-v0", seed=1)
        path = exchange.write_minari(played, "cartpole/weak-v0", "CartPole-v0")
        before = {p: p.read_bytes() for p in path.rglob("*") if p.is_file()}
        with pytest.raises(UserError, match="There is a Minari dataset cartpole/weak-v0 already"):
            exchange.write_minari(others, "cartpole/weak-v0", "CartPole-v0")
        assert {p: p.read_bytes() for p in path.rglob("*") if p.is_file()} == before

    def test_a_failed_write_leaves_nothing(self, tmp_path, monkeypatch):
        from minari.dataset._storages.hdf5_storage import HDF5Storage

        def full_disk(self, buffers):
            raise OSError(28, "No space left on device")

        played = episodes("CartPole-v0")
        with monkeypatch.context() as patch:
            patch.setattr(HDF5Storage, "update_episodes", full_disk)
            with pytest.raises(UserError, match=r"Can't write .*: No space left on device"):
                exchange.write_minari(played, "weak-v0", "CartPole-v0")
        assert list((tmp_path / "minari").iterdir()) == []
        exchange.write_minari(played, "weak-v0", "CartPole-v0")

    @pytest.mark.parametrize(
        "dataset_id", ["weak", "", "../weak-v0", "a/../../weak-v0", "we.ak-v0"]
    )
    def test_what_is_no_id(self, tmp_path, dataset_id):
        with pytest.raises(UserError, match="is no id of a Minari dataset"):
            exchange.read_minari(dataset_id)
        with pytest.raises(UserError, match="is no id of a Minari dataset"):
            exchange.write_minari(episodes("CartPole-v0"), dataset_id, "CartPole-v0")
        assert not list(tmp_path.rglob("*.hdf5"))

    def test_another_environment(self):
        played = episodes("CartPole-v0")
        with pytest.raises(UserError, match="are not of Pendulum-v1"):
            exchange.write_minari(played, "weak-v0", "Pendulum-v1")
        exchange.write_minari(played, "weak-v0", "CartPole-v0")
        with pytest.raises(UserError, match="holds episodes of CartPole-v0, not Pendulum-v1"):
            exchange.read_minari("weak-v0", "Pendulum-v1")

    def test_no_such_dataset(self):
        with pytest.raises(UserError, match="There is no Minari dataset cartpole/weak-v0 in"):
            exchange.read_minari("cartpole/weak-v0")

    @pytest.mark.parametrize("name", ["main_data.hdf5", "metadata.json"])
    def test_a_damaged_dataset(self, name):
        path = exchange.write_minari(episodes("CartPole-v0"), "weak-v0", "CartPole-v0")
        for content in ((path / "data" / name).read_bytes()[:200], b"", b"{}", None):
            (path / "data" / name).unlink()
            if content is not None:
                (path / "data" / name).write_bytes(content)
            with pytest.raises(UserError, match=r"Can't read the Minari dataset weak-v0: [^\n]+"):
                exchange.read_minari("weak-v0")

    def test_observations_that_are_missing(self):
        import h5py

        path = exchange.write_minari(episodes("CartPole-v0"), "weak-v0", "CartPole-v0")
        with h5py.File(path / "data" / "main_data.hdf5", "a") as file:
            observations = file["episode_3"]["observations"]
            observations.resize(len(observations) - 1, axis=0)
        with pytest.raises(UserError, match=r"damaged: episode 3 of .* steps has observations"):
            exchange.read_minari("weak-v0")


def test_steps_that_do_not_follow_each_other():
    played = episodes("CartPole-v0", num=1)
    played.obs[1] += 1
    with pytest.raises(ValueError, match="episode 0 has a step that does not begin where"):
        exchange._minari_episodes(played)


@pytest.mark.parametrize(
    "package, call",
    [
        ("pyarrow", lambda path, prefs, _: exchange.write_parquet(path, prefs, METADATA)),
        ("pyarrow", lambda path, *_: exchange.read_parquet(path)),
        ("minari", lambda path, _, played: exchange.write_minari(played, "a-v0", "CartPole-v0")),
        ("h5py", lambda *_: exchange.read_minari("a-v0")),
    ],
)
def test_a_package_that_is_missing(tmp_path, monkeypatch, package, call):
    if package == "h5py":
        pytest.importorskip("minari")
    prefs = preferences(random_segments(2, 2, np.random.default_rng(0)), (0, 1, 1.0))
    played = episodes("CartPole-v0", num=1)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UserError, match=rf"needs {package}: pip install 'prefloop\[data\]'\.$"):
        call(tmp_path / "p.parquet", prefs, played)
    assert list(tmp_path.iterdir()) == []
