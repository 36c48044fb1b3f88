"""The loader: the same batches whatever thread makes them, and after a pause the ones that would have come."""

import pytest
import torch
from torch_geometric.data import HeteroData

from mmgraph.data import LinkSeeds, NeighbourLoader, NeighbourSampler, NodeSeeds
from mmgraph.errors import ArtifactError, ConfigError, DataError

LINK = ("a", "to", "a")


def graph():
    generator = torch.Generator().manual_seed(0)
    made = HeteroData()
    made["a"].x = torch.rand(60, 2, generator=generator)
    made[LINK].edge_index = torch.randint(0, 60, (2, 600), generator=generator)
    return made


def loader(seeds=None, *, fan_out=(3, 3), compiled=None, **options):
    sampler = NeighbourSampler(graph(), list(fan_out), compiled=compiled)
    return NeighbourLoader(sampler, seeds or NodeSeeds("a"), **{"batch_size": 7, "shuffle": True, **options})


def drawn(batches):
    return [(batch["a"].n_id.tolist(), batch[LINK].edge_index.tolist(), batch[LINK].e_id.tolist()) for batch in batches]


@pytest.mark.parametrize("seeds", [NodeSeeds("a"), LinkSeeds(LINK)])
def test_threads_and_compilation_change_nothing(seeds):
    must = drawn(loader(seeds, prefetch=0, compiled=False))
    for options in ({"prefetch": 1}, {"prefetch": 4}, {"prefetch": 2, "compiled": True}):
        assert drawn(loader(seeds, **options)) == must


def test_epochs_and_seeds_draw_anew():
    one = loader()
    first, second = drawn(one), drawn(one)
    assert first != second
    assert drawn(loader()) == first
    assert drawn(loader(seed=1)) != first
    whole = loader(batch_size=60)  # all seeds in one batch, so that the draws alone can differ
    edges = [sorted(next(iter(whole))[LINK].e_id.tolist()) for _ in range(2)]
    assert edges[0] != edges[1]
    still = loader(shuffle=False)
    assert drawn(still) == drawn(still)


@pytest.mark.parametrize("prefetch", [0, 3])
@pytest.mark.parametrize("stop", [0, 1, 5, 9])
def test_a_resumed_run_gives_what_an_uninterrupted_one_gives(prefetch, stop):
    whole = loader(prefetch=prefetch)
    must = drawn(whole) + drawn(whole)
    first = loader(prefetch=prefetch)
    begun = iter(first)
    got = drawn(next(begun) for _ in range(stop))
    later = loader(prefetch=prefetch)
    later.load_state_dict(first.state_dict())
    got += drawn(later) + drawn(later)
    assert got == must[: len(got)]
    assert len(got) == len(must)


@pytest.mark.parametrize(
    ("other", "words"),
    [
        ({"fan_out": (3, 2)}, "fan_out"),
        ({"seeds": NodeSeeds("a", torch.arange(60).flip(0))}, "seeds"),
        ({"seed": 1}, "seed=0"),
        ({"batch_size": 8}, "batch_size=7"),
    ],
)
def test_a_state_of_another_loader_is_refused(other, words):
    with pytest.raises(ArtifactError, match=words):
        loader(**other).load_state_dict(loader().state_dict())


def test_ranks_share_the_seeds_and_draw_apart():
    parts = [list(loader(rank=rank, world=3, batch_size=4)) for rank in range(3)]
    assert len({len(part) for part in parts}) == 1
    seeds = [b["a"].n_id[: b["a"].batch_size].tolist() for part in parts for b in part]
    assert sorted(sum(seeds, [])) == list(range(60))  # noqa: RUF017
    twice = NodeSeeds("a", [5] * 8)
    one, other = (drawn(loader(twice, rank=rank, world=2, batch_size=4)) for rank in range(2))
    assert one != other
    with pytest.raises(ConfigError, match="rank 3"):
        loader(rank=3, world=3)


def test_a_rank_may_have_no_seeds_in_the_last_step():
    groups = torch.arange(5) % 3  # of which there are three
    for given in (None, groups):
        count = 5 if given is None else 3
        options = {"batch_size": 1, "world": 2, "idle": True, "groups": given}
        parts = [
            list(NeighbourLoader(NeighbourSampler(graph(), [2]), NodeSeeds("a", range(5)), rank=r, **options))
            for r in (0, 1)
        ]
        assert [len(part) for part in parts] == [-(-count // 2)] * 2
        last = parts[1][-1]
        assert last["a"].batch_size == last.num_nodes == 0
        assert set(last.node_types) == set(parts[0][0].node_types)
        seeds = [batch["a"].n_id[: batch["a"].batch_size].tolist() for part in parts for batch in part]
        assert sorted(sum(seeds, [])) == list(range(5))  # noqa: RUF017


def test_a_transform_sees_each_batch():
    def noisy(batch, generator):
        batch["a"].noise = torch.rand(batch["a"].num_nodes, generator=generator)
        return batch

    one, other = (list(loader(transform=noisy, prefetch=depth)) for depth in (0, 2))
    assert all(torch.equal(a["a"].noise, b["a"].noise) for a, b in zip(one, other, strict=True))


def test_two_loaders_of_one_sampler_do_not_disturb_each_other():
    sampler = NeighbourSampler(graph(), [3, 3])
    alone = drawn(NeighbourLoader(sampler, NodeSeeds("a"), batch_size=7))
    pairs = [NeighbourLoader(sampler, NodeSeeds("a"), batch_size=7) for _ in range(2)]
    together = [drawn(pair) for pair in zip(*pairs, strict=True)]
    assert [one for one, _ in together] == [other for _, other in together] == alone


def test_an_error_in_the_thread_is_raised_where_the_batch_is_asked_for():
    def fails(batch, generator):
        raise RuntimeError("no such luck")

    with pytest.raises(RuntimeError, match="no such luck"):
        list(loader(transform=fails, prefetch=2))


@pytest.mark.parametrize("shuffle", [False, True])
def test_seeds_of_a_group_stay_together_and_count_as_one(shuffle):
    groups = torch.arange(60) * 7 % 13
    batches = loader(batch_size=3, shuffle=shuffle, groups=groups)
    assert len(batches) == 5
    seen = []
    for batch in batches:
        rows = batch["a"].input_id
        assert torch.equal(batch["a"].n_id[: batch["a"].batch_size], rows)
        found = groups[rows].unique()
        assert len(found) <= 3
        assert sorted(rows.tolist()) == torch.isin(groups, found).nonzero().flatten().tolist()
        seen += groups[rows].unique_consecutive().tolist()
    assert sorted(seen) == list(range(13))
    assert (seen == list(range(13))) != shuffle


def test_groups_belong_to_the_state_of_a_loader():
    groups = torch.arange(60) // 5
    state = loader(batch_size=4, groups=groups).state_dict()
    loader(batch_size=4, groups=groups + 3).load_state_dict(state)  # only who goes together counts
    with pytest.raises(ArtifactError, match="The state is of a loader with seeds="):
        loader(batch_size=4, groups=groups.flip(0) * 0 + torch.arange(60) % 12).load_state_dict(state)


@pytest.mark.parametrize("groups", [torch.zeros(59, dtype=torch.long), torch.zeros(60)])
def test_groups_that_are_no_integer_a_seed_are_refused(groups):
    with pytest.raises(DataError, match=rf"one integer a seed, \[60\], got \[{len(groups)}\] of {groups.dtype}"):
        loader(groups=groups)
