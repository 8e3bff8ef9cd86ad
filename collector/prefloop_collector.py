r"""Sends behaviour of any Gymnasium environment to a prefloop labelling server.

This one file is all there is: copy it into the Python environment in which yours lives. It needs
gymnasium >= 0.29 and numpy, nothing else of prefloop.

    python prefloop_collector.py --server http://127.0.0.1:8000 --run reacher-01 \
        --import fancy_gym --env fancy/Reacher5d-v0 --pairs 50

The same command may be given again after it was stopped: what the server has is not stored twice.
Another --seed adds other segments to the same run. The variable PREFLOOP_SERVER may name the server
instead of --server; where it demands a token, put the trainers' into PREFLOOP_TOKEN.

What is sent: docs/labelling_api.md.
"""

import argparse
import ctypes
import http.client
import importlib
import io
import json
import os
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import gymnasium as gym
import numpy as np

MAX_SIDE = 480  # pixels; the server shows no more
MAX_BYTES = 30 * 2**20  # of one segment's pictures, packed; the server takes a little more
MAX_EMPTY_EPISODES = 200  # in a row, without a segment in them
MAX_REPEATED = 200  # segments in a row that were sent before
NAMESPACE = uuid.UUID("6f1f3c5e-1b07-4d7b-9c5e-51f9f1d4a2b7")  # of ids; any fixed one will do

Act = Callable[[Any], Any]


class CollectorError(Exception):
    """A sentence for the person at the keyboard."""


class Server:
    """A labelling server; one that is restarted meanwhile is waited for."""

    def __init__(self, url: str, token: str = "", patience: float = 60.0) -> None:
        """Connects to nothing yet.

        Args:
            url: for instance http://127.0.0.1:8000.
            token: the trainers', where the server demands one.
            patience: seconds for which a server that does not answer is tried again.
        """
        if not url.startswith(("http://", "https://")):
            raise CollectorError(f"--server must begin with http:// or https://, not {url!r}.")
        self._url = url.rstrip("/")
        self._token = token
        self._patience = patience
        # a proxy that the system names does not reach this machine itself
        try:
            parts = urlsplit(url)
            parts.port  # noqa: B018 - whether it is one
        except ValueError:
            raise _no_address(url) from None
        local = parts.hostname in ("localhost", "127.0.0.1", "::1")
        handlers = [urllib.request.ProxyHandler({})] if local else []
        self._opener = urllib.request.build_opener(*handlers)

    def put_run(self, name: str, facts: dict) -> None:
        """Makes a run, or continues the one of this name."""
        self._send("PUT", f"/api/runs/{quote(name, safe='')}", _json(facts))

    def add_segment(self, run: str, archive: bytes) -> str:
        """Sends one segment; returns its id."""
        reply = self._send("POST", f"/api/runs/{quote(run, safe='')}/segments", archive)
        return str(reply["ids"][0])

    def put_frames(self, segment: str, archive: bytes) -> None:
        """Sends the pictures that show a segment."""
        self._send("PUT", f"/api/segments/{segment}/frames", archive)

    def add_queries(self, run: str, queries: list) -> None:
        """Asks for comparisons: dictionaries with id, first and second."""
        body = _json({"queries": queries})
        self._send("POST", f"/api/runs/{quote(run, safe='')}/queries", body)

    def _send(self, method: str, path: str, body: bytes) -> Any:
        """Sends until there is an answer; all requests may be made twice without harm."""
        kind = "application/json" if body[:1] == b"{" else "application/octet-stream"
        headers = {"Content-Type": kind}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        request = urllib.request.Request(self._url + path, body, headers, method=method)
        give_up = time.monotonic() + self._patience
        pause = 0.2
        while True:
            try:
                with self._opener.open(request, timeout=120) as reply:
                    text = reply.read()
                    return json.loads(text) if text else None
            except urllib.error.HTTPError as error:
                sentence = _detail(error)
                if error.code not in (408, 429, 502, 503, 504) or time.monotonic() > give_up:
                    raise CollectorError(f"The server refused: {sentence}") from None
            except http.client.InvalidURL:
                raise _no_address(self._url) from None
            # a reply that breaks off, or is none, is an HTTPException
            except (OSError, ValueError, http.client.HTTPException) as error:
                if time.monotonic() > give_up:
                    reason = getattr(error, "reason", error)
                    raise CollectorError(
                        f"No labelling server answers at {self._url}: {reason}."
                    ) from None
            time.sleep(pause)
            pause = min(2 * pause, 5.0)


