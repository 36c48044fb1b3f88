from dataclasses import replace
from datetime import UTC, datetime

import pytest
import torch

from mmgraph.assembly import Built
from mmgraph.completion.targets import Pictures, Recordings, Rows, Texts, Vectors, cells_of, payloads_of, target_of
from mmgraph.encoders import Columns
from mmgraph.errors import ConfigError
from mmgraph.schema import Modality

ROWS = [
    {"age": 3.0, "when": "2024-01-31T12:00:00+00:00", "wing": "left"},
    {"age": 8.0, "when": "2020-06-01T00:00:00+00:00", "wing": "right"},
    {"age": None, "when": None, "wing": None},
]
COLUMNS = {"age": "numeric", "when": "datetime", "wing": "category"}


@pytest.mark.parametrize("scaling", ["standard", "quantile"])
def test_cells_are_those_that_the_features_were_made_of(scaling):
    encoder = Columns.fit(ROWS, columns=COLUMNS, scaling=scaling)
    found = cells_of(encoder, encoder(ROWS))
    assert [row["wing"] for row in found] == ["left", "right", None]
    assert [row["age"] for row in found] == pytest.approx([3.0, 8.0, None], abs=1e-3)
    moments = [None if row["when"] is None else datetime.fromisoformat(row["when"]) for row in found]
    assert moments[2] is None
    for moment, row in zip(moments[:2], ROWS[:2], strict=True):
        assert abs((moment - datetime.fromisoformat(row["when"])).total_seconds()) < 60  # features are float32
    torch.testing.assert_close(encoder(found), encoder(ROWS), atol=1e-3, rtol=0)


def test_cells_of_absurd_features_can_be_encoded_again():
    encoder = Columns.fit(ROWS, columns=COLUMNS)
    x = torch.full((2, encoder.channels), 1e6)
    x[1] = -1e6
    first, last = cells_of(encoder, x)
    assert first == {"age": None, "when": None, "wing": "left"}
    assert datetime.fromisoformat(last["when"]) == datetime.min.replace(tzinfo=UTC)
    assert encoder([first, last]).isfinite().all()


def everything(built, node):
    return torch.ones(built.graph[node].num_nodes, dtype=torch.bool)


def test_what_is_made_goes_by_the_modality(build):
    built = build(lacks={})
    kinds = {"photo": Pictures, "sound": Recordings, "table": Rows, "name": Texts}
    for node, kind in kinds.items():
        target = target_of(built, node, everything(built, node), payloads=True, size=6, length=16)
        assert type(target) is kind
        assert len(target.values) == 80
        decoder = target.decoder(4, [8])
        assert decoder.attribute == target.attribute
        assert decoder.channels == 4
    photo = target_of(built, "photo", everything(built, "photo"), payloads=True, size=6, length=16)
    assert photo.values.shape == (80, 3, 6, 6)
    for node in ("photo", "name"):
        assert type(target_of(built, node, everything(built, node), payloads=False, size=6, length=16)) is Vectors
    series = built.schema.nodes["name"].model_copy(update={"modality": Modality.SERIES})
    nodes = {**built.schema.nodes, "name": series}
    built = replace(built, schema=built.schema.model_copy(update={"nodes": nodes}))
    with pytest.raises(ConfigError, match="image, audio, text and tabular, got 'name', which is series; make its"):
        target_of(built, "name", everything(built, "name"), payloads=True, size=6, length=16)


def test_texts_are_pieces_of_those_that_may_be_learned_from(build):
    built = build(lacks={}, columns=("photo", "name"))
    known = everything(built, "name")
    texts = payloads_of(built, "name")
    known[[row for row, text in enumerate(texts) if text == "a long bead"]] = False
    target = target_of(built, "name", known, payloads=True, size=6, length=32)
    everyone = target_of(built, "name", everything(built, "name"), payloads=True, size=6, length=32)
    assert any("bead" in piece for piece in everyone.vocabulary)  # of two texts
    assert len(target.vocabulary) == 258  # one text alone makes no pieces but bytes
    longest = int((target.values[known] > 0).sum(dim=1).max())
    assert target.values.shape == (80, longest)
    assert set(target.payloads(target.values[known], None, None, 0)) == {"a round bead"}
    with pytest.warns(UserWarning, match="have no room for their end in 3 pieces"):
        cut = target_of(built, "name", ~known, payloads=True, size=6, length=3)
    assert cut.values.shape == (80, 3)
    with pytest.raises(ConfigError, match="channels must be a multiple of 4 where texts are made, got 6"):
        target.decoder(6, [8])


def test_the_error_of_a_text_is_what_it_lacks_of_rouge_l(build):
    built = build(lacks={}, columns=("photo", "name"))
    target = target_of(built, "name", everything(built, "name"), payloads=True, size=6, length=32)
    texts = payloads_of(built, "name")
    round_, long = (target.values[texts.index(f"a {kind} bead")] for kind in ("round", "long"))
    assert target.error(torch.stack([round_, long]), torch.stack([round_, long])) == 0
    shared = 2 / 3  # "a … bead": two words of three, on either side
    assert target.error(long[None], round_[None]) == pytest.approx(1 - shared)
    assert torch.equal(target.typical(torch.stack([long, round_, long])), long)


def test_pixels_and_mel_bands_of_the_graph_are_taken_as_they_are(build):
    encoders = {"pix": {"kind": "pixels", "size": 5, "colours": 1}, "mel": {"kind": "log_mel", "rate_hz": 4000}}
    override = {"photo": {"modality": "image", "encoder": "pix"}, "sound": {"modality": "audio", "encoder": "mel"}}
    built = build(lacks={}, columns=("photo", "sound"), override=override, encoders=encoders)
    photo = target_of(built, "photo", everything(built, "photo"), payloads=True, size=9, length=16)
    assert photo.values is built.graph["photo"].pixels
    file = photo.payloads(photo.values[:1], photo.decoder(4, []), None, 0)[0]
    assert built.encoder("photo")([file])[0].equal(photo.values[0])  # grey, and without loss
    sound = target_of(built, "sound", everything(built, "sound"), payloads=True, size=9, length=16)
    assert sound.values is built.graph["sound"].mel
    assert sound.rate_hz == 4000
    with pytest.raises(ConfigError, match=r"where it has x, got \['num_nodes', 'pixels'\]; make its payloads"):
        target_of(built, "photo", everything(built, "photo"), payloads=False, size=9, length=16)


def test_rows_are_made_where_columns_became_the_features(build, tmp_path):
    built = build(lacks={}, columns=("photo", "mass"))
    built.write(tmp_path / "beads")
    opened = Built.open(tmp_path / "beads")
    assert payloads_of(opened, "table") == payloads_of(built, "table")
    other = built.encoder("photo")
    built.encoders["table"] = lambda: other
    built.schema.nodes["table"] = built.schema.nodes["table"].model_copy(update={"encoder": other.identity})
    with pytest.raises(
        ConfigError, match="where columns became its features, got gradients@1; make its features alone"
    ):
        target_of(built, "table", everything(built, "table"), payloads=True, size=9, length=16)


def test_what_has_no_payloads_is_said(build):
    built = build(lacks={}, columns=("photo", "mass"))
    with pytest.raises(ConfigError, match=r"'bead' must have payloads, as \['photo', 'table'\] have"):
        payloads_of(built, "bead")
