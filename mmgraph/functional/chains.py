r"""Coupled hidden Markov chains: what hidden states are, where several chains run side by side and pull at each other.

A graphical model over hidden states :math:`s^v_t` of chains v at steps t; each pulls at every chain in the next step:

.. math::
    \log p(s) = \sum_v \pi^v(s^v_0) + \sum_{t,v} e^v_t(s^v_t)
    + \sum_{t \ge 1} \sum_{u,v} A^{u \to v}(s^u_{t-1}, s^v_t) - \log Z

All terms are log-potentials, any real numbers: :math:`A^{v \to v}` is a chain's own transition, :math:`A^{u \to v}` the
coupling of two. Source: Brand, Oliver and Pentland 1997, Coupled hidden Markov models for complex action recognition,
CVPR (whose coupled transition is the product of such pairwise terms).

| function | cost | exact |
|---|---|---|
| :func:`coupled_chains` | :math:`T K^{2M}` (K states, M chains) | always |
| :func:`coupled_chains_loopy` | :math:`T M^2 K^2` a round | where the couplings that are not 0 make no loop |

A model of chains learns by the gradient of :math:`\log Z`, which is the marginals: :math:`-\log p(s)` is
``log_partition - path_score``.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

MOST_JOINT = 4096
"""Most joint states of all chains that are run through one by one."""


class Chains(NamedTuple):
    """What is known of hidden states."""

    log_partition: Tensor  # [sequences]
    marginals: Tensor  # [sequences, steps, chains, states]; zeros behind a sequence's end


def path_score(emission: Tensor, initial: Tensor, links: Tensor, states: Tensor, length: Tensor) -> Tensor:
    r"""The sum of the log-potentials of given states, :math:`\log p(s) + \log Z`, ``[sequences]``.

    Args:
        emission: :math:`e`, ``[sequences, steps, chains, states]``.
        initial: :math:`\pi`, ``[chains, states]``.
        links: :math:`A`, ``[chains, chains, states, states]``: from chain and its state, to chain and its state.
        states: ``[sequences, steps, chains]``.
        length: Steps of each sequence, ``[sequences]``; what lies behind is not read.

    Example:
        >>> emission = torch.tensor([[[[0.0, 1.0]], [[2.0, 0.0]]]])
        >>> links = torch.tensor([[[[0.0, 0.0], [5.0, 0.0]]]])
        >>> path_score(emission, torch.zeros(1, 2), links, torch.tensor([[[1], [0]]]), torch.tensor([2]))
        tensor([8.])
    """
    inside = _check(emission, initial, links, length)
    count, chains = links.shape[2], torch.arange(links.shape[0], device=emission.device)
    states = states.where(inside[:, :, None], 0)
    local = (
        emission.gather(3, states[..., None]).squeeze(3).where(inside[:, :, None], 0.0)
    )  # [sequences, steps, chains]
    total = local.sum(dim=(1, 2))
    if emission.shape[1] == 0:
        return total
    start = initial.gather(1, states[:, 0].T).sum(dim=0)  # [sequences]
    before, after = states[:, :-1, :, None], states[:, 1:, None, :]
    flat = links.reshape(len(links), len(links), count * count)
    pulled = flat[chains[:, None], chains[None, :], before * count + after]  # [sequences, steps - 1, chains, chains]
    pulled = pulled.where(inside[:, 1:, None, None], 0.0)
    return total + start.where(length > 0, 0.0) + pulled.sum(dim=(1, 2, 3))


def coupled_chains(emission: Tensor, initial: Tensor, links: Tensor, length: Tensor) -> Chains:
    r"""Sum-product over the joint state of all chains: exact, by forward and backward sums in log space.

    Args:
        emission: :math:`e`, ``[sequences, steps, chains, states]``.
        initial: :math:`\pi`, ``[chains, states]``.
        links: :math:`A`, ``[chains, chains, states, states]``: from chain and its state, to chain and its state.
        length: Steps of each sequence, ``[sequences]``, from 0; what lies behind is not read.

    Returns:
        :math:`\log Z` (0 for a sequence without steps), and each state's probability.

    Raises:
        ValueError: Shapes that do not fit, a length out of range, or more than :data:`MOST_JOINT` joint states.

    Example:
        >>> same = torch.tensor([[[[1.0, 0.0], [0.0, 1.0]]]])
        >>> emission = torch.tensor([[[[3.0, 0.0]], [[0.0, 0.0]]]])
        >>> found = coupled_chains(emission, torch.zeros(1, 2), same, torch.tensor([2]))
        >>> found.marginals[0, :, 0, 0]
        tensor([0.9526, 0.7091])
    """
    inside = _check(emission, initial, links, length)
    sequences, steps, chains, states = emission.shape
    if states**chains > MOST_JOINT:
        raise ValueError(
            f"{chains} chains of {states} states have {states**chains:,} joint states, more than {MOST_JOINT:,}; "
            "use coupled_chains_loopy"
        )
    if steps == 0:
        return Chains(emission.new_zeros(sequences), emission)
    emission = emission.where(inside[:, :, None, None], 0.0)
    table = torch.cartesian_prod(*[torch.arange(states, device=emission.device)] * chains)
    table = table.reshape(-1, chains)  # [joint, chains]: state of each chain
    number = torch.arange(chains, device=emission.device)
    local = emission[:, :, number, table].sum(dim=3)  # [sequences, steps, joint]
    pull = links[number[:, None], number, table[:, None, :, None], table[None, :, None, :]].sum(dim=(2, 3))
    forward = [initial[number, table].sum(dim=1) + local[:, 0]]  # [sequences, joint]
    for step in range(1, steps):
        moved = (forward[-1][:, :, None] + pull).logsumexp(dim=1) + local[:, step]
        forward.append(moved.where(inside[:, step, None], forward[-1]))
    log_partition = forward[-1].logsumexp(dim=1).where(length > 0, 0.0)
    backward = [torch.zeros_like(forward[-1])]
    for step in range(steps - 1, 0, -1):
        moved = (pull + (local[:, step] + backward[-1])[:, None, :]).logsumexp(dim=2)
        backward.append(moved.where(inside[:, step, None], backward[-1]))
    joint = torch.stack(forward, dim=1) + torch.stack(backward[::-1], dim=1) - log_partition[:, None, None]
    sums = torch.nn.functional.one_hot(table, states).to(emission.dtype)  # [joint, chains, states]
    marginals = torch.einsum("btj,jvk->btvk", joint.exp(), sums)
    return Chains(log_partition, marginals * inside[:, :, None, None])


def coupled_chains_loopy(
    emission: Tensor, initial: Tensor, links: Tensor, length: Tensor, *, rounds: int = 50, damping: float = 0.0
) -> Chains:
    r"""Loopy belief propagation over the states of each chain: messages along every link, forward and backward.

    Exact, after as many rounds as steps, where the links that are not constant make no loop (one chain; chains that
    are not coupled; chains that only follow one other and have no transition of their own). Otherwise an approximation
    without a bound on its error: marginals that may be too sure, and the Bethe approximation of :math:`\log Z`, which
    may be above or below. Source: Yedidia, Freeman and Weiss 2005, Constructing free-energy approximations and
    generalized belief propagation algorithms, IEEE Trans. Information Theory 51.

    Args:
        emission: :math:`e`, ``[sequences, steps, chains, states]``.
        initial: :math:`\pi`, ``[chains, states]``.
        links: :math:`A`, ``[chains, chains, states, states]``: from chain and its state, to chain and its state.
        length: Steps of each sequence, ``[sequences]``, from 0; what lies behind is not read.
        rounds: How often all messages are sent.
        damping: Share of the old message that is kept, from 0 to below 1: what helps where messages swing.

    Returns:
        :math:`\log Z` in Bethe's approximation, and each state's probability, ``[sequences, steps, chains, states]``.

    Raises:
        ValueError: Shapes that do not fit, a length, rounds or damping out of range.

    Example:
        >>> same = torch.tensor([[[[1.0, 0.0], [0.0, 1.0]]]])
        >>> emission = torch.tensor([[[[3.0, 0.0]], [[0.0, 0.0]]]])
        >>> found = coupled_chains_loopy(emission, torch.zeros(1, 2), same, torch.tensor([2]))
        >>> found.marginals[0, :, 0, 0]
        tensor([0.9526, 0.7091])
    """
    inside = _check(emission, initial, links, length)
    if rounds < 1 or not 0 <= damping < 1:
        raise ValueError(f"rounds must be at least 1 and damping in [0, 1), got rounds={rounds}, damping={damping}")
    sequences, steps, chains, states = emission.shape
    if steps == 0:
        return Chains(emission.new_zeros(sequences), emission)
    local = emission.where(inside[:, :, None, None], 0.0)
    local = torch.cat([local[:, :1] + initial, local[:, 1:]], dim=1)
    linked = inside[:, 1:, None, None, None]  # whether the step after is there: [sequences, steps - 1, 1, 1, 1]
    # a message between steps t and t + 1 and chains u and v: [sequences, steps - 1, u, v, states]
    onward = local.new_zeros(sequences, steps - 1, chains, chains, states)  # to state of v at t + 1
    back = torch.zeros_like(onward)  # to state of u at t
    for _ in range(rounds):
        belief = _beliefs(local, onward, back)
        told = belief[:, :-1, :, None] - back  # what (t, u) says but for what v told it
        heard = belief[:, 1:, None] - onward  # what (t + 1, v) says but for what u told it
        new_onward = (told[..., :, None] + links).logsumexp(dim=-2).log_softmax(dim=-1).where(linked, 0.0)
        new_back = (heard[..., None, :] + links).logsumexp(dim=-1).log_softmax(dim=-1).where(linked, 0.0)
        onward = damping * onward + (1 - damping) * new_onward
        back = damping * back + (1 - damping) * new_back
    belief = _beliefs(local, onward, back)  # [sequences, steps, chains, states]
    told, heard = belief[:, :-1, :, None] - back, belief[:, 1:, None] - onward
    # log Z = sum of log(sum of beliefs) + sum over links of log(sum of pair beliefs) - log(sums of both messages)
    pairs = (told[..., :, None] + links + heard[..., None, :]).flatten(-2).logsumexp(dim=-1)
    ends = belief[:, :-1, :, None].logsumexp(dim=-1) + belief[:, 1:, None].logsumexp(dim=-1)
    links_part = (pairs - ends).where(linked[..., 0], 0.0).sum(dim=(1, 2, 3))
    nodes_part = belief.logsumexp(dim=-1).where(inside[:, :, None], 0.0).sum(dim=(1, 2))
    return Chains(nodes_part + links_part, belief.softmax(dim=-1) * inside[:, :, None, None])


def _beliefs(local: Tensor, onward: Tensor, back: Tensor) -> Tensor:
    """What each state's own potential and all messages to it say, ``[sequences, steps, chains, states]``."""
    before = torch.nn.functional.pad(onward.sum(dim=2), (0, 0, 0, 0, 1, 0))  # from the step before
    after = torch.nn.functional.pad(back.sum(dim=3), (0, 0, 0, 0, 0, 1))  # from the step after
    return local + before + after


def _check(emission: Tensor, initial: Tensor, links: Tensor, length: Tensor) -> Tensor:
    """Gives the mask ``[sequences, steps]`` of the steps that are there."""
    if emission.dim() != 4 or 0 in emission.shape[2:]:
        raise ValueError(f"emission must be [sequences, steps, chains, states], got {list(emission.shape)}")
    sequences, steps, chains, states = emission.shape
    wanted = {"initial": [chains, states], "links": [chains, chains, states, states], "length": [sequences]}
    for (name, shape), given in zip(wanted.items(), (initial, links, length), strict=True):
        if list(given.shape) != shape:
            raise ValueError(f"{name} must be {shape} for emission {list(emission.shape)}, got {list(given.shape)}")
    wrong = length[(length < 0) | (length > steps)].tolist()
    if wrong:
        raise ValueError(f"A sequence must have from 0 to {steps} steps, got a length of {wrong[0]}")
    return torch.arange(steps, device=emission.device) < length[:, None]
