"""What every decoder of texts promises, and what the base class makes of it."""

import pytest
import torch
from torch.nn import functional as F

from mmgraph.decoders import Decoding, LSTMDecoder, MeshedDecoder, TransformerDecoder
from mmgraph.errors import ConfigError, DataError
from mmgraph.functional import beam, greedy
from mmgraph.typing import Sources

CHANNELS, VOCABULARY, LENGTH = 8, 11, 7
MAKE = {
    "transformer": lambda **options: TransformerDecoder(CHANNELS, heads=2, **options),
    "untied": lambda **options: TransformerDecoder(CHANNELS, heads=4, depth=1, tied=False, hidden=5, **options),
    "lstm": lambda **options: LSTMDecoder(CHANNELS, hidden=6, **options),
    "attending lstm": lambda **options: LSTMDecoder(CHANNELS, attend=True, **options),
    "meshed": lambda **options: MeshedDecoder(CHANNELS, rounds=2, heads=2, **options),
}
METHODS = [
    Decoding(),
    Decoding(method="beam", width=3),
    Decoding(method="nucleus", top_p=0.8, temperature=2.0),
]


@pytest.fixture(params=MAKE)
def decoder(request):
    torch.manual_seed(0)
    made = MAKE[request.param](vocabulary=VOCABULARY, length=LENGTH).eval()
    with torch.no_grad():
        for weight in made.parameters():
            weight.normal_(std=0.6)
    return made


@pytest.fixture
def sources():
    """Rows with all, some, one and no nodes."""
    generator = torch.Generator().manual_seed(1)
    present = torch.tensor([[1, 1, 1], [1, 0, 1], [0, 1, 0], [0, 0, 0]]).bool()
    after = tuple(torch.randn(4, 3, CHANNELS, generator=generator) * present[:, :, None] for _ in range(2))
    return Sources(after[-1], present, after)


@pytest.fixture
def tokens():
    return torch.tensor([[2, 3, 4, 1, 0, 0], [5, 6, 7, 8, 9, 10], [1, 0, 0, 0, 0, 0], [10, 2, 1, 0, 0, 0]])


def stepwise(decoder, sources, tokens):
    """The same logits as :meth:`forward`, piece by piece."""
    state, read, said = decoder.begin(sources), torch.zeros(len(tokens), dtype=torch.int64), []
    for place in range(tokens.shape[1]):
        logits, state = decoder.step(state, read)
        said.append(logits)
        read = tokens[:, place]
    return torch.stack(said, dim=1)


def test_step_by_step_it_says_the_same(decoder, sources, tokens):
    torch.testing.assert_close(stepwise(decoder, sources, tokens), decoder(sources, tokens), atol=1e-5, rtol=1e-5)


def test_what_comes_later_changes_nothing_before(decoder, sources, tokens):
    said = decoder(sources, tokens)
    for place in range(tokens.shape[1]):
        other = tokens.clone()
        other[:, place:] = (other[:, place:] + 3) % VOCABULARY
        changed = decoder(sources, other)
        assert torch.equal(changed[:, : place + 1], said[:, : place + 1])
        if place + 1 < tokens.shape[1]:
            assert not torch.allclose(changed[:, place + 1 :], said[:, place + 1 :])


def test_the_order_of_the_sources_does_not_matter(decoder, sources, tokens):
    order = torch.tensor([2, 0, 1])
    other = Sources(
        sources.states[:, order], sources.present[:, order], tuple(states[:, order] for states in sources.depths)
    )
    torch.testing.assert_close(decoder(other, tokens), decoder(sources, tokens), atol=1e-5, rtol=1e-5)


def test_every_source_that_is_there_matters_and_no_other(decoder, sources, tokens):
    said = decoder(sources, tokens)
    for row in range(4):
        for node in range(3):
            after = tuple(states.clone() for states in sources.depths)
            for states in after:
                states[row, node] += 1
            changed = decoder(Sources(after[-1], sources.present, after), tokens)
            others = torch.arange(4) != row
            assert torch.equal(changed[others], said[others])
            assert torch.equal(changed[row], said[row]) != bool(sources.present[row, node])


