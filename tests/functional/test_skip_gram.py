"""Skip-gram with negatives equals a slow loop."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmgraph.functional.skip_gram import skip_gram


def log_sigmoid(x):
    return -math.log1p(math.exp(-x))


def by_loop(z, walks, negatives, window, kinds):
    positive = negative = 0.0
    pairs = 0
    for number, walk in enumerate(walks.tolist()):
        for i, u in enumerate(walk):
            for j, v in enumerate(walk):
                if i != j and abs(i - j) <= window and u >= 0 and v >= 0:
                    pairs += 1
                    positive -= log_sigmoid(float(z[u] @ z[v]))
                    for n in negatives[number, i, kinds[j]].tolist():
                        negative -= log_sigmoid(-float(z[u] @ z[n]))
    return positive / max(pairs, 1), negative / max(pairs, 1)


@settings(max_examples=30)
@given(
    lengths=st.lists(st.integers(1, 7), min_size=1, max_size=5),
    window=st.integers(1, 8),
    types=st.integers(1, 3),
    count=st.integers(1, 3),
    seed=st.integers(0, 1000),
)
def test_it_equals_a_slow_loop(lengths, window, types, count, seed):
    generator = torch.Generator().manual_seed(seed)
    z = torch.randn(6, 4, generator=generator, dtype=torch.float64)
    walks = torch.randint(0, 6, (len(lengths), 7), generator=generator)
    walks[torch.arange(7) >= torch.tensor(lengths)[:, None]] = -1
    kinds = torch.randint(0, types, (7,), generator=generator)
    negatives = torch.randint(0, 6, (len(lengths), 7, types, count), generator=generator)
    found = skip_gram(z, walks, negatives, window=window, kinds=kinds)
    expected = by_loop(z, walks, negatives, window, kinds.tolist())
    torch.testing.assert_close(torch.stack(found), torch.tensor(expected, dtype=torch.float64))


def test_gaps_are_passed_over():
    z = torch.randn(3, 2)
    walks = torch.tensor([[0, -1, 1]])
    loss = skip_gram(z, walks, torch.zeros(1, 3, 1, 1, dtype=torch.long), window=1)
    assert loss == (0, 0)
    loss = skip_gram(z, walks, torch.zeros(1, 3, 1, 1, dtype=torch.long), window=2)
    torch.testing.assert_close(loss.positive, -torch.nn.functional.logsigmoid(z[0] @ z[1]))


def test_it_learns():
    z = torch.randn(4, 3, requires_grad=True)
    loss = skip_gram(z, torch.tensor([[0, 1]]), torch.full((1, 2, 1, 1), 2), window=1)
    sum(loss).backward()
    assert (z.grad[:3] != 0).all()
    assert (z.grad[3] == 0).all()


@pytest.mark.parametrize(("window", "shape"), [(0, (1, 2, 1, 1)), (1, (1, 3, 1, 1)), (1, (1, 2, 1))])
def test_what_is_refused(window, shape):
    with pytest.raises(ValueError, match=rf"\[1, 2, types, negatives\], got {window} and"):
        skip_gram(torch.zeros(2, 1), torch.tensor([[0, 1]]), torch.zeros(shape, dtype=torch.long), window=window)
