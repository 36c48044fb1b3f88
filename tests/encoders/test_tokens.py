import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch_geometric.data import HeteroData

from mmgraph.encoders import TokenEncoder, Tokens
from mmgraph.errors import ArtifactError, ConfigError, DataError
from mmgraph.keys import weight_key
from mmgraph.schema import NodeSpec, Schema, view
from mmgraph.testing import check_frozen

TEXTS = ["The cat sees the cat.", "the dog, the cat", "a dog sees", "rare"]


@pytest.fixture(scope="module")
def tokens():
    return Tokens.fit(TEXTS, length=12)


def graph_of(tokens, **more):
    graph = HeteroData()
    for node, rows in {"text": tokens, **more}.items():
        graph[node].tokens = rows
        graph[node].num_nodes = len(rows)
    return graph


def read(tokens, numbers):
    """What numbers stand for."""
    words, spelt = [], b""
    for number in numbers:
        if number == 0:
            break
        if number < 257:
            spelt += bytes([number - 1])
        else:
            words += [spelt.decode(), tokens.words[number - 257]]
            spelt = b""
    return " ".join(word.strip() for word in [*words, spelt.decode()] if word)


def test_words_are_counted_and_the_frequent_come_first(tokens):
    assert tokens.words == ("the", "cat", "sees", "dog")  # 4, 3, 2 and 2 times; the rest once
    assert tokens.vocabulary == 257 + 4
    assert Tokens.fit(TEXTS, words=2).words == ("the", "cat")
    assert Tokens.fit(TEXTS, least=3).words == ("the", "cat")
    assert Tokens.fit(TEXTS, least=1).words[4:] == (".", ",", "a", "rare")
    assert Tokens.fit(["once"]).words == ()


def test_repeated_texts_count_once(tokens):
    assert Tokens.fit([*TEXTS, *["rare"] * 5]).words == tokens.words


def test_known_words_are_numbers_and_others_are_spelt(tokens):
    rows = tokens(["the DOG", "an", "", "é cat"])
    assert rows.dtype == torch.int64
    assert rows.tolist() == [
        [257, 260, *[0] * 10],
        [1 + 0x20, 1 + ord("a"), 1 + ord("n"), *[0] * 9],
        [0] * 12,
        [1 + 0x20, 1 + 0xC3, 1 + 0xA9, 258, *[0] * 8],
    ]


def test_what_is_too_long_is_cut_off(tokens):
    long = tokens(["the " * 100, "x" * 100])
    assert long[0].tolist() == [257] * 12
    assert long[1].tolist() == [33, *[1 + ord("x")] * 11]


@given(st.text(max_size=30))
def test_nothing_is_lost_but_case_and_space(text):
    tokens = Tokens.fit(["the cat the cat"], length=200)
    (row,) = tokens([text]).tolist()
    assert max(row) < tokens.vocabulary
    assert "".join(read(tokens, row).split()) == "".join(text.lower().split())
    end = row.index(0)
    assert set(row[end:]) == {0}


def test_words_next_to_each_other_are_told_apart(tokens):
    one, two = tokens(["ab cd", "abcd"])
    assert not torch.equal(one, two)


def test_the_contract(tokens):
    check_frozen(tokens, ["the cat", "", "une élève 🐈", "x" * 99], [None, b"cat", "\ud800"], options={"length": 12})


def test_the_identity_is_the_vocabulary_and_the_length(tokens):
    others = [Tokens.fit(TEXTS, length=11), Tokens.fit(TEXTS[:2], length=12), Tokens.fit(TEXTS, length=12, words=2)]
    assert len({one.identity.digest for one in (tokens, *others)}) == 4
    assert Tokens.fit(list(TEXTS), length=12).identity == tokens.identity


@pytest.mark.parametrize("options", [{"length": 0}, {"words": 0}, {"least": 0}])
def test_options_below_one_are_refused(options):
    with pytest.raises(ConfigError, match="length, words and least must be at least 1, got .*0"):
        Tokens.fit(TEXTS, **options)


def test_what_can_not_be_fitted_on_is_refused():
    with pytest.raises(DataError, match="Text 1 can't be fitted on: .*got int"):
        Tokens.fit(["a", 1])
    with pytest.raises(DataError, match="at least 1 text"):
        Tokens.fit([])


