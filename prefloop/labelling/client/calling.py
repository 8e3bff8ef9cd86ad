"""How programs speak to the labelling server: a request is made again until the server answers, or patience ends."""

import random
import ssl
import time
from collections.abc import Callable
from typing import Any, TypeVar

import httpx
from pydantic import BaseModel, ValidationError

from prefloop.errors import UserError

M = TypeVar("M", bound=BaseModel)
C = TypeVar("C", bound="Caller")

FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0  # seconds between attempts
NOT_UNDERSTOOD = (
    422  # of HTTP: for instance a field that a server of an earlier version does not know
)
_TRY_AGAIN = {408, 429, 502, 503, 504}


class RefusedError(UserError):
    """The server understood and said no.

    Attributes:
        status: of HTTP, for instance 409 where something else is stored.
    """

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


class Caller:
    """Calls one server; any number of threads may use it.

    Args:
        url: for instance http://127.0.0.1:8000.
        token: the trainers', where the server demands one.
        patience: seconds for which a server that does not answer is tried; None: for ever.
        on_waiting: called once whenever a server stops to answer, with a sentence.
    """

    def __init__(
        self,
        url: str,
        token: str | None = None,
        patience: float | None = 60.0,
        on_waiting: Callable[[str], None] | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.url = url.rstrip("/")
        self.token, self._patience = token, patience
        self._on_waiting = on_waiting
        self._sleep = sleep
        headers = {"authorization": f"Bearer {token}"} if token else {}
        try:
            # a proxy that the environment names is not asked for what runs on this machine
            self._http = httpx.Client(
                base_url=self.url, headers=headers, timeout=30, trust_env=False
            )
        except (httpx.InvalidURL, ValueError):
            raise UserError(f"{url} is no address such as http://127.0.0.1:8000.") from None

    def close(self) -> None:
        """Ends the connections."""
        self._http.close()

    def __enter__(self: C) -> C:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _call(self, method: str, path: str, once: bool = False, **request: Any) -> httpx.Response:
        """One request, made again while the server does not answer.

        Args:
            once: sent a second time it would do something else, so only a server that was never
                reached is tried again.
        """
        pause, waited, told = FIRST_PAUSE, 0.0, False
        while True:
            asked = time.monotonic()
            try:
                reply = self._http.request(method, path, **request)
                if reply.status_code not in _TRY_AGAIN or once:
                    return self._accepted(reply)
                hint = ""
                trouble = f"can't do it now ({_sentence(reply).rstrip('.') or reply.status_code})"
            except httpx.DecodingError:
                raise self._none() from None
            except httpx.TransportError as error:
                if once and not isinstance(error, httpx.ConnectError):
                    raise UserError(
                        f"The server {self.url} went away; look whether it did what it was asked."
                    ) from None
                _require_tls(self.url, error)
                trouble = "does not answer"
                reached = not isinstance(error, httpx.ConnectError)
                hint = ", though something takes the connection" if reached else ""
            # a server that takes the connection and says nothing takes its time
            waited += time.monotonic() - asked
            if self._patience is not None and waited >= self._patience:
                raise UserError(
                    f"The labelling server {self.url} {trouble}{hint}; is it running? "
                    "`prefloop label` starts it."
                )
            if not told and self._on_waiting is not None:
                self._on_waiting(f"The labelling server {self.url} {trouble}; waiting for it.")
            told = True
            # many clients that wait for one server should not all come back at once
            self._sleep(pause * random.uniform(0.5, 1))
            waited += pause
            pause = min(2 * pause, LONGEST_PAUSE)

    def _accepted(self, reply: httpx.Response) -> httpx.Response:
        if reply.is_success:
            return reply
        if reply.is_redirect:
            elsewhere = reply.headers.get("location", "elsewhere")
            raise UserError(f"{self.url} sends its visitors to {elsewhere}; give that address.")
        nothing = f"{self.url} is no labelling server: it replied {reply.status_code}."
        raise RefusedError(reply.status_code, _sentence(reply) or nothing)

    def _read(self, reply: httpx.Response, model: type[M]) -> M:
        return self._checked(model, self._json(reply))

    def _json(self, reply: httpx.Response) -> Any:
        try:
            return reply.json()
        except (ValueError, RecursionError):
            raise self._none() from None

    def _checked(self, model: type[M], content: Any) -> M:
        try:
            return model.model_validate(content)
        except ValidationError:
            raise self._none() from None

    def _none(self) -> UserError:
        return UserError(
            f"{self.url} is no labelling server, or of a version that this prefloop does not know."
        )


def _sentence(reply: httpx.Response) -> str:
    """What a labelling server says of what went wrong; empty where it is none."""
    try:
        return str(reply.json()["detail"])
    except (ValueError, KeyError, TypeError):
        return ""


def _require_tls(url: str, error: BaseException | None) -> None:
    """Ends what waiting does not mend: TLS where none is spoken, or a certificate that is not trusted."""
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            raise UserError(f"{url} has no certificate that holds: {error.verify_message}.")
        if isinstance(error, ssl.SSLError) and not isinstance(error, ssl.SSLEOFError):
            raise UserError(f"{url} speaks no TLS; is its address http://...?")
        error = error.__cause__ or error.__context__
