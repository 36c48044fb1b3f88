"""What kind a relation is: how many tails a head has under it, and how many heads a tail."""

import torch
from torch import Tensor

CATEGORIES = ("1-1", "1-n", "n-1", "n-n")
"""Names of the kinds, in the order of their numbers: how many heads a tail has, then how many tails a head has."""

MANY = 1.5  # on average, and more: many


def categories(facts: Tensor, num_relations: int) -> Tensor:
    r"""The category of each relation: one or many heads a tail, one or many tails a head.

    Source: Bordes et al. 2013, Translating embeddings for modeling multi-relational data, NeurIPS, section 4.2.

    .. math::
        \text{tails a head} = \frac{|\{(h, t) : (h, r, t)\}|}{|\{h : (h, r, t)\}|}, \qquad
        \text{heads a tail} = \frac{|\{(h, t) : (h, r, t)\}|}{|\{t : (h, r, t)\}|}

    A side is "n" (many) where its mean is at least 1.5. A fact given twice counts once.

    Args:
        facts: Head, relation and tail of each fact, ``[facts, 3]`` of int64.
        num_relations: How many relations there are.

    Returns:
        Numbers into :data:`CATEGORIES`, ``[num_relations]`` of int64; -1 for a relation without a fact.

    Example:
        >>> born_in = [[person, 0, 7] for person in range(3)]  # three people, one town
        >>> married = [[0, 1, 1], [1, 1, 0]]
        >>> [CATEGORIES[kind] for kind in categories(torch.tensor(born_in + married), 2).tolist()]
        ['n-1', '1-1']
    """
    heads, relations, tails = facts.long().unbind(dim=1)
    count = int(torch.stack([heads, tails]).max()) + 1 if len(facts) else 1
    pairs, pair = (relations * count + heads).unique(return_inverse=True)  # a (head, relation) each
    once = (pair * count + tails).unique()  # facts without repetition; far below 2 ** 63
    relation = pairs[once // count] // count
    facts_of = relation.bincount(minlength=num_relations)
    heads_of = (pairs // count).bincount(minlength=num_relations)
    tails_of = ((relations * count + tails).unique() // count).bincount(minlength=num_relations)
    many_heads = facts_of >= MANY * tails_of
    many_tails = facts_of >= MANY * heads_of
    return torch.where(facts_of > 0, 2 * many_heads + many_tails, -1)
