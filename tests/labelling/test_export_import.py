"""What goes out as a preference dataset and comes in again: nothing is lost on the way."""

import contextlib
import json
import uuid

import numpy as np
import pytest
import sqlalchemy
from arenas import NAMES, vote
from arenas import fill as fill_arena
from conftest import assert_one_sentence
from empty_stores import empty_sqlite
from pages import clip_of, make_segments
from people import RUN, SESSION, Clock, seeded
from serving import serving

from prefloop.data import dataset
from prefloop.data.preferences import Queries
from prefloop.data.recording import record_episodes
from prefloop.data.segments import ACTIONS, SEED, STATES, cut
from prefloop.envs.make import make_env
from prefloop.envs.settings import EnvSettings
from prefloop.envs.spaces import Spaces, spaces_of
from prefloop.errors import UserError
from prefloop.labelling.arrays import Segment
from prefloop.labelling.client.asking import ask
from prefloop.labelling.client.client import LabellingClient
from prefloop.labelling.server.app import create_app
from prefloop.labelling.server.clips import ClipStore
from prefloop.labelling.server.config import SettingsFile
from prefloop.labelling.server.rendering import Renderer
from prefloop.labelling.server.storage.records import NewQuery, RunFacts
from prefloop.labelling.server.storage.store import Store
from prefloop.labelling.server.storage.tables import events

ARM = EnvSettings(env="strangers:Arm-v0", action_repeat=2)  # which is not installed here
SPACES = Spaces((3,), "float32", False, 2, (-1.0, -2.0), (1.0, 2.0))


class Place:
    """A server with a store of its own."""

    def __init__(self, folder, http, store, clock):
        self.folder, self.http, self.store, self.clock = folder, http, store, clock
        self.url = str(http.base_url)
        self.client = LabellingClient(self.url)


@pytest.fixture
def places(tmp_path):
    """Makes servers."""
    with contextlib.ExitStack() as stack:

        def place(name):
            folder = tmp_path / name
            folder.mkdir()
            clock = Clock()
            store = Store(empty_sqlite(folder / "labels.sqlite3"), clock, seeded())
            stack.callback(store.close)
            settings = SettingsFile(folder / "labelling.yaml")
            app = create_app(store, ClipStore(folder / "clips", 10**8), settings)
            made = Place(folder, stack.enter_context(serving(app)), store, clock)
            stack.enter_context(made.client)
            return made

        yield place


def arm(number, steps):
    """A segment, and what shows it again: of some states, of some a seed and actions, of some nothing."""
    rng = np.random.default_rng(number)
    first_step = 3 * number
    states = {STATES: rng.normal(size=(steps, 4))}
    acted = rng.normal(size=(first_step + steps, 2)).astype(np.float32)
    seeded = {SEED: np.array(1000 + number), ACTIONS: acted}
    return Segment(
        rng.normal(size=(steps, 3)).astype(np.float32),
        acted[-steps:],
        rng.normal(size=steps).astype(np.float32),
        policy=number % 2,
        first_step=first_step,
        replay=(states, seeded, {})[number % 3],
    )


