import json

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch_geometric.data import HeteroData

from mmgraph.encoders.cache import FeatureCache
from mmgraph.encoders.symbol import SymbolEmbedding, Symbols
from mmgraph.errors import ArtifactError, ConfigError, DataError

symbols = st.one_of(st.text(min_size=1, max_size=4), st.integers(-(2**62), 2**62))


@given(st.lists(symbols, max_size=20), st.lists(symbols, max_size=20))
def test_numbers_are_places_in_the_vocabulary_and_0_is_unknown(known, others):
    encoder = Symbols.fit(known)
    codes = encoder(known + others)
    assert codes.dtype == torch.int64
    for symbol, code in zip(known + others, codes.tolist(), strict=True):
        expected = [
            place for place, one in enumerate(encoder.vocabulary, 1) if (one, type(one)) == (symbol, type(symbol))
        ]
        assert code == (expected or [0])[0]
        assert (code > 0) == any((symbol, type(symbol)) == (one, type(one)) for one in known)
    assert encoder.size == len(encoder.vocabulary) + 1


def test_order_and_repetition_do_not_matter():
    one, other = Symbols.fit(["b", 10, "a", 9, "a"]), Symbols.fit(["a", 9, 10, "b"])
    assert one.vocabulary == other.vocabulary == [9, 10, "a", "b"]
    assert one.identity == other.identity != Symbols.fit(["a"]).identity
    assert one(["1", 1, "10", 10]).tolist() == [0, 0, 0, 2]


def test_rare_symbols_are_unknown():
    texts = ["a"] * 3 + ["b"] * 2 + ["c"] * 2 + ["d"]
    assert Symbols.fit(texts, min_count=2).vocabulary == ["a", "b", "c"]
    assert Symbols.fit(texts, max_symbols=2).vocabulary == ["a", "b"]
    assert Symbols.fit([]).size == 1


def test_what_was_fitted_is_restored_and_kept_in_the_cache(tmp_path):
    fitted = Symbols.fit(["owl", "\ud800", 7])
    restored = Symbols.restore({"min_count": 1}, fitted.state())
    assert (restored.identity, restored.vocabulary) == (fitted.identity, [7, "owl", "\ud800"])
    cache = FeatureCache(tmp_path)
    assert fitted(["owl", 7, "cat"], cache=cache).tolist() == [2, 1, 0]
    done = restored.attempt(["cat", "owl", None], cache=cache)
    assert (done.features.tolist(), done.cached, done.rows.tolist()) == ([0, 2], 2, [0, 1])
    assert restored([]).shape == (0,)


@pytest.mark.parametrize(
    ("payload", "value"),
    [
        (None, "must be a str or an int, got NoneType; leave a missing one out"),
        (True, "got bool"),
        (1.5, "got float"),
        ("", "1 to 1024 characters, got 0"),
        ("a" * 1025, "1 to 1024 characters, got 1025"),
        (2**63, "fit in 64 bits, got one of 64"),
    ],
)
def test_what_is_no_symbol_is_refused(payload, value):
    with pytest.raises(DataError, match=f"Symbol 1 can't be fitted on: .*{value}"):
        Symbols.fit(["a", payload])
    with pytest.raises(DataError, match=f"Payload 0 .*{value}"):
        Symbols.fit(["a"])([payload])


def test_bad_options_and_states_are_refused():
    with pytest.raises(ConfigError, match="got 0 and 1048576"):
        Symbols.fit([], min_count=0)
    with pytest.raises(ConfigError, match="got 1 and 0"):
        Symbols.fit([], max_symbols=0)
    for state in ({}, {"vocabulary": torch.tensor([1, 2], dtype=torch.uint8)}, {"vocabulary": text("3")}):
        with pytest.raises(ArtifactError, match="must be a vocabulary, .*fit it anew"):
            Symbols(state)
    with pytest.raises(ArtifactError, match="got float"):
        Symbols({"vocabulary": text(json.dumps([1.5]))})


def text(value):
    return torch.tensor(list(value.encode()), dtype=torch.uint8)


def graph(**codes):
    made = HeteroData()
    for node, values in codes.items():
        made[node].symbol = torch.tensor(values, dtype=torch.int64)
    return made


def test_each_symbol_has_its_vector_and_zero_rows_work():
    encoder = SymbolEmbedding({"word": 4, "site": 2}, 8).eval()
    found = encoder(graph(word=[3, 0, 3], site=[]))
    assert {node: state.shape for node, state in found.items()} == {"word": (3, 8), "site": (0, 8)}
    assert torch.equal(found["word"], encoder.tables["[word]"].weight[[3, 0, 3]])


def test_the_unknown_is_learned_only_while_training():
    torch.manual_seed(0)
    encoder, one = SymbolEmbedding({"word": 4}, 8, unknown=0.3), graph(word=[2] * 1000)
    unknown = encoder.tables["[word]"].weight[0]
    share = (encoder(one)["word"] == unknown).all(dim=1).float().mean()
    assert 0.25 < share < 0.35
    assert not (encoder.eval()(one)["word"] == unknown).all(dim=1).any()
    encoder.train()(one)["word"].sum().backward()
    assert encoder.tables["[word]"].weight.grad[0].abs().min() > 0


def test_bad_sizes_are_refused():
    for sizes, channels, unknown in [({}, 8, 0.0), ({"word": 0}, 8, 0.0), ({"word": 3}, 0, 0.0), ({"word": 3}, 8, 1.0)]:
        with pytest.raises(ConfigError, match=f"to {channels} with {unknown}"):
            SymbolEmbedding(sizes, channels, unknown=unknown)
