"""What can be set of programs that speak to the labelling server; free of HTTP, so that `--help` is quick."""

from dataclasses import dataclass
from typing import Any

from prefloop.settings import setting

DEFAULT_SERVER = "http://127.0.0.1:8000"


# fmt: off
def server_setting(**more: Any) -> Any:
    """`--server`; `more` as `setting` takes it."""
    return setting("", f"its address; if not given, PREFLOOP_SERVER unless --profile is given, or else that of the server that runs in ~/.prefloop/PROFILE, or else {DEFAULT_SERVER}; where it demands a token, PREFLOOP_TOKEN has the trainers'", **more)


def profile_setting(**more: Any) -> Any:
    """`--profile`, likewise."""
    return setting("", "the server's profile; if not given, PREFLOOP_PROFILE, or else default", **more)
# fmt: on


@dataclass(frozen=True, kw_only=True)
class ServerSettings:
    """Which server."""

    group = "the labelling server"

    # fmt: off
    server: str = server_setting()
    profile: str = profile_setting()
    # fmt: on
