"""What `prefloop runs forget` and `prefloop study forget` do: all that is stored of one person, deleted."""

from prefloop.errors import UserError, note
from prefloop.labelling.client.client import LabellingClient
from prefloop.labelling.client.managing import agreed_to
from prefloop.labelling.schemas.people import StoredOut
from prefloop.words import counted, perhaps


def forget(client: LabellingClient, name: str, ask: bool) -> None:
    """Deletes all that is stored of an annotator or a participant, once the user has said so.

    Raises:
        UserError: nothing is stored of them, the user said no, or there is nobody to ask.
    """
    stored = client.stored(name)
    if ask:
        agreed_to(
            f"Delete all that is stored of {name}, for good: {_inventory(stored)}? Type the name: ",
            name,
        )
    gone = client.forget(name)
    again = counted(gone.asked_again, "pair is", "pairs are")
    rows = ", ".join(f"{table} {count}" for table, count in sorted(gone.rows.items()))
    print(f"Deleted all that was stored of {name}: {_inventory(gone.stored)}; {again} asked again.")
    print(f"Rows that are gone, or changed: {rows}.")
    say_what_is_left(gone.wiped)


def forget_participant(client: LabellingClient, study: str, ref: str, ask: bool) -> None:
    """Deletes what is stored of whoever is called so in a study.

    Raises:
        UserError: nobody is; or as `forget`.
    """
    people = {person.ref: person.annotator for person in client.study(study).participants}
    if ref not in people:
        raise UserError(
            f"Nobody called {ref} takes part in the study {study}{perhaps(ref, people)}"
        )
    forget(client, people[ref], ask)


def _inventory(stored: StoredOut) -> str:
    """Counts of what is stored, as text."""
    said = [
        counted(stored.answers, "answer"),
        counted(stored.skips, "skip"),
        f"{counted(stored.taken_back, 'answer')} taken back",
    ]
    parts = [f"{', '.join(said)} in {counted(len(stored.runs), 'run')}"]
    if stored.participant is not None:
        consent = " and consent" if stored.participant.consented_at else ""
        parts.append(f"their link{consent} in the study {stored.participant.study}")
    if stored.comparisons:
        parts.append(f"their name on {counted(stored.comparisons, 'comparison')}")
    return "; ".join(parts)


def say_what_is_left(wiped: bool) -> None:
    """Prints what no deletion on the server undoes."""
    if not wiped:
        note(
            "Traces may stay in the database's file: something else reads it, or its disk is full. "
            "They go with the next deletion that finds it otherwise."
        )
    print(
        "Not undone by this: backups, exports, what trainers keep in their folders, and rewards that "
        "learned from it."
    )