@pytest.mark.parametrize("state", [{}, {"words": b"no json"}, {"words": b"5"}])
def test_a_state_without_a_vocabulary_is_refused(state):
    tensors = {key: torch.tensor(list(value), dtype=torch.uint8) for key, value in state.items()}
    with pytest.raises(ArtifactError, match="must hold the vocabulary in 'words', but"):
        Tokens.restore({}, tensors)


@torch.no_grad()
def slow(network, row):
    """One text, token by token."""
    numbers = [int(number) for number in row if number > 0]
    states = [network.embedding.weight[number] for number in numbers]
    if network.gru is not None:
        gru = network.gru
        both = []
        for suffix, order in (("", 1), ("_reverse", -1)):
            w_ih, w_hh = getattr(gru, f"weight_ih_l0{suffix}"), getattr(gru, f"weight_hh_l0{suffix}")
            b_ih, b_hh = getattr(gru, f"bias_ih_l0{suffix}"), getattr(gru, f"bias_hh_l0{suffix}")
            h, found = torch.zeros(gru.hidden_size, dtype=torch.float64), []
            for x in states[::order]:
                r, z, n = (w_ih @ x + b_ih).chunk(3)
                hr, hz, hn = (w_hh @ h + b_hh).chunk(3)
                r, z = (r + hr).sigmoid(), (z + hz).sigmoid()
                h = (1 - z) * (n + r * hn).tanh() + z * h
                found.append(h)
            both.append(found[::order])
        states = [torch.cat(pair) for pair in zip(*both, strict=True)]
    scores = [math.exp(float(network.score(network.key(state).tanh()))) for state in states]
    vector = torch.zeros(network.out.in_features, dtype=torch.float64)
    for score, state in zip(scores, states, strict=True):
        vector = vector + score / sum(scores) * state
    return network.out.weight @ vector + network.out.bias


ROWS = torch.tensor([[5, 9, 2, 0, 0], [0, 0, 0, 0, 0], [7, 0, 0, 0, 0], [3, 3, 1, 8, 2]])


@pytest.mark.parametrize("recurrent", [True, False])
def test_equals_a_slow_loop(recurrent):
    torch.manual_seed(0)
    encoder = TokenEncoder(["text"], 3, vocabulary=10, hidden=4, recurrent=recurrent).double()
    found = encoder(graph_of(ROWS))["text"]
    network = encoder.networks[weight_key("text")]
    for row, state in zip(ROWS, found, strict=True):
        torch.testing.assert_close(state.detach(), slow(network, row), atol=1e-10, rtol=1e-10)


@pytest.mark.parametrize("recurrent", [True, False])
def test_padding_has_no_influence(recurrent):
    torch.manual_seed(0)
    encoder = TokenEncoder(["text"], 4, vocabulary=10, recurrent=recurrent)
    found = encoder(graph_of(ROWS))["text"]
    wide = torch.cat([ROWS, torch.zeros(4, 7, dtype=torch.int64)], dim=1)
    torch.testing.assert_close(encoder(graph_of(wide))["text"], found)
    for row in range(4):
        torch.testing.assert_close(encoder(graph_of(ROWS[row : row + 1]))["text"], found[row : row + 1])
    with torch.no_grad():
        encoder.networks[weight_key("text")].embedding.weight[0] = 100.0  # even if the padding had a vector
    torch.testing.assert_close(encoder(graph_of(ROWS))["text"], found)


@pytest.mark.parametrize("recurrent", [True, False])
@pytest.mark.parametrize("tokens", [torch.zeros(3, 5, dtype=torch.int64), torch.zeros(0, 5, dtype=torch.int64)])
def test_nothing_but_padding_and_no_rows_are_finite(recurrent, tokens):
    encoder = TokenEncoder(["text"], 4, vocabulary=10, recurrent=recurrent)
    found = encoder(graph_of(tokens))["text"]
    assert found.shape == (len(tokens), 4)
    torch.testing.assert_close(found, encoder.networks[weight_key("text")].out.bias.expand(len(tokens), 4))
    found.sum().backward()


@pytest.mark.parametrize("recurrent", [True, False])
def test_every_parameter_learns_and_the_padding_does_not(recurrent):
    torch.manual_seed(0)
    encoder = TokenEncoder(["text"], 4, vocabulary=10, recurrent=recurrent)
    encoder(graph_of(ROWS))["text"].square().sum().backward()
    for name, parameter in encoder.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().sum() > 0, name
    assert encoder.networks[weight_key("text")].embedding.weight.grad[0].abs().sum() == 0


