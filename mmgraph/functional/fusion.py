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
| :func:`mix_parts` | :math:`\sum_m \mathrm{softmax}_m(s_m)\, h_m` | by shares of 1: experts and their gate |
| :func:`attention_parts` | the same, :math:`s_m = q \cdot k_m / \sqrt d` | by shares of 1: what a query asks for |
| :func:`bilinear_parts` | :math:`[\mathrm{vec}(h_m \otimes h_n)]_{m<n}` | all products of two parts' channels |
| :func:`outer_parts` | :math:`\bigotimes_m [h_m; 1]` | all products of all parts' channels |
| :func:`low_rank_parts` | :math:`\sum_r \prod_m W_m^{(r)} [h_m; 1]` | the same, through weights of rank R |
"""

import math
from collections.abc import Mapping
from itertools import combinations

import torch
from torch import Tensor


def _everywhere(mask: Tensor) -> bool:
    """Whether all anchors have a part: nothing to mask. A GPU is not asked, since that would wait for it."""
    return not (mask.is_cuda or torch.compiler.is_compiling()) and bool(mask.all())


def _masked(parts: Mapping[str, Tensor], present: Mapping[str, Tensor], fill: float) -> list[Tensor]:
    masks = {id(mask): mask for mask in present.values()}  # parts that all anchors have may share one
    whole = {key for key, mask in masks.items() if _everywhere(mask)}
    return [
        parts[name] if id(present[name]) in whole else torch.where(present[name][:, None], parts[name], fill)
        for name in sorted(parts)
    ]


def _or_zeros(x: Tensor, present: Mapping[str, Tensor]) -> Tensor:
    """The rows of the anchors that have a part at all."""
    return x if any(map(_everywhere, present.values())) else torch.where(any_present(present)[:, None], x, 0.0)


def any_present(present: Mapping[str, Tensor]) -> Tensor:
    """Which anchors have a part at all, ``[anchors]``.

    Example:
        >>> any_present({"a": torch.tensor([True, False]), "b": torch.tensor([False, False])}).tolist()
        [True, False]
    """
    return torch.stack(list(present.values())).any(dim=0)


def zero_absent(parts: Mapping[str, Tensor], present: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The parts in the order of their names, zeros where they are absent: what may be projected.

    (What is masked after a projection is right forwards, but NaN in an absent row reaches the weights backwards.)

    Example:
        >>> parts = {"a": torch.tensor([[1.0], [float("nan")]])}
        >>> zero_absent(parts, {"a": torch.tensor([True, False])})["a"].flatten().tolist()
        [1.0, 0.0]
    """
    return dict(zip(sorted(parts), _masked(parts, present, 0.0), strict=True))


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
    return _or_zeros(product, present)


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
    heard, through = zero_absent(parts, present), zero_absent(gates, present)
    return torch.stack([heard[name] * through[name] for name in heard]).sum(dim=0)


def part_softmax(scores: Mapping[str, Tensor], present: Mapping[str, Tensor]) -> dict[str, Tensor]:
    r"""Softmax over the parts that an anchor has: :math:`e^{s_m} / \sum_{m'} e^{s_{m'}}`, and 0 for absent ones.

    Args:
        scores: ``[anchors]`` each.
        present: ``[anchors]`` each.

    Returns:
        ``[anchors]`` each; they add up to 1 over the parts, or to 0 where all are absent.

    Example:
        >>> scores = {"a": torch.tensor([0.0, 5.0, 0.0]), "b": torch.tensor([0.0, 5.0, 0.0])}
        >>> present = {"a": torch.tensor([True, True, False]), "b": torch.tensor([True, False, False])}
        >>> part_softmax(scores, present)["a"].tolist()
        [0.5, 1.0, 0.0]
    """
    names = sorted(scores)
    there = torch.stack([present[name] for name in names])  # [parts, anchors]
    some = there.any(dim=0)
    raised = torch.stack([scores[name] for name in names]).masked_fill(~there & some, -torch.inf)
    shares = torch.where(there, raised.masked_fill(~some, 0.0).softmax(dim=0), 0.0)
    return dict(zip(names, shares.unbind(0), strict=True))


def mix_parts(parts: Mapping[str, Tensor], scores: Mapping[str, Tensor], present: Mapping[str, Tensor]) -> Tensor:
    r"""Mean of the present parts, weighted by the softmax of their scores: :math:`\sum_m \mathrm{softmax}_m(s_m) h_m`.

    With what an expert makes of each part, and scores from a gate that sees them all, it is a mixture of experts.

    Source: Jacobs, Jordan, Nowlan and Hinton 1991, Adaptive mixtures of local experts, Neural Computation 3(1), and
    Shazeer et al. 2017, Outrageously large neural networks: the sparsely-gated mixture-of-experts layer, eqs. 1 and 2;
    arXiv:1701.06538.

    Args:
        parts: ``[anchors, channels]`` each.
        scores: ``[anchors]`` each.
        present: ``[anchors]`` each.

    Returns:
        ``[anchors, channels]``.

    Example:
        >>> parts = {"a": torch.tensor([[1.0]]), "b": torch.tensor([[3.0]])}
        >>> scores, here = {"a": torch.tensor([0.0]), "b": torch.tensor([0.0])}, torch.tensor([True])
        >>> mix_parts(parts, scores, {"a": here, "b": here}), mix_parts(parts, scores, {"a": here, "b": ~here})
        (tensor([[2.]]), tensor([[1.]]))
    """
    shares = part_softmax(scores, present)
    weights = torch.stack([shares[name] for name in sorted(parts)])  # [parts, anchors]
    return (torch.stack(_masked(parts, present, 0.0)) * weights[:, :, None]).sum(dim=0)


