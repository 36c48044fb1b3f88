"""Cells of points that lie together: k-means."""

import torch
from torch import Tensor

BLOCK_ELEMENTS = 1 << 20  # products held at once: 4 MiB of float32, which stay in the cache
POINTS = 32  # of the sample, for each cell


def kmeans(x: Tensor, cells: int, *, rounds: int = 5, seed: int = 0) -> Tensor:
    r"""Centres that make :math:`\sum_i \min_c \|x_i - \mu_c\|^2` small, by a few rounds on a sample.

    In each round every point goes to its nearest centre, and every centre to the mean of its points (Lloyd). Where
    one centre has more than twice its share of the points, the centre with the fewest leaves its place for one of
    them, so that cells come out of like size. The same seed gives the same centres.

    Source: Lloyd 1982, Least squares quantization in PCM, IEEE Transactions on Information Theory 28,
    doi:10.1109/TIT.1982.1056489.

    Args:
        x: ``[rows, channels]``.
        cells: How many centres, at most the rows.
        rounds: How often points and centres move.
        seed: Draws the sample of ``POINTS`` rows a cell, and the rows that the centres start from.

    Returns:
        The centres, ``[cells, channels]``.

    Raises:
        ValueError: There are fewer rows than cells, or no cell is asked for.

    Example:
        >>> kmeans(torch.tensor([[0.0], [1.0], [10.0], [11.0]]), 2).sort(dim=0).values
        tensor([[ 0.5000],
                [10.5000]])
    """
    if not 1 <= cells <= len(x):
        raise ValueError(f"cells must be from 1 to the {len(x)} rows, got {cells}")
    generator = torch.Generator().manual_seed(seed)
    sample = x[torch.randperm(len(x), generator=generator)[: POINTS * cells].to(x.device)]
    centres = sample[:cells].clone()
    for turn in range(rounds):
        cell = nearest_centres(sample, centres, 1).flatten().long()  # [rows]
        count = torch.bincount(cell, minlength=cells)  # [cells]
        mean = torch.zeros_like(centres).index_add_(0, cell, sample) / count.clamp_min(1)[:, None]
        centres = mean.where(count[:, None] > 0, centres)
        if turn < rounds - 1:
            _split_the_largest(centres, count, cell, sample)
    return centres


def nearest_centres(x: Tensor, centres: Tensor, count: int) -> Tensor:
    """The centres nearest to each row, nearest first, ``[rows, count]`` (int32).

    Example:
        >>> nearest_centres(torch.tensor([[4.0]]), torch.tensor([[0.0], [5.0], [9.0]]), 2)
        tensor([[1, 0]], dtype=torch.int32)
    """
    half = -centres.square().sum(dim=1) / 2
    found = torch.empty(len(x), count, dtype=torch.int32, device=x.device)
    step = max(1, BLOCK_ELEMENTS // len(centres))
    for rows, out in zip(x.split(step), found.split(step), strict=True):
        score = torch.addmm(half, rows, centres.T)  # [block, cells]
        out.copy_(score.argmax(dim=1, keepdim=True) if count == 1 else score.topk(count, dim=1).indices)
    return found


def _split_the_largest(centres: Tensor, count: Tensor, cell: Tensor, sample: Tensor) -> None:
    """Moves the centres with the fewest points, in place, to a point of each cell with more than twice its share."""
    share = len(sample) / len(centres)
    by_size = count.argsort(descending=True, stable=True)
    large = by_size[: int((count > 2 * share).sum())]
    small = by_size.flip(0)[: len(large)]
    large = large[: len(small)][count[small] < share]
    small = small[count[small] < share]
    member = torch.zeros_like(count).scatter_reduce_(0, cell, torch.arange(len(cell), device=cell.device), "amax")
    centres[small] = sample[member[large]]
