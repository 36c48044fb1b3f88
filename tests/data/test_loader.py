"""The loader: which samples, in which batches, in which order; made ahead, and taken up again."""

import gc
import threading
import traceback

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch_geometric.data import Batch, HeteroData

from mmgraph.data import Collection, CollectionWriter, Loader, ModalityDropout
from mmgraph.data.order import Order
from mmgraph.errors import ArtifactError, ConfigError, DataError
from mmgraph.testing import fake_graph


class Numbers:
    """Samples that are their own number; a batch of them is a plain array, which is all that most tests look at."""

    def __init__(self, sizes):
        self.sizes = np.asarray(sizes, dtype=np.int64)

    def __len__(self):
        return len(self.sizes)

    def batch(self, indices):
        return np.array(indices)


class Graphs(Numbers):
    """Samples of a node for each unit of size."""

    def batch(self, indices):
        return Batch.from_data_list(
            [HeteroData(a={"x": torch.full((int(self.sizes[i]), 1), float(i))}) for i in indices]
        )


def rng(seed=0):
    return np.random.default_rng(seed)


def epoch_of(loader):
    return [batch.tolist() for batch in loader]


def prefetchers():
    return [thread for thread in threading.enumerate() if thread.name == "mmgraph-prefetch"]


@pytest.fixture(autouse=True)
def no_thread_is_left():
    yield
    assert prefetchers() == []


SIZES = st.lists(st.integers(1, 30), min_size=1, max_size=60)
OPTIONS = st.fixed_dictionaries(
    {
        "batch_size": st.integers(1, 7),
        "shuffle": st.booleans(),
        "seed": st.integers(0, 3),
        "bucket": st.none() | st.integers(1, 4),
        "most": st.none() | st.integers(30, 90),
        "drop_last": st.booleans(),
    }
)


def ranks(sizes, world, **options):
    return [Loader(Numbers(sizes), world=world, rank=rank, **options) for rank in range(world)]


@settings(max_examples=300)
@given(sizes=SIZES, options=OPTIONS, world=st.integers(1, 4), epoch=st.integers(0, 3))
def test_every_sample_is_read_once_by_one_rank(sizes, options, world, epoch):
    full = options["batch_size"] * world
    if len(sizes) < (full if options["drop_last"] else world):
        with pytest.raises(ConfigError, match=f"got {len(sizes)} samples"):
            ranks(sizes, world, **options)
        return
    plans = [loader.plan(epoch) for loader in ranks(sizes, world, **options)]
    assert len({len(plan) for plan in plans}) == 1  # as many batches on each rank
    read = np.concatenate([rows for plan in plans for rows in plan])
    assert len(set(read)) == len(read)  # none twice
    assert len(read) == (len(sizes) // full * full if options["drop_last"] else len(sizes))  # none lost
    over = len(sizes) % world  # those that may have found no room
    for plan in plans:
        counts, totals = [len(rows) for rows in plan], [np.asarray(sizes)[rows].sum() for rows in plan]
        assert min(counts) >= 1
        too_many = sum(count > options["batch_size"] for count in counts)
        assert too_many <= (1 if over and not options["drop_last"] else 0)
        assert max(counts) <= options["batch_size"] + (options["batch_size"] == 1 or options["most"] is not None)
        if options["most"] is not None:
            too_large = sum(total > options["most"] for total in totals)
            assert too_large <= (1 if over and not options["drop_last"] else 0)
    for batches in zip(*plans, strict=True):  # ranks differ by one sample at most
        assert max(map(len, batches)) - min(map(len, batches)) <= 1


@settings(max_examples=150)
@given(sizes=SIZES, options=OPTIONS, world=st.integers(2, 4), steps=st.integers(1, 6), epoch=st.integers(0, 2))
def test_ranks_together_read_what_one_process_reads(sizes, options, world, steps, epoch):
    """With as many samples as fill the rows; without ``most``, which bounds the batch of each rank."""
    options = {**options, "most": None}
    sizes = (sizes * 60)[: steps * options["batch_size"] * world]
    plans = [loader.plan(epoch) for loader in ranks(sizes, world, **options)]
    (one,) = ranks(sizes, 1, **{**options, "batch_size": options["batch_size"] * world})
    together = [sorted(np.concatenate(batches)) for batches in zip(*plans, strict=True)]
    assert together == [sorted(rows) for rows in one.plan(epoch)]


@settings(max_examples=150)
@given(sizes=SIZES, options=OPTIONS, world=st.integers(1, 4), epoch=st.integers(0, 2))
def test_ranks_that_may_be_idle_read_the_very_steps_of_one_process(sizes, options, world, epoch):
    options = {**options, "most": None, "drop_last": False, "idle": True}
    plans = [loader.plan(epoch) for loader in ranks(sizes, world, **options)]
    (one,) = ranks(sizes, 1, **{**options, "batch_size": options["batch_size"] * world})
    together = [sorted(np.concatenate(batches)) for batches in zip(*plans, strict=True)]
    assert together == [sorted(rows) for rows in one.plan(epoch)]
    counts = [[len(rows) for rows in plan] for plan in plans]
    assert all(max(of_step) - min(of_step) <= 1 for of_step in zip(*counts, strict=True))


@pytest.mark.parametrize(
    ("count", "batch_size", "world", "expected"),
    [
        (8, 2, 2, [[0, 1, 2, 3], [4, 5, 6, 7]]),
        (11, 2, 2, [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10]]),  # one more for rank 0
        (9, 2, 2, [[0, 1, 2, 3], [4, 5], [6, 7, 8]]),  # rank 1 would have had none
        (3, 1, 2, [[0, 1, 2]]),  # there is no room: a batch of two
        (10, 4, 1, [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]),
        (2, 4, 2, [[0, 1]]),
    ],
)
def test_what_is_over_finds_a_step(count, batch_size, world, expected):
    steps = Order(batch_size=batch_size, world=world).steps(np.zeros(count, dtype=np.int64), 0)
    assert [step.tolist() for step in steps] == expected


