"""Clouds of points in space: as points for encoders that are trained, and by features of their shape."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from mmgraph.encoders.base import Encoder
from mmgraph.encoders.frozen import Frozen
from mmgraph.errors import ConfigError, DataError
from mmgraph.keys import weight_key
from mmgraph.schema import Identity, Modality
from mmgraph.typing import Features

if TYPE_CHECKING:
    from torch_geometric.data import HeteroData

Points = Sequence[Sequence[float]] | np.ndarray
MAX_POINTS = 1 << 24
PAIRS = 512  # points between which all distances are taken
BINS = 16


class Cloud(Frozen[Points, np.ndarray]):
    """Clouds to points, ``[num_points, columns]``, for encoders that are trained with the graph.

    A payload is a list of ``[x, y, z]``, or of ``[x, y, z, …]`` with what else is known of each point (colour,
    normal). The order of the points does not matter: the same cloud in another order gives the same rows. Of more than
    ``num_points`` as many are drawn, always the same ones; fewer are followed by NaN.

    Args:
        num_points: How many points are kept.
        columns: Numbers of each point, at least its 3 coordinates.
        unit_sphere: Whether a cloud is moved and scaled so that its mean is the origin and its farthest point is 1
            away; otherwise coordinates stay as they are.

    Raises:
        ConfigError: No point, or less than 3 columns.

    Example:
        >>> Cloud(num_points=3)([[[0, 0, 0], [2, 0, 0]]])
        tensor([[[-1., 0., 0.],
                 [ 1., 0., 0.],
                 [nan, nan, nan]]])
    """

    modality = Modality.POINTS
    attribute = "points"
    chunk = 256

    def __init__(self, *, num_points: int = 1024, columns: int = 3, unit_sphere: bool = True) -> None:
        if not 1 <= num_points <= MAX_POINTS or columns < 3:
            raise ConfigError(
                f"Cloud needs 1 to {MAX_POINTS} points of at least 3 columns, got {num_points} of {columns}"
            )
        self._unit_sphere = unit_sphere
        self.shape = (num_points, columns)
        self.identity = Identity(
            name="cloud",
            revision="1",
            options={"num_points": num_points, "columns": columns, "unit_sphere": unit_sphere},
        )

    def content(self, payload: Points) -> bytes:
        """Shape and numbers."""
        return cloud_bytes(payload)

    def prepare(self, payload: Points) -> np.ndarray:
        """The points that are kept, ``[at most num_points, columns]``, in ascending order."""
        points = read_points(payload, columns=self.shape[1])
        kept = np.sort(_draw(len(points), self.shape[0]))
        points = points[kept]
        if self._unit_sphere:
            place = points[:, :3]
            place -= place.mean(axis=0)
            place /= max(float(np.linalg.norm(place, axis=1).max()), 1e-12)
        return points.astype(np.float32)

    def encode(self, prepared: list[np.ndarray]) -> Tensor:
        """Pads the points: ``[clouds, num_points, columns]``."""
        found = torch.full((len(prepared), *self.shape), float("nan"))
        for row, points in enumerate(prepared):
            found[row, : len(points)] = torch.from_numpy(points)
        return found


class CloudSummary(Frozen[Points, np.ndarray]):
    r"""Clouds of any number of points to vectors, by features of their shape; without a model.

    Three blocks, each of length :math:`1/\sqrt 3`: the second moments and the skewness of the coordinates, and the
    extents of the cloud; the distribution of the distances from its mean; the distribution of the distances between two
    points (D2 of Osada et al. 2002, Shape distributions, ACM Transactions on Graphics 21(4),
    doi:10.1145/571647.571648), of at most 512 points. All are of a cloud that is scaled to a root mean square distance
    of 1 from its mean, and are the same wherever the cloud lies, however large it is and in whatever order its points
    are given. Turning it changes the first block alone. Last comes the logarithm of its size, with mean and deviation
    of the further columns.

    Args:
        columns: Numbers of each point, at least its 3 coordinates.

    Raises:
        ConfigError: Less than 3 columns.

    Example:
        >>> first, second = [[0, 0, 0], [1, 0, 0], [2, 0, 0]], [[5, 1, 0], [3, 1, 0], [4, 1, 0]]
        >>> line, moved, corner = CloudSummary()([first, second, [[0, 0, 0], [1, 0, 0], [1, 1, 0]]])
        >>> bool(torch.allclose(line, moved, atol=1e-6)), bool(line @ moved > line @ corner)
        (True, True)
    """

    modality = Modality.POINTS
    chunk = 256

    def __init__(self, *, columns: int = 3) -> None:
        if columns < 3:
            raise ConfigError(f"CloudSummary needs at least 3 columns, got {columns}")
        self._columns = columns
        self.shape = (12 + 2 * BINS + 1 + 2 * (columns - 3),)
        self.identity = Identity(name="cloud_summary", revision="1", options={"columns": columns})

    def content(self, payload: Points) -> bytes:
        """Shape and numbers."""
        return cloud_bytes(payload)

    def prepare(self, payload: Points) -> np.ndarray:
        """The features of one cloud, ``[channels]``."""
        points = read_points(payload, columns=self._columns)
        place, more = points[:, :3] - points[:, :3].mean(axis=0), points[:, 3:]
        size = float(np.sqrt((place**2).sum(axis=1).mean()))
        place = place / max(size, 1e-12)
        second = (place.T @ place / len(place))[np.triu_indices(3)]  # [6]
        third = (place**3).mean(axis=0)
        some = place[_draw(len(place), PAIRS)]
        square = (some**2).sum(axis=1)
        apart = np.sqrt(np.maximum(square[:, None] + square - 2 * some @ some.T, 0))[np.triu_indices(len(some), 1)]
        blocks = (
            np.concatenate([second, np.cbrt(third), np.ptp(place, axis=0)]),
            _histogram(np.linalg.norm(place, axis=1), 3.0),
            _histogram(apart, 4.0),
        )
        rest = [[0.1 * np.log(max(size, 1e-12))], more.mean(axis=0), more.std(axis=0)]
        return np.concatenate([*(_unit(block) / np.sqrt(3) for block in blocks), *rest]).astype(np.float32)

    def encode(self, prepared: list[np.ndarray]) -> Tensor:
        """Stacks the features: ``[clouds, channels]``."""
        return torch.from_numpy(np.stack(prepared))


class PointNet(Encoder):
    r"""A small network on each of the ``points`` of each node type, then the maximum over the points.

    :math:`f(\{x_i\}) = g(\max_i h(x_i))`: the order of the points does not matter. Source: Qi, Su, Mo & Guibas 2017,
    PointNet: Deep learning on point sets for 3D classification and segmentation, arXiv:1612.00593; without its two
    transformer networks, with layer norm in place of batch norm.

    Reads ``graph[type].points``, ``[rows, points, columns]``; a point with NaN is not there and has no influence. A
    row without any point is the features of nothing, which are finite.

    Args:
        widths: Node type → columns of its points.
        channels: Width of the features.
        hidden: Widths of ``h``.
        dropout: Share of the maxima that is zeroed while training.

    Raises:
        ConfigError: No node type, no layer, or a width below 1.

    Example:
        >>> from torch_geometric.data import HeteroData
        >>> graph = HeteroData()
        >>> graph["shape"].points = Cloud(num_points=4)([[[0, 0, 0], [2, 0, 0]]])
        >>> PointNet({"shape": 3}, 8)(graph)["shape"].shape
        torch.Size([1, 8])
    """

    def __init__(
        self,
        widths: Mapping[str, int],
        channels: int,
        *,
        hidden: Sequence[int] = (64, 64, 128),
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if not widths or not hidden or min(*widths.values(), channels, *hidden) < 1:
            raise ConfigError(
                f"PointNet needs node types, and widths of at least 1, got {dict(widths)} to {channels} by {[*hidden]}"
            )
        self.nodes = tuple(widths)
        self.inner = nn.ModuleDict({weight_key(node): _inner([width, *hidden]) for node, width in widths.items()})
        self.outer = nn.ModuleDict(
            {weight_key(node): nn.Sequential(nn.Dropout(dropout), nn.Linear(hidden[-1], channels)) for node in widths}
        )

    def forward(self, graph: HeteroData) -> Features:
        """Gives ``[rows, channels]`` for each node type."""
        return {node: self._encode(weight_key(node), graph[node].points) for node in self.nodes}

    def _encode(self, key: str, points: Tensor) -> Tensor:
        mask = ~points.isnan().any(dim=2)  # [rows, points]
        states = self.inner[key](points[mask].float())  # [points of all, hidden]
        row = mask.nonzero()[:, :1].expand_as(states)
        largest = states.new_zeros(len(points), states.shape[1])
        largest = largest.scatter_reduce(0, row, states, "amax", include_self=False)  # [rows, hidden]
        return self.outer[key](largest)


def read_points(payload: object, *, columns: int | None = None) -> np.ndarray:
    """The points of a cloud in ascending order, float64 ``[points, columns]``.

    Args:
        payload: A list of equally long lists of numbers, the first three its place; or an array.
        columns: Numbers that each point must have; ``None`` for any.

    Raises:
        DataError: It is no such list, has no point or too many, or holds something else than finite numbers.

    Example:
        >>> read_points([[1, 0, 0], [0, 0, 0]]).tolist()
        [[0.0, 0.0, 0.0], [1.0, 0.0, 0.0]]
    """
    if not isinstance(payload, list | tuple | np.ndarray):
        raise DataError(f"a cloud must be a list of points [x, y, z], got {type(payload).__name__}")
    try:
        points = np.asarray(payload)
    except (ValueError, OverflowError):
        raise DataError("a cloud must have equally many numbers in each point, got different ones") from None
    wanted = f"{columns}" if columns else "at least 3"
    if points.ndim != 2 or not len(points) or points.shape[1] < 3 or (columns and points.shape[1] != columns):
        raise DataError(f"a cloud must be at least 1 point of {wanted} numbers, got {list(points.shape)}")
    if points.dtype.kind not in "iuf" or len(points) > MAX_POINTS:
        raise DataError(f"a cloud must be at most {MAX_POINTS} points of numbers, got {len(points)} of {points.dtype}")
    points = points.astype(np.float64)
    if not (finite := (np.abs(points) < 1e30).all(axis=1)).all():
        place = int((~finite).argmax())
        raise DataError(f"a cloud must be finite numbers below 1e30, got {points[place].tolist()} at point {place}")
    return points[np.lexsort(points.T[::-1])]


def cloud_bytes(payload: object) -> bytes:
    """The bytes that tell a cloud from others, whatever the order of its points.

    Raises:
        DataError: It is no cloud.
    """
    points = read_points(payload)
    return struct.pack("<2Q", *points.shape) + points.astype("<f8").tobytes()


def _draw(points: int, wanted: int) -> np.ndarray:
    """Which points are kept, always the same for the same numbers."""
    if points <= wanted:
        return np.arange(points)
    return np.random.Generator(np.random.PCG64(0)).permutation(points)[:wanted]


def _histogram(distance: np.ndarray, farthest: float) -> np.ndarray:
    """Shares of the distances in equal bins, each split between the two next to it; what is beyond is in the last."""
    place = np.clip(distance / farthest * (BINS - 1), 0, BINS - 1)
    left = np.minimum(place.astype(np.int64), BINS - 2)
    found = np.bincount(left, 1 - (place - left), BINS) + np.bincount(left + 1, place - left, BINS)
    return found / max(len(distance), 1)


def _unit(block: np.ndarray) -> np.ndarray:
    return block / max(float(np.linalg.norm(block)), 1e-12)


def _inner(widths: Sequence[int]) -> nn.Sequential:
    steps: list[nn.Module] = []
    for before, after in pairwise(widths):
        steps += [nn.Linear(before, after), nn.LayerNorm(after), nn.ReLU()]
    return nn.Sequential(*steps)
