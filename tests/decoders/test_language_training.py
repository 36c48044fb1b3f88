import shutil

import pytest
import torch
from torch.nn import functional as F

from mmgraph.decoders import LanguageModel, train_language_model
from mmgraph.decoders.language_training import _batch, _pace, _rows
from mmgraph.encoders import Subwords
from mmgraph.errors import ArtifactError, ConfigError, DataError

SMALL = {"channels": 16, "depth": 1, "heads": 2, "length": 12, "vocabulary": 265}
TEXTS = ["a red cat", "a blue dog"]


def nll(model, tokens):
    read = torch.cat([torch.zeros_like(tokens[:, :1]), tokens[:, :-1]], dim=1)
    said = model(model.embed(read))[0].log_softmax(dim=-1)
    return F.nll_loss(said.flatten(0, 1), tokens.flatten(), reduction="mean")


def test_it_learns_the_texts_and_reads_the_pieces_of_its_own_folder(tmp_path):
    folder = train_language_model(
        TEXTS * 8, tmp_path / "lm", **SMALL, epochs=60, batch_size=4, learning_rate=0.01, dropout=0.0
    )
    model = LanguageModel(folder)
    subwords = Subwords.fit([], model=folder, length=12)
    assert len(subwords.pieces) == model.vocabulary
    assert subwords.pieces[2] == "<|endoftext|>"
    tokens = subwords(TEXTS)
    known, other = tokens[:1, : int((tokens[0] > 0).sum())], subwords(["dog a red"])
    assert nll(model, known) < 0.2  # ln 2 is spread over all its pieces
    assert nll(model, other[:, : int((other > 0).sum())]) > 1.0
    assert subwords.decode(tokens) == TEXTS


def test_it_is_seeded_and_leaves_chance_as_it_was(tmp_path):
    torch.manual_seed(3)
    before = torch.get_rng_state()
    folders = [train_language_model(TEXTS, tmp_path / str(n), **SMALL, epochs=1, seed=n // 2) for n in range(3)]
    assert torch.equal(torch.get_rng_state(), before)
    one, same, other = [(folder / "model.safetensors").read_bytes() for folder in folders]
    assert one == same != other


def test_a_folder_that_is_there_is_taken_or_refused(tmp_path):
    folder = train_language_model(TEXTS, tmp_path / "lm", **SMALL, epochs=1)
    written = (folder / "model.safetensors").stat().st_mtime_ns
    assert train_language_model(iter(TEXTS), folder, **SMALL, epochs=1) == folder
    assert (folder / "model.safetensors").stat().st_mtime_ns == written
    with pytest.raises(ConfigError, match="made with other epochs"):
        train_language_model(TEXTS, folder, **SMALL, epochs=2)
    with pytest.raises(ConfigError, match="made with other texts"):
        train_language_model(TEXTS[:1], folder, **SMALL, epochs=1)
    (folder / "tokenizer.json").write_text("{}")
    with pytest.raises(ArtifactError, match="tokenizer.json' is damaged"):
        train_language_model(TEXTS, folder, **SMALL, epochs=1)
    shutil.rmtree(folder)
    folder.mkdir()
    with pytest.raises(ConfigError, match="must be new"):
        train_language_model(TEXTS, folder, **SMALL, epochs=1)


def test_without_a_name_it_is_kept_by_what_it_is_made_of(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    first, again = (train_language_model(TEXTS, **SMALL, epochs=1) for _ in range(2))
    other = train_language_model(TEXTS, **SMALL, epochs=1, seed=1)
    assert first == again != other
    assert first.parent == other.parent == tmp_path / "mmgraph" / "language_models"


def test_a_killed_run_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr("mmgraph.decoders.language_training.seal", lambda _: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        train_language_model(TEXTS, tmp_path / "lm", **SMALL, epochs=1)
    assert list(tmp_path.iterdir()) == []


def test_rows_hold_each_text_once_between_ends():
    torch.manual_seed(0)
    numbers = [[7], [8, 9], [10, 11, 12, 13], [14]]
    rows = _rows(numbers, 5, length=4)
    assert all(row[0] == row[-1] == 5 or row == [5, 10, 11, 12, 13] for row in rows)  # the long one is cut
    assert max(map(len, rows)) == 5
    texts = " ".join(str(number) for row in rows for number in row).replace("10 11 12 13", "10 11 12 13 5").split("5")
    assert sorted(text.strip() for text in texts if text.strip()) == ["10 11 12 13", "14", "7", "8 9"]
    assert rows != [_rows(numbers, 5, length=4) for _ in range(5)][-1]


def test_what_comes_next_is_asked():
    read, asked = _batch([[5, 7, 5, 8], [5, 9]], 5)
    assert read.tolist() == [[5, 7, 5], [5, 9, 5]]
    assert asked.tolist() == [[7, 5, 8], [9, -100, -100]]


def test_the_pace_rises_and_falls():
    paces = [_pace(step, 100, 0.1) for step in range(100)]
    assert paces[0] == 0.1
    assert max(paces) == paces[9] == paces[10] == 1.0
    assert sorted(paces[10:], reverse=True) == paces[10:]
    assert paces[-1] < 0.01
    assert _pace(0, 1, 0.1) == 1.0
    slower = [_pace(step, 100, 0.3) for step in range(100)]
    assert slower[29] == slower[30] == 1.0
    assert slower[14] == 0.5


def test_one_that_looks_up_starts_with_like_at_like(tmp_path):
    sizes = {**SMALL, "depth": 2, "heads": 1, "epochs": 1, "dropout": 0.0, "learning_rate": 1e-9}
    folder = train_language_model(TEXTS, tmp_path / "lm", **sizes, looks_up=True)
    model = LanguageModel(folder).model.transformer
    width, positions = SMALL["channels"], model.wpe.weight
    place = torch.tensor([1, 5])  # of sines and cosines: equal distances are equal angles
    near, far = (torch.cosine_similarity(positions[place], positions[place + step], dim=1) for step in (1, 4))
    torch.testing.assert_close(near[0], near[1])
    assert near[0] > far[0]
    for block in model.h:
        query, key, value = block.attn.c_attn.weight.split(width, dim=1)
        for product, size in ((query @ key.T, 1.0), (value @ block.attn.c_proj.weight, 0.5)):
            off = product - size * torch.eye(width)
            assert off.abs().max() < 0.3 * size + 0.1
            assert product.trace() > 0.8 * size * width
    plain = train_language_model(TEXTS, tmp_path / "plain", **sizes)
    assert (plain / "model.safetensors").read_bytes() != (folder / "model.safetensors").read_bytes()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"vocabulary": 256}, "got 256, 12"),
        ({"length": 1}, "got 265, 1,"),
        ({"heads": 3}, r"\[16, 1, 3, 1, 16\]"),
        ({"warm_up": 1.5}, "warm_up must be from 0 to 1, got 1.5"),
        ({"epochs": 0}, r"\[16, 1, 2, 0, 16\]"),
        ({"depth": 0}, r"\[16, 0, 2, 1, 16\]"),
    ],
)
def test_options_out_of_range_are_refused(options, message, tmp_path):
    with pytest.raises(ConfigError, match=message):
        train_language_model(TEXTS, tmp_path / "lm", **{**SMALL, "epochs": 1, **options})


def test_texts_that_are_none_are_refused(tmp_path):
    for texts, message in ((["a", ""], "got ''"), ([3], "got 3"), ([], "at least 1 text"), ("a cat", "wrap it in")):
        with pytest.raises(DataError, match=message):
            train_language_model(texts, tmp_path / "lm")