def test_without_shuffle_samples_come_in_the_order_given_every_epoch():
    loader = Loader(Numbers([1] * 9), [8, 2, 5, 2, 0], batch_size=2)
    assert epoch_of(loader) == epoch_of(loader) == [[8, 2], [5, 2], [0]]
    assert loader.plan(7)[0].tolist() == [8, 2]


def test_the_order_is_of_the_seed_and_the_epoch_alone():
    first, second = (Loader(Numbers([1] * 40), batch_size=4, shuffle=True, seed=3) for _ in range(2))
    np.random.seed(0)
    torch.manual_seed(0)
    epochs = [epoch_of(first) for _ in range(3)]
    np.random.seed(1)
    torch.manual_seed(1)
    assert [epoch_of(second) for _ in range(3)] == epochs
    assert len({str(epoch) for epoch in epochs}) == 3
    second.set_epoch(1)
    assert epoch_of(second) == epochs[1]
    assert epoch_of(second) == epochs[2]
    assert epoch_of(Loader(Numbers([1] * 40), batch_size=4, shuffle=True, seed=4)) != epochs[0]
    assert [rows.tolist() for rows in first.plan(0)] == epochs[0]


def test_the_order_is_the_same_for_ever():
    """A checkpoint goes on with another version of numpy, or of this library: a new order is a new FORMAT."""
    loader = Loader(Numbers(range(1, 9)), batch_size=2, shuffle=True, seed=5, bucket=2, most=14)
    assert epoch_of(loader) == [[3], [1, 0], [4, 6], [2], [7, 5]]
    assert epoch_of(loader) == [[2], [6], [4, 3], [0, 1], [7, 5]]
    (one, other) = ranks(range(1, 9), 2, batch_size=2, shuffle=True, seed=5)
    assert (epoch_of(one), epoch_of(other)) == ([[3, 4], [7, 5]], [[2, 6], [0, 1]])


def test_a_shuffle_is_uniform():
    order = Order(batch_size=1, shuffle=True)
    found = np.zeros((4, 4))
    for epoch in range(4000):
        for place, step in enumerate(order.steps(np.zeros(4, dtype=np.int64), epoch)):
            found[place, step[0]] += 1
    chi2 = ((found - 1000) ** 2 / 1000).sum()
    assert chi2 < 30  # 9 degrees of freedom: p > .0005


