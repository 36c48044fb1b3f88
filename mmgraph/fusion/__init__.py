r"""Fusion: ``(parts, present) -> [anchors, channels]``, one vector an anchor.

| fusion | formula | weights (for M parts d wide, c channels) | when |
|---|---|---|---|
| :class:`Concat` | :math:`\sum_m W_m h_m + b` | M·d·c | the default; equals a star of relation-typed messages |
| :class:`MLP` | the same, then hidden layers | M·d·hidden + hidden·c | parts interact, nobody knows how |
| :class:`Sum` | :math:`\sum_m h_m`, or the mean | none | parts already share a space |
| :class:`Product` | :math:`\prod_m h_m` | none | they share one, and must agree |
| :class:`Gated` | :math:`\sum_m \sigma(U_m h) \odot \tanh(W_m h_m)` | M·d·c + M²·d·c | how reliable parts are differs |
| :class:`Experts` | :math:`\sum_m \mathrm{softmax}_m(g(h)) E_m(h_m)` | M·d·c + M²·d | the same; one share a part |
| :class:`Attention` | :math:`\sum_m \mathrm{softmax}_m(q \cdot k_m) v_m` | M·d·c + c² | many parts, often absent |
| :class:`Bilinear` | :math:`W [h_m \otimes h_n]_{m<n} + b` | M(M−1)/2·d²·c | parts interact in pairs |
| :class:`Tensor` | :math:`W \bigotimes_m [h_m; 1] + b` | (d+1)^M·c | few small parts that interact |
| :class:`LowRank` | :math:`\sum_r \prod_m W_m^{(r)} [h_m; 1]` | R·M·(d+1)·c | the same, for more or wider parts |
| :class:`Late` | :math:`\sum_m a_m f_m(h_m)` | M·d·c | each part can answer alone |
| :class:`Hybrid` | :math:`\sum_i F_i` | those of its fusions | early and late at once |
"""

from mmgraph.fusion.attention import Attention
from mmgraph.fusion.base import Fusion
from mmgraph.fusion.bilinear import Bilinear
from mmgraph.fusion.concat import Concat
from mmgraph.fusion.experts import Experts
from mmgraph.fusion.gated import Gated
from mmgraph.fusion.hybrid import Hybrid
from mmgraph.fusion.late import Late
from mmgraph.fusion.low_rank import LowRank
from mmgraph.fusion.mlp import MLP
from mmgraph.fusion.product import Product
from mmgraph.fusion.sum import Sum
from mmgraph.fusion.tensor import Tensor

__all__ = [
    "MLP",
    "Attention",
    "Bilinear",
    "Concat",
    "Experts",
    "Fusion",
    "Gated",
    "Hybrid",
    "Late",
    "LowRank",
    "Product",
    "Sum",
    "Tensor",
]
