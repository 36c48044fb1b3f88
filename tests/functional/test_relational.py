"""Against dense matrices in double precision: every way of giving weights, biases and own terms."""

import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import gradcheck

from mmgraph.functional import Adjacency, Relation, relational
from mmgraph.functional.relational import _plainly

ENDS = (("a", "a"), ("b", "a"), ("a", "b"), ("a", "a"), ("c", "b"))


@st.composite
def cases(draw):
    """Three names of 0 to 6 rows, up to five relations of any edges, any terms left out."""
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**16)))
    wide, narrow = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    random = lambda *shape: torch.randn(*shape, generator=generator, dtype=torch.float64)  # noqa: E731
    rows = {name: draw(st.integers(0, 6), label=name) for name in "abc"}
    relations, weight, bias = [], [], []
    for source, target in draw(st.lists(st.sampled_from(ENDS), min_size=1, max_size=5)):
        count = draw(st.integers(0, 9)) if rows[source] and rows[target] else 0
        index = torch.stack(
            [torch.randint(0, max(rows[n], 1), (count,), generator=generator) for n in (source, target)]
        )
        edges = Adjacency(index, rows[source], rows[target])
        values = random(count) if draw(st.booleans()) else None
        relations.append(Relation(source, target, edges, values))
        weight.append(random(narrow, wide))
        bias.append(random(narrow) if draw(st.booleans()) else None)
    own = {name: random(narrow, wide) for name in "abc" if draw(st.booleans())}
    reached = [name for name in "abc" if name in own or any(r.target == name for r in relations)]
    own_bias = {name: random(narrow) for name in reached if draw(st.booleans())}
    features = {name: random(count, wide) for name, count in rows.items()}
    return features, relations, weight, bias, own, own_bias


def dense(features, relations, weight, bias, own_weight, own_bias):
    """The formula, with each relation as a dense matrix; differentiable."""
    out = {}
    for name in [*(r.target for r in relations), *own_weight]:
        if name in out:
            continue
        total = torch.zeros(len(features[name]), len(weight[0]), dtype=torch.float64)
        for relation, matrix, shift in zip(relations, weight, bias, strict=True):
            if relation.target == name:
                edges = relation.edges
                values = (
                    torch.ones(edges.num_edges, dtype=torch.float64) if relation.values is None else relation.values
                )
                A = torch.zeros(edges.num_targets, edges.num_sources, dtype=torch.float64)
                A = A.index_put((edges.targets.long(), edges.sources.long()), values, accumulate=True)
                sent = features[relation.source] @ matrix.T
                total = total + A @ (sent if shift is None else sent + shift)
        if name in own_weight:
            total = total + features[name] @ own_weight[name].T
        out[name] = total + own_bias[name] if name in own_bias else total
    return out


@settings(max_examples=150)
@given(case=cases())
def test_equals_the_dense_formula(case):
    features, relations, weight, bias, own, own_bias = case
    got = relational(features, relations, weight, bias=bias, own_weight=own, own_bias=own_bias)
    expected = dense(*case)
    assert got.keys() == expected.keys()
    for name in got:
        np.testing.assert_allclose(got[name], expected[name], rtol=1e-10, atol=1e-12)


@settings(max_examples=60)
@given(case=cases(), data=st.data())
def test_gradients_equal_those_of_the_dense_formula(case, data):
    features, relations, weight, bias, own, own_bias = case
    leaves = [
        *features.values(),
        *(r.values for r in relations if r.values is not None),
        *weight,
        *(b for b in bias if b is not None),
        *own.values(),
        *own_bias.values(),
    ]
    for leaf in leaves:
        leaf.requires_grad_(data.draw(st.booleans()))
    wanted = [leaf for leaf in leaves if leaf.requires_grad]
    if not wanted:
        return
    grads = []
    for way in (lambda f, r, w, b, o, p: relational(f, r, w, bias=b, own_weight=o, own_bias=p), dense):
        out = way(*case)
        loss = sum((state * torch.arange(1.0, state.numel() + 1).reshape(state.shape)).sum() for state in out.values())
        zero = sum(leaf.sum() * 0 for leaf in wanted)
        grads.append(torch.autograd.grad(loss + zero, wanted))
    for mine, other in zip(*grads, strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-9, atol=1e-10)


def graph(rows=500, edges=3000, dtype=torch.float32, weighted=True):
    torch.manual_seed(0)
    index = torch.randint(0, rows, (2, edges))
    found = Adjacency(index, rows, rows)
    values = torch.rand(edges, dtype=dtype) if weighted else None
    return torch.randn(rows, 64, dtype=dtype), [Relation("a", "a", found, values)]


