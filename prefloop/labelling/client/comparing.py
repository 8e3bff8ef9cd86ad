"""What `prefloop show` has gathered, on its way to the labelling server's page."""

import json
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from uuid import UUID

from prefloop.errors import UserError
from prefloop.files import sha256
from prefloop.labelling.client.client import LabellingClient
from prefloop.labelling.limits import MAX_COMPARISON, MAX_FILMED

_NAMESPACE = UUID("0c4b6d1e-2a57-4f0f-9c2b-6e1d7a9f3b58")  # of the ids of comparisons; any will do
KNOWN_SINCE = 5  # the schema that has comparisons


def require_keeps_comparisons(client: LabellingClient) -> None:
    """Refuses a server that would take no comparison, before anything is played for it.

    Raises:
        UserError: it wants the trainers' token, or is of an earlier version.
    """
    health = client.health()
    if health.role != "trainer":
        raise UserError(
            f"{client.url} keeps what whoever has its trainers' token sends; set PREFLOOP_TOKEN."
        )
    if health.schema_ < KNOWN_SINCE:
        raise UserError(
            f"{client.url} is of prefloop {health.version}, which keeps no comparisons."
        )


def send_comparison(
    client: LabellingClient,
    about: Mapping[str, Any],
    folder: Path,
    by: str = "",
    tell: Callable[[int], None] = lambda clips: None,
) -> str:
    """Sends a comparison with its videos, which the server shows once it has all of them.

    Its id follows from what was played, and not from how that was encoded: the same comparison takes
    the place of the one before.

    Args:
        about: what show.json holds.
        folder: that the videos' names are seen from.
        by: who shows it; empty: it is not said.
        tell: is told how many more clips are there.

    Returns:
        The address of its page.

    Raises:
        UserError: it is larger than a server takes, or a video can't be read; what the server
            refuses, too.
    """
    clips = [
        clip for run in about["runs"] for policy in run["policies"] for clip in policy["clips"]
    ]
    digests = {clip["video"]: sha256(folder / clip["video"]) for clip in clips}
    id = uuid.uuid5(_NAMESPACE, json.dumps(about))
    body = json.dumps({**_with_digests(about, digests), "by": by or None})
    longest = max(clip["steps"] for clip in clips)
    if longest > MAX_FILMED or len(body) > MAX_COMPARISON:
        raise UserError(
            f"Episodes of up to {longest} steps, {len(clips)} in all, are more than a labelling server "
            "takes; give --steps, or fewer --clips or --checkpoints."
        )
    missing = client.put_comparison(id, body)
    places = {digest: folder / video for video, digest in digests.items()}
    tell(len(clips) - len(missing))
    for digest in missing:
        client.put_comparison_clip(id, digest, places[digest].read_bytes())
        tell(1)
    if missing and client.put_comparison(id, body):
        raise UserError(f"{client.url} has lost clips of what was sent; send it again.")
    return client.comparison_page(id)


def _with_digests(about: Mapping[str, Any], digests: Mapping[str, str]) -> dict[str, Any]:
    """A copy in which each video is named by its content."""

    def named(policy: Mapping[str, Any]) -> dict[str, Any]:
        clips = [{**clip, "video": digests[clip["video"]]} for clip in policy["clips"]]
        return {**policy, "clips": clips}

    runs = [
        {**run, "policies": [named(policy) for policy in run["policies"]]} for run in about["runs"]
    ]
    return {**about, "runs": runs}
