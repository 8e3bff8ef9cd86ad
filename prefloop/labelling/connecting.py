"""How a command comes by a labelling server: the one that runs, or one of its own."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from prefloop.errors import UserError
from prefloop.labelling.settings import DEFAULT_SERVER, ServerSettings

if TYPE_CHECKING:
    from prefloop.labelling.client import LabellingClient

START_SECONDS = 60.0  # that a server may take to answer after it was started
PATIENCE = 5.0  # seconds that a server which should be there is waited for


@contextlib.contextmanager
def connected(
    settings: ServerSettings, start: bool = False, patience: float | None = 60.0
) -> Iterator["LabellingClient"]:
    """A client of the server that the settings name.

    Args:
        start: where this machine's own server does not run, start it for as long as the block lasts.
        patience: seconds that the server may be away once it has answered; None: for ever.

    Raises:
        UserError: the extra `labelling` is not installed, or no server answers.
    """
    try:
        from prefloop.labelling.client import LabellingClient
    except ModuleNotFoundError as error:
        raise UserError(
            f"{error.name} is not installed; it comes with pip install 'prefloop[labelling]'."
        ) from None
    url = settings.server or os.environ.get("PREFLOOP_SERVER") or DEFAULT_SERVER
    token = os.environ.get("PREFLOOP_TOKEN") or None
    if not url.startswith(("http://", "https://")):
        raise UserError(f"{url} is no address such as {DEFAULT_SERVER}.")
    if token and not token.isascii():
        raise UserError("PREFLOOP_TOKEN is no token of a labelling server.")
    with contextlib.ExitStack() as stack:
        first = stack.enter_context(LabellingClient(url, token, patience=PATIENCE))
        if start and urlsplit(url).hostname in ("127.0.0.1", "localhost") and not _answers(url):
            stack.enter_context(_own_server(url))
            print(f"There was no labelling server, so one was started: label at {url}", flush=True)
            with LabellingClient(url, token, patience=START_SECONDS) as starting:
                starting.health()
        else:
            first.health()
        yield stack.enter_context(
            LabellingClient(url, token, patience, on_waiting=lambda sentence: print(sentence))
        )


def _answers(url: str) -> bool:
    from prefloop.labelling.client import LabellingClient

    try:
        with LabellingClient(url, patience=0.0) as client:
            client.health()
    except UserError:
        return False
    return True


@contextlib.contextmanager
def _own_server(url: str) -> Iterator[None]:
    port = urlsplit(url).port or 80
    # a group of its own, so that Ctrl-C reaches the trainer alone, which then ends the server
    process = subprocess.Popen(
        [sys.executable, "-m", "prefloop", "label", "--port", str(port)],
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield
    finally:
        process.terminate()
        process.wait()
