"""Which modality a joint model leans on, and how much slower it should learn."""

from __future__ import annotations

import math
from collections.abc import Mapping


def discrepancy(alone: Mapping[str, float]) -> dict[str, float]:
    r"""How much better each modality alone knows the answer than the others do.

    .. math:: \rho_m = \frac{s_m}{\frac{1}{M - 1} \sum_{n \ne m} s_n}

    (Peng, Wei, Deng, Wang & Hu 2022, Balanced Multimodal Learning via On-the-fly Gradient Modulation,
    arXiv:2203.15332, eq. 8, where M = 2.)

    Args:
        alone: Modality → :math:`s_m`, the mean probability of the true class where that modality alone is there.

    Returns:
        Modality → :math:`\rho_m`; none if there are fewer than two modalities, or the others give nothing.

    Example:
        >>> discrepancy({"audio": 0.75, "image": 0.25})
        {'audio': 3.0, 'image': 0.3333333333333333}
    """
    ratios = {}
    for name, score in alone.items():
        rest = [value for other, value in alone.items() if other != name]
        if sum(rest) > 0:
            ratios[name] = score * len(rest) / sum(rest)
    return ratios


def slowdown(ratios: Mapping[str, float], alpha: float) -> dict[str, float]:
    r"""By how much each modality's step is shortened (Peng et al. 2022, eq. 10).

    .. math:: k_m = \begin{cases} 1 - \tanh(\alpha \rho_m) & \rho_m > 1 \\ 1 & \text{otherwise} \end{cases}

    Args:
        ratios: Modality → :math:`\rho_m`, by :func:`discrepancy`.
        alpha: How strongly; 0 shortens none.

    Example:
        >>> {name: round(k, 3) for name, k in slowdown({"audio": 3.0, "image": 1 / 3}, 0.1).items()}
        {'audio': 0.709, 'image': 1.0}
    """
    return {name: 1 - math.tanh(alpha * ratio) if ratio > 1 else 1.0 for name, ratio in ratios.items()}
