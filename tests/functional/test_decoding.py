import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmgraph.functional import beam, greedy, nucleus


class Table:
    """Logits drawn anew for each row and beginning; a state is the list of beginnings of all rows."""

    def __init__(self, vocabulary, *, seed=0, levels=None):
        self.vocabulary, self.seed, self.levels = vocabulary, seed, levels
        self.asked = []

    def logits(self, row, text):
        generator = torch.Generator().manual_seed(hash((self.seed, row, text)) % 2**31)
        if self.levels:  # many ties
            return torch.randint(self.levels, (self.vocabulary,), generator=generator).double()
        return torch.randn(self.vocabulary, generator=generator, dtype=torch.float64)

    def start(self, rows):
        return [(row, None) for row in range(rows)]

    def step(self, state, tokens):
        assert len(state) == len(tokens)
        read = [
            (row, () if text is None else (*text, token))
            for (row, text), token in zip(state, tokens.tolist(), strict=True)
        ]
        assert all(token == 0 for (_, text), token in zip(state, tokens.tolist(), strict=True) if text is None)
        self.asked.append(len(read))
        return torch.stack([self.logits(row, text) for row, text in read]), read

    def reorder(self, state, rows):
        return [state[row] for row in rows.tolist()]

    def likelihood(self, row, text):
        total = 0.0
        for place, token in enumerate(text):
            logits = self.logits(row, text[:place])[1:]
            total += float(logits[token - 1] - logits.logsumexp(0))
        return total


def every_text(vocabulary, length):
    """All that end, and all that are cut off."""
    for size in range(length):
        for text in itertools.product(range(2, vocabulary), repeat=size):
            yield (*text, 1)
    yield from itertools.product(range(2, vocabulary), repeat=length)


def padded(text, length):
    return [*text, *[0] * (length - len(text))]


def slow_greedy(table, row, length):
    text = ()
    while len(text) < length and (not text or text[-1] != 1):
        text = (*text, 1 + int(table.logits(row, text)[1:].argmax()))
    return padded(text, length)


@settings(max_examples=40)
@given(
    st.integers(3, 5),
    st.integers(1, 3),
    st.sampled_from([-0.5, 0.0, 0.7, 1.0, 2.0]),
    st.integers(0, 10**6),
    st.sampled_from([None, 3]),
)
def test_a_wide_beam_is_exhaustive_search(vocabulary, length, penalty, seed, levels):
    table, rows = Table(vocabulary, seed=seed, levels=levels), 3
    texts = list(every_text(vocabulary, length))
    found = beam(
        table.step,
        table.start(rows),
        table.reorder,
        rows=rows,
        length=length,
        width=len(texts),
        length_penalty=penalty,
    )
    for row in range(rows):
        scores = {text: table.likelihood(row, text) / len(text) ** penalty for text in texts}
        text = tuple(token for token in found[row].tolist() if token)
        assert scores[text] == pytest.approx(max(scores.values()), abs=1e-12)
        assert found[row].tolist() == padded(text, length)


def slow_beam(table, row, length, width, penalty):
    """As said in the docstring, with lists, all continuations sorted, and without stopping early."""
    alive, places, done = [((), 0.0)], width, []
    for size in range(1, length + 1):
        more = []
        for text, before in alive:
            logits = table.logits(row, text)[1:]
            each = (logits - logits.logsumexp(0)).tolist()
            more += [((*text, number + 1), before + part) for number, part in enumerate(each)]
        more = sorted(more, key=lambda one: -one[1])[:places]
        over = [one for one in more if one[0][-1] == 1 or size == length]
        done += over
        places -= sum(text[-1] == 1 for text, _ in over)
        alive = [one for one in more if one not in over]
        if not alive or places == 0:
            break
    best = max(done, key=lambda one: one[1] / len(one[0]) ** penalty)
    return padded(best[0], length)


@settings(max_examples=60)
@given(st.integers(3, 6), st.integers(1, 6), st.integers(1, 5), st.sampled_from([0.0, 1.0, 1.5]), st.integers(0, 10**6))
def test_a_narrow_beam_keeps_the_likeliest(vocabulary, length, width, penalty, seed):
    table = Table(vocabulary, seed=seed)
    found = beam(table.step, table.start(4), table.reorder, rows=4, length=length, width=width, length_penalty=penalty)
    assert found.tolist() == [slow_beam(table, row, length, width, penalty) for row in range(4)]


