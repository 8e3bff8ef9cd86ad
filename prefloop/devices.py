"""Where tensors live, and on how many threads they are computed."""

import numpy as np
import torch
from numpy.typing import NDArray

from prefloop.errors import UserError

WITHOUT_FLOAT64 = ("mps",)  # kinds of devices; what is to be computed so is computed on the CPU


def usable_device(name: str) -> torch.device:
    """The device of that name, after a tensor has been put there.

    Raises:
        UserError: there is no such device on this machine.
    """
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError, ImportError, NotImplementedError) as error:
        reason = str(error).splitlines()[0].partition(". ")[0]
        if "device type at start of device string" in reason:  # which goes on with twenty of them
            reason = "there is no such kind of device; cpu, cuda and mps are known"
        raise UserError(f"--device {name} can't be used here: {reason}.") from None
    return device


def use_one_thread() -> None:
    """Has PyTorch compute on one thread: on networks this small, a second one costs more than it does."""
    torch.set_num_threads(1)


def to_tensor(array: NDArray, device: torch.device | str) -> torch.Tensor:
    """A copy of an array on a device.

    Never the array's own memory: the last bits of a product may depend on where in memory its
    factors begin, and then the same seed would not give the same bytes. What is float64 arrives in
    float32 where the device has nothing else.
    """
    if torch.device(device).type in WITHOUT_FLOAT64 and array.dtype == np.float64:
        array = array.astype(np.float32)
    return torch.tensor(array, device=device)
