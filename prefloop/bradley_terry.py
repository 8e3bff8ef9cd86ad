"""The Bradley-Terry model of preference, the only copy in the project."""

import torch
from torch.nn import functional


def bradley_terry_loss(
    return_first: torch.Tensor, return_second: torch.Tensor, label: torch.Tensor
) -> torch.Tensor:
    """Cross-entropy between labels and the Bradley-Terry model of preference.

    P(second preferred) = sigmoid(return_second - return_first), computed from logits, so that
    large gaps stay finite. A tie (label 0.5) pulls the two returns together.

    Args:
        return_first, return_second: predicted returns, summed over the steps, undiscounted;
            [batch].
        label: probability that the second is preferred, in [0, 1]; [batch].

    Returns:
        Mean loss in nats; a scalar tensor.

    Raises:
        ValueError: the shapes differ.

    Source: Christiano et al. 2017, arXiv:1706.03741, section 2.2.3.
    """
    if not return_first.shape == return_second.shape == label.shape:
        shapes = [tuple(x.shape) for x in (return_first, return_second, label)]
        raise ValueError(f"returns and labels need one shape, not {shapes}")
    return functional.binary_cross_entropy_with_logits(return_second - return_first, label)
