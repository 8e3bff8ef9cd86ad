"""Weights on disk: written whole, read without trusting the file.

A checkpoint is a plain PyTorch `state_dict`. What it can't say about itself (the environment,
the activation) stands in `run.json` beside it.
"""

import contextlib
import io
import math
import pickle
import platform
import re
import warnings
import zipfile
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import torch

import prefloop
from prefloop import run_files
from prefloop.errors import UserError
from prefloop.files import read_json, write_atomically

FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
WRAPPERS = ("module.", "_orig_mod.")
# the course's networks take kilobytes; what strangers hand in may not fill the memory
MAX_BYTES = 64 * 2**20
# of what this library builds: ten encoders of the largest pictures (MAX_PIXELS) take that much
LARGEST = 2**30
BESIDE_WEIGHTS = 2**20  # in a file: their names, sizes and places


def save(path: Path, content: dict[str, Any]) -> None:
    """Writes a state_dict, or a dict of them, atomically. The same content gives the same bytes.

    Raises:
        UserError: the file can't be written; an old one is untouched.
    """
    if any(isinstance(value, torch.Tensor) and not value.is_cpu for value in content.values()):
        # for readers without such a device
        content = {k: v.cpu() if isinstance(v, torch.Tensor) else v for k, v in content.items()}
    buffer = io.BytesIO()
    torch.save(content, buffer)
    write_atomically(path, buffer.getvalue())


def load(path: Path, max_bytes: float = MAX_BYTES) -> dict[str, Any]:
    """Reads a dict of tensors and plain values. Nothing in the file is run.

    Args:
        max_bytes: a larger file is refused; what this program has written itself may be any size.

    Raises:
        UserError: the file is missing, a directory, too large, truncated, or holds more than
            tensors and plain values.
    """
    if path.is_dir():
        policy = last_checkpoint(path)
        there = f"; its policy is {policy}" if policy else ""
        raise UserError(f"{path} is a directory, not a checkpoint{there}.")
    if not path.exists():
        raise UserError(f"{path} does not exist.")
    if not path.is_file():
        raise UserError(f"{path} is no regular file.")
    try:
        size = path.stat().st_size
        if size <= max_bytes < math.inf and zipfile.is_zipfile(path):
            # the files inside may be compressed, to far less than they take in memory
            with zipfile.ZipFile(path) as archive:
                size = sum(member.file_size for member in archive.infolist())
        if size > max_bytes:
            raise UserError(f"{path} is too large to be a checkpoint ({size / 2**20:.0f} MiB).")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd pickles, to a reader who can't change them
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if re.search("unsupported global|trying to|allowlisted", str(error), re.IGNORECASE):
            raise UserError(
                f"{path} holds more than weights: a pickle with code or objects, which was not run."
            ) from None
        raise UserError(f"{path} is truncated or no PyTorch checkpoint.") from None
    except OSError as error:
        raise UserError(f"Can't read {path}: {error.strerror or error}.") from None
    except UserError:
        raise
    except Exception:  # the loader meets a stranger's bytes: it may raise anything at all
        raise UserError(f"{path} is truncated or no PyTorch checkpoint.") from None
    if not isinstance(content, dict):
        raise UserError(f"{path} holds no state_dict but a {type(content).__name__}.")
    return dict(content)


def require_readable(network: torch.nn.Module) -> None:
    """Refuses a network that is too large for its weights to be read again: `load_weights` reads up to `LARGEST`.

    Raises:
        UserError: they take more.
    """
    tensors = network.state_dict().values()
    size = sum(tensor.numel() * tensor.element_size() for tensor in tensors)
    if size > LARGEST - BESIDE_WEIGHTS:
        raise UserError(
            f"A network of {size / 2**20:.0f} MiB could not be read again, where {LARGEST / 2**20:.0f} MiB is the "
            "limit; take smaller pictures, another encoder, or smaller hidden layers."
        )


