"""Where tensors live."""

import torch

from prefloop.errors import UserError


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
        raise UserError(f"--device {name} can't be used here: {reason}") from None
    return device
