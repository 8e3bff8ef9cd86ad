"""A running server: its folder, its address, its tokens, and uvicorn around the application."""

import contextlib
import os
import socket
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

import uvicorn
from starlette.types import ASGIApp
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from prefloop.errors import UserError
from prefloop.files import ClaimedError, claimed_directory
from prefloop.labelling import home as homes
from prefloop.labelling.home import CLIPS, DATABASE, SECRET, SETTINGS, TOKENS
from prefloop.labelling.server import guard, security
from prefloop.labelling.server.app import create_app
from prefloop.labelling.server.clips import ClipStore
from prefloop.labelling.server.config import SettingsFile
from prefloop.labelling.server.connections import (
    USUAL,
    Connection,
    ConnectionLimits,
    Gate,
    raise_file_limit,
)
from prefloop.labelling.server.feeding import ClipFeeder
from prefloop.labelling.server.logs import logging_to
from prefloop.labelling.server.pseudonyms import secret_of
from prefloop.labelling.server.storage.database import shown_address, sqlite_url
from prefloop.labelling.server.storage.store import Store
from prefloop.labelling.server.uploads import UploadProcess
from prefloop.labelling.server.worker import RenderWorker

START_SECONDS = 30.0  # that a server which is just starting or ending in the same folder may take
LOG = "server.log"


@dataclass(frozen=True)
class Address:
    """Where a server listens, and what it is called.

    Attributes:
        host, port: to listen on; port 0 takes any that is free.
        public_url: what browsers call it, where a reverse proxy stands before it; empty: nothing does.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    public_url: str = ""

    @property
    def is_private(self) -> bool:
        """Whether only this machine reaches it."""
        return self.host in guard.LOOPBACK and not self.public_url


def serve(
    home: Path,
    address: Address,
    database_url: str = "",
    settings: Path | None = None,
    demand_tokens: bool = False,
    new_tokens: bool = False,
    started_by: str = "",
    interrupted: threading.Event | None = None,
    limits: ConnectionLimits = USUAL,
) -> None:
    """Serves until it is told to stop, by Ctrl-C or SIGTERM.

    Args:
        home: holds the database, clips, settings and hashes of tokens; made if missing.
        database_url: another database than the SQLite file in `home`.
        settings: another file than labelling.yaml in `home`; it must be there.
        demand_tokens: also where only this machine reaches the server.
        new_tokens: the ones so far no longer hold.
        started_by: the program that started this one by a pipe to its standard input, with whose
            end the server ends, too.
        interrupted: set where somebody has pressed Ctrl-C before the server listens.
        limits: what strangers may take; fewer connections where fewer files can be open.

    Raises:
        UserError: the folder can't be written or another server works in it, the settings are
            wrong, the database can't be opened, or the port is taken.
    """
    if settings is not None and not settings.exists():
        raise UserError(
            f"There is no file {settings}; without --settings, {home / SETTINGS} is made."
        )
    with ExitStack() as stack:
        origins = [guard.origin_of(address.public_url)] if address.public_url else []
        base_path = guard.base_path_of(address.public_url)
        homes.make_home(home)
        _claim(stack, home)
        stack.enter_context(logging_to(home / LOG))
        limits = limits.within(raise_file_limit())
        settings_file = SettingsFile(settings or home / SETTINGS)
        listening = stack.enter_context(_listening(address))
        elsewhere = shown_address(database_url) if database_url else ""
        store = Store(database_url or sqlite_url(home / DATABASE))
        stack.callback(store.close)
        tokens, announced = None, None
        if demand_tokens or not address.is_private:
            tokens, announced = _tokens(home / TOKENS, new_tokens)
        uploads = stack.enter_context(contextlib.closing(UploadProcess()))
        cache = settings_file.current.cache_size_mb * 10**6
        clips = ClipStore(home / CLIPS, cache, uploads)
        # the environments of a server that only this machine reaches are its user's own
        make_worker = partial(RenderWorker, may_import=address.is_private)
        feeder = stack.enter_context(ClipFeeder(store, clips, settings_file, make_worker))
        hosts = _hosts(address)
        app = create_app(
            store,
            clips,
            settings_file,
            tokens,
            hosts,
            origins,
            want_clips=feeder.want,
            opener=uploads,
            secret=secret_of(home / SECRET),
            base_path=base_path,
            requests_per_address=limits.per_address,
        )
        port = listening.getsockname()[1]
        server = _Server(
            uvicorn_config(app, limits, behind_proxy=bool(address.public_url)),
            home,
            homes.Running(_local_url(address, port), os.getpid(), started_by, elsewhere),
            _announcement(address, port, tokens is not None, announced),
            interrupted or threading.Event(),
        )
        if started_by:
            threading.Thread(target=_end_with_input, args=(server,), daemon=True).start()
        server.run(sockets=[listening])


def uvicorn_config(app: ASGIApp, limits: ConnectionLimits, behind_proxy: bool) -> uvicorn.Config:
    """How uvicorn serves: its connections are ours.

    Args:
        behind_proxy: what one on this machine (or FORWARDED_ALLOW_IPS) says of who asks is believed.
    """
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        ws="none",  # an upgrade that nobody answers would be a 500
        proxy_headers=behind_proxy,
        timeout_keep_alive=limits.idle_seconds,
        timeout_graceful_shutdown=5,
        backlog=limits.backlog,
    )
    # as uvicorn itself reads whom to believe
    believed: Any = ProxyHeadersMiddleware(cast(Any, app), config.forwarded_allow_ips)
    gate = Gate(limits, believed.trusted_hosts if behind_proxy else ())
    config.http = cast(Any, partial(Connection, gate=gate, limits=limits))
    return config


def _claim(stack: ExitStack, home: Path) -> None:
    """Keeps the folder for this server; one that is about to leave it is waited for."""
    give_up = time.monotonic() + START_SECONDS
    while True:
        try:
            stack.enter_context(claimed_directory(home))
        except ClaimedError:
            other = homes.running_server(home)
            if other is not None:
                told = f"A server for {home} runs already at {other.url} (process {other.pid})"
                if other.started_by:
                    told += f"; {other.started_by} started it, and it ends with that"
                raise UserError(f"{told}.") from None
            if time.monotonic() > give_up:
                raise
            time.sleep(0.1)
        else:
            homes.withdraw(home)  # what a killed server left
            return


class _Server(uvicorn.Server):
    """Says where it is, on the terminal and in its folder, as long as it answers there."""

    def __init__(
        self,
        config: uvicorn.Config,
        home: Path,
        running: homes.Running,
        announcement: str,
        interrupted: threading.Event,
    ) -> None:
        super().__init__(config)
        self._interrupted = interrupted
        self._home, self._running, self._announcement = home, running, announcement

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Starts to listen."""
        if self._interrupted.is_set():
            raise KeyboardInterrupt
        await super().startup(sockets)
        homes.announce(self._home, self._running)
        print(self._announcement, flush=True)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Ends what is under way."""
        homes.withdraw(self._home)  # first: whoever does not reach it must not find it here
        await super().shutdown(sockets)


def _end_with_input(server: uvicorn.Server) -> None:
    """Ends the server when nobody holds the other end of its standard input any more."""
    while os.read(sys.stdin.fileno(), 1024):
        pass
    server.should_exit = True


def _local_url(address: Address, port: int) -> str:
    """Where programs on this machine reach it."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address.host, address.host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _listening(address: Address) -> socket.socket:
    """A socket that listens, so that a taken port is told before anything else is done.

    Where two servers start at once, both may bind it, and only one can listen.
    """
    try:
        family, kind, protocol, _, place = socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listening = socket.socket(family, kind, protocol)
    except (OSError, UnicodeError) as error:
        raise UserError(f"Can't listen on {address.host}: {_reason(error)}.") from None
    try:
        if os.name != "nt":  # where it would let two servers share a port
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(place)
        listening.listen()
    except (OSError, OverflowError) as error:
        listening.close()
        raise UserError(
            f"Can't listen on {address.host}, port {address.port}: {_reason(error)}; "
            "choose another --port, or stop what uses it."
        ) from None
    return listening


