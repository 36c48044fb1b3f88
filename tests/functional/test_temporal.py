import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mmgraph.functional import Clock, closest, positions, preceding, within

TIMES = st.sampled_from([0.0, 0.5, 1.0, 1.25, 3.0, -2.0])
ROWS = st.lists(st.tuples(st.integers(0, 2), TIMES), max_size=9)


def clock(rows):
    return Clock(
        torch.tensor([sequence for sequence, _ in rows], dtype=torch.long),
        torch.tensor([time for _, time in rows], dtype=torch.float64),
    )


def pairs(index):
    return list(zip(*index.tolist(), strict=True))


@given(rows=ROWS)
def test_positions_equal_a_slow_loop(rows):
    slow = []
    for at, (sequence, time) in enumerate(rows):
        before = [j for j, (s, t) in enumerate(rows) if s == sequence and (t, j) < (time, at)]
        slow.append(len(before))
    assert positions(clock(rows)).tolist() == slow


@pytest.mark.parametrize("reach", [1, 2, None])
@given(sources=ROWS, targets=ROWS)
def test_preceding_equals_a_slow_loop(reach, sources, targets):
    slow = []
    for v, (sequence, time) in enumerate(targets):
        before = sorted((t, u) for u, (s, t) in enumerate(sources) if s == sequence and t < time)
        kept = before if reach is None else before[-reach:]
        slow += [(u, v) for _, u in kept]
    assert pairs(preceding(clock(sources), clock(targets), reach=reach)) == slow


@pytest.mark.parametrize(("before", "after"), [(0.5, 0.5), (1.0, 0.0), (0.0, 0.25), (None, 0.0), (0.0, None)])
@given(sources=ROWS, targets=ROWS)
def test_within_equals_a_slow_loop(before, after, sources, targets):
    slow = set()
    for v, (sequence, time) in enumerate(targets):
        for u, (s, t) in enumerate(sources):
            early = before is not None and t < time - before
            late = after is not None and t > time + after
            if s == sequence and not early and not late:
                slow.add((u, v))
    found = pairs(within(clock(sources), clock(targets), before=before, after=after))
    assert len(found) == len(slow)
    assert set(found) == slow


@given(sources=ROWS, targets=ROWS)
def test_closest_equals_a_slow_loop(sources, targets):
    found = {v: u for u, v in pairs(closest(clock(sources), clock(targets)))}
    for v, (sequence, time) in enumerate(targets):
        away = [(abs(t - time), t) for s, t in sources if s == sequence]
        if not away:
            assert v not in found
        else:
            assert sources[found[v]][0] == sequence
            assert (abs(sources[found[v]][1] - time), sources[found[v]][1]) == min(away)


def test_hundred_thousand_steps_are_a_chain_a_sequence():
    rows = 100_000
    generator = torch.Generator().manual_seed(0)
    when = Clock(torch.randint(50, (rows,), generator=generator), torch.rand(rows, generator=generator).double())
    index = preceding(when, when)
    assert index.shape[1] == rows - 50
    assert torch.equal(when.sequence[index[0]], when.sequence[index[1]])
    assert bool((when.time[index[0]] < when.time[index[1]]).all())
