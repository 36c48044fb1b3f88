"""Against scikit-learn's TfidfTransformer and a dense singular value decomposition."""

import csv

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import hstack
from sklearn.feature_extraction.text import HashingVectorizer, TfidfTransformer
from threadpoolctl import threadpool_limits

from mmgraph.data.manifest import data_roots
from mmgraph.encoders import HashedText
from mmgraph.errors import ArtifactError, ConfigError, DataError
from mmgraph.testing import check_frozen

ANIMALS = ["cat", "kitten", "dog", "puppy", "owl", "horse", "mouse", "lynx"]
TEXTS = [f"the {one} sees a {other}, {count} times" for count, one in enumerate(ANIMALS) for other in ANIMALS]
OTHERS = ["a cat", "Puppies see owls", "", "12345", "zzz qqq", "猫が鳥を見る", "🐈 cat", " ", "x" * 5000]


@pytest.fixture(scope="module")
def encoder():
    return HashedText.fit(TEXTS, channels=16)


def reference(texts, others, channels, words=(1, 2), characters=(3, 5), buckets=2**14):
    """Everything dense, buckets that no training text has included."""
    by_word = HashingVectorizer(
        n_features=buckets, alternate_sign=False, norm=None, ngram_range=words, token_pattern=r"(?u)\w+"
    )
    by_character = HashingVectorizer(
        n_features=buckets, alternate_sign=False, norm=None, analyzer="char_wb", ngram_range=characters
    )

    def counts(some):
        return hstack([by_word.transform(some), by_character.transform(some)]).tocsr()

    tf_idf = TfidfTransformer(sublinear_tf=True, norm="l2").fit(counts(texts))
    _, _, right = np.linalg.svd(tf_idf.transform(counts(texts)).toarray(), full_matrices=False)
    found = tf_idf.set_params(norm=None).transform(counts(others)).toarray() @ right[:channels].T
    return found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-12)


def test_equals_a_dense_decomposition_but_for_signs():
    channels = 12
    encoder = HashedText.fit(TEXTS, channels=channels, buckets=2**9)
    some = [*TEXTS[:9], "a cat sees", "owls and mice"]
    found, wanted = encoder(some).numpy(), reference(TEXTS, some, channels, buckets=2**9)
    np.testing.assert_allclose(found @ found.T, wanted @ wanted.T, atol=2e-3)  # similarities know no signs
    np.testing.assert_allclose(np.abs(found[:, :5]), np.abs(wanted[:, :5]), atol=2e-3)


def test_texts_that_share_words_or_parts_of_them_are_near(encoder):
    cat, cats, dog, puppy, puppies = encoder(["cat", "cats", "dog", "puppy", "puppys"])
    assert cat @ cats > 0.5 > cat @ dog
    assert puppy @ puppies > 0.5 > puppies @ cat


def test_rows_have_unit_length_or_are_zero(encoder):
    lengths = encoder([*TEXTS, *OTHERS]).norm(dim=1)
    assert lengths[: len(TEXTS)].allclose(torch.ones(len(TEXTS)), atol=1e-6)
    known = dict(zip(OTHERS, lengths[len(TEXTS) :], strict=True))
    assert known["a cat"] > 0.999
    assert known[""] == known[" "] == 0


def test_case_does_not_matter_but_is_content(encoder):
    low, high = encoder(["a cat sees", "A CAT Sees"])
    assert torch.equal(low, high)
    assert encoder.content("a") != encoder.content("A")


def test_equal_texts_give_equal_bits_on_any_number_of_threads(encoder):
    for threads in (1, 2):
        with threadpool_limits(threads):
            again = HashedText.fit(TEXTS, channels=16)
            assert again.identity == encoder.identity
            assert all(torch.equal(again.state()[key], value) for key, value in encoder.state().items())
            assert torch.equal(again(OTHERS), encoder(OTHERS))
    assert torch.equal(torch.cat([encoder([text]) for text in OTHERS]), encoder(OTHERS))


def test_repeats_and_the_iterable_do_not_matter(encoder):
    again = HashedText.fit((text for text in [*TEXTS, *TEXTS[:20]]), channels=16)
    assert again.identity == encoder.identity


@pytest.mark.parametrize("texts", [["cat"], ["cat", "cat"], ["cat", "dog"], ["", "cat"], ["..."], [""]])
def test_few_texts_keep_the_width(texts):
    encoder = HashedText.fit(texts, channels=128)
    found = encoder([*texts, "catalogue"])
    assert found.shape == (len(texts) + 1, 128)
    assert found.isfinite().all()
    distinct = len({text for text in texts if text.strip(". ")} or {"."})
    assert (found[:, distinct:] == 0).all()
    if "cat" in texts:
        assert found[texts.index("cat")].norm() == pytest.approx(1, abs=1e-6)
        assert (found[texts.index("cat")] @ found[-1]) > 0.9