@dataclass
class Segment:
    """Some steps of an episode, and a picture of what each one's observation was made of."""

    first_step: int
    obs: list = field(default_factory=list)
    actions: list = field(default_factory=list)
    rewards: list = field(default_factory=list)
    frames: list = field(default_factory=list)

    def arrays(self) -> bytes:
        """As the server takes it: the arrays of a preference dataset, for one segment."""
        actions = np.array(self.actions)
        kind = np.int64 if actions.ndim == 1 else np.float32
        return _archive(
            obs=np.array(self.obs, dtype=np.float32)[None],
            actions=actions.astype(kind)[None],
            mask=np.ones((1, len(self.obs)), dtype=bool),
            rewards=np.array(self.rewards, dtype=np.float32)[None],
            first_step=np.array([self.first_step], dtype=np.int64),
        )


def collect(
    server: Server,
    run: str,
    env_id: str,
    pairs: int = 50,
    segment_length: int = 50,
    num_segments: int = 0,
    seed: int = 0,
    act: "Act | None" = None,
    say: Callable[[str], None] = print,
) -> None:
    """Acts, sends segments with their pictures, and asks for comparisons.

    Args:
        server: where they go.
        run: the run's name; it is continued if it exists.
        env_id: what `gymnasium.make` knows it by.
        pairs: how many comparisons.
        segment_length: steps of a segment; where an episode ends in a terminal state, its last
            segment may be shorter, and is left out below a fifth.
        num_segments: how many; 0: as many as there are pairs, so that each is in two of them.
        seed: of the environment and of the choices made here.
        act: chooses an action for an observation; None: random actions.
        say: is told how far it is.

    Raises:
        CollectorError: the environment can't be used, or the server refuses.
    """
    if pairs < 1 or segment_length < 1:
        raise CollectorError("Pairs and the length of a segment must be above 0.")
    num_segments = num_segments or max(3, pairs)
    if num_segments * (num_segments - 1) // 2 < pairs:
        raise CollectorError(f"{num_segments} segments do not make {pairs} different pairs.")
    try:
        env = gym.make(env_id, render_mode="rgb_array")
    except Exception as error:
        raise CollectorError(f"Can't make {env_id}: {_first_line(error)}.") from error
    try:
        fps = float(env.metadata.get("render_fps") or 30)
        server.put_run(run, {"env": env_id, "frames_per_second": fps, "spaces": _spaces(env)})
        ids: list = []
        repeated = 0
        for segment in _segments(env, act, segment_length, seed):
            segment_id = server.add_segment(run, segment.arrays())
            if segment_id in ids:
                repeated += 1
                if repeated > MAX_REPEATED:
                    raise CollectorError(f"{env_id} does no more than {len(ids)} things.")
                continue
            repeated = 0
            if segment.frames:
                server.put_frames(segment_id, pack_frames(segment.frames, fps))
            elif not ids:
                say(f"{env_id} makes no pictures; people will see its observations as curves.")
            ids.append(segment_id)
            if len(ids) % 10 == 0 or len(ids) == num_segments:
                say(f"{len(ids)} of {num_segments} segments sent")
            if len(ids) == num_segments:
                break
    finally:
        env.close()
    name = f"{run} {env_id} {segment_length} {num_segments} {seed}"
    queries = [
        {"id": str(uuid.uuid5(NAMESPACE, f"{name} {i}")), "first": ids[a], "second": ids[b]}
        for i, (a, b) in enumerate(_different_pairs(num_segments, pairs, seed))
    ]
    for start in range(0, len(queries), 1000):
        server.add_queries(run, queries[start : start + 1000])
    say(f"{run} has {pairs} pairs more to compare, unless they were there before.")