@settings(max_examples=60)
@given(st.integers(2, 6), st.integers(1, 6), st.integers(0, 4), st.integers(0, 10**6), st.sampled_from([None, 2]))
def test_greedy_and_a_beam_of_one_take_the_likeliest_and_of_equals_the_first(vocabulary, length, rows, seed, levels):
    table = Table(vocabulary, seed=seed, levels=levels)
    expected = torch.tensor([slow_greedy(table, row, length) for row in range(rows)], dtype=torch.int64)
    found = greedy(table.step, table.start(rows), rows=rows, length=length)
    assert found.dtype == torch.int64
    assert found.shape == (rows, length)
    assert torch.equal(found, expected.reshape(rows, length))
    one = beam(table.step, table.start(rows), table.reorder, rows=rows, length=length, width=1)
    assert torch.equal(one, found)
    drawn = nucleus(table.step, table.start(rows), rows=rows, length=length, top_p=1e-9)
    assert torch.equal(drawn, found)


def test_number_zero_is_never_chosen():
    def step(state, tokens):
        return torch.tensor([[9.0, 0.0, 1.0]]).repeat(len(tokens), 1), state

    keep = lambda state, rows: state  # noqa: E731
    assert (greedy(step, None, rows=2, length=3) == 2).all()
    assert (beam(step, None, keep, rows=2, length=3, width=2) > 0).all()
    assert (nucleus(step, None, rows=50, length=1, top_p=1.0) > 0).all()


def test_equal_continuations_come_in_order_of_their_numbers():
    def step(state, tokens):
        return torch.zeros(len(tokens), 40), state

    found = beam(step, None, lambda state, rows: state, rows=2, length=2, width=5, length_penalty=0.0)
    assert found.tolist() == [[1, 0]] * 2
    found = beam(step, None, lambda state, rows: state, rows=1, length=2, width=5, length_penalty=3.0)
    assert found.tolist() == [[2, 1]]


def test_of_texts_with_equal_scores_the_one_that_ended_first_is_taken():
    """log 1/2 of "1", and (log 1/4 + log 1) / 2 of "2 1"."""

    def step(state, tokens):
        after = {0: [0.0, 0.5, 0.25, 0.25], 2: [0.0, 1.0, 0.0, 0.0], 3: [0.0, 0.0, 0.5, 0.5]}
        return torch.tensor([after.get(int(token), after[3]) for token in tokens], dtype=torch.float64).log(), state

    found = beam(step, None, lambda state, rows: state, rows=1, length=4, width=3, length_penalty=1.0)
    assert found.tolist() == [[1, 0, 0, 0]]


def test_it_stops_when_all_have_ended():
    def step(state, tokens):
        state.append(len(tokens))
        return torch.tensor([[0.0, float(len(state) == 3) * 9, 1.0]]).repeat(len(tokens), 1), state

    asked = []
    assert greedy(step, asked, rows=2, length=50)[:, :4].tolist() == [[2, 2, 1, 0]] * 2
    assert asked == [2, 2, 2]
    asked = []
    nucleus(step, asked, rows=2, length=50, top_p=1e-9)
    assert asked == [2, 2, 2]


def test_a_beam_stops_when_no_open_text_can_win():
    """After "1" with p = .9 the others have p < .1 together; by likelihood none can win, by length a long one could."""

    def step(state, tokens):
        state.append(len(tokens))
        first = [0.0, 0.9, 0.05, 0.05] if len(state) == 1 else [0.0, 0.0, 0.5, 0.5]
        return torch.tensor([first]).log().repeat(len(tokens), 1), state

    asked = []
    found = beam(step, asked, lambda state, rows: state, rows=1, length=9, width=3, length_penalty=0.0)
    assert found[0].tolist() == [1, *[0] * 8]
    assert asked == [1]
    asked = []
    beam(step, asked, lambda state, rows: state, rows=1, length=9, width=3, length_penalty=3.0)
    assert len(asked) == 9


def test_a_row_is_drawn_by_itself():
    table = Table(5, seed=3)
    options = {"length": 6, "width": 3}
    many = beam(table.step, table.start(5), table.reorder, rows=5, **options)
    for row in range(5):
        alone = beam(table.step, [(row, None)], table.reorder, rows=1, **options)
        assert torch.equal(alone[0], many[row])