def spread(loader):
    sizes = loader.collection.sizes
    return float(np.mean([np.ptp(sizes[rows]) for rows in loader.plan(0) if len(rows) > 1]))


def test_buckets_hold_samples_of_similar_size_in_any_order():
    collection = Numbers(rng().integers(1, 1000, 1024))
    plain, narrow, wide = (Loader(collection, batch_size=16, shuffle=True, bucket=bucket) for bucket in (None, 4, 64))
    assert spread(narrow) < spread(plain) / 2
    assert spread(wide) < spread(plain) / 20
    means = [collection.sizes[rows].mean() for rows in wide.plan(0)]
    assert abs(np.corrcoef(means, np.arange(len(means)))[0, 1]) < 0.3  # not the small first
    assert {tuple(rows) for rows in narrow.plan(0)} != {tuple(rows) for rows in narrow.plan(1)}


def test_buckets_stay_within_their_window():
    sizes = rng(1).integers(1, 99, 40)
    rows = np.concatenate(Loader(Numbers(sizes), batch_size=5, bucket=2).plan())
    for start in range(0, 40, 10):
        assert sorted(rows[start : start + 10]) == list(range(start, start + 10))


def test_ranks_get_batches_of_about_the_same_size():
    sizes = rng(2).lognormal(4, 1, 4096).astype(np.int64) + 1
    loaders = ranks(sizes, 4, batch_size=16, shuffle=True, bucket=8)
    loads = np.array([[sizes[rows].sum() for rows in loader.plan(0)] for loader in loaders])
    assert (loads.max(axis=0) / loads.mean(axis=0)).mean() < 1.02  # who waits for the slowest waits little


def test_a_batch_is_cut_where_it_would_be_too_large():
    loader = Loader(Numbers([5, 5, 5, 9, 1, 1, 1, 1]), batch_size=4, most=10)
    assert epoch_of(loader) == [[0, 1], [2], [3, 4], [5, 6, 7]]
    assert len(loader) == 4


@pytest.mark.parametrize("options", [{}, {"bucket": 3}, {"drop_last": True}, {"world": 3, "rank": 1}])
def test_every_epoch_has_the_same_number_of_batches(options):
    sizes = rng(3).integers(1, 50, 200)
    loader = Loader(Numbers(sizes), batch_size=8, most=80, shuffle=True, **options)
    freely = [len(loader.order._cut(sizes, loader.order._bits(epoch))) for epoch in range(60)]
    assert len(set(freely)) > 1
    if not options:
        assert min(freely) < len(loader) < max(freely)  # both ways of making them equal are used
    for epoch in range(60):
        plan = loader.plan(epoch)
        assert len(plan) == len(loader)
        assert max(sizes[rows].sum() for rows in plan) <= 80
        assert len(np.unique(np.concatenate(plan))) == sum(map(len, plan))
        steps = loader.order.steps(sizes, epoch)
        assert sum(len(step) % loader.order.world > 0 for step in steps) <= 1  # ranks differ in one step at most
    assert len(epoch_of(loader)) == len(loader)


def noisy(batch, generator):
    batch["a"].x = batch["a"].x + torch.rand(len(batch["a"].x), 1, generator=generator)
    return batch


def values(loader):
    return [batch["a"].x.flatten().tolist() for batch in loader]


@settings(max_examples=60)
@given(
    sizes=st.lists(st.integers(1, 5), min_size=3, max_size=20),
    options=OPTIONS,
    prefetch=st.integers(0, 3),
    stop=st.integers(0, 30),
    epochs=st.integers(0, 2),
)
def test_a_stopped_epoch_goes_on_bit_for_bit(sizes, options, prefetch, stop, epochs):
    options = {**options, "batch_size": min(options["batch_size"], 3)}
    make = lambda: Loader(Graphs(sizes), **options, prefetch=prefetch, transform=noisy)  # noqa: E731
    whole = make()
    expected = [values(whole) for _ in range(epochs + 2)]
    first = make()
    for _ in range(epochs):
        values(first)
    iterator = iter(first)
    stop = min(stop, len(expected[epochs]))
    begun = [next(iterator)["a"].x.flatten().tolist() for _ in range(stop)]
    state = first.state_dict()
    iterator.close()
    assert (state["epoch"], state["batch"]) == (epochs, stop)
    later = make()
    later.load_state_dict(state)
    later.set_epoch(epochs)  # as Lightning does: it stays where it is
    assert later.state_dict() == state
    assert begun + values(later) == expected[epochs]
    assert values(later) == expected[epochs + 1]
    assert later.epoch == epochs + 2


