"""The trials of a search: Optuna's study, which several processes on several machines share.

Optuna draws settings, keeps what came of them, and says which trial is to be given up. What it does not know of a
journal is who has died. So each process holds a lock as long as it lives, and says in its trials which: a
trial whose owner's lock is free is over, and its settings are given again.
"""

import contextlib
import datetime
import json
import os
import uuid
import warnings
from collections.abc import Iterator, Mapping
from statistics import fmean
from types import ModuleType
from typing import TYPE_CHECKING, Any

import filelock

from prefloop.errors import UserError, note
from prefloop.files import read_json, write_json
from prefloop.runs import difference
from prefloop.seeding import Stream, integer
from prefloop.startup import import_optional
from prefloop.sweeps.cells import shown
from prefloop.sweeps.ranges import Choice, Range
from prefloop.sweeps.search_file import Search

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial, Trial

JOURNAL = "journal.log"
NAME = "search"  # of the study in a journal, whose folder may be moved
FOLDER = ".search.json"  # in the folder of a search in a database: of which study it is, and which folder
LOCK = ".trials.lock"  # of whoever takes a trial
OWNERS = "owners"  # in the search's folder: a lock for each process that takes part
# what we say of a trial beside Optuna's own
OWNER, AGAIN, REASON, GIVEN_UP = "owner", "again", "reason", "given_up"
SWEEP = "sweep"  # of W&B's that drew it; empty if somebody else did; not there if Optuna did
# and of the study: on what results depend, and whether its first trial is of the usual settings
FACTS, USUAL = "facts", "usual"
KEPT_IN = "folder"  # and where the runs of a database's trials are, and the locks of their owners


def import_optuna() -> ModuleType:
    """Optuna, with no more to say than what is wrong.

    Raises:
        UserError: it is not installed.
    """
    (found,) = import_optional("prefloop tune", "tune", "optuna")
    found.logging.set_verbosity(found.logging.WARNING)
    return found


