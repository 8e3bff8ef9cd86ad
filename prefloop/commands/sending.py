"""What commands share that send clips to the labelling server."""

from prefloop.envs.settings import EnvSettings


def require_clips(env: EnvSettings, trace: bool) -> None:
    """Refuses an environment of which no clips can be drawn, unless its traces are to be shown.

    Args:
        trace: whether `--trace` is given.

    Raises:
        UserError: it can't be made, or can't be drawn as a picture; names `--trace`.
    """
    from prefloop.errors import UserError
    from prefloop.labelling.server.rendering import Renderer

    if trace:
        return
    try:
        Renderer(env).close()
    except UserError as error:
        raise UserError(f"{error} Give --trace for that.") from None
