import json
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mmgraph.encoders import Subwords, load_frozen, make_frozen, save_frozen, spell
from mmgraph.errors import ArtifactError, ConfigError, DataError
from mmgraph.testing import check_frozen

TEXTS = ["red apple", "green apple", "red car", "blue car", "déjà vu", "the red cat"]


@pytest.fixture(scope="module")
def subwords():
    return Subwords.fit(TEXTS, length=40, vocabulary=280)


@pytest.fixture(scope="module")
def gpt2(tmp_path_factory):
    """A folder as transformers writes it, with an end that is a piece of its own."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_str(Subwords.fit(TEXTS, vocabulary=270).state()["tokenizer"].numpy().tobytes().decode())
    tokenizer.add_special_tokens(["<|end of text|>"])
    tokenizer.enable_truncation(2)
    tokenizer.enable_padding()
    folder = tmp_path_factory.mktemp("gpt2")
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


@given(st.text(max_size=39))
def test_every_text_that_fits_comes_back(text):
    subwords = Subwords.fit(TEXTS, length=200, vocabulary=280)
    (row,) = subwords([text])
    assert subwords.decode(row[None]) == [text]
    end = row.tolist().index(1)
    assert row[:end].min() >= 2 if end else not text
    assert row[end + 1 :].eq(0).all()


def test_pieces_are_pairs_that_stand_together_most_often():
    texts = ["abab", "ab cab", "xyz"]
    merges = slow_merges(texts, 4, least=1)
    pieces = Subwords.fit(texts, vocabulary=262, least=1).pieces
    assert pieces[258:] == tuple(merges)
    assert pieces[:2] == ("", "")
    assert len(set(pieces[2:])) == 260


def slow_merges(texts, number, least):
    """Pair encoding by hand: of the most frequent pairs, the one of the lowest numbers."""
    signs = sorted(map(chr, [*range(33, 127), *range(161, 173), *range(174, 256), *range(256, 324)]))
    words = [list(word) for text in texts for word in text.replace(" ", " Ġ").split()]
    found = []
    for _ in range(number):
        counts = {}
        for word in words:
            for pair in pairwise(word):
                counts[pair] = counts.get(pair, 0) + 1
        order = {sign: place for place, sign in enumerate([*signs, *found])}
        pair = min(counts, key=lambda pair: (-counts[pair], order[pair[0]], order[pair[1]]))
        if counts[pair] < least:
            break
        found.append("".join(pair))
        for word in words:
            for place in range(len(word) - 2, -1, -1):
                if tuple(word[place : place + 2]) == pair:
                    word[place : place + 2] = [found[-1]]
    return found


def test_the_vocabulary_is_bounded_and_rare_pairs_are_none(subwords):
    assert len(subwords.pieces) == 268  # no other pair stands there twice
    assert len(Subwords.fit(TEXTS, vocabulary=260).pieces) == 260
    assert len(Subwords.fit(TEXTS, vocabulary=258).pieces) == 258
    assert len(Subwords.fit(["ab", "cd"]).pieces) == 258
    assert len(Subwords.fit(["ab", "cd"], least=1).pieces) == 260


def test_numbers_are_below_the_vocabulary_and_frequent_words_are_short(subwords):
    rows = subwords(["red apple", "zzz"])
    assert rows.shape == (2, 40)
    assert rows.dtype == torch.int64
    assert int(rows.max()) < len(subwords.pieces)
    assert int((rows[0] > 1).sum()) < len("red apple")
    assert [subwords.pieces[number] for number in rows[1, :4]] == ["z", "z", "z", ""]


def test_equal_texts_in_any_order_are_the_same_encoder(subwords):
    other = Subwords.fit([*TEXTS[::-1], *TEXTS], length=40, vocabulary=280)
    assert other.identity == subwords.identity
    assert torch.equal(other.state()["tokenizer"], subwords.state()["tokenizer"])


def test_what_has_no_room_is_cut_and_said():
    subwords = Subwords.fit(["a"], length=4)
    with pytest.warns(
        UserWarning, match="2 of 4 texts have no room .* in 4 pieces, .* up to 3 pieces; raise length to 8"
    ):
        rows = subwords(["abc", "abcd", "abcdefg", ""])
    assert [int((row == 1).sum()) for row in rows] == [1, 0, 0, 1]
    assert subwords.decode(rows) == ["abc", "abcd", "abcd", ""]
    assert torch.equal(rows, Subwords.fit(["a"], length=8)(["abc", "abcd", "abcdefg", ""])[:, :4])


def test_case_may_be_dropped():
    subwords = Subwords.fit(["RED", "red", "Red"], lower=True, vocabulary=260)
    assert subwords.pieces[258:] == ()  # one distinct text
    assert subwords.decode(subwords(["RÉD"])) == ["réd"]


def test_the_alphabet_is_that_of_tokenizers(subwords):
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_str(subwords.state()["tokenizer"].numpy().tobytes().decode())
    numbers = torch.arange(2, len(subwords.pieces))[:, None]
    assert spell(subwords.pieces, numbers) == [tokenizer.decode([number]) for number in range(len(numbers))]


def test_the_contract(subwords):
    options = {"length": 40, "vocabulary": 280}
    check_frozen(subwords, ["the cat", "", "une élève 🐈", "The cat"], [None, b"cat", "\ud800"], options=options)


def test_it_is_kept_and_made_by_its_kind(tmp_path):
    encoder = make_frozen("subwords", TEXTS, length=12, vocabulary=270, lower=True)
    save_frozen("subwords", {"length": 12, "vocabulary": 270, "lower": True}, encoder, tmp_path / "text")
    assert load_frozen(tmp_path / "text").pieces == encoder.pieces


def test_the_tokenizer_of_a_model_is_taken(gpt2, tmp_path):
    subwords = Subwords.fit([], model=gpt2, length=30)
    own = Subwords.fit(TEXTS, vocabulary=270, length=30)
    assert subwords.pieces == (*own.pieces, "<|end of text|>")
    texts = ["red apple", "<|end of text|>", "é"]
    assert torch.equal(subwords(texts), own(texts))  # the name of the end is a text like others
    assert spell(subwords.pieces, torch.tensor([[len(own.pieces)]])) == ["<|end of text|>"]
    check_frozen(subwords, texts, options={"length": 30, "model": str(gpt2)})
    options = {"length": 30, "model": "gone"}
    assert Subwords.restore(options, subwords.state()).pieces == subwords.pieces


def test_a_folder_without_a_byte_level_tokenizer_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="must be a folder of transformers with a tokenizer.json, got '.*none'"):
        Subwords.fit(TEXTS, model=tmp_path / "none")
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(ConfigError, match="must be a folder with a byte-level tokenizer, got .*Model missing"):
        Subwords.fit(TEXTS, model=tmp_path)
    words = {"type": "WordLevel", "vocab": {"[UNK]": 0, "cat": 1}, "unk_token": "[UNK]"}
    (tmp_path / "tokenizer.json").write_text(json.dumps({"version": "1.0", "added_tokens": [], "model": words}))
    with pytest.raises(ConfigError, match=r"must know all 256 bytes .* got none of \[0, 1, 2, 3, 4\]"):
        Subwords.fit(TEXTS, model=str(tmp_path))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"length": 1}, "length must be at least 2, a piece and the end, got 1"),
        ({"vocabulary": 257}, "vocabulary must be at least 258 .* got 257 and 2"),
        ({"least": 0}, "least at least 1, got 1000 and 0"),
    ],
)
def test_options_out_of_range_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        Subwords.fit(TEXTS, **options)


def test_what_can_not_be_fitted_on_is_refused():
    with pytest.raises(DataError, match="Text 1 can't be fitted on: .*got int"):
        Subwords.fit(["a", 1])
    with pytest.raises(DataError, match="at least 1 text"):
        Subwords.fit([])


@pytest.mark.parametrize("state", [{}, {"tokenizer": b"no json"}, {"tokenizer": b"\xff"}])
def test_a_state_without_a_tokenizer_is_refused(state):
    tensors = {key: torch.tensor(list(value), dtype=torch.uint8) for key, value in state.items()}
    with pytest.raises(ArtifactError, match="must hold a tokenizer as JSON in 'tokenizer', but"):
        Subwords.restore({}, tensors)