def test_the_state_is_reordered_only_when_beams_change_places():
    def step(state, tokens):
        return torch.tensor([[0.0, -9.0, 1.0, 0.9]]).repeat(len(tokens), 1) * (1 if state == 0 else 99), state + 1

    orders = []

    def reorder(state, rows):
        orders.append(rows.tolist())
        return state

    beam(step, 0, reorder, rows=2, length=4, width=2)
    assert orders == [[0, 0, 1, 1]]


def truncated(logits, top_p, temperature):
    """Holtzman's distribution, piece by piece."""
    shares = (logits[1:] / temperature).softmax(0).tolist()
    kept, total = {}, 0.0
    for number in sorted(range(len(shares)), key=lambda i: -shares[i]):
        kept[number + 1] = shares[number]
        total += shares[number]
        if total >= top_p:
            break
    return {number: share / total for number, share in kept.items()}


@pytest.mark.parametrize(("top_p", "temperature"), [(0.3, 1.0), (0.8, 1.0), (0.8, 3.0), (1.0, 0.5), (1.0, 1.0)])
def test_pieces_come_as_often_as_the_nucleus_says(top_p, temperature):
    logits = torch.tensor([5.0, 0.1, 1.5, -0.5, 0.9, 0.3, -torch.inf])
    draws = 40_000
    found = nucleus(
        lambda state, tokens: (logits.repeat(len(tokens), 1), state),
        None,
        rows=draws,
        length=1,
        top_p=top_p,
        temperature=temperature,
        generator=torch.Generator().manual_seed(1),
    )
    expected = truncated(logits.double(), top_p, temperature)
    counts = torch.bincount(found.flatten(), minlength=7).double() / draws
    assert set(counts.nonzero().flatten().tolist()) == {number for number, share in expected.items() if share > 0}
    for number, share in expected.items():
        assert float(counts[number]) == pytest.approx(share, abs=4 * (share * (1 - share) / draws) ** 0.5 + 1e-9)


def test_chance_is_the_generators_alone():
    table = Table(8, seed=2)

    def draw(seed):
        generator = torch.Generator().manual_seed(seed)
        return nucleus(table.step, table.start(6), rows=6, length=8, top_p=1.0, generator=generator)

    torch.manual_seed(0)
    first, state = draw(5), torch.get_rng_state()
    torch.manual_seed(1)
    torch.rand(3)
    assert torch.equal(draw(5), first)
    assert not torch.equal(draw(6), first)
    torch.manual_seed(0)
    draw(5)
    assert torch.equal(torch.get_rng_state(), state)
    nucleus(table.step, table.start(1), rows=1, length=1, top_p=1.0)
    assert not torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("method", ["greedy", "beam", "nucleus"])
def test_logits_that_are_no_numbers_are_refused(method, value):
    def step(state, tokens):
        logits = torch.tensor([[0.0, -9.0, 1.0, 0.0]]).repeat(len(tokens), 1)
        if state == 1:
            logits[-1, 1:] = value
        return logits, state + 1

    options = {"rows": 2, "length": 3}
    draw = {
        "greedy": lambda: greedy(step, 0, **options),
        "beam": lambda: beam(step, 0, lambda state, rows: state, width=2, **options),
        "nucleus": lambda: nucleus(step, 0, top_p=0.2, **options),
    }[method]
    with pytest.raises(ValueError, match=rf"must be numbers.*got {value} as the greatest of row"):
        draw()


def test_nan_after_the_end_of_a_text_does_not_matter():
    def step(state, tokens):
        logits = torch.tensor([[0.0, 9.0, 1.0], [0.0, 0.0, 1.0]])
        if state:
            logits[0] = torch.nan
        return logits, state + 1

    assert greedy(step, 0, rows=2, length=3).tolist() == [[1, 0, 0], [2, 2, 2]]


@pytest.mark.parametrize(("rows", "length"), [(0, 3), (2, 0), (0, 0)])
def test_no_rows_and_no_length(rows, length):
    def never(state, tokens):
        raise AssertionError

    assert greedy(never, None, rows=rows, length=length).shape == (rows, length)
    assert nucleus(never, None, rows=rows, length=length, top_p=1.0).shape == (rows, length)
    assert beam(never, None, never, rows=rows, length=length, width=2).shape == (rows, length)