def pack_frames(frames: list, fps: float) -> bytes:
    """Pictures as the server takes them: differences, which pack well and lose nothing."""
    pictures = np.array(frames, dtype=np.uint8)
    factor = max(1, round(max(pictures.shape[1:3]) / MAX_SIDE))
    while True:
        small = _shrunk(pictures, factor)
        deltas = np.diff(small, axis=0, prepend=np.zeros_like(small[:1]))  # modulo 256
        packed = _archive(deltas=deltas, fps=np.float64(fps))
        if len(packed) <= MAX_BYTES:
            return packed
        factor += 1


def _shrunk(pictures: np.ndarray, factor: int) -> np.ndarray:
    """Makes squares of pixels into one, with their mean colour."""
    if factor == 1:
        return pictures
    height, width = (side // factor for side in pictures.shape[1:3])
    cut = pictures[:, : height * factor, : width * factor]
    squares = cut.reshape(len(cut), height, factor, width, factor, 3)
    return np.stack([frame.mean(axis=(1, 3)) for frame in squares]).astype(np.uint8)


def _segments(env: gym.Env, act: "Act | None", length: int, seed: int) -> Iterator[Segment]:
    """Acts for ever, and gives out each stretch of behaviour once it is whole."""
    episodes, actions, _ = _streams(seed)
    seeds = np.random.default_rng(episodes)
    env.action_space.seed(int(actions.generate_state(1)[0]))
    empty = 0
    while True:
        obs, _ = env.reset(seed=int(seeds.integers(2**31)))
        step, segment, given = 0, Segment(0), 0
        terminated = truncated = False
        while not (terminated or truncated):
            frame = _picture(env, first=step == 0)
            if frame is not None:
                segment.frames.append(frame)
            action = env.action_space.sample() if act is None else act(obs)
            segment.obs.append(gym.spaces.utils.flatten(env.observation_space, obs))
            segment.actions.append(_as_array(env.action_space, action))
            obs, reward, terminated, truncated, _ = env.step(action)
            segment.rewards.append(float(reward))
            step += 1
            # how an episode would have gone on that a time limit cut short, nobody knows
            if len(segment.obs) == length or terminated:
                # in the last few steps of a longer episode there is nothing to see
                if not given or len(segment.obs) >= min(max(5, length / 5), length):
                    yield segment
                given += 1
                segment = Segment(step)
        empty = 0 if given else empty + 1
        if empty >= MAX_EMPTY_EPISODES:
            raise CollectorError(f"No episode has the {length} steps of a segment; ask for fewer.")


def _streams(seed: int) -> list:
    """Of random numbers, independent of each other: episodes, random actions, choice of pairs."""
    return np.random.SeedSequence(seed).spawn(3)


def _picture(env: gym.Env, first: bool) -> "np.ndarray | None":
    """What the environment draws; None where it draws nothing."""
    try:
        if first:
            _leave_out_shadows(env)
        frame = env.unwrapped.render()
    except NotImplementedError:
        return None
    except Exception as error:
        raise CollectorError(f"The environment can't be drawn: {_first_line(error)}.") from error
    if not isinstance(frame, np.ndarray) or frame.ndim != 3 or frame.shape[2] != 3:
        return None
    return frame.astype(np.uint8)  # a copy: some environments draw into one picture again and again


def _leave_out_shadows(env: gym.Env) -> None:
    """Draws MuJoCo about ten times as fast on a CPU; the behaviour looks the same."""
    base: Any = env.unwrapped
    renderer = getattr(base, "mujoco_renderer", None)
    if renderer is None or not hasattr(base, "model"):
        return
    if getattr(renderer, "viewer", None) is None:
        base.model.vis.quality.offsamples = 0
        base.model.vis.quality.shadowsize = 0
        base.render()
    scene = getattr(getattr(renderer, "viewer", None), "scn", None)
    if scene is not None:
        flags = importlib.import_module("mujoco").mjtRndFlag
        scene.flags[flags.mjRND_SHADOW] = 0
        scene.flags[flags.mjRND_REFLECTION] = 0


def _spaces(env: gym.Env) -> dict:
    """What a run says of its observations and actions."""
    try:
        obs_dim = gym.spaces.utils.flatdim(env.observation_space)
    except (NotImplementedError, ValueError):
        raise CollectorError(f"Observations in {env.observation_space} are not numbers.") from None
    said = {"obs_shape": [obs_dim], "obs_dtype": "float32"}
    space = env.action_space
    if isinstance(space, gym.spaces.Discrete):
        return {**said, "discrete": True, "num_actions": int(space.n)}
    if isinstance(space, gym.spaces.Box):
        size = gym.spaces.utils.flatdim(space)
        return {**said, "discrete": False, "num_actions": size}
    raise CollectorError(f"Actions in {space} are neither Discrete nor a Box.")


def _as_array(space: gym.Space, action: Any) -> Any:
    if isinstance(space, gym.spaces.Discrete):
        return int(action) - int(space.start)
    return np.array(action, dtype=np.float32).ravel()  # a copy: it is kept


def _different_pairs(segments: int, pairs: int, seed: int) -> list:
    """Pairs of different segments, none twice."""
    rng = np.random.default_rng(_streams(seed)[2])
    chosen: dict = {}
    while len(chosen) < pairs:
        first, second = (int(x) for x in rng.choice(segments, 2, replace=False))
        chosen.setdefault(frozenset((first, second)), (first, second))
    return list(chosen.values())


def _archive(**arrays: Any) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


def _json(content: dict) -> bytes:
    return json.dumps(content).encode()


def _no_address(url: str) -> CollectorError:
    return CollectorError(
        f"--server must be an address such as http://127.0.0.1:8000, not {url!r}."
    )


def _detail(error: urllib.error.HTTPError) -> str:
    try:
        with error:
            return str(json.loads(error.read())["detail"])
    except (OSError, ValueError, KeyError, TypeError, http.client.HTTPException):
        return f"{error.code} {error.reason}."


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")


def _policy(text: str) -> "Act | None":
    """`module:function` as the function, from an installed module or one in this folder."""
    if not text:
        return None
    module, _, name = text.partition(":")
    sys.path.insert(0, str(Path.cwd()))
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise CollectorError(f"Can't load the policy {text!r}: {_first_line(error)}.") from error


def _draw_without_display() -> None:
    """Says so to pygame and MuJoCo, before they are imported."""
    if sys.platform != "linux" or {"DISPLAY", "WAYLAND_DISPLAY"} & os.environ.keys():
        return
    os.environ.setdefault("SDL_VIDEODRIVER", "dummy")
    os.environ.setdefault("SDL_NO_SIGNAL_HANDLERS", "1")  # SIGTERM is to end us, not a window
    for name, library in (("egl", "libEGL.so.1"), ("osmesa", "libOSMesa.so.8")):
        try:
            ctypes.CDLL(library)
        except OSError:
            continue
        os.environ.setdefault("MUJOCO_GL", name)


def main() -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    address = os.environ.get("PREFLOOP_SERVER") or "http://127.0.0.1:8000"
    parser.add_argument("--server", default=address, help=f"its address (default: {address})")
    parser.add_argument("--run", required=True, help="the run's name")
    parser.add_argument("--env", required=True, help="the environment's id")
    parser.add_argument(
        "--import", dest="imports", nargs="*", default=[], help="modules that register it"
    )
    parser.add_argument("--pairs", type=int, default=50, help="comparisons (default: 50)")
    parser.add_argument("--segment-length", type=int, default=50, help="steps (default: 50)")
    parser.add_argument("--segments", type=int, default=0, help="default: as many as pairs")
    parser.add_argument("--policy", default="", help="module:function, from obs to action")
    parser.add_argument("--seed", type=int, default=0, help="same seed, same segments")
    arguments = parser.parse_args()
    _draw_without_display()
    try:
        for module in arguments.imports:
            try:
                importlib.import_module(module)
            except ImportError as error:
                raise CollectorError(f"Can't import {module}: {_first_line(error)}.") from None
        collect(
            Server(arguments.server, os.environ.get("PREFLOOP_TOKEN", "")),
            arguments.run,
            arguments.env,
            arguments.pairs,
            arguments.segment_length,
            arguments.segments,
            arguments.seed,
            _policy(arguments.policy),
        )
    except CollectorError as error:
        print(f"prefloop_collector: error: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        print("\nStopped. The same command goes on.", file=sys.stderr)
        raise SystemExit(130) from None


if __name__ == "__main__":
    main()
