"""How a command comes by a labelling server: the one that runs, or one of its own."""

import contextlib
import os
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urldefrag, urlsplit

from prefloop.errors import UserError, note
from prefloop.labelling.client.settings import DEFAULT_SERVER, ServerSettings
from prefloop.labelling.home import Running, home_directory, named_profile, running_server
from prefloop.startup import group_of_its_own

if TYPE_CHECKING:
    from prefloop.labelling.client.client import LabellingClient

START_SECONDS = 60.0  # that a server may take to answer after it was started
PATIENCE = 5.0  # seconds that a server which should be there is waited for


@contextlib.contextmanager
def connected(
    settings: ServerSettings, start: str = "", patience: float | None = 60.0
) -> Iterator["LabellingClient"]:
    """A client of the server that the settings name, or of the one that runs in the profile's folder.

    Args:
        start: the program's name; where this machine's own server does not run, it is started for
            as long as the block lasts. Empty: it is not.
        patience: seconds that the server may be away once it has answered; None: for ever.

    Raises:
        UserError: the extra `labelling` is not installed, or no server answers.
    """
    try:
        from prefloop.labelling.client.client import LabellingClient
    except ModuleNotFoundError as error:
        raise UserError(
            f"{error.name} is not installed; it comes with pip install 'prefloop[labelling]'."
        ) from None
    token = os.environ.get("PREFLOOP_TOKEN") or None
    if token and not token.isascii():
        raise UserError("PREFLOOP_TOKEN is no token of a labelling server.")
    # a profile that was given is not to be overruled by what the environment has for all commands
    usual = "" if settings.profile else os.environ.get("PREFLOOP_SERVER", "")
    named = urldefrag(settings.server or usual).url
    if named and not named.startswith(("http://", "https://")):
        raise UserError(f"{named} is no address such as {DEFAULT_SERVER}.")
    home = home_directory(settings.profile)
    found = None if named else _look(home, _default(settings.profile), 0 if start else PATIENCE)
    url = found.url if found else named or _default(settings.profile)
    with contextlib.ExitStack() as stack:
        if found is None and start and _is_here(url) and not _answers(url):
            found = _started(stack, home, url, start, elsewhere=not named)
            url = named or found.url
        elif not url:
            raise UserError(
                f"No labelling server of the profile {named_profile(settings.profile)} runs; "
                f"`prefloop label --profile {named_profile(settings.profile)}` starts it."
            )
        with LabellingClient(url, token, patience=PATIENCE) as first:
            first.health()
        if found is None and not named:
            note(
                f"this uses the labelling server at {url}, which keeps its labels elsewhere than in {home}."
            )

        def lost(sentence: str) -> None:
            nonlocal found
            print(sentence, flush=True)
            # one that was started by a trainer, this one or another, and ended with it; what
            # somebody started by hand is theirs to start again
            if start and found is not None and found.started_by:
                found = _started(stack, home, url, start, elsewhere=False)

        yield stack.enter_context(LabellingClient(url, token, patience, on_waiting=lost))


def _default(profile: str) -> str:
    """Where a server is that no folder tells of; empty where that would be another profile's."""
    return "" if named_profile(profile) else DEFAULT_SERVER


def _is_here(url: str) -> bool:
    """Whether a server that is started here could be there."""
    parts = urlsplit(url or DEFAULT_SERVER)
    return parts.scheme == "http" and parts.hostname in ("127.0.0.1", "localhost")


def _look(home: Path, url: str, seconds: float) -> Running | None:
    """The server of a folder, which may be just starting; None where one answers at the address instead."""
    give_up = time.monotonic() + seconds
    while (found := running_server(home)) is None:
        if time.monotonic() >= give_up or _answers(url):
            return None
        time.sleep(0.1)
    return found


def _answers(url: str) -> bool:
    from prefloop.labelling.client.client import LabellingClient

    if not url:
        return False
    try:
        with LabellingClient(url, patience=0.0) as client:
            client.health()
    except UserError:
        return False
    return True


def _started(
    stack: contextlib.ExitStack, home: Path, url: str, program: str, elsewhere: bool
) -> Running:
    """Starts a server that ends with this program, whichever way that ends.

    Args:
        stack: whose end ends the server.
        elsewhere: it need not be at that address.

    Returns:
        The server; or another one for this folder, which was quicker.

    Raises:
        UserError: it does not start, for a reason that it has said, or runs at another address.
    """
    port = urlsplit(url or DEFAULT_SERVER).port or 80
    found = running_server(home)
    if found is None:
        found = _start(stack, home, 0 if elsewhere and not _is_free(port) else port, program)
        if found is None and elsewhere and not _is_free(port):  # somebody took it in between
            found = _start(stack, home, 0, program)
        if found is None:
            raise UserError("The labelling server did not start.")
    if not elsewhere and urlsplit(found.url).port != port:
        raise UserError(f"The server for {home} runs at {found.url}, not at {url}.")
    return found


def _start(stack: contextlib.ExitStack, home: Path, port: int, program: str) -> Running | None:
    """Starts a server there; None where that fails, for a reason that it has said."""
    name = f"{program} (process {os.getpid()})"
    flags = ["--home", str(home), "--port", str(port), "--started_by", name]
    # so that Ctrl-C reaches the trainer alone, which then ends the server
    process = subprocess.Popen(
        [sys.executable, "-m", "prefloop", "label", *flags],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        **group_of_its_own(),
    )
    stack.callback(_end, process)
    give_up = time.monotonic() + START_SECONDS
    while (found := running_server(home)) is None:
        if process.poll() is not None or time.monotonic() > give_up:
            return None
        time.sleep(0.05)
    if found.started_by == name:
        where = "" if home == home_directory("") else f" --home {shlex.quote(str(home))}"
        print(
            f"There was no labelling server, so one was started: label at {found.url} (it ends with this "
            f"program; `prefloop label{where}` serves what it keeps from then on).",
            flush=True,
        )
    return found


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        if os.name != "nt":
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _end(process: subprocess.Popen) -> None:
    """Has a server end in order, as it also does where this program is killed."""
    assert process.stdin is not None
    process.stdin.close()
    try:
        process.wait(timeout=START_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
