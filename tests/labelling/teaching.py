"""Somebody who labels while a program runs, and small programs to run."""

import contextlib
import csv
import threading
import time
import uuid

COLLECT = "prefloop.cli collect --name cartpole-01 --env CartPole-v0 --episodes 10"
SMALL = "--num-envs 4 --rollout-steps 32 --steps 768 --iteration-steps 256 --segment-length 10 --reward-epochs 3"


@contextlib.contextmanager
def labelling(client, run, choose=None):
    """Somebody who labels whatever comes: the longer one, where nothing else is said."""
    stop, session = threading.Event(), uuid.uuid4()

    def longer(query):
        left, right = query.left.length, query.right.length
        return "tie" if left == right else "left" if left > right else "right"

    def label():
        while not stop.is_set():
            with contextlib.suppress(Exception):  # the run is not there yet
                for query in client.lease(run, "ada", session, 4).queries:
                    client.answer(uuid.uuid4(), query.lease, (choose or longer)(query))
            time.sleep(0.05)

    thread = threading.Thread(target=label)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def rows(path):
    """Of a CSV file."""
    with path.open() as file:
        return list(csv.DictReader(file))