def test_without_sources_it_is_the_language_model(decoder, sources, tokens):
    nothing = decoder(sources.nothing(), tokens)
    assert nothing.isfinite().all()
    torch.testing.assert_close(nothing[3], decoder(sources, tokens)[3], atol=1e-5, rtol=1e-5)
    empty = Sources(
        torch.zeros(4, 0, CHANNELS),
        torch.zeros(4, 0).bool(),
        (torch.zeros(4, 0, CHANNELS), torch.zeros(4, 0, CHANNELS)),
    )
    torch.testing.assert_close(decoder(empty, tokens), nothing, atol=1e-5, rtol=1e-5)
    assert torch.equal(decoder.generate(empty), decoder.generate(sources.nothing()))
    same = decoder(sources.nothing(), tokens[:1].expand(4, -1))
    assert torch.allclose(same[:1].expand_as(same), same, atol=1e-5)


def test_rows_without_sources_have_finite_gradients(decoder, sources, tokens):
    states = sources.states.clone().requires_grad_()
    after = (states * 2, states)
    decoder.train().losses(Sources(states, sources.present, after), tokens)["total"].sum().backward()
    assert states.grad.isfinite().all()
    assert (states.grad[~sources.present] == 0).all()
    for name, weight in decoder.named_parameters():
        assert weight.grad is not None, name
        assert weight.grad.isfinite().all(), name


@pytest.mark.parametrize("how", METHODS, ids=lambda how: how.method)
def test_texts_are_bounded_and_end_once(decoder, sources, how):
    made = decoder.generate(sources, generator=torch.Generator().manual_seed(0), decoding=how)
    assert made.shape == (4, LENGTH)
    assert made.dtype == torch.int64
    assert not made.requires_grad
    for text in made.tolist():
        size = text.index(1) + 1 if 1 in text else LENGTH
        assert all(token > 0 for token in text[:size])
        assert not any(text[size:])
    again = decoder.generate(sources, generator=torch.Generator().manual_seed(0), decoding=how)
    assert torch.equal(again, made)
    nobody = decoder.generate(sources.take(slice(0, 0)), decoding=how)
    assert nobody.shape == (0, LENGTH)


def uncached(decoder, sources):
    """A step that reads the whole text anew; its state is the text and whose sources are read."""

    def step(state, read):
        rows, text = state
        text = torch.cat([text, read[:, None]], dim=1)
        said = decoder(sources.take(rows), F.pad(text[:, 1:], (0, 1)))
        return said[:, -1], (rows, text)

    start = (torch.arange(len(sources.states)), torch.empty(len(sources.states), 0, dtype=torch.int64))
    return step, start, lambda state, rows: (state[0][rows], state[1][rows])


def test_the_cache_changes_no_text(decoder, sources):
    step, start, reorder = uncached(decoder, sources)
    assert torch.equal(decoder.generate(sources), greedy(step, start, rows=4, length=LENGTH))
    for width in (1, 2, 5):
        expected = beam(step, start, reorder, rows=4, length=LENGTH, width=width)
        found = decoder.generate(sources, decoding=Decoding(method="beam", width=width))
        assert torch.equal(found, expected)


@pytest.mark.parametrize(
    "rows", [[0, 0, 1, 1, 2, 2, 3, 3], [3, 1], [0, 1], [2, 2, 2, 0, 1], [1, 0, 3, 2], [0, 1, 2, 3]]
)
def test_rows_are_picked_anew(decoder, sources, tokens, rows):
    rows = torch.tensor(rows)
    state, read = decoder.begin(sources), torch.zeros(4, dtype=torch.int64)
    for place in range(3):
        _, state = decoder.step(state, read)
        read = tokens[:, place]
    state = decoder.reorder(state, rows)
    back = torch.arange(len(rows)).flip(0)
    logits, state = decoder.step(state, read[rows])
    expected = decoder(sources.take(rows), tokens[rows])
    torch.testing.assert_close(logits, expected[:, 3], atol=1e-5, rtol=1e-5)
    state = decoder.reorder(state, back)
    logits, _ = decoder.step(state, tokens[rows][back, 3])
    torch.testing.assert_close(logits, expected[back, 4], atol=1e-5, rtol=1e-5)


def test_losses_are_the_likelihood_of_the_text_and_its_end(decoder, sources, tokens):
    said = decoder(sources, tokens).double().log_softmax(2)
    expected = torch.zeros(4, dtype=torch.float64)
    for row, text in enumerate(tokens.tolist()):
        for place, token in enumerate(text):
            if token:
                expected[row] -= said[row, place, token]
    losses = decoder.losses(sources, F.pad(tokens, (0, 5)))
    torch.testing.assert_close(losses["nll"].double(), expected, atol=1e-4, rtol=1e-5)
    assert torch.equal(losses["total"], losses["nll"])
    assert decoder.counts(tokens).tolist() == [4, 6, 1, 3]