def fill(place):
    """A run in which all stands that can stand in one; two labels of each narrow, and bob takes his last back."""
    facts = RunFacts(ARM, SPACES, "Qui arrive là ?\n到達", 12.5, 2, 0.25)
    place.store.runs.put(RUN, facts)
    place.store.runs.set_own(RUN, {"playback_speed": 0.5})
    ids = place.store.segments.add(RUN, [arm(i, 4 + i % 3) for i in range(16)])
    pairs = [NewQuery(uuid.uuid4(), ids[2 * i], ids[2 * i + 1]) for i in range(8)]
    again = NewQuery(uuid.uuid4(), ids[0], ids[1])  # the same two, asked as another query
    for i, query in enumerate([*pairs, again]):
        place.store.queue.add(RUN, [query], iteration=i // 4)
    for who, number in (("ada", 11), ("bob", 4)):
        session = uuid.uuid4()
        for i in range(number):
            (given,) = place.store.queue.lease(RUN, who, session, 1).queries
            place.clock.go(3.25)
            choice = ("left", "tie", "right", "skip", "left", "right")[i % 6]
            trim = {2: (1, 3), 5: (0, given.left.length)}.get(i)
            seconds = None if i == 1 else 1.5 + i
            place.store.labels.answer(uuid.uuid4(), given.id, choice, trim, seconds)
    place.store.labels.undo(uuid.uuid4(), RUN, "bob", SESSION)
    video = clip_of(make_segments(1, 5, 0)[0])
    place.client.put_clip(ids[4], video)
    return video


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def contents(folder):
    """All files by name; in those that name queries, whose ids are the server's, these are numbered."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.name.startswith("."):
            found[str(path.relative_to(folder))] = path.read_bytes()
    numbers = {}
    for name in (dataset.PREFERENCES, dataset.REPEATS):
        if name in found:
            said = lines(folder / name)
            for line in said:
                line["query"] = numbers.setdefault(line["query"], len(numbers))
            found[name] = said
    return found


def test_what_comes_in_goes_out_the_same(places, run, tmp_path, monkeypatch):
    monkeypatch.setattr("prefloop.progress.SECONDS_BETWEEN_LINES", 0)
    here, there = places("here"), places("there")
    video = fill(here)
    outcome = run(f"prefloop.cli runs export {RUN} out --server {here.url}")
    assert outcome.code == 0 and "1 of 1 clips" in outcome.err
    there.clock.go(86_400)
    outcome = run(f"prefloop.cli runs import out {RUN} --server {there.url}")
    assert outcome.code == 0, outcome.err
    assert "segments, " in outcome.err and "1 of 1 clips" in outcome.err
    assert run(f"prefloop.cli runs export {RUN} again --server {there.url}").code == 0
    before, after = contents(tmp_path / "out"), contents(tmp_path / "again")
    assert before.keys() == after.keys()
    for name, content in before.items():
        assert content == after[name], name
    # and it was no empty thing that came back
    said, repeats = before[dataset.PREFERENCES], before[dataset.REPEATS]
    assert {line["annotator"] for line in said} == {"ada", "bob"} and len(repeats) == 2
    assert sum(line["trim"] is not None for line in [*said, *repeats]) == 3
    assert {line["label"] for line in said} == {0.0, 0.5, 1.0, None}
    assert {line["iteration"] for line in said} == {0, 1, 2}
    assert len({line["time"] for line in said}) == len(said)
    assert f"clips/{here.client.put_clip(_shown(here), video)[7:-4]}.mp4" in before
    # the run is what it was, also where no dataset says it
    one, other = here.client.run(RUN), there.client.run(RUN)
    same = ("env", "env_changes", "spaces", "instructions", "frames_per_second", "repeats")
    for name in (*same, "annotators_per_query", "own_settings"):
        assert getattr(one, name) == getattr(other, name), name
    results = [place.client.results(RUN).model_dump() for place in (here, there)]
    assert results[0] == results[1]
    for segment, copy in zip(_segments(here), _segments(there), strict=True):
        assert segment.digest == copy.digest and segment.replay.keys() == copy.replay.keys()
        for name, array in segment.replay.items():
            np.testing.assert_array_equal(
                array, copy.replay[name][: len(array)] if array.ndim else copy.replay[name]
            )


def _shown(place):
    return next(
        s.segment
        for s in place.store.queue.to_show(list(place.store.export(RUN).segments))
        if s.clip
    )


def _segments(place):
    found = place.store.export(RUN).segments.values()
    return sorted(found, key=lambda segment: segment.digest)


def test_imported_twice_it_is_there_once(places, run):
    here, there = places("here"), places("there")
    fill(here)
    run(f"prefloop.cli runs export {RUN} out --server {here.url}")
    assert (
        "repeats added, 0 were" in run(f"prefloop.cli runs import out new --server {there.url}").out
    )
    there.client.put_run("new", ARM, SPACES, instructions="other words")
    outcome = run(f"prefloop.cli runs import out new --server {there.url}")
    assert "new: 0 labels added" in outcome.out and "new: 0 repeats added" in outcome.out
    assert there.client.run("new").instructions == "other words"


def test_an_import_that_breaks_off_leaves_the_runs_own_settings_there(places, run, monkeypatch):
    here, there = places("here"), places("there")
    fill(here)
    run(f"prefloop.cli runs export {RUN} out --server {here.url}")
    with monkeypatch.context() as breaking:

        def refuse(*_):
            raise UserError("The server is gone.")

        breaking.setattr("prefloop.labelling.client.importing._send_segments", refuse)
        assert_one_sentence(
            run(f"prefloop.cli runs import out {RUN} --server {there.url}"), "is gone"
        )
    assert run(f"prefloop.cli runs import out {RUN} --server {there.url}").code == 0
    own = here.client.run(RUN).own_settings
    assert own and there.client.run(RUN).own_settings == own


def test_a_later_export_comes_into_its_copy(places, run, tmp_path):
    here, there = places("here"), places("there")
    fill(here)
    run(f"prefloop.cli runs export {RUN} first --server {here.url}")
    assert run(f"prefloop.cli runs import first {RUN} --server {there.url}").code == 0
    before = contents(tmp_path / "first")
    # what bob said stands no longer, so that all that ada said stands in other lines; and she goes on
    bobs = [event for event in here.client.all_labels(RUN) if event.annotator == "bob"]
    here.store.runs.exclude(RUN, "bob")
    given = here.store.queue.lease(RUN, "eve", uuid.uuid4(), 2).queries
    for one in given:
        here.clock.go(3)
        here.store.labels.answer(uuid.uuid4(), one.id, "left")
    run(f"prefloop.cli runs export {RUN} later --server {here.url}")
    assert len(bobs) > 2 and contents(tmp_path / "later") != before
    outcome = run(f"prefloop.cli runs import later {RUN} --server {there.url}")
    assert outcome.code == 0, outcome.err
    assert f"{RUN}: 2 labels added" in outcome.out and "0 repeats added" in outcome.out


def test_labels_that_an_earlier_version_imported_are_met(places, run, tmp_path):
    here, there = places("here"), places("there")
    fill(here)
    run(f"prefloop.cli runs export {RUN} out --server {here.url}")
    run(f"prefloop.cli runs import out {RUN} --server {there.url}")

    def rename(connection):
        for id in connection.execute(sqlalchemy.select(events.c.id)).scalars().all():
            of_id = sqlalchemy.update(events).where(events.c.id == id)
            connection.execute(of_id.values(id=uuid.uuid4()))

    there.store._database.write(rename)
    outcome = run(f"prefloop.cli runs import out {RUN} --server {there.url}")
    assert outcome.code == 0, outcome.err
    assert f"{RUN}: 0 labels added" in outcome.out and f"{RUN}: 0 repeats added" in outcome.out
    path = tmp_path / "out" / dataset.PREFERENCES
    first, *rest = lines(path)
    changed = {**first, "label": 1.0 - first["label"]}
    path.write_text("".join(json.dumps(line) + "\n" for line in [changed, *rest]))
    outcome = run(f"prefloop.cli runs import out {RUN} --server {there.url}")
    assert_one_sentence(outcome, "has labelled the query")


def test_an_export_where_everybody_is_left_out(places, run):
    here = places("here")
    fill(here)
    for who in ("ada", "bob"):
        here.store.runs.exclude(RUN, who)
    outcome = run(f"prefloop.cli runs export {RUN} out --server {here.url}")
    assert_one_sentence(outcome, "no labels but those of who is left out")


def test_an_arena_stays_one(places, run, tmp_path):
    here, there = places("here"), places("there")
    vote(here.http, fill_arena(here.http))
    run(f"prefloop.cli runs export walkers out --server {here.url}")
    outcome = run(f"prefloop.cli runs import out walkers --server {there.url}")
    assert outcome.code == 0, outcome.err
    run(f"prefloop.cli runs export walkers again --server {there.url}")
    assert contents(tmp_path / "out") == contents(tmp_path / "again")
    assert here.client.ranking("walkers") == there.client.ranking("walkers")
    assert set(dict(there.store.export("walkers").digests)) == set(NAMES)


def test_a_dataset_of_an_environment_that_is_not_here(places, run, tmp_path):
    here = places("here")
    fill(here)
    run(f"prefloop.cli runs export {RUN} out --server {here.url}")
    about = json.loads((tmp_path / "out" / "metadata.json").read_text())
    del about["spaces"]  # as exports of earlier versions
    (tmp_path / "out" / "metadata.json").write_text(json.dumps(about))
    outcome = run(f"prefloop.cli runs import out new --server {here.url}")
    assert outcome.code == 0, outcome.err
    assert here.client.run("new").spaces["num_actions"] == 2


def test_a_segment_that_is_compared_with_itself_is_left_out(places, run, tmp_path):
    here = places("here")
    fill(here)
    run(f"prefloop.cli runs export {RUN} out --server {here.url}")
    file = tmp_path / "out" / dataset.PREFERENCES
    changed = lines(file)
    changed[0].update(second=changed[0]["first"])
    file.write_text("".join(json.dumps(line) + "\n" for line in changed))
    outcome = run(f"prefloop.cli runs import out new --server {here.url}")
    assert f"{len(changed) - 1} labels added" in outcome.out
    assert "1 label of a segment compared with itself was left out" in outcome.err


@pytest.mark.parametrize(
    ("file", "change", "words"),
    [
        (dataset.PREFERENCES, {"first": 99}, "preferences.jsonl, line 1 is damaged"),
        (dataset.PREFERENCES, {"whole": "all", "trim": [0, 2]}, "line 1 is damaged"),
        (dataset.PREFERENCES, {"whole": [0, 1], "trim": [7, 900]}, "steps 7 to 900 are not in"),
        (dataset.PREFERENCES, {"time": "yesterday"}, "time"),
        (dataset.PREFERENCES, {"time": "9999-12-31T23:59:59-12:00"}, "time"),
        (dataset.PREFERENCES, {"query": []}, "line 1 is damaged: its query is no text"),
        (
            dataset.PREFERENCES,
            {"first_agent": "a", "second_agent": "b"},
            "some of its lines name agents",
        ),
        (dataset.METADATA, {"agents": "x"}, "metadata.json is damaged: its agents are no table"),
        (dataset.CLIPS, {"clip": "../../secret"}, "clips.jsonl, line 1 is damaged"),
        (dataset.METADATA, {"spaces": {"obs_shape": "wide"}}, "metadata.json is damaged"),
    ],
)
def test_a_damaged_export_ends_in_a_sentence(places, run, tmp_path, file, change, words):
    here = places("here")
    fill(here)
    run(f"prefloop.cli runs export {RUN} out --server {here.url}")
    path = tmp_path / "out" / file
    if file == dataset.METADATA:
        path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    else:
        first, *rest = lines(path)
        path.write_text("".join(json.dumps(line) + "\n" for line in [{**first, **change}, *rest]))
    assert_one_sentence(run(f"prefloop.cli runs import out new --server {here.url}"), words)


def test_a_robot_is_drawn_again_after_it_came_in(places, run):
    pytest.importorskip("mujoco")
    hopper, rng = EnvSettings(env="Hopper-v5"), np.random.default_rng(0)
    try:
        renderer = Renderer(hopper)
    except UserError as error:
        pytest.skip(str(error))
    here, there = places("here"), places("there")
    episodes = record_episodes(hopper, lambda obs: rng.normal(size=(len(obs), 3)), 3, seed=0)
    segments = cut(episodes, 8, 2, rng)
    here.client.put_run("hopper", hopper, spaces_of(make_env(hopper)))
    ask(here.client, "hopper", Queries(segments, np.array([0]), np.array([1])))
    (given,) = here.client.lease("hopper", "ada", SESSION).queries
    here.client.answer(uuid.uuid4(), given.lease, "left")
    run(f"prefloop.cli runs export hopper out --server {here.url}")
    assert run(f"prefloop.cli runs import out hopper --server {there.url}").code == 0
    drawn = [
        [
            np.stack(list(renderer.frames(segment)))
            for segment in sorted(found, key=lambda s: s.digest)
        ]
        for found in (place.store.export("hopper").segments.values() for place in (here, there))
    ]
    renderer.close()
    for one, other in zip(*drawn, strict=True):
        np.testing.assert_array_equal(one, other)


def test_repeats_alone_go_out_and_in(places, run, tmp_path):
    here, there = places("here"), places("there")
    here.store.runs.put(RUN, RunFacts(ARM, SPACES))
    ids = here.store.segments.add(RUN, [arm(0, 4), arm(1, 4)])
    query = uuid.uuid4()
    here.store.queue.add(RUN, [NewQuery(query, *ids)], iteration=0)
    again = {"query": str(query), "annotator": "ada", "label": 1.0, "repeat": True}
    assert here.client.add_labels(RUN, [{"id": str(uuid.uuid4()), **again}]) == 1
    with pytest.raises(UserError, match="has labelled the query"):
        here.client.add_labels(RUN, [{"id": str(uuid.uuid4()), **again}])
    assert here.client.run(RUN).counts.labels == 0
    run(f"prefloop.cli runs export {RUN} out --server {here.url}")
    outcome = run(f"prefloop.cli runs import out {RUN} --server {there.url}")
    assert "0 labels added" in outcome.out and "1 repeat added" in outcome.out
    run(f"prefloop.cli runs export {RUN} again --server {there.url}")
    assert contents(tmp_path / "out") == contents(tmp_path / "again")


def test_an_export_of_an_earlier_version(places, run, tmp_path):
    here, there = places("here"), places("there")
    fill(here)
    run(f"prefloop.cli runs export {RUN} out --server {here.url}")
    said = lines(tmp_path / "out" / dataset.PREFERENCES)
    for file, new in ((dataset.PREFERENCES, ("whole", "asked")), (dataset.REPEATS, ("first",))):
        older = [
            {k: v for k, v in x.items() if k not in new} for x in lines(tmp_path / "out" / file)
        ]
        (tmp_path / "out" / file).write_text("".join(json.dumps(x) + "\n" for x in older))
    outcome = run(f"prefloop.cli runs import out {RUN} --server {there.url}")
    assert outcome.code == 0, outcome.err
    assert "says not what its labels are about" in outcome.err
    assert there.client.run(RUN).counts.labels == len(said)
    # a part is a segment of its own
    lengths = {segment.length for segment in there.store.export(RUN).segments.values()}
    assert 2 in lengths and all(event.trim is None for event in there.client.all_labels(RUN))