class Trials:
    """The trials of one search, for one of the processes that share it.

    Attributes:
        study: Optuna's.
    """

    def __init__(self, search: Search) -> None:
        """Opens the search, or begins it.

        Raises:
            UserError: Optuna is not installed, the database can't be used, the folder's search is another, or
                that in the database is another folder's.
        """
        self._optuna: Any = import_optuna()
        self._search, self._root = search, search.root
        self._name = uuid.uuid4().hex
        self._distributions = {f: _distribution(self._optuna, r) for f, r in search.ranges.items()}
        self._kept = contextlib.ExitStack()
        with self._alone():
            self.study: optuna.Study = self._open()
            if search.settings.storage:
                self._require_same_folder()
            before, now = self.study.user_attrs.get(FACTS), search.facts
            if before is None:
                self.study.set_user_attr(FACTS, now)
            elif (other := difference(before, json.loads(json.dumps(now)), ())) is not None:
                raise UserError(f"{self._root} holds a search with {other}; choose another --out.")

    def _open(self) -> "optuna.Study":
        optuna, settings = self._optuna, self._search.settings
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            pruner = (
                optuna.pruners.WilcoxonPruner(p_threshold=settings.p_threshold)
                if settings.p_threshold
                else optuna.pruners.NopPruner()
            )
        try:
            storage = self._storage()
            return optuna.create_study(
                storage=storage,
                study_name=self._study_name(storage),
                pruner=pruner,
                direction="maximize",
                load_if_exists=True,
            )
        except Exception as error:  # each database has errors of its own
            where = "its database" if settings.storage else self._root / JOURNAL
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise UserError(f"Can't open the search in {where}: {reason}") from None

    def _storage(self) -> Any:
        storages, journal = self._optuna.storages, self._optuna.storages.journal
        if self._search.settings.storage:
            return storages.RDBStorage(self._search.settings.storage)
        file = str(self._root / JOURNAL)
        # the usual lock is a symbolic link, which not everybody may make on Windows
        lock = journal.JournalFileOpenLock(file) if os.name == "nt" else None
        return storages.JournalStorage(journal.JournalFileBackend(file, lock))

    def _study_name(self, storage: Any) -> str:
        """The study's name: the folder's in a database, which has many; of a folder that was moved, the one that it had at first."""
        own = self._root.resolve().name
        if self._search.settings.storage:
            file = self._root / FOLDER
            return read_json(file)["study"] if file.exists() else own
        there = self._optuna.get_all_study_names(storage)
        if own in there:  # which had it before all had one
            return own
        return there[-1] if there else NAME

    def _require_same_folder(self) -> None:
        """Refuses a database's search whose runs, and owners' locks, are in another folder: all would seem dead."""
        file = self._root / FOLDER
        if not file.exists():
            write_json(file, {"study": self.study.study_name, "folder": uuid.uuid4().hex})
        mine = read_json(file)["folder"]
        if self.study.user_attrs.get(KEPT_IN) is None:
            place = str(self._root.resolve())
            self.study.set_user_attr(KEPT_IN, {"folder": mine, "place": place})
        kept = self.study.user_attrs[KEPT_IN]
        if kept["folder"] != mine:
            raise UserError(
                f"The database has a search {self.study.study_name} already, whose runs are in another folder, "
                f"{kept['place']}; take part from there, or choose another name by --out."
            )

    def __enter__(self) -> "Trials":
        owners = self._root / OWNERS
        owners.mkdir(exist_ok=True)
        self._kept.enter_context(filelock.FileLock(owners / f"{self._name}.lock", timeout=0))
        return self

    def __exit__(self, *error: object) -> None:
        """Leaves what it had taken, if it ends before that is over, to others."""
        self._kept.close()
        (self._root / OWNERS / f"{self._name}.lock").unlink(missing_ok=True)

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Whoever takes a trial is to know all that were taken before."""
        with filelock.FileLock(self._root / LOCK):
            yield

    def suggest_usual(self, usual: Mapping[str, Any]) -> None:
        """Has the usual settings tried first, if they are among those that may be."""
        ranges = self._search.ranges
        outside = [flag for flag, one in ranges.items() if not one.holds(usual[flag])]
        with self._alone():
            if self.study.get_trials(deepcopy=False):
                return
            if outside:
                told = ", ".join(f"{flag} {shown(usual[flag])}" for flag in outside)
                note(f"The usual settings are not tried first: {told} is outside of its range.")
                return
            self.study.set_user_attr(USUAL, True)
            self.study.enqueue_trial({f: one.drawn(usual[f]) for f, one in ranges.items()})

    @property
    def usual(self) -> "FrozenTrial | None":
        """The trial of the usual settings, if it is done; where it was left and given again, the last of these."""
        if not self.study.user_attrs.get(USUAL):
            return None
        number, found = 0, None
        for trial in self.study.get_trials(deepcopy=False):  # what is given again comes later
            if trial.number == 0 or trial.user_attrs.get(AGAIN) == number:
                number, found = trial.number, trial
        return found if found is not None and found.value is not None else None

    def ask(self) -> "Trial | None":
        """The next trial, which is this process's from now on; None if all are taken.

        What was drawn depends on the trials that there are and on the seed, so that a search by one process
        at a time is the same however often that was stopped.
        """
        states = self._optuna.trial.TrialState
        with self._alone():
            self._sweep()
            trials = self.study.get_trials(deepcopy=False)
            waits, num = any(t.state == states.WAITING for t in trials), len(counted(trials))
            settings = self._search.settings
            if not waits and num >= settings.trials:
                return None
            seed = integer(settings.sampler_seed, Stream.SEARCH, num)
            self.study.sampler = self._optuna.samplers.TPESampler(seed=seed)
            trial = self.study.ask(self._distributions)
            trial.set_user_attr(OWNER, self._name)
            return trial

    def _sweep(self) -> None:
        """Gives the settings of those again whose owners have died."""
        states = self._optuna.trial.TrialState
        trials = self.study.get_trials(deepcopy=False)
        again = {trial.user_attrs.get(AGAIN) for trial in trials}
        for trial in trials:
            if trial.state != states.RUNNING or self._lives(trial.user_attrs.get(OWNER)):
                continue
            if trial.number not in again:
                self.study.enqueue_trial(trial.params, user_attrs={AGAIN: trial.number})
            self.study.tell(trial.number, state=states.FAIL)
            note(f"Trial {trial.number} was left; its settings are tried again.")

    def _lives(self, owner: str | None) -> bool:
        if owner is None:  # it died between taking the trial and saying so
            return False
        file = self._root / OWNERS / f"{owner}.lock"
        if not file.exists():
            return False
        try:
            with filelock.FileLock(file, timeout=0):
                pass
        except filelock.Timeout:
            return True
        file.unlink(missing_ok=True)
        return False

    def point(self, trial: "Trial | FrozenTrial") -> dict[str, Any]:
        """The settings of a trial, by flag."""
        return {
            flag: one.as_set(trial.params[flag])
            for flag, one in self._search.ranges.items()
            if flag in trial.params
        }

    def tell(self, trial: "Trial", value: float, is_given_up: bool) -> None:
        """Keeps what came of a trial.

        Of one that was given up, the mean of what there is, as Optuna's WilcoxonPruner has it: so it counts for
        what is drawn next. It can't be the best one, which had a higher mean.
        """
        if is_given_up:
            trial.set_user_attr(GIVEN_UP, True)
        self.study.tell(trial, value)

    def add(
        self,
        params: Mapping[str, Any],
        values: Mapping[int, float],
        seconds: float,
        sweep: str,
        reason: str = "",
    ) -> None:
        """Keeps a trial whose settings were drawn elsewhere.

        Args:
            params: what was drawn, by flag.
            values: of its runs, by the numbers of their instances.
            seconds: that it took.
            sweep: of W&B's.
            reason: why there is nothing, if so.
        """
        optuna = self._optuna
        states = optuna.trial.TrialState
        trial = optuna.trial.create_trial(
            state=states.FAIL if reason else states.COMPLETE,
            value=None if reason else fmean(values.values()),
            params=dict(params),
            distributions=self._distributions,
            user_attrs={SWEEP: sweep, **({REASON: reason} if reason else {})},
            intermediate_values=dict(values),
        )
        trial.datetime_start = trial.datetime_complete - datetime.timedelta(seconds=seconds)
        with self._alone():
            self.study.add_trial(trial)

    def fail(self, trial: "Trial", reason: str) -> None:
        """Keeps why there is nothing."""
        trial.set_user_attr(REASON, reason)
        self.study.tell(trial, state=self._optuna.trial.TrialState.FAIL)

    @property
    def all(self) -> "list[FrozenTrial]":
        """The trials that count, in the order in which they began."""
        return counted(self.study.get_trials(deepcopy=False))

    @property
    def best(self) -> "FrozenTrial | None":
        """The one with the highest value, if one has any."""
        complete = self._optuna.trial.TrialState.COMPLETE
        there = [trial for trial in self.all if trial.state == complete]
        return max(there, key=lambda trial: (trial.value, -trial.number), default=None)

    def importances(self) -> dict[str, float]:
        """How much each setting matters, by PED-ANOVA, which add up to 1; none where too few trials are done."""
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # where it says that it has too few, it has none
            try:
                return dict(self._optuna.importance.get_param_importances(self.study))
            except (RuntimeError, UserWarning, ValueError):
                return {}


def counted(trials: "list[FrozenTrial]") -> "list[FrozenTrial]":
    """Trials without those whose settings were given again, and those that nobody has begun."""
    again = {trial.user_attrs.get(AGAIN) for trial in trials}
    return [t for t in trials if t.number not in again and t.state.name != "WAITING"]


def _distribution(optuna: Any, one: Range | Choice) -> Any:
    kinds = optuna.distributions
    if isinstance(one, Choice):
        return kinds.CategoricalDistribution(one.names)
    if one.whole:
        step = 1 if one.step is None else int(one.step)
        return kinds.IntDistribution(int(one.low), int(one.high), log=one.log, step=step)
    return kinds.FloatDistribution(one.low, one.high, log=one.log, step=one.step)
