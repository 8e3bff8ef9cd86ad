"""Many people label while the server is killed again and again: no answer is lost or doubled."""

import random
import threading
import uuid
from collections import Counter, defaultdict

import pytest
from people import FACTS, make_segment
from serving import ServerProcess

from prefloop.labelling.arrays import pad
from prefloop.labelling.client.client import LabellingClient

RUN = "cartpole-01"


def fill(client, num_queries):
    """Queries about few segments, each pair once."""
    client.put_run(RUN, env=FACTS.env, spaces=FACTS.spaces)
    num = int((2 * num_queries) ** 0.5) + 2
    ids = client.add_segments(RUN, pad([make_segment(i) for i in range(num)]))
    pairs = [(ids[i], ids[j]) for i in range(num) for j in range(i)][:num_queries]
    asked = {uuid.uuid4(): pair for pair in pairs}
    client.add_queries(RUN, [(id, *pair) for id, pair in asked.items()])
    return asked


class Annotator(threading.Thread):
    """Labels as the page does: holds two queries ahead, answers them in order, tries again."""

    def __init__(self, name, url, num_labels, progress):
        super().__init__()
        self.name, self.url, self.num_labels, self.progress = name, url, num_labels, progress
        self.rng = random.Random(name)
        self.sent, self.acknowledged, self.leased, self.shown = {}, set(), [], {}
        self.failure = None

    def run(self):
        try:
            self.label()
        except Exception as error:
            self.failure = error

    def label(self):
        session, holding = uuid.uuid4(), []
        with LabellingClient(self.url, patience=None) as client:
            while len(self.acknowledged) < self.num_labels:
                if not holding:
                    new = client.lease(RUN, self.name, session, 2).queries
                    self.leased += [query.query for query in new]
                    holding += new
                query = holding.pop(0)
                choice = self.rng.choice(["left", "right", "tie", "skip"])
                id = uuid.uuid4()
                self.sent[id] = (query, choice)
                reply = client.answer(id, query.lease, choice)
                assert (reply.id, reply.query) == (id, query.query)
                self.acknowledged.add(id)
                self.progress.release()


def label_and_kill(database_url, home, num_annotators, labels_each, kills):
    total = num_annotators * labels_each
    flags = ("--home", str(home), "--database-url", database_url)
    progress = threading.Semaphore(0)
    with ServerProcess(*flags) as server:
        with LabellingClient(server.url) as client:
            asked = fill(client, total + 2 * num_annotators)
        people = [
            Annotator(f"annotator {i}", server.url, labels_each, progress)
            for i in range(num_annotators)
        ]
        for annotator in people:
            annotator.start()
        for _ in range(kills):
            for _ in range(total // (kills + 1)):
                progress.acquire(timeout=60)
            server.kill()
            server.start()
        for annotator in people:
            annotator.join()
        with LabellingClient(server.url) as client:
            events = list(client.all_labels(RUN))
    return asked, people, events


def check(asked, people, events, total):
    assert [annotator.failure for annotator in people if annotator.failure] == []
    acknowledged = Counter(id for annotator in people for id in annotator.acknowledged)
    sent = {id: (a.name, *said) for a in people for id, said in a.sent.items()}
    assert sum(acknowledged.values()) == total
    # every acknowledged answer is there exactly once, and none that nobody sent
    assert Counter(event.id for event in events) == acknowledged
    assert [event.number for event in events] == list(range(1, total + 1))
    for event in events:
        name, query, choice = sent[event.id]
        assert (event.annotator, event.query) == (name, query.query)
        chosen = {"left": query.left.segment, "right": query.right.segment}.get(choice)
        expected = {None: 0.5 if choice == "tie" else None}.get(
            chosen, float(chosen == asked[event.query][1])
        )
        assert event.label == expected
    # no lease ran out meanwhile, so nobody was given what another had
    given = defaultdict(set)
    for annotator in people:
        for query in annotator.leased:
            given[query].add(annotator.name)
    assert all(len(names) == 1 for names in given.values())
    assert len({event.query for event in events}) == total


def test_nothing_is_lost(database_url, tmp_path):
    check(*label_and_kill(database_url, tmp_path, 8, 10, kills=2), total=80)


@pytest.mark.slow
def test_nothing_is_lost_with_fifty_annotators(database_url, tmp_path):
    check(*label_and_kill(database_url, tmp_path, 50, 40, kills=5), total=2000)
