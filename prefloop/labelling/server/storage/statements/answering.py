"""Answers: what was said, and what is stored of it."""

from sqlalchemy import (
    Boolean,
    and_,
    bindparam,
    exists,
    func,
    select,
    update,
)

from prefloop.labelling.server.storage.statements.parts import (
    LIVE,
    SHOWN_LEASES,
    counts,
    first_side,
    insert_numbered,
    labelled,
    second_side,
)
from prefloop.labelling.server.storage.tables import (
    PAIRS,
    current_labels,
    events,
    leases,
    participants,
    queries,
    runs,
    study_runs,
)

_undos = events.alias("undos")
# what `annotator` said of `queries` in this round and took back, what was taken back last at the end
TAKEN_BACK = (
    select(
        events.c.query,
        events.c.kind,
        events.c.label,
        events.c.trim_start,
        events.c.trim_stop,
        queries.c.first,
    )
    .join(_undos, _undos.c.undoes == events.c.id)
    .join(queries, queries.c.id == events.c.query)
    .join(runs, and_(runs.c.id == events.c.run, runs.c.round == events.c.round))
    .where(
        events.c.query.in_(bindparam("queries", expanding=True)),
        events.c.annotator == bindparam("annotator"),
    )
    .order_by(_undos.c.number)
)


# a lease with its query, and what speaks against storing `event` as its answer
LEASED = (
    select(
        leases.c.run, leases.c.query, leases.c.annotator, leases.c.round, leases.c.open,
        leases.c.first_is_left, leases.c.created_at, leases.c.expires_at, queries.c.done, queries.c.wanted,
        queries.c.repeat_of, runs.c.round.label("current_round"),
        first_side.c.length.label("first_length"), second_side.c.length.label("second_length"),
        exists().where(events.c.id == bindparam("event")).label("is_stored"),
        labelled(leases.c.query, leases.c.annotator, leases.c.round).label("is_labelled"),
        exists().where(participants.c.annotator == leases.c.annotator).label("is_participant"),
        (~counts(leases)).label("is_excluded"),
    )
    .select_from(SHOWN_LEASES.join(runs, runs.c.id == leases.c.run))
    .where(leases.c.id == bindparam("lease"))
)  # fmt: skip

# the same of a participant's, with how many pairs of their study they have answered, if it is one of those
_pairs_of_study = (
    select(study_runs.c.run)
    .join(participants, participants.c.study == study_runs.c.study)
    .where(participants.c.annotator == leases.c.annotator, study_runs.c.purpose == PAIRS)
    .correlate(leases)
)
_pairs_answered = (
    select(func.count())
    .where(
        current_labels.c.annotator == leases.c.annotator,
        current_labels.c.run.in_(_pairs_of_study),
        leases.c.run.in_(_pairs_of_study),
    )
    .correlate(leases)
    .scalar_subquery()
)
LEASED_IN_STUDY = LEASED.add_columns(_pairs_answered.label("pairs_answered"))

# live leases of a query that others than `annotator` have
TAKEN_BY_OTHERS = (
    select(func.count())
    .select_from(leases)
    .where(
        leases.c.query == bindparam("query"),
        LIVE,
        leases.c.annotator != bindparam("annotator"),
    )
)

EVENT = select(events).where(events.c.id == bindparam("event"))
IS_LABELLED = select(
    labelled(
        bindparam("query", type_=queries.c.id.type), bindparam("annotator"), bindparam("round")
    )
)

CLOSE_LEASE = update(leases).where(leases.c.id == bindparam("this_lease")).values(open=False)
# if the answer counts
ONE_MORE_DONE = (
    update(queries)
    .where(queries.c.id == bindparam("this_query"), bindparam("this_counts", type_=Boolean))
    .values(done=queries.c.done + 1)
)
INSERT_EVENT = insert_numbered(events, events.c.number).returning(events.c.number)
# The same with what belongs to it, at once, which SQLite can't; there, a statement costs no round trip.
INSERT_ANSWER = INSERT_EVENT.add_cte(CLOSE_LEASE.cte("closed"), ONE_MORE_DONE.cte("counted"))