def test_the_state_holds_the_buckets_of_the_training_texts_alone():
    small = HashedText.fit(["cat"], channels=4, words=(1, 1), characters=(4, 4))
    assert small.state()["bucket"].shape == (3,)  # cat, ' cat', 'cat '
    assert small.state()["components"].shape == (3, 4)


def test_the_contract(encoder):
    check_frozen(encoder, OTHERS, [None, b"cat", 5, "half a pair \ud800"], options={"channels": 16})
    small = HashedText.fit(TEXTS, channels=3, words=[2, 2], characters=[2, 3], buckets=64)
    check_frozen(small, ["a cat sees", "the owl"], options=small.identity.options)


def test_nothing_to_learn_from_is_kept_too():
    check_frozen(HashedText.fit(["cat"], channels=4), ["cat", ""], options={"channels": 4})
    nothing = HashedText.fit(["", "..."], channels=4, characters=(9, 9))
    assert (nothing(["cat", ""]) == 0).all()
    assert (HashedText.restore({"channels": 4, "characters": [9, 9]}, nothing.state()).identity) == nothing.identity


def test_the_identity_is_what_was_fitted_and_how(encoder):
    digests = {
        one.identity.digest
        for one in (
            encoder,
            HashedText.fit(TEXTS[1:], channels=16),
            HashedText.fit(TEXTS, channels=15),
            HashedText.fit(TEXTS, channels=16, words=(1, 1)),
            HashedText.fit(TEXTS, channels=16, characters=(3, 4)),
            HashedText.fit(TEXTS, channels=16, buckets=2**13),
        )
    }
    assert len(digests) == 6
    assert encoder.identity.name == "hashed_text"


@settings(max_examples=25)
@given(st.lists(st.text(max_size=20), min_size=1, max_size=8), st.lists(st.text(max_size=20), max_size=4))
def test_any_text_gives_finite_rows(texts, others):
    encoder = HashedText.fit(texts, channels=5, buckets=256)
    found = encoder(others)
    assert found.shape == (len(others), 5)
    assert found.isfinite().all()
    assert (found.norm(dim=1) < 1 + 1e-5).all()


@pytest.mark.parametrize(
    ("texts", "value"),
    [
        ([], "at least 1 text to fit on, got 0"),
        ("cat", "got one str"),
        (["cat", None], "Text 1 can't be fitted on: a text must be a str, got NoneType"),
        (["cat", ["dog"]], "Text 1 can't be fitted on: a text must be a str, got list"),
        (["\ud800"], r"Text 0 .*Unicode, got '\\ud800' at 0"),
    ],
)
def test_what_can_not_be_fitted_on_is_refused(texts, value):
    with pytest.raises(DataError, match=value):
        HashedText.fit(texts)


@pytest.mark.parametrize(
    ("options", "value"),
    [
        ({"channels": 0}, "got 0 and 16384"),
        ({"buckets": 0}, "got 128 and 0"),
        ({"buckets": 2**21}, "between 1 and 1048576, got 128 and 2097152"),
        ({"words": (0, 1)}, r"words must be .*got \(0, 1\)"),
        ({"words": (2, 1)}, r"words must be .*got \(2, 1\)"),
        ({"characters": (3,)}, r"characters must be .*got \(3,\)"),
    ],
)
def test_bad_options_are_refused(options, value):
    with pytest.raises(ConfigError, match=value):
        HashedText.fit(["cat"], **options)


def test_a_state_of_other_options_is_refused(encoder):
    with pytest.raises(ArtifactError, match=r"components \[buckets, 8\] and idf, got .*'components': \[\d+, 16\]"):
        HashedText.restore({"channels": 8}, encoder.state())
    with pytest.raises(ArtifactError, match=r"got { *'idf': \[\d+\] *}"):
        HashedText.restore({"channels": 16}, {"idf": encoder.state()["idf"]})


@pytest.mark.data
def test_names_of_emoji_are_near_those_of_their_kind():
    file = next((file for root in data_roots() if (file := root / "emoji" / "emoji_index.csv").is_file()), None)
    if file is None:
        pytest.skip("the names of emoji are not there")
    with file.open(newline="", encoding="utf-8") as lines:
        rows = [row for row in csv.DictReader(lines) if not row["skintone"]]
    texts = [f"{row['name']} {row['keywords'].replace('|', ' ')}" for row in rows]
    kinds = np.array([row["subgroup"] for row in rows])
    found = HashedText.fit(texts, channels=128)(texts)
    near = (found @ found.T).fill_diagonal_(-1).argmax(dim=1).numpy()
    chance = np.mean([np.mean(kinds == kind) for kind in kinds])
    assert np.mean(kinds == kinds[near]) > 0.6 > 6 * chance