def load_weights(path: Path, max_bytes: float = MAX_BYTES) -> dict[str, torch.Tensor]:
    """Reads a state_dict of finite floating-point tensors, and the counts of batch normalisation.

    Args:
        max_bytes: of a file, and of each tensor in it.

    Raises:
        UserError: as `load`; or an entry is no such tensor, NaN or infinite.
    """
    weights = load(path, max_bytes)
    if not weights:
        raise UserError(f"{path} holds no weights.")
    for name, value in weights.items():
        if not isinstance(name, str):
            raise UserError(f"{path} holds no state_dict: {name!r} is no name.")
        if not isinstance(value, torch.Tensor) or value.layout != torch.strided or value.is_meta:
            raise UserError(f"{path} holds no state_dict: {name!r} is a {type(value).__name__}.")
        # BatchNorm counts its batches
        is_count = name.endswith("num_batches_tracked") and value.dtype == torch.int64
        # a tensor may claim to be larger than what is stored of it
        fits = value.numel() * value.element_size() <= max_bytes
        if not fits or not (value.dtype in FLOATS or is_count):
            raise UserError(f"{path}: {name!r} holds {value.numel()} values of {value.dtype}.")
        if not torch.isfinite(value.float()).all():  # networks here compute in float32
            raise UserError(f"{path} holds weights that are NaN or infinite, in {name!r}.")
    return weights


def unwrapped(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Weights under the names that they have in the network itself.

    PyTorch puts others before them where a network was saved inside of its `compile` or its
    `DataParallel`.
    """
    for wrapper in WRAPPERS:
        if weights and all(name.startswith(wrapper) for name in weights):
            return unwrapped({name.removeprefix(wrapper): x for name, x in weights.items()})
    return weights


def run_facts(checkpoint: Path) -> dict[str, Any]:
    """Facts in the `run.json` beside a checkpoint; empty where there is none.

    Raises:
        UserError: the file is damaged.
    """
    facts = checkpoint.with_name(run_files.FACTS)
    return read_json(facts) if facts.is_file() else {}


def versions() -> dict[str, str]:
    """Versions of everything that a result depends on."""
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "gymnasium": gymnasium.__version__,
        "prefloop": prefloop.__version__,
    }


def checkpoint_path(directory: Path, epoch: int) -> Path:
    """Where the policy after an epoch stands; epochs count from 0."""
    return directory / f"policy_checkpoint{epoch}.params"


def last_checkpoint(directory: Path) -> Path | None:
    """The policy that a run ended with; None where none can be found."""
    final = directory / run_files.POLICY
    if final.exists():
        return final
    try:
        epochs = epochs_of_run(directory)
    except UserError:
        return None
    return checkpoint_path(directory, epochs[-1]) if epochs else None


def policy_file(path: Path) -> Path:
    """A policy's file as it is; of a run's folder, the policy that it ended with, where one can be found."""
    return (last_checkpoint(path) or path) if path.is_dir() else path


def epochs_of_run(directory: Path) -> list[int]:
    """Epochs whose policy stands in a directory, without those of an earlier, longer run, in order.

    All, where the run that run.json tells of has none yet.

    Raises:
        UserError: it can't be read.
    """
    saved, number = saved_epochs(directory), None
    with contextlib.suppress(UserError):  # a damaged run.json says nothing of them
        settings = run_facts(checkpoint_path(directory, 0)).get("settings")
        number = settings.get("epochs") if isinstance(settings, dict) else None
    if not isinstance(number, int):
        return saved
    return [epoch for epoch in saved if epoch < number] or saved


def saved_epochs(directory: Path) -> list[int]:
    """Epochs whose policy stands in a directory, in order.

    Raises:
        UserError: it can't be read.
    """
    try:
        files = [path.name for path in directory.iterdir()]
    except OSError as error:
        raise UserError(f"Can't read the directory {directory}: {error.strerror}.") from None
    names = (re.fullmatch(r"policy_checkpoint(\d+)\.params", name) for name in files)
    return sorted(int(name[1]) for name in names if name)
