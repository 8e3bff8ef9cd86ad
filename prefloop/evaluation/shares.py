"""The interval of a share. Free of SciPy, since the labelling server says it, too."""

import math
from statistics import NormalDist


def score_interval(right: float, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval of a share, which holds also where all or none is right.

    Args:
        right: how many are; a half for what is neither.
        n: of how many, above 0.

    Source: Wilson 1927, "Probable inference, the law of succession, and statistical inference",
        Journal of the American Statistical Association 22.
    """
    share, z = right / n, NormalDist().inv_cdf(0.5 + confidence / 2)
    shift = z * (z / (2 * n))  # rounded as half_width is, so that none of n begins at 0
    middle = (share + shift) / (1 + 2 * shift)
    half_width = z * math.sqrt(share * (1 - share) / n + (z / (2 * n)) ** 2) / (1 + 2 * shift)
    return max(middle - half_width, 0.0), min(middle + half_width, 1.0)