@pytest.mark.parametrize(("block", "step"), [(1, 1), (4096, 1), (4096, 8), (1 << 20, 256)])
@pytest.mark.parametrize("narrow", [16, 64, 80])
@pytest.mark.parametrize("edges", [100, 350, 3000])  # some, most, all rows are reached
def test_blocks_make_no_difference(monkeypatch, block, step, narrow, edges):
    monkeypatch.setattr("mmgraph.functional.dense.BLOCK_BYTES", block)
    monkeypatch.setattr("mmgraph.functional.dense.STEP", step)
    monkeypatch.setattr(sys.modules[relational.__module__], "STEP", step)
    x, relations = graph(edges=edges, dtype=torch.float64)
    weight, own = (torch.randn(narrow, 64, dtype=torch.float64, requires_grad=True) for _ in range(2))
    x.requires_grad_()
    out = relational({"a": x}, relations, [weight], own_weight={"a": own})["a"]
    expected = dense({"a": x}, relations, [weight], [None], {"a": own}, {})["a"]
    torch.testing.assert_close(out, expected, rtol=1e-10, atol=1e-10)
    sent = torch.randn_like(out)
    for mine, other in zip(*(torch.autograd.grad(o, [x, weight, own], sent) for o in (out, expected)), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("edges", [400, 1200, 9000])
def test_single_precision_keeps_five_digits(edges):
    x, relations = graph(rows=1500, edges=edges, dtype=torch.float32)
    weight = (torch.randn(64, 64) / 8).requires_grad_()
    out = relational({"a": x.requires_grad_()}, relations, [weight])["a"]
    double = [Relation("a", "a", relations[0].edges, relations[0].values.double())]
    wide = [x.detach().double().requires_grad_(), weight.detach().double().requires_grad_()]
    expected = dense({"a": wide[0]}, double, [wide[1]], [None], {}, {})["a"]
    torch.testing.assert_close(out.double(), expected, rtol=1e-5, atol=1e-5)
    grads = torch.autograd.grad(out.square().sum(), [x, weight])
    for mine, other in zip(grads, torch.autograd.grad(expected.square().sum(), wide), strict=True):
        torch.testing.assert_close(mine.double(), other, rtol=1e-5, atol=1e-5 * float(other.abs().max()))


def test_what_nothing_reads_spoils_nothing():
    """A row that is infinite and has no edges: some rows are padded, and none of them by it."""
    torch.manual_seed(0)
    rows = 2000
    index = torch.randint(1, rows, (2, 700))  # few are reached
    x, weight = torch.randn(rows, 8), torch.randn(8, 8, requires_grad=True)
    x[0] = torch.inf
    out = relational({"a": x}, [Relation("a", "a", Adjacency(index, rows, rows))], [weight])["a"]
    assert out.isfinite().all()
    (grad,) = torch.autograd.grad(out.sum(), weight)
    assert grad.isfinite().all()


def test_gradients_are_right():
    torch.manual_seed(0)
    index = torch.tensor([[0, 1, 2, 0], [0, 0, 1, 1]])
    edges = Adjacency(index, 3, 2)
    arguments = [
        torch.randn(*shape, dtype=torch.float64, requires_grad=True)
        for shape in ((3, 2), (2, 2), (4,), (5, 2), (5,), (5, 2), (5,))
    ]

    def run(x, y, values, weight, bias, own, own_bias):
        relations = [Relation("a", "b", edges, values)]
        return relational(
            {"a": x, "b": y}, relations, [weight], bias=[bias], own_weight={"b": own}, own_bias={"b": own_bias}
        )["b"]

    assert gradcheck(run, arguments)


@pytest.mark.parametrize("weighted", [False, True])
def test_autocast_computes_in_its_type(weighted):
    x, relations = graph(weighted=weighted)
    weight = (torch.randn(64, 64) / 8).requires_grad_()
    x.requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = relational({"a": x}, relations, [weight], own_weight={"a": weight})["a"]
    exact = relational({"a": x}, relations, [weight], own_weight={"a": weight})["a"]
    assert out.dtype == torch.bfloat16
    assert float((out - exact).detach().norm() / exact.detach().norm()) < 0.01
    out.float().square().sum().backward()
    assert x.grad.dtype == weight.grad.dtype == torch.float32
    assert weight.grad.isfinite().all()


@settings(max_examples=60)
@given(case=cases())
def test_the_steps_that_a_compiler_sees_are_the_same(case):
    features, relations, weight, bias, own, own_bias = case
    got = _plainly(features, relations, weight, bias, own, own_bias)
    expected = relational(features, relations, weight, bias=bias, own_weight=own, own_bias=own_bias)
    assert got.keys() == expected.keys()
    for name in got:
        np.testing.assert_allclose(got[name], expected[name], rtol=1e-10, atol=1e-12)


def test_a_second_derivative_is_refused():
    x, relations = graph(rows=20, edges=50)
    weight = torch.randn(64, 64, requires_grad=True)
    out = relational({"a": x}, relations, [weight])["a"]
    (grad,) = torch.autograd.grad(out.square().sum(), weight, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        grad.sum().backward()
