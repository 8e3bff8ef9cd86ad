import json
import sys
from dataclasses import replace

import numpy as np
import pytest
from made_up import make_segments, preferences, random_segments

from prefloop.data import parquet
from prefloop.data.preferences import Preferences
from prefloop.data.rollouts import collect_episodes
from prefloop.data.segments import whole_episodes
from prefloop.envs.make import make_vector_env
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


@pytest.fixture(autouse=True)
def _library():
    pytest.importorskip("pyarrow")


@pytest.mark.parametrize("discrete", [True, False])
def test_round_trip_of_ragged_segments(tmp_path, discrete):
    rng = np.random.default_rng(0)
    segments = random_segments(6, 9, rng, discrete, lengths=np.array([1, 9, 3, 3, 8, 2]))
    segments.policy[:] = [0, 0, 1, 1, 2, 2]
    segments.first_step[:] = [0, 7, 0, 5, 2, 1]
    prefs = preferences(segments, (0, 1, 1.0), (5, 1, 0.0), (2, 3, 0.5), (4, 0, NAN))
    parquet.write_parquet(tmp_path / "p.parquet", prefs, METADATA)
    read, metadata = parquet.read_parquet(tmp_path / "p.parquet")
    assert metadata == METADATA
    assert_same_preferences(prefs, read)
    assert len(read.segments) == 6  # each once, though two were asked about twice
    assert (read.segments.obs[~read.segments.mask] == 0).all()


def test_round_trip_of_episodes(tmp_path):
    segments = whole_episodes(episodes("CartPole-v0"))
    assert len(set(segments.lengths)) > 1
    prefs = preferences(segments, (0, 1, 0.25), (3, 4, 1.0))
    parquet.write_parquet(tmp_path / "p.parquet", prefs, METADATA)
    assert_same_preferences(prefs, parquet.read_parquet(tmp_path / "p.parquet")[0])


def test_what_others_see(tmp_path):
    import pyarrow.parquet as pq

    obs = np.arange(8).reshape(2, 2, 2) / 4
    segments = make_segments(obs, [[1, 0], [0, 1]], np.array([2, 1]), np.array([[1.0, 2], [3, 4]]))
    prefs = preferences(segments, (0, 1, 1.0), (1, 0, NAN))
    parquet.write_parquet(tmp_path / "p.parquet", prefs, METADATA)
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


def test_what_others_filtered(tmp_path):
    import pyarrow.parquet as pq

    segments = random_segments(4, 3, np.random.default_rng(0), lengths=np.array([3, 1, 2, 3]))
    prefs = preferences(segments, (0, 1, 1.0), (1, 2, NAN), (2, 3, 0.0))
    parquet.write_parquet(tmp_path / "all.parquet", prefs, METADATA)
    table = pq.read_table(tmp_path / "all.parquet")
    pq.write_table(
        table.filter(table["label"].is_valid()), tmp_path / "p.parquet", row_group_size=1
    )
    read = parquet.read_parquet(tmp_path / "p.parquet")[0]
    assert_same_preferences(prefs.answered, read)


def test_no_queries(tmp_path):
    segments = random_segments(2, 3, np.random.default_rng(0))
    none = Preferences(segments, *np.zeros((2, 0), dtype=np.int64), np.zeros(0))
    parquet.write_parquet(tmp_path / "p.parquet", none, METADATA)
    read, _ = parquet.read_parquet(tmp_path / "p.parquet")
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
def test_a_damaged_file(tmp_path, damage):
    path = tmp_path / "p.parquet"
    segments = random_segments(3, 4, np.random.default_rng(0))
    parquet.write_parquet(path, preferences(segments, (0, 1, 1.0), (1, 2, 0.0)), METADATA)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(UserError, match=r"^Can't read .*p\.parquet as Parquet: [^\n]*\.$"):
        parquet.read_parquet(path)


