"""Names that were stored before they were kept as they are shown."""

import sqlalchemy
from people import RUN, label_one, make_run

from prefloop.labelling.server.storage.store import Store
from prefloop.labelling.server.storage.tables import events, leases, queries

DECOMPOSED, COMPOSED = "ame\u0301lie", "am\u00e9lie"
TURNED = "ada\u202e\u200b"


def renamed(store, name, before):
    """As an earlier version stored it."""

    def job(connection):
        for column in (events.c.annotator, leases.c.annotator, queries.c.only_for):
            named = sqlalchemy.update(column.table).where(column == name)
            connection.execute(named.values({column: before}))

    store._database.write(job)


def who(store):
    return [event.annotator for event in store.labels.current(RUN)]


def test_who_comes_back_is_known(store, database_url):
    make_run(store, num_queries=4, annotators_per_query=2)
    for _ in range(3):
        label_one(store, annotator=COMPOSED)
    renamed(store, COMPOSED, DECOMPOSED)
    assert who(store) == [DECOMPOSED] * 3
    again = Store(database_url)
    assert who(again) == [COMPOSED] * 3
    assert label_one(again, annotator=COMPOSED) is not None
    assert label_one(again, annotator=COMPOSED) is None  # all four are labelled
    again.close()


def test_two_who_have_been_at_work_stay_two(store, database_url, caplog):
    make_run(store, num_queries=1, annotators_per_query=2)
    label_one(store, annotator="bob")
    renamed(store, "bob", TURNED)
    label_one(store, annotator="ada")
    again = Store(database_url)
    assert who(again) == [TURNED, "ada"]
    assert "both have been at work in one run" in caplog.text
    assert TURNED not in caplog.text  # a log is read in a terminal
    again.close()
