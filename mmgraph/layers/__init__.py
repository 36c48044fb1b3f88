r"""Message passing over the edge sets of a heterogeneous graph.

A layer takes the states of all node types and the edges of all types, and gives new states:
``layer(features, edges) -> features``. Each relation has its own weights.

| layer | message to v | update | keeps deep? |
|---|---|---|---|
| :class:`Mean` | :math:`\sum_r W_r\,\mathrm{mean}_u h_u` | :math:`\sigma(m_v + B h_v)` | no |
| :class:`GCN` | :math:`\sum_r W_r \sum_u h_u / \sqrt{\hat d_u \hat d_v}`, loops included | :math:`\sigma(m_v)` | no |
| :class:`Gated` | :math:`\sum_r \sum_u (W_r h_u + b_r)` | :math:`\mathrm{GRU}(m_v, h_v)`, shared over rounds | yes |
| :class:`Smooth` | :math:`\mathrm{mean}_r \mathrm{mean}_u h_u` | :math:`(1-\alpha) h^0_v + \alpha m_v` | yes |
"""

from mmgraph.layers.base import Edges, Layer, adjacency, edge_sets
from mmgraph.layers.gated import Gated
from mmgraph.layers.gcn import GCN, Mean
from mmgraph.layers.smooth import Smooth
from mmgraph.layers.stack import Stack

__all__ = ["GCN", "Edges", "Gated", "Layer", "Mean", "Smooth", "Stack", "adjacency", "edge_sets"]