def test_batches_made_ahead_do_not_count():
    loader = Loader(Numbers([1] * 20), batch_size=1, prefetch=4)
    iterator = iter(loader)
    assert loader.state_dict()["batch"] == 0
    next(iterator)
    assert loader.state_dict()["batch"] == 1
    iterator.close()


def test_the_state_after_an_epoch_is_the_beginning_of_the_next():
    loader = Loader(Numbers([1] * 4), batch_size=2, shuffle=True)
    epoch_of(loader)
    state = loader.state_dict()
    assert (state["epoch"], state["batch"]) == (1, 0)
    other = Loader(Numbers([1] * 4), batch_size=2, shuffle=True)
    other.load_state_dict(state)
    assert epoch_of(other) == epoch_of(loader)


def test_a_left_epoch_is_not_gone_on_with_unasked():
    loader = Loader(Numbers([1] * 30), batch_size=2, shuffle=True, seed=1)
    for _ in loader:
        break
    assert loader.state_dict()["batch"] == 1
    assert epoch_of(loader) == [rows.tolist() for rows in loader.plan(1)]


def test_an_iterator_that_is_never_asked_begins_nothing():
    loader = Loader(Numbers([1] * 4), batch_size=2)
    for _ in range(3):
        iter(loader)
    assert prefetchers() == []
    assert loader.state_dict()["epoch"] == 0
    assert len(epoch_of(loader)) == 2


def test_the_state_is_plain_and_survives_a_checkpoint(tmp_path):
    loader = Loader(Numbers([1] * 8), batch_size=np.int64(2), seed=np.int64(3), most=4)
    torch.save(loader.state_dict(), tmp_path / "state.pt")
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    Loader(Numbers([1] * 8), batch_size=2, seed=3, most=4).load_state_dict(state)


@pytest.mark.parametrize(
    ("changed", "value"),
    [
        ({"seed": 1}, "seed=0, this one has 1"),
        ({"batch_size": 3}, "batch_size=2, this one has 3"),
        ({"world": 2}, "world=1, this one has 2"),
        ({"shuffle": False}, "shuffle=True, this one has False"),
        ({"bucket": 2}, "bucket=None, this one has 2"),
        ({"most": 20}, "most=None, this one has 20"),
        ({"drop_last": True}, "drop_last=False, this one has True"),
        ({"idle": True}, "idle=False, this one has True"),
        ({"indices": range(8)}, "samples=10, this one has 8"),
        ({"indices": range(9, -1, -1)}, "digest="),
    ],
)
def test_a_state_of_another_loader_is_refused_by_value(changed, value):
    options = {"batch_size": 2, "shuffle": True, "seed": 0}
    state = Loader(Numbers([1] * 10), **options).state_dict()
    with pytest.raises(ArtifactError, match=value):
        Loader(Numbers([1] * 10), **{**options, **changed}).load_state_dict(state)


def test_a_state_of_something_else_is_refused_by_value():
    loader = Loader(Numbers([1] * 10), batch_size=2)
    good = loader.state_dict()
    for state, value in [
        ({}, "epoch must be a whole number of at least 0, got None"),
        ({**good, "epoch": -1}, "epoch .*got -1"),
        ({**good, "batch": "3"}, "batch .*got '3'"),
        ({**good, "batch": 6}, "An epoch has 5 batches, the state says that 6"),
        ({"epoch": 0, "batch": 0}, "format=None, this one has 1"),
    ]:
        with pytest.raises(ArtifactError, match=value):
            loader.load_state_dict(state)
    assert len(epoch_of(loader)) == 5  # and what was there is as it was


