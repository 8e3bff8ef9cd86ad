"""`prefloop label`: the labelling server."""

from dataclasses import dataclass

from prefloop.settings import setting

DESCRIPTION = """Serves a page on which people watch two clips and say which is better, and the API
that training reads their answers from. Everything is kept in one folder; an answer that the page
shows as given is on disk."""
EPILOG = """Example: prefloop label. Then `prefloop collect` fills the queue. Other machines reach the
server with --host 0.0.0.0, which demands a token of everybody and prints two of them once, or
better through a reverse proxy that speaks TLS: start with --public-url https://labels.example.org
and let the proxy pass everything to http://127.0.0.1:8000, for instance with Caddy
`caddy reverse-proxy --from labels.example.org --to 127.0.0.1:8000`, or with nginx
`location / { proxy_pass http://127.0.0.1:8000; client_max_body_size 64m; proxy_set_header
X-Forwarded-For $proxy_add_x_forwarded_for; }`. The address may have a path, as
https://example.org/labels, which the proxy may take away or not. docs/threats.md says what is
defended and what is not, docs/labelling_api.md describes the API, the folder and the database."""
IMPORTS = ()


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Where the server listens and keeps its things.

    Raises:
        ValueError: a port that is none.
    """

    # fmt: off
    host: str = setting("127.0.0.1", "address to listen on; any but this machine's own demands tokens")
    port: int = setting(8000, "port to listen on; 0 takes a free one")
    profile: str = setting("", "keep everything in ~/.prefloop/PROFILE, apart from the rest; if not given, PREFLOOP_PROFILE, or else default")
    home: str = setting("", "keep everything in this folder instead")
    database_url: str = setting("", "labels go to this database, for instance postgresql://user@host/name; if not given, PREFLOOP_DATABASE_URL, or else an SQLite file in the folder")
    settings: str = setting("", "file with the settings of the page; if not given, labelling.yaml in the folder, which is made if missing")
    public_url: str = setting("", "what browsers call this server, where a reverse proxy stands before it; demands tokens")
    tokens: bool = setting(False, "demand tokens on this machine too")
    new_tokens: bool = setting(False, "make new tokens; the ones so far no longer hold")
    started_by: str = setting("", "for programs that start a server: their name; it then ends when its standard input does, so also when they are killed")
    # fmt: on

    def __post_init__(self) -> None:
        if not 0 <= self.port < 65536:
            raise ValueError(f"--port must be between 0 and 65535, not {self.port}")

    @property
    def when_interrupted(self) -> str:
        """What to say after Ctrl-C."""
        return "Stopped; every answer is on disk."


def main(settings: Settings) -> None:
    """Serves until it is stopped."""
    import os
    from pathlib import Path

    from prefloop.errors import UserError
    from prefloop.startup import noted_interrupts

    with noted_interrupts() as interrupted:
        try:
            from prefloop.labelling.home import home_directory
            from prefloop.labelling.server import serving
        except ModuleNotFoundError as error:
            raise UserError(
                f"{error.name} is not installed; the server needs pip install 'prefloop[labelling]'."
            ) from None
        serving.serve(
            home_directory(settings.profile, settings.home),
            serving.Address(settings.host, settings.port, settings.public_url),
            settings.database_url or os.environ.get("PREFLOOP_DATABASE_URL", ""),
            Path(settings.settings) if settings.settings else None,
            settings.tokens or settings.new_tokens,
            settings.new_tokens,
            settings.started_by,
            interrupted,
        )