def test_order_is_read_by_the_recurrent_one_alone():
    torch.manual_seed(0)
    a, b = torch.tensor([[1, 2, 3]]), torch.tensor([[3, 2, 1]])
    by_order = TokenEncoder(["text"], 4, vocabulary=10)
    assert not torch.allclose(by_order(graph_of(a))["text"], by_order(graph_of(b))["text"], atol=1e-3)
    bag = TokenEncoder(["text"], 4, vocabulary=10, recurrent=False)
    torch.testing.assert_close(bag(graph_of(a))["text"], bag(graph_of(b))["text"])


def test_types_share_no_weights_and_no_influence():
    torch.manual_seed(0)
    encoder = TokenEncoder({"text": None, "title": None}, 4, vocabulary=10)
    found = encoder(graph_of(ROWS, title=ROWS))
    assert not torch.allclose(found["text"], found["title"])
    other = encoder(graph_of(ROWS, title=ROWS.flip(0)))
    assert torch.equal(found["text"], other["text"])


def test_a_view_is_read_like_the_graph_and_hides_like_one():
    torch.manual_seed(0)
    graph = graph_of(ROWS, title=ROWS.flip(0))
    spec = NodeSpec(modality="text", attributes=("tokens",))
    schema = Schema(nodes={"text": spec, "title": spec}, edges={})
    encoder = TokenEncoder(["text", "title"], 4, vocabulary=10)
    found, seen = encoder(graph), encoder(view(graph, schema))
    assert all(torch.equal(found[node], seen[node]) for node in found)
    hidden = encoder(view(graph, schema, hide=["title"]))
    assert hidden["title"].shape == (0, 4)
    assert torch.equal(hidden["text"], found["text"])


def test_dropout_acts_while_training_alone():
    encoder = TokenEncoder(["text"], 8, vocabulary=10, dropout=0.5)
    assert not torch.equal(encoder(graph_of(ROWS))["text"], encoder(graph_of(ROWS))["text"])
    encoder.eval()
    assert torch.equal(encoder(graph_of(ROWS))["text"], encoder(graph_of(ROWS))["text"])


@pytest.mark.parametrize(("number", "value"), [(10, "got 0 to 10"), (-1, "got -1 to 9")])
def test_numbers_beyond_the_vocabulary_are_refused(number, value):
    rows = ROWS.clone()
    rows[0, 0] = number
    with pytest.raises(DataError, match=f"tokens of 'text' must be from 0 to 9, {value}"):
        TokenEncoder(["text"], 4, vocabulary=10)(graph_of(rows))


@pytest.mark.parametrize(
    ("nodes", "channels", "options", "value"),
    [
        ([], 4, {}, r"got \[\], 10, 4 and 4"),
        (["text"], 0, {}, "10, 0 and 0"),
        (["text"], 4, {"vocabulary": 1}, "1, 4 and 4"),
        (["text"], 5, {}, "10, 5 and 5"),
        (["text"], 4, {"hidden": 3}, "10, 4 and 3"),
        (["text"], 4, {"hidden": 0, "recurrent": False}, "10, 4 and 0"),
    ],
)
def test_widths_that_can_not_be_are_refused(nodes, channels, options, value):
    with pytest.raises(ConfigError, match=value):
        TokenEncoder(nodes, channels, **{"vocabulary": 10, **options})


def test_it_learns_the_order_of_words():
    torch.manual_seed(0)
    texts = [f"{a} before {b}" for a in "pqrs" for b in "pqrs" if a != b]
    labels = torch.tensor([float(text[0] < text[-1]) for text in texts])
    tokens = Tokens.fit(texts, length=4)
    graph = graph_of(tokens(texts))
    encoder = TokenEncoder(["text"], 1, vocabulary=tokens.vocabulary, hidden=16)
    optimiser = torch.optim.Adam(encoder.parameters(), lr=0.02)
    for _ in range(60):
        optimiser.zero_grad()
        loss = torch.nn.functional.binary_cross_entropy_with_logits(encoder(graph)["text"].squeeze(1), labels)
        loss.backward()
        optimiser.step()
    assert ((encoder(graph)["text"].squeeze(1) > 0).float() == labels).all()