def test_a_row_has_the_losses_that_it_has_alone(decoder, sources, tokens):
    together = decoder.losses(sources, tokens)["total"]
    for row in range(4):
        alone = decoder.losses(sources.take(slice(row, row + 1)), tokens[row : row + 1])["total"]
        torch.testing.assert_close(alone[0], together[row], atol=1e-5, rtol=1e-5)


def test_smoothing_is_for_training_alone(sources, tokens):
    decoder = TransformerDecoder(CHANNELS, vocabulary=VOCABULARY, length=LENGTH, smoothing=0.3, dropout=0.0)
    losses = decoder.losses(sources, tokens)
    said, expected = decoder(sources, tokens).log_softmax(2), torch.zeros(4)
    goal = torch.full((VOCABULARY,), 0.3 / (VOCABULARY - 1))
    goal[0] = 0
    for row, text in enumerate(tokens.tolist()):
        for place, token in enumerate(text):
            if token:
                expected[row] -= (goal * said[row, place]).sum() + 0.7 * said[row, place, token]
    torch.testing.assert_close(losses["total"], expected)
    losses = decoder.eval().losses(sources, tokens)
    assert torch.equal(losses["total"], losses["nll"])


def test_texts_can_be_learnt_by_heart(sources):
    torch.manual_seed(0)
    tokens = torch.tensor([[2, 3, 4, 1], [5, 6, 1, 0], [7, 1, 0, 0], [2, 9, 9, 1]])
    for make in MAKE.values():
        decoder = make(vocabulary=VOCABULARY, length=LENGTH, dropout=0.0)
        optimiser = torch.optim.Adam(decoder.parameters(), lr=0.05)
        for _ in range(60):
            optimiser.zero_grad()
            decoder.losses(sources, tokens)["total"].mean().backward()
            optimiser.step()
        for how in METHODS[:2]:
            made = decoder.eval().generate(sources, decoding=how)
            assert made[:, :4].tolist() == tokens.tolist()


def test_no_text_is_no_loss(decoder, sources):
    losses = decoder.losses(sources.take(slice(0, 0)), torch.empty(0, 5, dtype=torch.int64))
    assert losses["total"].shape == (0,)
    losses = decoder.losses(sources, torch.zeros(4, 5, dtype=torch.int64))
    assert losses["total"].tolist() == [0.0] * 4


def test_what_cannot_be_read_is_refused(decoder, sources, tokens):
    with pytest.raises(DataError, match="tokens must be from 0 to 10, got 0 to 11"):
        decoder.losses(sources, tokens + (tokens == 10))
    with pytest.raises(DataError, match="tokens must be from 0 to 10, got -1 to 9"):
        decoder.losses(sources, tokens - 1)
    wide = Sources(torch.zeros(4, 1, 9), torch.ones(4, 1).bool())
    with pytest.raises(DataError, match="sources of 8 channels, got 9"):
        decoder(wide, tokens)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"vocabulary": 2}, "vocabulary of at least 3 .* got 8, 7, 2 and 0.0"),
        ({"length": 0}, "got 8, 0, 11 and 0.0"),
        ({"smoothing": 1.0}, "smoothing from 0 to below 1, got 8, 7, 11 and 1.0"),
    ],
)
@pytest.mark.parametrize("make", MAKE.values(), ids=MAKE)
def test_options_out_of_range_are_refused(make, options, message):
    with pytest.raises(ConfigError, match=message):
        make(**{"vocabulary": VOCABULARY, "length": LENGTH, **options})


@pytest.mark.parametrize("make", MAKE.values(), ids=MAKE)
def test_the_attribute_and_the_way_of_drawing_are_options(make, sources):
    how = Decoding(method="beam", width=2)
    torch.manual_seed(0)
    decoder = make(vocabulary=VOCABULARY, length=LENGTH, attribute="codes", decoding=how).eval()
    assert decoder.attribute == "codes"
    assert torch.equal(decoder.generate(sources), decoder.generate(sources, decoding=how))
    with pytest.raises(DataError, match="codes must be from 0 to 10, got 99 to 99"):
        decoder.losses(sources, torch.full((4, 1), 99))
