"""What every request and reply has to be like, whoever sends it.

`Guard` is outermost: nothing that it refuses is acted on, and nothing leaves without its headers.
"""

import ipaddress
import logging
import re
from collections.abc import Collection
from urllib.parse import urlsplit

from fastapi.responses import JSONResponse, Response
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from prefloop.errors import UserError
from prefloop.labelling.server.addresses import UnderWay, WrongTokens
from prefloop.labelling.server.bodies import MAX_JSON, Body, body_limit

logger = logging.getLogger(__name__)

OWN_PATHS = frozenset({"api", "clips", "css", "js"})  # of the server, and of the page's files
USUAL_PORTS = {"http": 80, "https": 443}  # which browsers leave out
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})

HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' data: blob:; media-src 'self' blob:; font-src 'self'; connect-src 'self'; "
    "manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}


class Guard:
    """The outermost layer of the server.

    Refuses hosts that are not its own (a page elsewhere may point its name at this machine: DNS
    rebinding), writes that another site's page sends, bodies that are too large or too slow, and more
    requests of one address than may be under way. Slows down who tries tokens. Puts the security headers on
    every reply, and keeps what went wrong inside to the log.
    """

    def __init__(
        self,
        app: ASGIApp,
        hosts: Collection[str] | None = LOOPBACK,
        origins: Collection[str] = (),
        base_path: str = "",
        demands_tokens: bool = False,
        requests_per_address: int = 1000,
        wrong_tokens: WrongTokens | None = None,
    ) -> None:
        """Wraps an app.

        Args:
            hosts: names that requests may be for; None: any.
            origins: of pages elsewhere that may write, such as `https://labels.example.org`.
            base_path: what stands before every path where a proxy does not take it away, such as `/labels`.
            demands_tokens: so who shows none has nothing large to send.
            requests_per_address: that may be under way.
            wrong_tokens: what slows down who tries some; None: as usual.
        """
        self._app = app
        self._hosts = hosts
        self._origins = frozenset(origins)
        self._base_path = base_path
        self._demands_tokens = demands_tokens
        self._under_way = UnderWay(requests_per_address)
        self._wrong_tokens = WrongTokens() if wrong_tokens is None else wrong_tokens
        self._headers = [(k.encode(), v.encode()) for k, v in HEADERS.items()]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one connection's request."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            return  # there are no web sockets here
        host = scope["client"][0] if scope["client"] else None
        if not self._under_way.enter(host):
            logger.warning("refused %s: too many requests are under way", host)
            sentence = "Too many requests of your address are under way; try again."
            await self._reply(503, sentence, scope, receive, send)
            return
        try:
            await self._handle(scope, receive, send, host)
        finally:
            self._under_way.leave(host)

    async def _handle(self, scope: Scope, receive: Receive, send: Send, host: str | None) -> None:
        scope = self._without_base_path(scope)
        if scope["method"] == "HEAD":
            scope = {**scope, "method": "GET"}  # of whose reply the headers alone are sent
        started = False

        async def guarded_send(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                message = self._with_headers(message)
                # whoever decides what a token is has found this one to be nobody's
                is_wrong = b"www-authenticate" in dict(message["headers"])
                if (
                    is_wrong
                    and b"authorization" in headers
                    and not await self._wrong_tokens.hold(host)
                ):
                    message["status"] = 429
                if message["status"] >= 400:
                    logger.info(
                        "%s %r: %d", scope["method"], _logged(scope["path"]), message["status"]
                    )
            elif not message.get("more_body", False) and body.is_coming:
                # a proxy that is cut off as it sends never sees the reply
                await send({**message, "more_body": True})
                await body.discard()
                message = {"type": "http.response.body"}
            await send(message)

        headers = dict(scope["headers"])
        limit = body_limit(scope["path"])
        if self._demands_tokens and b"authorization" not in headers:
            limit = min(limit, MAX_JSON)  # where nothing said how much there is to come
        body = Body(receive, headers, limit)
        refused = self._refusal(scope, headers)
        if refused is not None:
            status, sentence = refused
            logger.warning("refused %s %r: %s", scope["method"], _logged(scope["path"]), sentence)
            await JSONResponse({"detail": sentence}, status)(scope, receive, guarded_send)
            return
        if scope["path"] == self._base_path != "":
            # addresses on the page are relative to its own, which must end as a folder's does
            away = {"location": f"{self._base_path}/"}
            await Response(status_code=308, headers=away)(scope, receive, guarded_send)
            return
        try:
            await self._app(scope, body.receive, guarded_send)
        except ClientDisconnect:
            logger.info("%s %r: the client went away", scope["method"], _logged(scope["path"]))
        except Exception:
            logger.exception("%s %r failed", scope["method"], _logged(scope["path"]))
            if not started:
                sentence = "Something went wrong in the server; its log says what."
                await JSONResponse({"detail": sentence}, 500)(scope, receive, guarded_send)

    async def _reply(
        self, status: int, sentence: str, scope: Scope, receive: Receive, send: Send
    ) -> None:
        async def with_headers(message: Message) -> None:
            is_start = message["type"] == "http.response.start"
            await send(self._with_headers(message) if is_start else message)

        await JSONResponse({"detail": sentence}, status)(scope, receive, with_headers)

    def _with_headers(self, message: Message) -> Message:
        headers = message["headers"]
        own = {name for name, _ in headers}
        extra = [pair for pair in self._headers if pair[0] not in own]
        if b"cache-control" not in own:
            extra.append((b"cache-control", b"no-store"))
        return {**message, "headers": [*headers, *extra]}

    def _without_base_path(self, scope: Scope) -> Scope:
        """The request as if the server stood at the root of its host; a proxy may have seen to it."""
        base = self._base_path
        if not base or not scope["path"].startswith(f"{base}/"):
            return scope
        raw = scope.get("raw_path") or b""
        return {
            **scope,
            "path": scope["path"].removeprefix(base),
            "raw_path": raw.removeprefix(base.encode()),
        }

    def _refusal(self, scope: Scope, headers: dict[bytes, bytes]) -> tuple[int, str] | None:
        host = headers.get(b"host", b"").decode("latin-1").lower()
        if self._hosts is not None and host_name(host) not in self._hosts:
            return (
                400,
                "This server is not known by that name; --public-url says what it is called.",
            )
        if scope["method"] not in ("GET", "HEAD", "OPTIONS"):
            origin = headers.get(b"origin")  # programs send none
            if origin is not None and not self._is_own(origin.decode("latin-1").lower(), host):
                return 403, "Pages of other sites may not write here."
        length = headers.get(b"content-length", b"0")
        limit = body_limit(scope["path"])
        if not length.isdigit() or len(length) > 12 or int(length) > limit:
            return 413, f"At most {limit} bytes can be sent here."
        if self._demands_tokens and b"authorization" not in headers and int(length) > MAX_JSON:
            return 401, "A token is needed; whoever started the server has it."
        return None

    def _is_own(self, origin: str, host: str) -> bool:
        if origin in self._origins:
            return True
        # behind a proxy that ends TLS the scheme is another one inside
        scheme, separator, rest = origin.partition("://")
        return bool(separator) and scheme in ("http", "https") and rest == host != ""


def origin_of(url: str) -> str:
    """Scheme, host and port of an address, as browsers name an origin.

    Raises:
        UserError: it is no address of a web page.
    """
    try:
        parts = urlsplit(url.lower())
        named = parts.scheme in ("http", "https") and parts.hostname
        name = _as_browsers_write(parts.hostname or "")
        port = f":{parts.port}" if parts.port not in (None, USUAL_PORTS.get(parts.scheme)) else ""
    except ValueError:
        named = False
    if not named:
        raise UserError(f"{url} is no address such as https://labels.example.org.")
    return f"{parts.scheme}://{name}{port}"


def _as_browsers_write(name: str) -> str:
    """A host's name without what is no ASCII, or its address in the shortest form, of IPv6 in brackets."""
    if ":" in name:
        return f"[{ipaddress.IPv6Address(name)}]"
    return name if name.isascii() else name.encode("idna").decode()


def base_path_of(url: str) -> str:
    """What stands before every path of a server that browsers find at an address: `/labels`, or nothing.

    Raises:
        UserError: it can't be told from the server's own paths, or is no plain path.
    """
    parts = urlsplit(url)
    path = parts.path.rstrip("/")
    if not path:
        return ""
    names = path[1:].split("/")
    plain = all(re.fullmatch(r"[A-Za-z0-9._~-]+", name) and name.strip(".") for name in names)
    if not plain or parts.query or parts.fragment:
        raise UserError(f"{url} is no address such as https://example.org/labels.")
    if names[0] in OWN_PATHS:
        raise UserError(
            f"{url} can't be told from the server's own /{names[0]}; choose another path."
        )
    return path


def _logged(path: str) -> str:
    """A path as the log has it: without what participants are called."""
    return re.sub(r"(/participants/)[^/]+", r"\1...", path)


def host_name(host: str) -> str:
    """A host without its port, as Host headers and origins have it."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]
