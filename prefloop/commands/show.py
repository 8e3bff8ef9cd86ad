"""`prefloop show`: policies side by side, from the same starts."""

from collections.abc import Mapping
from dataclasses import MISSING, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefloop.envs.settings import TERMINATIONS
from prefloop.labelling.client.settings import ServerSettings
from prefloop.labelling.limits import MAX_NAME
from prefloop.settings import part, require_above_zero, require_seed, setting
from prefloop.words import counted

if TYPE_CHECKING:
    from prefloop.labelling.client.client import LabellingClient

DESCRIPTION = """Shows policies of one run or of up to six side by side, from the same starts and in step: clips with
the reward of each step under them, a slider over the checkpoints of each run, returns with intervals, and returns
against steps and labels, where a click plays the nearest checkpoint."""
EPILOG = """Example: prefloop show pebble sac. The page is a folder that opens from disk, without a server and without
a network; --export keeps it. prefloop show pebble sac --server http://127.0.0.1:8000 also puts it among the
Comparisons of a labelling server that runs, for all who may look there; --profile default says the one of this
machine. Runs have checkpoints to go back to if they were trained with --checkpoint_every. Details: docs/show.md."""
IMPORTS = ("torch", "gymnasium")
LAST = "last-show"  # where the page is that nobody asked to keep


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What is shown, and where it is written.

    Raises:
        ValueError: a value that can't be meant.
    """

    # fmt: off
    run: tuple[str, ...] = setting(MISSING, "folders of runs, or single policies; up to six", positional=True)
    export: str = setting("", f"folder that the page is kept in, to be sent or put on a site; if not given, {LAST}, which the next one replaces")
    env: str = setting("", "which environment; if not given, the one that run.json beside the policies names")
    episodes: int = setting(10, "episodes of each policy that its return is the mean of")
    clips: int = setting(3, "how many of them are filmed, from the first on")
    checkpoints: int = setting(6, "the most policies of each run, evenly apart, the last among them")
    steps: int | None = setting(None, "cut episodes after so many steps, those that are counted and those that are filmed; if not given, where the environment does")
    termination: str = setting("", "how episodes end, where it is to be otherwise than for who is judged; never: they go on, as PEBBLE learns in Ant, Hopper, Humanoid and Walker2d, where a back flip would end at once", choices=TERMINATIONS)
    greedy: bool = setting(False, "take the most probable action, or the mean one, and draw none; policies of SAC and PEBBLE always take the mean one")
    browser: bool = setting(True, "open the page when it is written; with --export it is not opened in any case")
    by: str = setting("", "who shows it, for the server's list")
    seed: int = setting(0, "same seed, same starts")
    server: ServerSettings = part(ServerSettings, server=setting("", "also keep the comparison on this labelling server, as a page of it; where it demands a token, PREFLOOP_TOKEN has the trainers'"), profile=setting("", "the same on the server that runs in ~/.prefloop/PROFILE"))
    # fmt: on

    def __post_init__(self) -> None:
        require_seed(self.seed)
        require_above_zero(self, "episodes", "clips", "checkpoints", "steps")
        if self.clips > self.episodes:
            raise ValueError(
                f"--clips must be at most --episodes, which is {self.episodes}, not {self.clips}"
            )
        if self.by and not self.is_sent:
            raise ValueError("--by does nothing without --server or --profile")
        if len(self.by) > MAX_NAME:
            raise ValueError(f"--by has {len(self.by)} characters; a name has at most {MAX_NAME}")

    @property
    def is_sent(self) -> bool:
        """Whether a server is to keep it, too; PREFLOOP_SERVER alone sends nothing anywhere."""
        return bool(self.server.server or self.server.profile)

    @property
    def when_interrupted(self) -> str:
        """What to say after Ctrl-C."""
        if self.is_sent:
            return "Stopped; the server shows no comparison that was not sent whole."
        return "Stopped; nothing was written."


def main(settings: Settings) -> None:
    """Plays, films and writes the page; sends it, where a server is to keep it."""
    from prefloop.showing.page import PAGE, require_free

    folder = Path(settings.export or LAST)
    require_free(folder, is_own=not settings.export)
    if not settings.is_sent:
        _write(settings, folder)
        page = folder / PAGE
        _tell(settings, page.resolve().as_uri(), f"Wrote {page}")
        return
    from prefloop.labelling.client.connecting import connected

    # none is started where none runs: it would end with this program, and the page with it
    with connected(settings.server) as client:
        from prefloop.labelling.client.comparing import require_keeps_comparisons

        require_keeps_comparisons(client)
        about = _write(settings, folder)
        print(f"Wrote {folder / PAGE}.")
        address = _send(settings, client, about, folder)
    _tell(settings, address, f"It is at {address}")


def _write(settings: Settings, folder: Path) -> Mapping[str, Any]:
    """Plays, films and writes the page; what it shows."""
    from prefloop.evaluation.videos import require_pictures
    from prefloop.files import whole_folder
    from prefloop.progress import progress
    from prefloop.showing.gathering import Starts, gather, load
    from prefloop.showing.kept_policies import common_env, read_runs
    from prefloop.showing.page import require_free, write_page

    runs = read_runs([Path(path) for path in settings.run], settings.checkpoints, settings.env)
    env = common_env(runs, settings.steps)
    if settings.termination:
        env = env.ending(settings.termination)
    loaded = [load(run, env) for run in runs]
    require_pictures(env, "prefloop show")
    starts = Starts(settings.episodes, settings.clips, settings.seed, settings.greedy)
    policies = sum(len(run.policies) for run in runs)
    may_replace = partial(require_free, is_own=not settings.export)
    with whole_folder(folder, may_replace) as unfinished:
        with progress(policies * (starts.episodes + starts.clips), "episodes", leave=False) as bar:
            about = gather(
                loaded,
                env,
                starts,
                unfinished,
                lambda ended: bar.update(units=ended),
                settings.steps,
            )
        write_page(unfinished, about)
    for run in about["runs"]:
        last = run["policies"][-1]
        interval = "" if last["low"] is None else f" [{last['low']:.1f}, {last['high']:.1f}]"
        print(
            f"{run['name']}: {last['mean']:.1f}{interval} (mean return of {counted(starts.episodes, 'episode')} of "
            f"{env.described}, 95 % interval)"
        )
    return about


def _send(
    settings: Settings, client: "LabellingClient", about: Mapping[str, Any], folder: Path
) -> str:
    """Sends what was written; the address of its page on the server."""
    from prefloop.evaluation.markup import plain
    from prefloop.labelling.client.comparing import send_comparison
    from prefloop.progress import progress

    clips = sum(len(policy["clips"]) for run in about["runs"] for policy in run["policies"])
    with progress(clips, "clips", leave=False) as bar:
        return send_comparison(
            client, plain(about), folder, settings.by, lambda sent: bar.update(units=sent)
        )


def _tell(settings: Settings, address: str, sentence: str) -> None:
    """Opens the page, where somebody sees it, and says where it is."""
    import webbrowser

    from prefloop.evaluation.videos import has_display

    is_opened = settings.browser and not settings.export and has_display()
    if is_opened and webbrowser.open(address):
        print(f"{sentence}, and opened it in the browser.")
    else:
        print(f"{sentence}; open it in a browser.")
