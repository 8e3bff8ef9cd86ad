"""The Bradley-Terry model of preference, the only copy in the project.

What needs NumPy alone is here without PyTorch, which takes a second to load.
"""

import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch


def bradley_terry_loss(
    return_first: "torch.Tensor",
    return_second: "torch.Tensor",
    label: "torch.Tensor",
    label_noise: "float | torch.Tensor" = 0.0,
    weight: "torch.Tensor | None" = None,
) -> "torch.Tensor":
    """Cross-entropy between labels and the Bradley-Terry model of preference.

    P(second preferred) = sigmoid(return_second - return_first), computed from logits, so that
    large gaps stay finite. A tie (label 0.5) pulls the two returns together.

    Args:
        return_first, return_second: predicted returns, summed over valid steps, undiscounted;
            [...].
        label: probability that the second is preferred, in [0, 1]; [...].
        label_noise: how likely an answer is a coin toss, in [0, 1). Where it is above 0, no pair
            can cost more than log(2 / label_noise), so a mistaken label can't pull for ever. A tensor,
            [...] and above 0, says it of each answer.
        weight: how much each pair counts; [...]; all alike if not given. Where none counts, the
            loss is 0.

    Returns:
        Mean loss in nats; a scalar tensor.

    Raises:
        ValueError: the shapes differ.

    Source: Christiano et al. 2017, arXiv:1706.03741, section 2.2.3.
    """
    import torch
    from torch.nn import functional

    if not return_first.shape == return_second.shape == label.shape:
        shapes = [tuple(x.shape) for x in (return_first, return_second, label)]
        raise ValueError(f"returns and labels need one shape, not {shapes}")
    logit = return_second - return_first
    is_sure = not isinstance(label_noise, torch.Tensor) and label_noise == 0
    if is_sure and weight is None:
        return functional.binary_cross_entropy_with_logits(logit, label)
    if is_sure:
        loss = functional.binary_cross_entropy_with_logits(logit, label, reduction="none")
    else:
        # log((1 - noise) P + noise / 2), for both answers
        sure: float | torch.Tensor
        if isinstance(label_noise, torch.Tensor):
            sure, toss = torch.log1p(-label_noise), torch.log(label_noise / 2)
        else:
            sure, toss = math.log1p(-label_noise), logit.new_tensor(math.log(label_noise / 2))
        second = torch.logaddexp(sure + functional.logsigmoid(logit), toss)
        first = torch.logaddexp(sure + functional.logsigmoid(-logit), toss)
        loss = -(label * second + (1 - label) * first)
    if weight is None:
        return loss.mean()
    total = weight.sum()
    return (loss * weight).sum() / torch.where(total > 0, total, 1)


def probability_second(gap: NDArray) -> NDArray:
    """How likely the second is preferred, as the model has it.

    Args:
        gap: of the predicted returns, the second's less the first's; [...].
    """
    return 0.5 * (1 + np.tanh(gap / 2))  # a sigmoid that can't overflow


def cross_entropy(probability: NDArray, label: NDArray) -> NDArray:
    """Cross-entropy of labels under predicted probabilities, in nats; NaN where there is no label.

    Args:
        probability: that the second is preferred; [...].
        label: probability that the second is preferred, in [0, 1]; [...].
    """
    p = np.clip(probability, 1e-12, 1 - 1e-12)
    return -(label * np.log(p) + (1 - label) * np.log1p(-p))


def answered_second(probability: NDArray, label_noise: float | NDArray) -> NDArray:
    """How likely an answer prefers the second, where some answers are coin tosses.

    Args:
        probability: that the second is preferred, as the model has it; [...].
        label_noise: how likely an answer is a coin toss, in [0, 1]; of all, or of each.

    Returns:
        Shaped as `probability`.
    """
    return (1 - label_noise) * probability + label_noise / 2


def agreement(gap: "torch.Tensor", label: "torch.Tensor") -> "torch.Tensor":
    """How far predictions agree with answers: 1 right, 0 wrong, a half where no side is predicted.

    So a model that knows nothing gets what a coin would, whichever side its zeros are laid to.

    Args:
        gap: of the predicted returns, the second's less the first's; [n].
        label: probability that the second is preferred; [n].

    Returns:
        Of the answers that are no ties, which have no right side; [decided].
    """
    decides = label != 0.5
    return 0.5 + 0.5 * gap[decides].sign() * (label[decides] - 0.5).sign()
