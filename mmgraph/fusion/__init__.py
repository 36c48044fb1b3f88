"""Fusion: ``(parts, present) -> [anchors, channels]``, one vector an anchor.

| fusion | parameters | when |
|---|---|---|
| :class:`Concat` | linear in the sum of widths | the default; equals a star of relation-typed messages |
| :class:`Sum` | none | parts already share a space; late fusion of logits (``mean=True``) |
| :class:`Product` | none | parts must agree |
| :class:`Gated` | as Concat, twice | parts differ in reliability from anchor to anchor |
| :class:`Tensor` | exponential in the number of parts | few small parts that interact |
"""

from mmgraph.fusion.base import Fusion
from mmgraph.fusion.concat import Concat
from mmgraph.fusion.gated import Gated
from mmgraph.fusion.product import Product
from mmgraph.fusion.sum import Sum
from mmgraph.fusion.tensor import Tensor

__all__ = ["Concat", "Fusion", "Gated", "Product", "Sum", "Tensor"]
