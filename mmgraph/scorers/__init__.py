r"""Scorers: how true a fact is, ``scorer(sources, relations, targets) -> scores``.

| scorer | score | a relation's width | all entities at once | symmetric | antisymmetric | inverse | composition |
|---|---|---|---|---|---|---|---|
| :class:`TransE` | :math:`\gamma - \|h + r - t\|` | d | product (norm 2) or blocks | no | yes | yes | yes |
| :class:`RotatE` | :math:`\gamma - \sum_c \|h_c e^{i\theta_c} - t_c\|` | d/2 | blocks | yes | yes | yes | yes |
| :class:`DistMult` | :math:`\sum_c h_c r_c t_c` | d | product | always | no | no | no |
| :class:`ComplEx` | :math:`\mathrm{Re} \sum_c h_c r_c \bar t_c` | d | product | yes | yes | yes | no |
| :class:`TuckER` | :math:`\mathcal{W} \times_1 r \times_2 h \times_3 t` | any | product | yes | yes | yes | yes |
| :class:`ConvE` | :math:`\phi(h, r) \cdot t + b_t` | d - 1 | product | learned | learned | learned | learned |

A scorer owns no vectors of entities or relations: they are given to it, learned or computed from payloads.
"""

from mmgraph.scorers.base import Scorer
from mmgraph.scorers.bilinear import ComplEx, DistMult
from mmgraph.scorers.conv import ConvE
from mmgraph.scorers.translational import RotatE, TransE
from mmgraph.scorers.tucker import TuckER

__all__ = ["ComplEx", "ConvE", "DistMult", "RotatE", "Scorer", "TransE", "TuckER"]
