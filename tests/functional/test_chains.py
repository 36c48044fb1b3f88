import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmgraph.functional import coupled_chains, coupled_chains_loopy, path_score


def case(lengths, chains=2, states=2, *, steps=None, seed=0):
    generator = torch.Generator().manual_seed(seed)
    steps = max(lengths, default=0) if steps is None else steps

    def draw(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    emission = draw(len(lengths), steps, chains, states)
    return emission, draw(chains, states), draw(chains, chains, states, states), torch.tensor(lengths, dtype=torch.long)


def slow_score(emission, initial, links, path):
    """One sequence; path is a tuple of states a step."""
    total = 0.0
    for t, now in enumerate(path):
        for v, state in enumerate(now):
            total += float(emission[t, v, state]) + (float(initial[v, state]) if t == 0 else 0.0)
            if t:
                total += sum(float(links[u, v, before, state]) for u, before in enumerate(path[t - 1]))
    return total


def brute(emission, initial, links, length):
    """log Z and marginals of each sequence, over all paths."""
    _, _, chains, states = emission.shape
    found, marginals = [], np.zeros(tuple(emission.shape))
    for number, count in enumerate(length.tolist()):
        joint = list(itertools.product(range(states), repeat=chains))
        paths = list(itertools.product(joint, repeat=count))
        scores = np.array([slow_score(emission[number], initial, links, path) for path in paths])
        found.append(np.logaddexp.reduce(scores))
        for path, share in zip(paths, np.exp(scores - found[-1]), strict=True):
            for t, now in enumerate(path):
                for v, state in enumerate(now):
                    marginals[number, t, v, state] += share
    return np.array(found), marginals


@pytest.mark.parametrize(("chains", "states"), [(1, 2), (2, 2), (2, 3), (3, 2)])
def test_sum_product_equals_brute_force(chains, states):
    lengths = [4, 2, 1, 0, 3] if states**chains < 9 else [3, 2, 1, 0]
    given = case(lengths, chains, states)
    found = coupled_chains(*given)
    log_partition, marginals = brute(*given)
    np.testing.assert_allclose(found.log_partition.numpy(), log_partition, atol=1e-12)
    np.testing.assert_allclose(found.marginals.numpy(), marginals, atol=1e-12)


@given(st.lists(st.integers(0, 6), max_size=4), st.integers(1, 3), st.integers(1, 3), st.integers(0, 100))
@settings(max_examples=30)
def test_marginals_add_up_and_what_lies_behind_is_not_read(lengths, chains, states, seed):
    emission, initial, links, length = case(lengths, chains, states, steps=7, seed=seed)
    found = coupled_chains(emission, initial, links, length)
    inside = torch.arange(7) < length[:, None]
    torch.testing.assert_close(found.marginals.sum(dim=3), inside[:, :, None].expand(-1, -1, chains).double())
    behind = emission.masked_fill(~inside[:, :, None, None], float("nan"))
    for run in (coupled_chains, coupled_chains_loopy):
        one, other = run(emission, initial, links, length), run(behind, initial, links, length)
        assert torch.equal(one.log_partition, other.log_partition)
        assert torch.equal(one.marginals, other.marginals)
    for number, count in enumerate(lengths):  # alone as in the batch
        alone = coupled_chains(emission[number : number + 1, :count], initial, links, length[number : number + 1])
        torch.testing.assert_close(alone.log_partition[0], found.log_partition[number])


def test_the_gradient_of_log_z_is_the_marginals():
    emission, initial, links, length = case([4, 1, 0, 2], chains=3)
    emission.requires_grad_()
    found = coupled_chains(emission, initial, links, length)
    (gradient,) = torch.autograd.grad(found.log_partition.sum(), emission)
    torch.testing.assert_close(gradient, found.marginals.detach())


def test_gradients_are_finite_and_right():
    emission, initial, links, length = case([3, 0, 1])
    inputs = [one.requires_grad_() for one in (emission, initial, links)]
    assert torch.autograd.gradcheck(lambda *given: coupled_chains(*given, length).log_partition, inputs)
    loss = (
        coupled_chains(*inputs, length).log_partition - path_score(*inputs, torch.ones(3, 3, 2).long(), length)
    ).sum()
    assert all(bool(g.isfinite().all()) for g in torch.autograd.grad(loss, inputs))


def test_path_scores_equal_a_slow_loop():
    emission, initial, links, length = case([4, 2, 1, 0], chains=3, states=3)
    states = torch.randint(3, (4, 4, 3), generator=torch.Generator().manual_seed(0))
    states[3] = -1  # behind the end: not read
    found = path_score(emission, initial, links, states, length)
    for number, count in enumerate(length.tolist()):
        expected = slow_score(emission[number], initial, links, [tuple(one) for one in states[number, :count].tolist()])
        assert float(found[number]) == pytest.approx(expected)


def test_probabilities_of_all_paths_add_up_to_one():
    given = case([3])
    paths = torch.tensor(list(itertools.product([0, 1], repeat=6))).reshape(-1, 3, 2)
    emission = given[0].expand(len(paths), -1, -1, -1)
    scores = path_score(emission, given[1], given[2], paths, torch.full((len(paths),), 3))
    assert float((scores - coupled_chains(*given).log_partition).exp().sum()) == pytest.approx(1)


def test_one_chain_is_a_hidden_markov_model():
    rng = np.random.default_rng(0)
    start, move, emit = rng.dirichlet([1, 1, 1]), rng.dirichlet([1, 1, 1], 3), rng.dirichlet([1, 1], 3)
    seen = [0, 1, 1, 0, 1]
    alpha = start * emit[:, seen[0]]
    for symbol in seen[1:]:
        alpha = (alpha @ move) * emit[:, symbol]
    emission = torch.from_numpy(np.log(emit[:, seen].T))[None, :, None]
    links = torch.from_numpy(np.log(move))[None, None]
    found = coupled_chains(emission, torch.from_numpy(np.log(start))[None], links, torch.tensor([5]))
    assert float(found.log_partition) == pytest.approx(math.log(alpha.sum()))


def uncoupled(links):
    chains = torch.arange(len(links))
    return links * (chains[:, None] == chains)[:, :, None, None]


def test_without_coupling_chains_run_alone():
    emission, initial, links, length = case([4, 2, 1, 0], chains=3)
    together = coupled_chains(emission, initial, uncoupled(links), length)
    alone = [coupled_chains(emission[:, :, [v]], initial[[v]], links[[v]][:, [v]], length) for v in range(3)]
    torch.testing.assert_close(together.log_partition, sum(one.log_partition for one in alone))
    torch.testing.assert_close(together.marginals, torch.cat([one.marginals for one in alone], dim=2))


def test_a_chain_coupled_to_one_that_is_known_follows_it():
    emission = torch.zeros(1, 3, 2, 2)
    emission[0, :, 0] = torch.tensor([[50.0, 0.0], [0.0, 50.0], [50.0, 0.0]])  # the first chain is seen: 0, 1, 0
    links = torch.zeros(2, 2, 2, 2)
    links[0, 1] = 10 * torch.eye(2)
    found = coupled_chains(emission, torch.zeros(2, 2), links, torch.tensor([3])).marginals[0, :, 1]
    torch.testing.assert_close(found, torch.tensor([[0.5, 0.5], [1.0, 0.0], [0.0, 1.0]]), atol=1e-4, rtol=0)


def follower(links):
    """Only chain 0 moves; chains 1 and 2 follow it: a tree."""
    keep = torch.zeros(3, 3, dtype=torch.bool)
    keep[0] = True
    return links * keep[:, :, None, None]


@pytest.mark.parametrize("tree", [uncoupled, follower])
@pytest.mark.parametrize("damping", [0.0, 0.3])
def test_belief_propagation_is_exact_on_trees(tree, damping):
    emission, initial, links, length = case([5, 3, 2, 1, 0], chains=3, states=3)
    exact = coupled_chains(emission, initial, tree(links), length)
    found = coupled_chains_loopy(emission, initial, tree(links), length, rounds=90, damping=damping)
    torch.testing.assert_close(found.log_partition, exact.log_partition)
    torch.testing.assert_close(found.marginals, exact.marginals)


def test_belief_propagation_is_near_where_couplings_are_weak():
    emission, initial, links, length = case([6, 4, 1], chains=3)
    exact = coupled_chains(emission, initial, links / 3, length)
    found = coupled_chains_loopy(emission, initial, links / 3, length)
    assert float((found.marginals - exact.marginals).abs().max()) < 0.02
    assert float((found.log_partition - exact.log_partition).abs().max()) < 0.05
    assert float((found.marginals - exact.marginals).abs().max()) > 1e-6  # an approximation


def test_many_chains_need_belief_propagation():
    given = case([3], chains=13)
    with pytest.raises(
        ValueError, match="13 chains of 2 states have 8,192 joint states, more than 4,096; use coupled_"
    ):
        coupled_chains(*given)
    found = coupled_chains_loopy(*given)
    torch.testing.assert_close(found.marginals.sum(dim=3), torch.ones(1, 3, 13).double())


@pytest.mark.parametrize("run", [coupled_chains, coupled_chains_loopy])
@pytest.mark.parametrize("lengths", [[], [0], [0, 0]])
def test_no_sequences_and_no_steps(run, lengths):
    emission, initial, links, length = case(lengths)
    found = run(emission, initial, links, length)
    assert found.log_partition.tolist() == [0.0] * len(lengths)
    assert found.marginals.shape == (len(lengths), 0, 2, 2)
    assert path_score(emission, initial, links, torch.empty(len(lengths), 0, 2).long(), length).tolist() == [0] * len(
        lengths
    )


def test_long_sequences_do_not_overflow():
    emission, initial, links, length = case([400])
    found = coupled_chains(emission * 50, initial, links * 50, length)
    assert bool(found.log_partition.isfinite().all())
    torch.testing.assert_close(found.marginals.sum(dim=3), torch.ones(1, 400, 2).double())


def test_shapes_and_options_that_do_not_fit_are_refused():
    emission, initial, links, length = case([3, 2])
    with pytest.raises(ValueError, match=r"emission must be \[sequences, steps, chains, states\], got \[3, 2, 2\]"):
        coupled_chains(emission[0], initial, links, length)
    with pytest.raises(ValueError, match=r"initial must be \[2, 2\] for emission \[2, 3, 2, 2\], got \[1, 2\]"):
        coupled_chains(emission, initial[:1], links, length)
    with pytest.raises(ValueError, match=r"links must be \[2, 2, 2, 2\] .* got \[2, 2, 2, 1\]"):
        coupled_chains(emission, initial, links[..., :1], length)
    with pytest.raises(ValueError, match=r"length must be \[2\] .* got \[1\]"):
        path_score(emission, initial, links, torch.zeros(2, 3, 2).long(), length[:1])
    for wrong in (-1, 4):
        with pytest.raises(ValueError, match=f"from 0 to 3 steps, got a length of {wrong}"):
            coupled_chains(emission, initial, links, torch.tensor([3, wrong]))
    with pytest.raises(ValueError, match="got rounds=0, damping=0.0"):
        coupled_chains_loopy(emission, initial, links, length, rounds=0)
    with pytest.raises(ValueError, match="got rounds=50, damping=1.0"):
        coupled_chains_loopy(emission, initial, links, length, damping=1.0)
