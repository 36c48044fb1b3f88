r"""Directions of several views that vary together: canonical correlation, in closed form and as a loss.

| function | makes |
|---|---|
| :func:`cca` | the linear maps of two or more views into one space, in closed form |
| :func:`correlation_loss` | minus the sum of the correlations, to train networks that feed the views (deep CCA) |

Both add the same ridge to a view's covariance :math:`C_v = X_v^\top X_v / n` (of centred columns):
:math:`D_v = C_v + \lambda \bar\sigma_v^2 I`, with :math:`\bar\sigma_v^2` the mean variance of the view's columns, so
that neither depends on the unit that a view is measured in.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

FLOOR = 1e-12  # added to the variances of a loss: a constant batch has a gradient of 0, not of NaN


@dataclass(frozen=True)
class CCA:
    """What :func:`cca` found.

    Attributes:
        correlations: How strongly the views agree on each direction, strongest first, ``[channels]``.
        centres: The mean of each view, ``[channels_v]``.
        maps: The map of each view, each direction already scaled by its correlation, ``[channels_v, channels]``.
    """

    correlations: Tensor
    centres: tuple[Tensor, ...]
    maps: tuple[Tensor, ...]

    def project(self, x: Tensor, view_index: int) -> Tensor:
        """Places rows of one view in the shared space; cosines there say what belongs together.

        Args:
            x: ``[rows, channels_v]``, of any rows.
            view_index: Which view they are of.

        Returns:
            ``[rows, channels]``, of ``x``'s type (float32 if it holds whole numbers).

        Raises:
            ValueError: There is no such view, or it has another number of channels.
        """
        if not 0 <= view_index < len(self.maps):
            raise ValueError(f"view_index must be from 0 to {len(self.maps) - 1}, got {view_index}")
        centre = self.centres[view_index]
        if x.dim() != 2 or x.shape[1] != len(centre):
            raise ValueError(f"View {view_index} must be [rows, {len(centre)}], got {list(x.shape)}")
        projected = (x.double() - centre) @ self.maps[view_index]  # [rows, channels]
        return projected.to(x.dtype if x.dtype.is_floating_point else torch.float32)


def cca(xs: Sequence[Tensor], *, channels: int, ridge: float) -> CCA:
    r"""Canonical correlation analysis of two or more views of the same rows.

    For two views, the directions :math:`a, b` of greatest :math:`\rho = a^\top C_{12} b` with
    :math:`a^\top D_1 a = b^\top D_2 b = 1`, each uncorrelated with those before it (Hotelling 1936; the ridge: Vinod
    1976). For more views the MAXVAR generalisation (Kettenring 1971): with :math:`w` the leading eigenvectors of the
    matrix of blocks :math:`T_{uv} = D_u^{-1/2} C_{uv} D_v^{-1/2}` and :math:`T_{vv} = I`, of eigenvalues :math:`\mu`,

    .. math:: \rho = \frac{\mu - 1}{V - 1}, \qquad z_v = \rho\, \sqrt V\, w_v^\top D_v^{-1/2} (x_v - \bar x_v)

    which for V = 2 is the former. The factor :math:`\rho` in the projection is for search by cosine: without it,
    directions that the views agree on count no more than those that they agree on by chance. (Whether a pair belongs
    together has, under a Gaussian model, a log-odds of :math:`\rho / (1 - \rho^2)` times the product of the
    coordinates: 0 where :math:`\rho` is 0.)

    Columns may be constant or depend on each other, and there may be more of them than rows: directions without
    variance are left out. Where fewer than ``channels`` directions correlate, the last are 0.

    Source: Hotelling 1936, Relations between two sets of variates, Biometrika 28, doi:10.1093/biomet/28.3-4.321;
    Vinod 1976, Canonical ridge and econometrics of joint production, Journal of Econometrics 4,
    doi:10.1016/0304-4076(76)90010-5; Kettenring 1971, Canonical analysis of several sets of variables, Biometrika 58,
    doi:10.1093/biomet/58.3.433.

    Args:
        xs: The views, each ``[rows, channels_v]``: row i of one belongs with row i of each other.
        channels: How many directions.
        ridge: :math:`\lambda`, a share of each view's mean variance. Needed (0.01 to 1) where a view has about as
            many columns as there are rows: without it, all correlations are 1.

    Returns:
        The maps, their centres and the correlations, in float64.

    Raises:
        ValueError: Fewer than two views or two rows, views of different rows, values that are not finite,
            ``channels`` below 1 or a negative ``ridge``.

    Example:
        >>> x = torch.tensor([[0.0, 1.0], [1.0, -1.0], [2.0, -1.0], [3.0, 1.0]])
        >>> found = cca([x, -5 * x[:, :1]], channels=1, ridge=0.0)
        >>> round(float(found.correlations), 6)
        1.0
        >>> found.project(x, 0).isclose(found.project(-5 * x[:, :1], 1)).all()
        tensor(True)
    """
    rows = _check(xs, channels, ridge)
    wide = [x.double() for x in xs]
    centres = tuple(x.mean(dim=0) for x in wide)
    whitened = [_whiten((x - centre) / rows**0.5, ridge) for x, centre in zip(wide, centres, strict=True)]
    joint = torch.cat([coordinates for coordinates, _ in whitened], dim=1)  # [rows, sum of ranks]
    sizes = [coordinates.shape[1] for coordinates, _ in whitened]
    blocks = joint.T @ joint
    for block in torch.arange(sum(sizes), device=blocks.device).split(sizes):
        blocks[block[:, None], block] = torch.eye(len(block), dtype=blocks.dtype, device=blocks.device)
    values, vectors = torch.linalg.eigh(blocks)  # ascending
    found = min(channels, len(values))
    correlations = values.new_zeros(channels)
    correlations[:found] = ((values.flip(0)[:found] - 1) / (len(xs) - 1)).clamp(0, 1)
    scaled = vectors.new_zeros(len(values), channels)
    scaled[:, :found] = vectors.flip(1)[:, :found]
    scaled = scaled * correlations * len(xs) ** 0.5
    maps = tuple(back @ part for (_, back), part in zip(whitened, scaled.split(sizes), strict=True))
    return CCA(correlations, centres, maps)


def _whiten(x: Tensor, ridge: float) -> tuple[Tensor, Tensor]:
    """Centred rows / √rows as ``[rows, rank]`` whose products are D^-1/2 C D^-1/2, and the map to them."""
    left, scale, right = torch.linalg.svd(x, full_matrices=False)
    kept = scale > max(x.shape) * torch.finfo(x.dtype).eps * scale.amax() if len(scale) else scale > 0
    left, scale, right = left[:, kept], scale[kept], right[kept]
    spread = (scale.square() + ridge * scale.square().sum() / max(x.shape[1], 1)).sqrt()
    return left * (scale / spread), right.T / spread


def correlation_loss(x: Tensor, y: Tensor, *, ridge: float, channels: int | None = None) -> Tensor:
    r"""Minus the sum of the canonical correlations of two views: deep CCA, if networks made them.

    .. math:: L = -\|T\|_* = -\sum_k \sigma_k(T), \quad T = D_x^{-1/2} C_{xy} D_y^{-1/2}

    The singular values are taken of :math:`L_x^{-1} C_{xy} L_y^{-\top}` with Cholesky factors, which has the same, and
    whose gradient stays finite where variances or correlations are equal. Multiples of a view, and other units of it,
    change nothing. A batch must have several times as many rows as channels, or all correlations are near 1 and
    nothing is learnt.

    Source: Andrew, Arora, Bilmes & Livescu 2013, Deep canonical correlation analysis, ICML.

    Args:
        x: ``[rows, channels_x]``.
        y: ``[rows, channels_y]``: row i belongs with row i of ``x``.
        ridge: :math:`\lambda`, a share of each view's mean variance; above 0.
        channels: How many of the greatest correlations are summed; by default all.

    Returns:
        A scalar, of ``x``'s type; 0 with a gradient where fewer than two rows are given.

    Raises:
        ValueError: The views have different rows, ``ridge`` is not above 0 or ``channels`` is below 1.

    Example:
        >>> x = torch.tensor([[1.0], [2.0], [4.0]])
        >>> correlation_loss(x, -3 * x, ridge=1e-4)
        tensor(-0.9999)
    """
    if x.dim() != 2 or y.dim() != 2 or len(x) != len(y):
        raise ValueError(f"Views must be [rows, channels] of the same rows, got {list(x.shape)} and {list(y.shape)}")
    if not ridge > 0 or (channels is not None and channels < 1):
        raise ValueError(f"ridge must be above 0 and channels at least 1, got ridge={ridge}, channels={channels}")
    if len(x) < 2:
        return (x.sum() + y.sum()) * 0
    wide = [(view.double() - view.double().mean(dim=0)) / len(view) ** 0.5 for view in (x, y)]
    across = wide[0].T @ wide[1]  # [channels_x, channels_y]
    for view in wide:
        within = view.T @ view
        extra = ridge * within.diagonal().mean() + FLOOR
        factor = torch.linalg.cholesky(within + extra * torch.eye(len(within), dtype=within.dtype, device=x.device))
        across = torch.linalg.solve_triangular(factor, across, upper=False).T
    return -torch.linalg.svdvals(across)[:channels].sum().to(x.dtype)


def _check(xs: Sequence[Tensor], channels: int, ridge: float) -> int:
    shapes = [list(x.shape) for x in xs]
    if len(xs) < 2 or any(len(shape) != 2 or shape[0] != shapes[0][0] for shape in shapes) or shapes[0][0] < 2:
        raise ValueError(f"cca needs at least 2 views [rows, channels] of the same rows, 2 or more, got {shapes}")
    if channels < 1 or not ridge >= 0:
        raise ValueError(f"channels must be at least 1 and ridge at least 0, got channels={channels}, ridge={ridge}")
    for at, x in enumerate(xs):
        if not x.isfinite().all():
            raise ValueError(f"Views must be finite, got {int((~x.isfinite()).sum())} values of view {at} that are not")
    return int(shapes[0][0])
