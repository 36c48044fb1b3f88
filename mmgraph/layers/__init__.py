r"""Message passing over the edge sets of a heterogeneous graph.

A layer takes the states of all node types and the edges of all types, and gives new states:
``layer(features, edges) -> features``. Each relation has its own weights.

| layer | message to v | update | keeps deep? |
|---|---|---|---|
| :class:`Mean` | :math:`\sum_r W_r\,\mathrm{mean}_u h_u` | :math:`\sigma(m_v + B h_v)` | no |
| :class:`GCN` | :math:`\sum_r W_r \sum_u h_u / \sqrt{\hat d_u \hat d_v}`, loops included | :math:`\sigma(m_v)` | no |
| :class:`RGCN` | as :class:`Mean`, with :math:`W_r` of shared bases or of blocks | :math:`\sigma(m_v + B h_v)` | no |
| :class:`CompGCN` | :math:`W_d \sum_{u,r} \phi(h_u, z_r) / \sqrt{d_u d_v}` | :math:`\sigma(m_v + W \phi_v)` | no |
| :class:`Gated` | :math:`\sum_r \sum_u (W_r h_u + b_r)` | :math:`\mathrm{GRU}(m_v, h_v)`, shared over rounds | yes |
| :class:`Attention` | :math:`W_O \sum_u \mathrm{softmax}_u(q_v \cdot k_u)\, v_u`, all relations | feed-forward | yes |
| :class:`MemoryAttention` | as :class:`Attention`, over learned slots too | feed-forward | yes |
| :class:`HAN` | :math:`\sum_p \beta_p \sigma(\sum_u \mathrm{softmax}_u(a_p [h_u, h_v]) h_u)` | :math:`m_v` | no |
| :class:`HGT` | :math:`\sum_{u,r} \mathrm{softmax}_{u,r}(\mu_r q_v \cdot A_r k_u) M_r v_u` | gated by type | yes |
| :class:`KernelRidge` | :math:`\sum_{u \ne v} a_u K_{uv} + b`, with K the sum of all relations | :math:`m_v` | – |
| :class:`LSTM` | :math:`\sum_r \sum_u U_r h_u`, of states that are computed already | LSTM, in the edges' order | yes |
| :class:`MultiViewLSTM` | :math:`U_{vv} D_\alpha h_v + \sum_u U_{vu} D_\beta h_u` | LSTM, a memory a view | yes |
| :class:`Readout` | :math:`\sum_{d(u, v) \le k} w_u h_u`, a subgraph's members | :math:`m_v` | yes |
| :class:`Smooth` | :math:`\mathrm{mean}_r \mathrm{mean}_u h_u` | :math:`(1-\alpha) h^0_v + \alpha m_v` | yes |
"""

from mmgraph.layers.attention import Attention
from mmgraph.layers.base import Edges, Layer, adjacency, edge_sets
from mmgraph.layers.compgcn import CompGCN
from mmgraph.layers.gated import Gated
from mmgraph.layers.gcn import GCN, Mean
from mmgraph.layers.han import HAN
from mmgraph.layers.hgt import HGT
from mmgraph.layers.kernel_ridge import KernelRidge
from mmgraph.layers.lstm import LSTM
from mmgraph.layers.memory import MemoryAttention
from mmgraph.layers.multiview import MultiViewLSTM
from mmgraph.layers.parts import gather_parts
from mmgraph.layers.readout import Readout
from mmgraph.layers.rgcn import RGCN
from mmgraph.layers.smooth import Smooth
from mmgraph.layers.stack import Stack

__all__ = [
    "GCN",
    "HAN",
    "HGT",
    "LSTM",
    "RGCN",
    "Attention",
    "CompGCN",
    "Edges",
    "Gated",
    "KernelRidge",
    "Layer",
    "Mean",
    "MemoryAttention",
    "MultiViewLSTM",
    "Readout",
    "Smooth",
    "Stack",
    "adjacency",
    "edge_sets",
    "gather_parts",
]
