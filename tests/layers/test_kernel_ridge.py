import pytest
import torch

from mmgraph.errors import ConfigError
from mmgraph.functional import combine_kernels, kernel_ridge, rbf_kernel
from mmgraph.layers import KernelRidge
from mmgraph.layers import kernel_ridge as module
from mmgraph.typing import EdgeSet

NEAR = [("subject", "near_a", "subject"), ("subject", "near_b", "subject")]


def case(present_b=None):
    generator = torch.Generator().manual_seed(0)
    kernels = [rbf_kernel(torch.randn(8, 2, generator=generator)) for _ in NEAR]
    masks = [torch.ones(8, dtype=torch.bool), torch.ones(8, dtype=torch.bool) if present_b is None else present_b]
    edges = {}
    for relation, kernel, mask in zip(NEAR, kernels, masks, strict=True):
        index = (mask[:, None] & mask[None, :] & ~torch.eye(8, dtype=torch.bool)).nonzero().T
        edges[relation] = EdgeSet(index, kernel[index[1], index[0]])
    labels = torch.eye(2)[torch.tensor([0, 1, 0, 1, 1, 0, 0, 0])]
    labels[5:] = 0
    return kernels, masks, edges, labels


def whole(kernel):
    return kernel.masked_fill(torch.eye(8, dtype=torch.bool), 1.0)


def test_given_shares_sum_the_edges():
    kernels, _, edges, labels = case()
    edges = {
        relation: EdgeSet(one.index, one.weight * share)
        for (relation, one), share in zip(edges.items(), (0.7, 0.3), strict=True)
    }
    found = KernelRidge(relations=NEAR, ridge=0.5)({"subject": labels}, edges)["subject"]
    kernel = whole(combine_kernels(kernels, torch.tensor([0.7, 0.3])))
    expected = kernel_ridge(kernel, labels, torch.arange(8) < 5, ridge=0.5).answers
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


def test_learned_shares_start_equal_and_count_what_is_there():
    kernels, masks, edges, labels = case(torch.tensor([True] * 3 + [False] * 2 + [True] * 3))
    layer = KernelRidge(relations=NEAR, shares="learned", ridge=0.5)
    assert layer.shares == dict.fromkeys(NEAR, 0.5)
    found = layer({"subject": labels}, edges)["subject"]
    kernel = whole(combine_kernels(kernels, torch.tensor([0.5, 0.5]), present=[(mask, mask) for mask in masks]))
    expected = kernel_ridge(kernel, labels, torch.arange(8) < 5, ridge=0.5).answers
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


def test_no_node_reads_its_own_state():
    _, _, edges, labels = case()
    layer = KernelRidge(relations=NEAR, shares="learned")
    other = labels.clone()
    other[2] = labels[2].flip(0)
    before, after = (layer({"subject": one}, edges)["subject"] for one in (labels, other))
    torch.testing.assert_close(before[2], after[2], atol=1e-5, rtol=0)
    assert float((before[1] - after[1]).detach().abs().max()) > 1e-3


def test_shares_learn_which_relation_tells():
    """One graph joins the classes, the other is noise."""
    generator = torch.Generator().manual_seed(1)
    y = torch.arange(40) % 2
    useful = rbf_kernel(y[:, None] + 0.4 * torch.randn(40, 2, generator=generator))
    noise = rbf_kernel(torch.randn(40, 2, generator=generator))
    index = (~torch.eye(40, dtype=torch.bool)).nonzero().T
    edges = {r: EdgeSet(index, kernel[index[1], index[0]]) for r, kernel in zip(NEAR, (useful, noise), strict=True)}
    layer = KernelRidge(relations=NEAR, shares="learned")
    optimizer = torch.optim.Adam(layer.parameters(), lr=0.2)
    for _ in range(30):
        optimizer.zero_grad()
        said = layer({"subject": torch.eye(2)[y]}, edges)["subject"]
        torch.nn.functional.cross_entropy(5 * said, y).backward()
        optimizer.step()
    assert layer.shares[NEAR[0]] > 0.9


def test_without_edges_a_node_gets_the_mean_of_the_others():
    _, _, edges, labels = case()
    none = {relation: EdgeSet(one.index[:, :0], one.weight[:0]) for relation, one in edges.items()}
    found = KernelRidge(relations=NEAR)({"subject": labels}, none)["subject"]
    torch.testing.assert_close(found[7], labels[:5].mean(dim=0))
    torch.testing.assert_close(found[0], labels[1:5].mean(dim=0))


def test_options_that_can_not_work_are_refused(monkeypatch):
    with pytest.raises(ConfigError, match="got 'best' and 1.0"):
        KernelRidge(relations=NEAR, shares="best")
    with pytest.raises(ConfigError, match="got 'given' and 0.0"):
        KernelRidge(relations=NEAR, ridge=0.0)
    with pytest.raises(ConfigError, match="nodes of one type, got .'scan', 'of', 'subject'."):
        KernelRidge(relations=[("scan", "of", "subject")])
    _, _, edges, labels = case()
    monkeypatch.setattr(module, "MOST_NODES", 7)
    with pytest.raises(ConfigError, match="at most 7 nodes, got 8 'subject'"):
        KernelRidge(relations=NEAR)({"subject": labels}, edges)