@pytest.mark.parametrize("prefetch", [0, 1, 3])
def test_an_error_comes_with_the_place_where_it_happened(prefetch):
    class Broken(Numbers):
        def batch(self, indices):
            if 4 in indices:
                raise OSError(f"sample {indices[0]} is gone")
            return super().batch(indices)

    loader = Loader(Broken([1] * 10), batch_size=2, prefetch=prefetch)
    iterator = iter(loader)
    assert [next(iterator).tolist() for _ in range(2)] == [[0, 1], [2, 3]]
    with pytest.raises(OSError, match="sample 4 is gone") as caught:
        next(iterator)
    assert "raise OSError" in "".join(traceback.format_exception(caught.value))
    assert loader.state_dict()["batch"] == 2  # the broken one was not handed out
    assert prefetchers() == []


def test_a_transform_that_forgets_to_return_is_named():
    def forgets(batch, generator):
        batch + 1

    with pytest.raises(DataError, match=r"transform must return the batch, got None from .*forgets"):
        next(iter(Loader(Numbers([1] * 4), batch_size=2, transform=forgets)))


def test_no_more_is_made_ahead_than_asked():
    made = []

    class Counted(Numbers):
        def batch(self, indices):
            made.append(int(indices[0]))
            return indices

    wait = threading.Event()
    iterator = iter(Loader(Counted([1] * 50), batch_size=1, prefetch=3))
    next(iterator)
    wait.wait(0.2)
    assert len(made) <= 1 + 3 + 1  # given, waiting, and the one that waits for room
    iterator.close()
    assert prefetchers() == []
    wait.wait(0.05)
    assert len(made) <= 6


@pytest.mark.parametrize("end", ["close", "forget", "cycle", "error"])
def test_leaving_early_stops_the_thread(end):
    iterator = iter(Loader(Numbers([1] * 500), batch_size=1, prefetch=2))
    next(iterator)
    assert len(prefetchers()) == 1
    if end == "close":
        iterator.close()
    elif end == "forget":
        del iterator
    elif end == "cycle":
        ring = [iterator]
        ring.append(ring)
        del iterator, ring
        gc.collect()
    else:
        with pytest.raises(RuntimeError, match="stopped"):
            iterator.throw(RuntimeError("stopped"))
    assert prefetchers() == []


def test_two_iterators_do_not_disturb_each_other():
    loader = Loader(Numbers([1] * 12), batch_size=2, shuffle=True)
    pairs = list(zip(loader, loader, strict=True))
    assert [one.tolist() for one, _ in pairs] == [rows.tolist() for rows in loader.plan(0)]
    assert [two.tolist() for _, two in pairs] == [rows.tolist() for rows in loader.plan(1)]


def test_chance_is_of_the_batch_the_epoch_and_the_rank():
    def drawn(**options):
        draws = []

        def draw(batch, generator):
            draws.append(torch.rand(1, generator=generator).item())
            return batch

        loader = Loader(Numbers([1] * 12), batch_size=2, transform=draw, **options)
        for _ in range(2):
            epoch_of(loader)
        return draws

    shuffled = drawn(shuffle=True, seed=1)
    assert len(set(shuffled)) == 12  # 6 batches, 2 epochs
    assert drawn(shuffle=True, seed=1, prefetch=0) == shuffled
    assert set(shuffled).isdisjoint(drawn(shuffle=True, seed=2))
    assert set(drawn(shuffle=True, world=2)).isdisjoint(drawn(shuffle=True, world=2, rank=1))
    still = drawn(seed=1)  # without shuffle every epoch is the same
    assert still[:6] == still[6:]
    assert len(set(still)) == 6


