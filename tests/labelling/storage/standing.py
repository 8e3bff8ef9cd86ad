"""What a store holds in the end."""

import sqlalchemy
from people import RUN


def ids(leases):
    """The queries of leases."""
    return [lease.query for lease in leases.queries]


def standing(store, name=RUN):
    """Who said what, as far as nobody took it back."""
    return [(event.annotator, event.query, event.label) for event in store.labels.current(name)]


def done_is_what_stands(store):
    """The counter beside each query says what the events say of whom nobody has excluded; of a repeat, of anybody."""
    with store._database.reading() as connection:
        text = """SELECT q.id, q.done, count(c.id) FROM queries q
                  LEFT JOIN current_labels c ON c.query = q.id AND (q.repeat_of IS NOT NULL OR NOT EXISTS
                  (SELECT 1 FROM exclusions x WHERE x.run = c.run AND x.annotator = c.annotator))
                  GROUP BY q.id, q.done"""
        return all(done == count for _, done, count in connection.execute(sqlalchemy.text(text)))
