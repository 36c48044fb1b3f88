r"""Labels that spread along edges until they rest: a graph convolution without weights.

.. math:: F \leftarrow \alpha S F + (1 - \alpha) Y, \qquad S = D^{-1/2} A D^{-1/2}
"""

from __future__ import annotations

import torch
from torch import Tensor

from mmgraph.functional.adjacency import Adjacency
from mmgraph.functional.message import spread, symmetric_norm


def propagate_labels(
    labels: Tensor,
    index: Tensor,
    *,
    weight: Tensor | None = None,
    alpha: float = 0.9,
    tolerance: float = 1e-4,
    rounds: int = 10_000,
) -> Tensor:
    r"""Label propagation, one sparse product a round, until the result is as near to the fixed point as asked.

    The fixed point is :math:`(1 - \alpha) (I - \alpha S)^{-1} Y` (:func:`propagated_labels`). A round shrinks the
    distance to it by :math:`\alpha`, in the norm in which S is no larger than 1, so that the distance is at most
    :math:`\alpha / (1 - \alpha)` times the last step.

    Source: Zhou, Bousquet, Lal, Weston and Schölkopf 2004, Learning with local and global consistency, NeurIPS 16.

    Args:
        labels: :math:`Y`, ``[rows, classes]``: one-hot, zeros where the class is not known.
        index: Edges ``[2, edges]`` between the rows, in both directions.
        weight: ``[edges]``, at least 0, the same in both directions; by default 1.
        alpha: Share of what neighbours say, from 0 to below 1.
        tolerance: Most that the result may be away from the fixed point (Frobenius norm of the difference).
        rounds: Most rounds.

    Returns:
        :math:`F`, ``[rows, classes]``; the argmax of a row is its class. A row that no label reaches is 0.

    Raises:
        ValueError: ``alpha`` or ``tolerance`` out of range, or the rounds were not enough.

    Example:
        >>> chain = torch.tensor([[0, 1, 1, 2, 2, 3], [1, 0, 2, 1, 3, 2]])
        >>> labels = torch.tensor([[1.0, 0.0], [0.0, 0.0], [0.0, 0.0], [0.0, 1.0]])
        >>> propagate_labels(labels, chain).argmax(dim=1)
        tensor([0, 0, 1, 1])
    """
    _check_alpha(alpha)
    if not tolerance > 0:
        raise ValueError(f"tolerance must be above 0, got {tolerance}")
    size = len(labels)
    index, values = symmetric_norm(index, size, size, weight=weight, self_loops=False, dtype=labels.dtype)
    edges = Adjacency(index, size, size)
    values = values.to(labels.dtype).index_select(0, edges.order)
    state, start = labels, (1 - alpha) * labels
    step = labels.new_tensor(torch.inf)
    for _ in range(rounds):
        after = alpha * spread(state, edges, values) + start  # [rows, classes]
        step = (after - state).detach().norm()
        state = after
        if step * alpha / (1 - alpha) <= tolerance:
            return state
    raise ValueError(
        f"Labels must come to rest within {rounds} rounds, got a last step of {float(step):.2g}; "
        "allow more rounds, or a larger tolerance"
    )


def propagated_labels(
    labels: Tensor, index: Tensor, *, weight: Tensor | None = None, alpha: float = 0.9, own: bool = True
) -> Tensor:
    r"""The fixed point of label propagation, :math:`F = (1 - \alpha) (I - \alpha S)^{-1} Y`, by a dense solve.

    Args:
        labels: :math:`Y`, ``[rows, classes]``: one-hot, zeros where the class is not known.
        index: Edges ``[2, edges]`` between the rows, in both directions.
        weight: ``[edges]``, at least 0, the same in both directions; by default 1.
        alpha: Share of what neighbours say, from 0 to below 1.
        own: Whether a row's own label counts. Without, a labelled row gets what the others' labels say of it, which is
            exactly what it would get if its label were not known.

    Returns:
        ``[rows, classes]``.

    Raises:
        ValueError: ``alpha`` out of range.

    Example:
        >>> pair = torch.tensor([[0, 1], [1, 0]])
        >>> propagated_labels(torch.tensor([[1.0], [0.0]]), pair, alpha=0.5).flatten()
        tensor([0.6667, 0.3333])
        >>> propagated_labels(torch.tensor([[1.0], [0.0]]), pair, alpha=0.5, own=False).flatten()
        tensor([0.0000, 0.3333])
    """
    _check_alpha(alpha)
    size = len(labels)
    index, values = symmetric_norm(index, size, size, weight=weight, self_loops=False, dtype=labels.dtype)
    smooth = labels.new_zeros(size, size).index_put((index[1], index[0]), values.to(labels.dtype), accumulate=True)
    eye = torch.eye(size, dtype=labels.dtype, device=labels.device)
    if own:
        return (1 - alpha) * torch.linalg.solve(eye - alpha * smooth, labels)
    kernel = (1 - alpha) * torch.linalg.inv(eye - alpha * smooth)  # [rows, rows]
    return (kernel - torch.diag(kernel.diagonal())) @ labels


def _check_alpha(alpha: float) -> None:
    if not 0 <= alpha < 1:
        raise ValueError(f"alpha must be from 0 to below 1, got {alpha}")