def _reason(error: Exception) -> str:
    return (getattr(error, "strerror", None) or str(error)).lower()


def _hosts(address: Address) -> set[str] | None:
    """Names that requests may be for; None: any, since tokens are demanded and names unknown."""
    if address.host not in guard.LOOPBACK:
        return None
    public = guard.origin_of(address.public_url) if address.public_url else ""
    return {*guard.LOOPBACK, guard.host_name(public.partition("://")[2])} - {""}


def _tokens(path: Path, new_tokens: bool) -> tuple[security.Tokens, security.NewTokens | None]:
    """The tokens that hold, and what they are if they were made just now."""
    known = None if new_tokens else security.read_tokens(path)
    if known is not None:
        return known, None
    made = security.make_tokens()
    security.write_tokens(path, made.hashed)
    return made.hashed, made


def _announcement(
    address: Address, port: int, demanded: bool, made: security.NewTokens | None
) -> str:
    any_address = {"0.0.0.0": socket.gethostname(), "::": socket.gethostname()}
    host = any_address.get(address.host, address.host)
    shown = f"[{host}]" if ":" in host else host
    url = (address.public_url or f"http://{shown}:{port}").rstrip("/")
    lines: Sequence[str] = [f"Labelling at {url} - stop with Ctrl-C."]
    if made:
        lines = [
            f"Labelling at {url}/#token={made.annotator}",
            "  for annotators: this address holds their token",
            f"PREFLOOP_TOKEN={made.trainer}",
            "  for trainers and collectors; neither token is shown again (--new-tokens makes new ones)",
        ]
    elif demanded:
        lines = [
            f"{lines[0]} The tokens that were shown before hold (--new-tokens makes new ones)."
        ]
    return "\n".join(lines)