def test_no_flipped_bit_passes_unseen(tmp_path):
    path = tmp_path / "p.parquet"
    segments = random_segments(3, 4, np.random.default_rng(0))
    prefs = preferences(segments, (0, 1, 1.0), (1, 2, 0.0))
    parquet.write_parquet(path, prefs, METADATA)
    whole = path.read_bytes()
    refused = 0
    for place in np.random.default_rng(0).integers(len(whole), size=150):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 16]) + whole[place + 1 :])
        try:
            read, _ = parquet.read_parquet(path)
        except UserError:
            refused += 1
        else:
            assert_same_preferences(prefs, read)
    assert refused > 20


def test_a_foreign_file(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    path, key = tmp_path / "p.parquet", "prefloop"
    pq.write_table(pa.table({"label": [1.0]}), path)
    with pytest.raises(UserError, match="holds no preferences that prefloop wrote"):
        parquet.read_parquet(path)
    for text, words in (
        ("[]", "no preferences"),
        ("{", "no preferences"),
        ("{}", "names no schema"),
        ('{"schema": 3}', "has schema 3, and this prefloop reads up to 2"),
        ('{"schema": 1}', "other columns"),
    ):
        table = pa.table({"label": [1.0], "first": [{"obs": [[1.0]]}], "second": [3]})
        pq.write_table(table.replace_schema_metadata({key: text}), path)
        with pytest.raises(UserError, match=words):
            parquet.read_parquet(path)


def test_numbers_that_can_not_be(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = tmp_path / "p.parquet"
    segments = random_segments(3, 4, np.random.default_rng(0))
    parquet.write_parquet(path, preferences(segments, (0, 1, 1.0)), METADATA)
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
            parquet.read_parquet(path)


def test_no_such_file(tmp_path):
    with pytest.raises(UserError, match="There is no file"):
        parquet.read_parquet(tmp_path / "p.parquet")
    with pytest.raises(UserError, match="Can't read"):
        parquet.read_parquet(tmp_path)


def test_a_place_that_can_not_be_written(tmp_path):
    prefs = preferences(random_segments(2, 2, np.random.default_rng(0)), (0, 1, 1.0))
    with pytest.raises(UserError, match="Can't write"):
        parquet.write_parquet(tmp_path / "missing" / "p.parquet", prefs, METADATA)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    ("shape", "dtype", "frame_stack", "words"),
    [
        ((16, 16), np.uint8, 1, "16 x 16 numbers in uint8"),
        ((2, 16, 16), np.uint8, 2, "2 x 16 x 16 numbers in uint8"),
        ((2, 5), np.float32, 2, "2 x 5 numbers in float32"),
        ((5,), np.uint8, 1, "5 numbers in uint8"),
    ],
)
def test_what_is_no_vector_in_float32_has_no_columns(
    tmp_path, shape, dtype, frame_stack, words, packed
):
    segments = random_segments(2, 4, np.random.default_rng(0))
    obs = np.zeros((2, 4, *shape), dtype)
    segments = replace(segments, obs=obs, frame_stack=frame_stack)
    prefs = preferences(segments.packed if packed else segments, (0, 1, 1.0))
    with pytest.raises(UserError, match=f"float32, and these are {words}; "):
        parquet.write_parquet(tmp_path / "p.parquet", prefs, METADATA)
    assert list(tmp_path.iterdir()) == []


def test_without_pyarrow(tmp_path, monkeypatch):
    prefs = preferences(random_segments(2, 2, np.random.default_rng(0)), (0, 1, 1.0))
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    needs = r"needs pyarrow: pip install 'prefloop\[data\]'\.$"
    with pytest.raises(UserError, match=needs):
        parquet.write_parquet(tmp_path / "p.parquet", prefs, METADATA)
    with pytest.raises(UserError, match=needs):
        parquet.read_parquet(tmp_path / "p.parquet")
    assert list(tmp_path.iterdir()) == []
