"""Explorations that are kept for the next run that would explore alike.

    facts.json, state.pt, replay.npz

A run that goes on from it ends in the same bytes as one that explores itself: it is what that run's own
folder held after its last iteration of exploration.
"""

import contextlib
import hashlib
import json
import math
import shutil
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prefloop import checkpoints, runs
from prefloop.agents.sac import STATE_FORMAT
from prefloop.data.replay_buffer import ReplayBuffer
from prefloop.envs.settings import EnvSettings
from prefloop.errors import UserError
from prefloop.files import read_json, sha256, write_json
from prefloop.settings import as_flat
from prefloop.training.exploration import FORMAT
from prefloop.training.settings import PebbleSettings

FACTS, STATE, STEPS = "facts.json", "state.pt", "replay.npz"
DIGESTS = "sha256"  # in the facts: of the two others
UNFINISHED = ".unfinished-"
SECONDS_TO_KEEP = 3600  # far more than it takes, also on a slow disk
PARTS = ("sac", "replay", "exploration")  # of a learner's state that exploration has to do with


def depends_on(
    settings: PebbleSettings,
    learned_in: EnvSettings,
    judged_in: EnvSettings,
    states: tuple[str, tuple[int, ...]] | None,
    seed: int,
    device: str,
    init_sha256: str | None = None,
) -> dict[str, Any]:
    """All that an exploration depends on, as JSON holds it.

    Args:
        states: what is recorded of each step, as `Stepping.state_kind`.
        device: where tensors live, by name.
        init_sha256: of the policy that it started from, if it did.
    """
    experience, exploration = settings.experience, settings.exploration
    # a row more for each iteration and environment, for what its last step led to
    rows = experience.iteration_steps + experience.num_envs
    explored = settings.exploration_iterations * rows
    facts = {
        **learned_in.facts,
        "judged_in": judged_in.facts,
        "seed": seed,
        "device": device,
        "init_sha256": init_sha256,
        "states": states and list(map(str, states)),
        **{name: getattr(experience, name) for name in (
            "iteration_steps", "num_envs", "updates_per_step", "evaluation_episodes",
        )},
        # what is pushed out while it explores is not learned from
        "capacity": experience.capacity if experience.capacity < explored else None,
        "exploration": [exploration.steps, exploration.neighbours, exploration.states],
        "exploration_format": FORMAT,
        "agent": as_flat(settings.agent),
        "state_format": STATE_FORMAT,
        "versions": checkpoints.versions(),
    }  # fmt: skip
    return dict(json.loads(json.dumps(facts)))


@dataclass(frozen=True)
class KeptExploration:
    """A place for one exploration.

    Attributes:
        facts: all that it depends on.
        iterations: of exploration.
        folder: where it is, or is to be.
        must_be_there: whether somebody named it, so that it is a mistake if it can't be used.
        quiet: whether nothing is said of it.
    """

    facts: Mapping[str, Any]
    iterations: int
    folder: Path
    must_be_there: bool = False
    quiet: bool = False

    @classmethod
    def under(
        cls, home: Path, facts: Mapping[str, Any], iterations: int, quiet: bool = False
    ) -> "KeptExploration":
        """The place of an exploration with these facts, in a folder that their digest names."""
        written = json.dumps(facts, sort_keys=True).encode()
        folder = home / hashlib.sha256(written).hexdigest()[:16]
        return cls(facts, iterations, folder, quiet=quiet)

    def begin(self, replay: ReplayBuffer, learner: Mapping[str, Any]) -> dict[str, Any] | None:
        """Fills a run's replay buffer with what was explored, and gives the state after it.

        Args:
            learner: the state of one that has done nothing yet.

        Returns:
            A state as `prefloop.runs.save_state` takes it; None if nothing is kept that can be used.

        Raises:
            UserError: somebody named it, and it can't be used.
        """
        if not (self.folder / FACTS).exists() and not self.must_be_there:
            return None
        try:
            kept_facts = read_json(self.folder / FACTS)
            other = runs.difference(kept_facts, self.facts, (DIGESTS,))
            if other is not None:
                raise UserError(f"it was made with {other}")
            digests = kept_facts.get(DIGESTS, {})  # earlier versions kept none
            if not isinstance(digests, dict):
                raise UserError(f"{FACTS} is damaged")
            for name, digest in digests.items():
                if sha256(self.folder / name) != digest:
                    raise UserError(f"{name} is damaged")
            kept = checkpoints.load(self.folder / STATE, max_bytes=math.inf)
            replay.fill(self.folder / STEPS)
            state = {**learner, **{name: kept["learner"][name] for name in PARTS}}
            rows = list(kept["rows"])
            replay.load_state_dict(state["replay"])
        except (UserError, OSError, KeyError, TypeError, ValueError, AttributeError) as error:
            # the others speak of Python
            is_said = isinstance(error, UserError | OSError)
            reason = str(error).rstrip(".") if is_said else "what it holds is damaged"
            if self.must_be_there:
                raise UserError(f"{self.folder} can't be explored from: {reason}.") from None
            self._say(
                f"The exploration that was kept in {self.folder} can't be used: {reason}. Exploring anew."
            )
            with contextlib.suppress(OSError):  # so that it is kept again, whole
                (self.folder / FACTS).unlink()
            return None
        self._say(f"Going on from the exploration that was kept in {self.folder}.")
        return {"learner": state, "rows": rows}

    def _say(self, sentence: str) -> None:
        if not self.quiet:
            print(sentence)

    def keep(self, replay: ReplayBuffer, state: Mapping[str, Any]) -> None:
        """Keeps a run's state, if it has just done exploring and nothing is kept yet.

        Nothing is lost where it can't be kept, so that is no mistake.
        """
        if len(state["rows"]) != self.iterations or self.must_be_there:
            return
        if (self.folder / FACTS).exists():
            return
        with contextlib.suppress(OSError, UserError):
            self.folder.parent.mkdir(parents=True, exist_ok=True)
            # by runs that were killed in the middle of this
            for left in self.folder.parent.glob(f"{UNFINISHED}*"):
                if time.time() - left.stat().st_mtime > SECONDS_TO_KEEP:
                    shutil.rmtree(left, ignore_errors=True)
            # whole or not at all, also where two runs explore alike at once
            with tempfile.TemporaryDirectory(dir=self.folder.parent, prefix=UNFINISHED) as made:
                part = Path(made) / "made"
                part.mkdir()
                learner = {name: state["learner"][name] for name in PARTS}
                checkpoints.save(part / STATE, {"learner": learner, "rows": state["rows"]})
                replay.write(part / STEPS)
                digests = {name: sha256(part / name) for name in (STATE, STEPS)}
                write_json(part / FACTS, {**self.facts, DIGESTS: digests})
                shutil.rmtree(self.folder, ignore_errors=True)
                part.rename(self.folder)
