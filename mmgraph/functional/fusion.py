r"""Ways to join the parts of an anchor into one vector.

A part is what an anchor's nodes of one modality say, ``[anchors, channels]``; ``present [anchors]`` says which
anchors have any. The keys' order does not matter, an absent part has no influence, and where all parts are
absent the result is zeros.

| function | formula (over the present parts) | joins |
|---|---|---|
| :func:`concat_parts` | :math:`[h_1; \ldots; h_M]` | additively, after a linear map |
| :func:`sum_parts` | :math:`\sum_m h_m`, or their mean | additively |
| :func:`product_parts` | :math:`\prod_m h_m` | multiplicatively, channel by channel |
| :func:`gated_parts` | :math:`\sum_m g_m \odot h_m` | additively, weighted by what all parts say |
| :func:`outer_parts` | :math:`\bigotimes_m [h_m; 1]` | all products of all parts' channels |
"""

from collections.abc import Mapping

import torch
from torch import Tensor


def _masked(parts: Mapping[str, Tensor], present: Mapping[str, Tensor], fill: float) -> list[Tensor]:
    return [torch.where(present[name][:, None], parts[name], parts[name].new_tensor(fill)) for name in sorted(parts)]


def any_present(present: Mapping[str, Tensor]) -> Tensor:
    """Which anchors have a part at all, ``[anchors]``.

    Example:
        >>> any_present({"a": torch.tensor([True, False]), "b": torch.tensor([False, False])}).tolist()
        [True, False]
    """
    return torch.stack(list(present.values())).any(dim=0)


def concat_parts(parts: Mapping[str, Tensor], present: Mapping[str, Tensor]) -> Tensor:
    """Parts side by side in the order of their names, absent ones as zeros, ``[anchors, sum of channels]``.

    Example:
        >>> one, two = torch.tensor([[1.0]]), torch.tensor([[2.0]])
        >>> concat_parts({"b": two, "a": one}, {"a": torch.tensor([True]), "b": torch.tensor([False])})
        tensor([[1., 0.]])
    """
    return torch.cat(_masked(parts, present, 0.0), dim=1)


def sum_parts(parts: Mapping[str, Tensor], present: Mapping[str, Tensor], *, mean: bool = False) -> Tensor:
    """Sum (or mean) of the present parts, ``[anchors, channels]``.

    Example:
        >>> parts = {"a": torch.tensor([[1.0]]), "b": torch.tensor([[3.0]])}
        >>> sum_parts(parts, {"a": torch.tensor([True]), "b": torch.tensor([True])}, mean=True)
        tensor([[2.]])
    """
    total = torch.stack(_masked(parts, present, 0.0)).sum(dim=0)
    if not mean:
        return total
    count = torch.stack(list(present.values())).sum(dim=0).clamp_min(1)
    return total / count[:, None]


def product_parts(parts: Mapping[str, Tensor], present: Mapping[str, Tensor]) -> Tensor:
    """Product of the present parts, channel by channel, ``[anchors, channels]``.

    Example:
        >>> parts = {"a": torch.tensor([[2.0]]), "b": torch.tensor([[3.0]])}
        >>> product_parts(parts, {"a": torch.tensor([True]), "b": torch.tensor([True])})
        tensor([[6.]])
    """
    product = torch.stack(_masked(parts, present, 1.0)).prod(dim=0)
    return torch.where(any_present(present)[:, None], product, torch.zeros_like(product))


def gated_parts(parts: Mapping[str, Tensor], gates: Mapping[str, Tensor], present: Mapping[str, Tensor]) -> Tensor:
    r"""Sum of the present parts, each weighted by its gate: :math:`\sum_m g_m \odot h_m`.

    Source: Arevalo et al. 2017, Gated multimodal units for information fusion, eq. 1; arXiv:1702.01992.

    Args:
        parts: ``[anchors, channels]`` each.
        gates: ``[anchors, channels]`` each, between 0 and 1.
        present: ``[anchors]`` each.

    Returns:
        ``[anchors, channels]``.

    Example:
        >>> parts, gates = {"a": torch.tensor([[2.0]])}, {"a": torch.tensor([[0.5]])}
        >>> gated_parts(parts, gates, {"a": torch.tensor([True])})
        tensor([[1.]])
    """
    return sum_parts({name: parts[name] * gates[name] for name in parts}, present)


def outer_parts(parts: Mapping[str, Tensor], present: Mapping[str, Tensor], *, append_one: bool = True) -> Tensor:
    r"""Outer product of the parts, :math:`\bigotimes_m [h_m; 1]`, flattened: ``[anchors, product of widths]``.

    With the appended 1 an absent part enters as :math:`[0; 1]`, which leaves the product of the others;
    without it, as ones.

    Source: Zadeh et al. 2017, Tensor fusion network for multimodal sentiment analysis, eq. 2;
    arXiv:1707.07250.

    Example:
        >>> parts = {"a": torch.tensor([[2.0]]), "b": torch.tensor([[3.0]])}
        >>> outer_parts(parts, {"a": torch.tensor([True]), "b": torch.tensor([True])})
        tensor([[6., 2., 3., 1.]])
    """
    factors = _masked(parts, present, 0.0 if append_one else 1.0)
    if append_one:
        factors = [torch.cat([factor, torch.ones_like(factor[:, :1])], dim=1) for factor in factors]
    product = factors[0]
    for factor in factors[1:]:
        product = (product[:, :, None] * factor[:, None, :]).flatten(1)  # [anchors, widths so far × width]
    return torch.where(any_present(present)[:, None], product, torch.zeros_like(product))
