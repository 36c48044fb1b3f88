"""Scorers that are linear in the source, the relation and the target: DistMult and ComplEx."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mmgraph.errors import ConfigError
from mmgraph.functional.scoring import complex_product, moduli
from mmgraph.scorers.base import InnerProduct


class DistMult(InnerProduct):
    r"""The trilinear product :math:`\sum_c h_c\, r_c\, t_c`.

    Source and target can change places: what it scores is symmetric, whatever the relation (but not where the inverse
    has a vector of its own, as ``relations`` of a Linker have). With entities of unit length and r = 1/τ it is the
    similarity of CLIP.

    Source: Yang, Yih, He, Gao and Deng 2015, Embedding entities and relations for learning and inference in knowledge
    bases, eq. 2; arXiv:1412.6575.

    Args:
        channels: Width of the vectors of entities and relations.

    Example:
        >>> scorer = DistMult(2)
        >>> scorer(torch.tensor([1.0, 2.0]), torch.tensor([1.0, -1.0]), torch.tensor([3.0, 4.0]))
        tensor(-5.)
    """

    def __init__(self, channels: int) -> None:
        super().__init__(channels, channels)

    def question(self, sources: Tensor, relations: Tensor) -> Tensor:
        """Gives ``[..., channels]``."""
        return sources * relations

    def factors(self, sources: Tensor, relations: Tensor, targets: Tensor) -> tuple[Tensor, ...]:
        """Gives the absolute values of the three, ``[..., channels]``."""
        return sources.abs(), relations.abs(), targets.abs()

    @torch.no_grad()
    def initialise(self, entities: Tensor, relations: Tensor) -> None:
        """Draws by Glorot's rule (normal)."""
        nn.init.xavier_normal_(entities)
        nn.init.xavier_normal_(relations)


class ComplEx(InnerProduct):
    r"""The real part of a trilinear product of complex vectors: :math:`\mathrm{Re} \sum_c h_c\, r_c\, \bar t_c`.

    A relation with real numbers is symmetric, with imaginary ones antisymmetric, and the conjugate of a relation is its
    inverse. Where all imaginary parts are 0, it is :class:`DistMult`.

    The first half of a vector is its real part, the second its imaginary.

    Source: Trouillon, Welbl, Riedel, Gaussier and Bouchard 2016, Complex embeddings for simple link prediction, eq. 9
    to 11; arXiv:1606.06357. The start and the factors are those of Lacroix, Usunier and Obozinski 2018, Canonical
    tensor decomposition for knowledge base completion; arXiv:1806.07297.

    Args:
        channels: Width of the vectors of entities and relations: twice the complex numbers.
        std: Standard deviation of the vectors at the start.

    Raises:
        ConfigError: ``channels`` is odd.

    Example:
        >>> scorer = ComplEx(2)
        >>> here, there, turn = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0]), torch.tensor([0.0, 1.0])
        >>> scorer(here, turn, there), scorer(there, turn, here)  # 1 · i is i, but i · i is -1
        (tensor(1.), tensor(-1.))
    """

    def __init__(self, channels: int, *, std: float = 1e-3) -> None:
        super().__init__(channels, channels)
        if channels % 2:
            raise ConfigError(f"ComplEx needs an even number of channels, half of them imaginary, got {channels}")
        self.std = std

    def question(self, sources: Tensor, relations: Tensor) -> Tensor:
        """Gives ``[..., channels]``."""
        return complex_product(sources, relations)

    def factors(self, sources: Tensor, relations: Tensor, targets: Tensor) -> tuple[Tensor, ...]:
        """Gives the moduli of the three, ``[..., channels / 2]``."""
        return moduli(sources), moduli(relations), moduli(targets)

    @torch.no_grad()
    def initialise(self, entities: Tensor, relations: Tensor) -> None:
        """Draws normal numbers of standard deviation ``std``."""
        nn.init.normal_(entities, std=self.std)
        nn.init.normal_(relations, std=self.std)