def attention_parts(
    parts: Mapping[str, Tensor], keys: Mapping[str, Tensor], query: Tensor, present: Mapping[str, Tensor]
) -> Tensor:
    r"""Attention pooling of the present parts by one query.

    .. math:: \sum_m \mathrm{softmax}_m(q \cdot k_m / \sqrt d)\, h_m

    Source: Vaswani et al. 2017, Attention is all you need, eq. 1, with one query; arXiv:1706.03762.

    Args:
        parts: The values, ``[anchors, channels]`` each.
        keys: ``[anchors, d]`` each.
        query: ``[d]``.
        present: ``[anchors]`` each.

    Returns:
        ``[anchors, channels]``.

    Example:
        >>> parts, here = {"a": torch.tensor([[1.0]]), "b": torch.tensor([[3.0]])}, torch.tensor([True])
        >>> attention_parts(parts, parts, torch.tensor([100.0]), {"a": here, "b": here})
        tensor([[3.]])
    """
    names = sorted(keys)
    scores = [key @ query / math.sqrt(len(query)) for key in _masked(keys, present, 0.0)]
    return mix_parts(parts, dict(zip(names, scores, strict=True)), present)


def bilinear_parts(parts: Mapping[str, Tensor], present: Mapping[str, Tensor]) -> Tensor:
    r"""Outer products of every two parts, :math:`\mathrm{vec}(h_m \otimes h_n)` for m < n, side by side.

    Pairs are in the order of their names; one that lacks a part is zeros.

    Source: Tenenbaum and Freeman 2000, Separating style and content with bilinear models, Neural Computation 12(6);
    as pooling: Lin, RoyChowdhury and Maji 2015, Bilinear CNN models for fine-grained visual recognition, eq. 1;
    arXiv:1504.07889.

    Returns:
        ``[anchors, sum over the pairs of the products of their widths]``.

    Example:
        >>> parts = {"a": torch.tensor([[2.0]]), "b": torch.tensor([[3.0, 5.0]])}
        >>> bilinear_parts(parts, {"a": torch.tensor([True]), "b": torch.tensor([True])})
        tensor([[ 6., 10.]])
    """
    pairs = combinations(_masked(parts, present, 0.0), 2)
    return torch.cat([(one[:, :, None] * other[:, None, :]).flatten(1) for one, other in pairs], dim=1)


def signed_root(x: Tensor) -> Tensor:
    r"""Signed square root, :math:`\mathrm{sign}(x) \sqrt{|x|}`, with a gradient of 0 at 0.

    It tames the products of a bilinear pooling, of which few are large.

    Source: Perronnin, Sánchez and Mensink 2010, Improving the Fisher kernel for large-scale image classification; for
    bilinear pooling: Lin et al. 2015, section 3; arXiv:1504.07889.

    Example:
        >>> signed_root(torch.tensor([4.0, 0.0, -9.0]))
        tensor([ 2.,  0., -3.])
    """
    zero = x == 0
    return torch.where(zero, 0.0, x.sign() * torch.where(zero, 1.0, x.abs()).sqrt())


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
        factors = [torch.nn.functional.pad(factor, (0, 1), value=1.0) for factor in factors]
    product = _or_zeros(factors[0], present)  # what is zeros at first stays so
    for factor in factors[1:]:
        # [anchors, widths so far × width]; the way back of a matrix product holds nothing as large as the outer product
        product = torch.bmm(product.unsqueeze(2), factor.unsqueeze(1)).flatten(1)
    return product


def low_rank_parts(parts: Mapping[str, Tensor], weights: Mapping[str, Tensor], present: Mapping[str, Tensor]) -> Tensor:
    r"""Low-rank tensor fusion, :math:`\sum_{r=1}^R \prod_m W_m^{(r)} [h_m; 1]`: the sum comes after the product.

    It is :func:`outer_parts` and a linear map of the weights :math:`\sum_r \bigotimes_m W_m^{(r)}`, exactly, at a cost
    that grows with the sum of the widths, not their product. (The product of the sums,
    :math:`\prod_m \sum_r W_m^{(r)} [h_m; 1]`, would have rank 1 for every R.) An absent part enters as
    :math:`[0; 1]`.

    Source: Liu, Shen, Lakshminarasimhan, Liang, Zadeh and Morency 2018, Efficient low-rank multimodal fusion with
    modality-specific factors, eqs. 4 to 7; arXiv:1806.00064.

    Args:
        parts: ``[anchors, width]`` each, widths may differ.
        weights: ``[width + 1, rank, channels]`` each; the last row is that of the appended 1.
        present: ``[anchors]`` each.

    Returns:
        ``[anchors, channels]``.

    Example:
        >>> parts, here = {"a": torch.tensor([[2.0]]), "b": torch.tensor([[3.0]])}, torch.tensor([True])
        >>> weights = {"a": torch.tensor([[[1.0], [10.0]], [[0.0], [0.0]]]), "b": torch.ones(2, 2, 1)}
        >>> low_rank_parts(parts, weights, {"a": here, "b": here})  # 2 × (3 + 1) + 20 × (3 + 1)
        tensor([[88.]])
    """
    names = sorted(parts)
    product = None
    for name, part in zip(names, _masked(parts, present, 0.0), strict=True):
        weight = weights[name].flatten(1)  # [width + 1, rank × channels]: one product for all ranks
        factor = torch.nn.functional.pad(part, (0, 1), value=1.0) @ weight
        product = factor if product is None else product * factor
    assert product is not None
    summed = product.view(-1, *weights[names[0]].shape[1:]).sum(dim=1)
    return _or_zeros(summed, present)
