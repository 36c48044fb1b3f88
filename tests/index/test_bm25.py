import math
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmgraph.errors import ArtifactError, ConfigError, DataError
from mmgraph.files import seal
from mmgraph.index import BM25, Exact
from mmgraph.index.bm25 import tokens

TEXTS = ["a red cat", "a dog", "the cat and the cat", "", "Ünïcode CAT"]
IDS = ["r", "d", "c", "e", "u"]


def slow(texts, query, k1, b):
    """The formula, text by text and word by word."""
    split = [text.split() for text in texts]
    mean = sum(map(len, split)) / len(split)
    scores = []
    for words in split:
        score = 0.0
        for word in query.split():
            held = sum(word in other for other in split)
            if word in words:
                rarity = math.log(1 + (len(texts) - held + 0.5) / (held + 0.5))
                often = words.count(word)
                score += rarity * often / (often + k1 * (1 - b + b * len(words) / mean))
        scores.append(score)
    return scores


words = st.lists(st.sampled_from("abcde"), max_size=8).map(" ".join)


@settings(max_examples=150)
@given(
    texts=st.lists(words, min_size=1, max_size=9),
    query=words,
    k=st.integers(1, 12),
    k1=st.sampled_from([0, 1.2, 1.5]),
    b=st.sampled_from([0, 0.75, 1]),
)
def test_equals_a_slow_loop(texts, query, k, k1, b):
    bm25 = BM25(texts, map(str, range(len(texts))), k1=k1, b=b)
    expected = slow(texts, query, k1, b)
    np.testing.assert_allclose(bm25.scores(query), expected, rtol=1e-12, atol=1e-15)
    positions, scores = bm25.search_arrays(query, k)
    exact = bm25.scores(query)
    order = sorted((n for n in range(len(texts)) if exact[n] > 0), key=lambda n: (-exact[n], n))[:k]
    assert positions.tolist() == order
    assert scores.tolist() == [exact[n] for n in order]
    allowed = np.arange(0, len(texts), 2)
    assert bm25.search_arrays(query, 99, allowed=allowed)[0].tolist() == [
        n for n in bm25.search_arrays(query, 99)[0].tolist() if n % 2 == 0
    ]


@pytest.mark.parametrize(
    ("text", "split"),
    [
        ("", []),
        ("?!… ---", []),
        ("Red CAT_dog's", ["red", "cat", "dog", "s"]),
        ("Crème ΑΘΉΝΑ Straße", ["creme", "αθηνα", "strasse"]),
        ("ﬁne １２ x²", ["fine", "12", "x2"]),
        ("İstanbul Ǆ", ["istanbul", "dz"]),
        ("Tiếng Việt, 日本語", ["tieng", "viet", "日本語"]),
    ],
)
def test_tokens(text, split):
    assert tokens(text) == split


def test_search():
    bm25 = BM25(TEXTS, IDS)
    assert len(bm25) == 5
    assert [id for id, _ in bm25.search("unicode cats")] == ["u"]
    assert [id for id, _ in bm25.search("CÁT")] == ["u", "c", "r"]
    assert bm25.search("nothing") == []
    assert bm25.search("") == []
    assert bm25.search("cat cat")[0][1] == 2 * bm25.search("cat")[0][1]


@pytest.mark.parametrize("texts", [[], [""], ["", ""]])
def test_no_words(texts):
    assert BM25(texts, map(str, range(len(texts)))).search("cat") == []


def test_of_an_index():
    index = Exact(np.eye(5), IDS, metadata={"text": [*TEXTS[:4], None], "n": [1] * 5})
    assert BM25.of(index).search("cat") == BM25([*TEXTS[:4], ""], IDS).search("cat")
    assert BM25.of(index, "n", k1=1).search("1") == []
    with pytest.raises(ConfigError, match=r"columns \['text', 'n'\], got 'body'"):
        BM25.of(index, "body")


@pytest.mark.parametrize("texts", [TEXTS, [], ["", ""]])
def test_round_trip(texts, tmp_path):
    bm25 = BM25(texts, IDS[: len(texts)], k1=1.2, b=0.5)
    bm25.save(tmp_path / "bm25")
    again = BM25.load(tmp_path / "bm25")
    assert (again.ids, again.k1, again.b) == (bm25.ids, 1.2, 0.5)
    for query in ("cat", "a dog", "", "the unicode"):
        assert again.search(query) == bm25.search(query)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: BM25(["a", None], "ab"), DataError, "Texts must be strings, got None at position 1; write ''"),
        (lambda: BM25(["a"], "ab"), DataError, "as many as texts: got 2 ids for 1 texts"),
        (lambda: BM25(["a"] * 2, "aa"), DataError, "unique: 'a' stands at positions 0 and 1"),
        (lambda: BM25(["a"], "a", k1=-1), ConfigError, "k1 ≥ 0 and 0 ≤ b ≤ 1, got k1=-1 and b=0.75"),
        (lambda: BM25(["a"], "a", b=1.5), ConfigError, "got k1=1.5 and b=1.5"),
        (lambda: BM25(["a"], "a", k1=float("nan")), ConfigError, "got k1=nan"),
        (lambda: BM25(["a"], "a").search("a", 0), ConfigError, "'k' must be a whole number at least 1, got 0"),
        (lambda: BM25(["a"], "a").search(7), DataError, "A query must be a string, got 7"),
    ],
)
def test_errors(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_damage_is_found(tmp_path):
    folder = tmp_path / "bm25"
    BM25(TEXTS, IDS).save(folder)
    whole = {path: path.read_bytes() for path in folder.iterdir()}
    for path, data in whole.items():
        for bad in (data[:9], b"", data[:5] + b"\xff" + data[6:]):
            path.write_bytes(bad)
            with pytest.raises(ArtifactError, match=re.escape(str(folder))):
                BM25.load(folder)
            if path.name != "sha256.json":
                seal(folder)
                with pytest.raises(ArtifactError, match=re.escape(str(folder))):
                    BM25.load(folder)
        for file, before in whole.items():
            file.write_bytes(before)
    (folder / "meta.json").write_text(whole[folder / "meta.json"].decode().replace('"r"', '"d"'))
    seal(folder)
    with pytest.raises(ArtifactError, match="DataError: Ids must be unique: 'd'"):
        BM25.load(folder)