@pytest.mark.parametrize(
    ("options", "error", "value"),
    [
        ({"batch_size": 0}, ConfigError, "batch_size must be a whole number of at least 1, got 0"),
        ({"batch_size": 2.0}, ConfigError, "batch_size .*got 2.0"),
        ({"batch_size": True}, ConfigError, "batch_size .*got True"),
        ({"seed": -1}, ConfigError, "seed .*at least 0, got -1"),
        ({"rank": 2, "world": 2}, ConfigError, "rank must be below world, got rank 2 of 2"),
        ({"rank": -1}, ConfigError, "rank .*got -1"),
        ({"world": 0}, ConfigError, "world .*got 0"),
        ({"world": 11}, ConfigError, "each of 11 ranks, got 10 samples"),
        ({"bucket": 0}, ConfigError, "bucket .*got 0"),
        ({"most": 0}, ConfigError, "most .*got 0"),
        ({"most": 9}, ConfigError, "got 9, but sample 9 has 10 nodes and edges"),
        ({"most": 3, "indices": [0, 7]}, ConfigError, "got 3, but sample 7 has 8 nodes and edges"),
        ({"prefetch": -1}, ConfigError, "prefetch .*got -1"),
        ({"drop_last": True, "batch_size": 11}, ConfigError, "one full step of 1 × 11 samples, got 10"),
        ({"indices": []}, DataError, "at least 1 sample, got none"),
        ({"indices": [0, 10]}, DataError, "between 0 and 9, got 10"),
        ({"indices": [-1]}, DataError, "between 0 and 9, got -1"),
        ({"indices": np.ones(10, dtype=bool)}, DataError, r"got \[10\] of bool.*np.flatnonzero"),
        ({"indices": [0.5]}, DataError, "of float64"),
        ({"indices": [[1, 2]]}, DataError, r"got \[1, 2\]"),
    ],
)
def test_what_can_not_be_loaded_is_refused_by_value(options, error, value):
    with pytest.raises(error, match=value):
        Loader(Numbers(range(1, 11)), **{"batch_size": 2, **options})


def test_an_epoch_that_is_none_is_refused():
    with pytest.raises(ConfigError, match="epoch must be a whole number of at least 0, got -1"):
        Loader(Numbers([1]), batch_size=1).set_epoch(-1)


def test_indices_are_copied():
    indices = np.arange(4)
    loader = Loader(Numbers([1] * 9), indices, batch_size=2)
    indices[:] = 8
    assert epoch_of(loader) == [[0, 1], [2, 3]]
    with pytest.raises(ValueError, match="read-only"):
        loader.indices[0] = 1


@pytest.fixture
def collection(tmp_path):
    schema = fake_graph(4)[1]
    with CollectionWriter(tmp_path / "samples", schema) as writer:
        for number in range(23):
            writer.add(fake_graph(3 + number % 5, seed=number)[0], split="train" if number % 3 else "val")
    return Collection(tmp_path / "samples")


def assert_same(one, other):
    for ours, theirs in zip(one.stores, other.stores, strict=True):
        assert list(ours.keys()) == list(theirs.keys())
        assert all(torch.equal(ours[key], theirs[key]) for key in ours.keys())  # noqa: SIM118


def test_a_collection_is_read_batch_by_batch(collection):
    most = int(collection.sizes.max()) * 2
    loader = Loader(collection, collection.splits["train"], batch_size=4, shuffle=True, bucket=2, most=most)
    for rows, batch in zip(loader.plan(), loader, strict=True):
        assert_same(batch, Batch.from_data_list([collection[i] for i in rows]))
        assert collection.sizes[rows].sum() <= most
        assert sum(store.num_nodes for store in batch.node_stores) + batch.num_edges == collection.sizes[rows].sum()


def test_modality_dropout_goes_on_where_it_stopped(collection):
    dropout = ModalityDropout(collection.schema, rate=0.4)
    make = lambda prefetch: Loader(  # noqa: E731
        collection, batch_size=5, shuffle=True, seed=2, transform=dropout, prefetch=prefetch
    )
    whole = make(0)
    expected = [list(whole), list(whole)]
    first = make(2)
    iterator = iter(first)
    got = [next(iterator), next(iterator)]
    later = make(2)
    later.load_state_dict(first.state_dict())
    iterator.close()
    got += list(later)
    for ours, theirs in zip([*got, *later], [*expected[0], *expected[1]], strict=True):
        assert_same(ours, theirs)
        for graph in ours.to_data_list():
            collection.schema.check(graph)
