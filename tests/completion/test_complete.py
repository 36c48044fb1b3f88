import json

import pytest
import torch

from mmgraph.assembly import Built
from mmgraph.completion import CompletionConfig, complete, generated_name
from mmgraph.data import fill
from mmgraph.decoders import Dense, Regression
from mmgraph.engine import Engine
from mmgraph.errors import ConfigError, DataError
from mmgraph.media.audio import decode_audio
from mmgraph.media.image import decode_image
from mmgraph.model import classifier
from mmgraph.schema import Schema
from mmgraph.tasks.controls import default_controls

QUICK = CompletionConfig(epochs=25, channels=16, hidden=32, pixels=8)


def test_sounds_are_made_from_pictures(build, tmp_path):
    built = build(lacks={"sound": range(5), "photo": (4,)}, columns=("photo", "sound"))
    before = built.graph["sound"].x.clone()
    filled, report = complete(built, "sound", QUICK)
    assert generated_name("sound") not in built.schema.nodes  # what was given stays as it was
    assert torch.equal(filled.graph["sound"].x, before)
    assert filled.graph["sound_generated", "of", "bead"].edge_index.tolist() == [[0, 1, 2, 3], [0, 1, 2, 3]]
    assert (report.samples, report.lacked, report.filled) == (80, 5, 4)
    assert report.error["generated"] < 0.5 * report.error["mean"]
    assert report.over_mean["mean"] == 1
    assert report.made == "mel"
    assert report.sources == ("photo",)

    collection = filled.write(tmp_path / "filled")
    files = collection.payload("sound_generated", "payload").to_pylist()
    assert all(decode_audio(file, rate_hz=None).rate_hz == 8000 for file in files)
    opened = Built.open(tmp_path / "filled")
    assert list(opened.payloads["sound_generated"]()) == files == list(filled.payloads["sound_generated"]())
    spec = opened.schema.nodes["sound_generated"]
    assert spec.generated.name == "translator"
    assert spec.generated.options["error"] == report.error
    assert spec.encoder == opened.schema.nodes["sound"].encoder
    again = opened.encoder("sound_generated")(files)
    torch.testing.assert_close(opened.graph["sound_generated"].x, again)  # features are those of the payloads
    opened.schema.check(opened.graph)


def test_pictures_are_made_from_sounds(build):
    built = build(lacks={"photo": (0, 7)}, columns=("photo", "sound"))
    filled, report = complete(built, "photo", QUICK)
    assert report.error["generated"] < 0.5 * report.error["mean"]
    pictures = [decode_image(file) for file in filled.payloads["photo_generated"]()]
    assert [picture.size for picture in pictures] == [(8, 8), (8, 8)]
    assert filled.payload("photo_generated", 1).startswith(b"\x89PNG")
    assert filled.graph["photo_generated"].x.shape == (2, filled.graph["photo"].x.shape[1])


def test_rows_are_made_from_pictures(build, tmp_path):
    columns = ("photo", "mass", "kind", "made")
    lacks = dict.fromkeys(("mass", "kind", "made"), (3, 9))
    filled, report = complete(build(lacks=lacks, columns=columns), "table", QUICK)
    assert report.error["generated"] < 0.5 * report.error["mean"]
    rows = [json.loads(row) for row in filled.payloads["table_generated"]()]
    assert [sorted(row) for row in rows] == [["kind", "made", "mass"]] * 2
    assert all(9 < row["mass"] < 36 and row["kind"] in ("glass", "stone") for row in rows)
    assert all("2009" < row["made"] < "2020" for row in rows)
    filled.write(tmp_path / "filled")
    assert Built.open(tmp_path / "filled").graph["table_generated"].x.isfinite().all()


def test_texts_are_made_from_pictures(build, tmp_path):
    built = build(lacks={"name": (0, 1)}, columns=("photo", "name"))
    filled, report = complete(built, "name", CompletionConfig(epochs=25, channels=32, hidden=64))
    assert (report.made, report.measure) == ("tokens", "1 - ROUGE-L")
    assert report.error["generated"] < 0.5 * report.error["mean"]
    assert 0 < report.error["mean"] < 1
    names = list(filled.payloads["name_generated"]())
    assert set(names) <= {"a round bead", "a long bead"}
    torch.testing.assert_close(filled.graph["name_generated"].x, built.encoder("name")(names))
    filled.write(tmp_path / "filled")
    opened = Built.open(tmp_path / "filled")
    assert list(opened.payloads["name_generated"]()) == names
    assert opened.schema.nodes["name_generated"].generated.options["error"] == report.error


def test_features_are_made_of_any_modality(build, tmp_path):
    built = build(lacks={"name": (0, 1)}, columns=("photo", "name"))
    filled, report = complete(built, "name", CompletionConfig(epochs=25, channels=16, hidden=32, payloads=False))
    assert report.error["generated"] < 0.5 * report.error["mean"]
    assert not report.payloads
    assert "name_generated" not in filled.payloads
    assert filled.schema.nodes["name_generated"].encoder is None
    filled.write(tmp_path / "filled")
    assert torch.equal(Built.open(tmp_path / "filled").graph["name_generated"].x, filled.graph["name_generated"].x)


def test_any_source_is_enough(build):
    built = build(lacks={"sound": (0, 1, 2), "photo": (1,), "mass": (2,)}, columns=("photo", "sound", "mass"))
    filled, report = complete(built, "sound", CompletionConfig(epochs=20, channels=16, hidden=32, hide=0.5))
    assert filled.graph["sound_generated"].num_nodes == 3
    assert report.sources == ("photo", "table")
    assert all(report.error_from[name] < 0.7 * report.error["mean"] for name in ("photo", "table"))


def test_the_same_call_makes_the_same_and_another_replaces_it(build):
    built = build(lacks={"sound": (0, 1)}, columns=("photo", "sound"))
    quick = CompletionConfig(epochs=3, channels=8, hidden=8)
    one, report = complete(built, "sound", quick)
    two, again = complete(one, "sound", quick)  # of what is filled already
    assert report == again
    assert two.schema == one.schema
    assert list(two.payloads["sound_generated"]()) == list(one.payloads["sound_generated"]())
    assert torch.equal(two.graph["sound_generated"].x, one.graph["sound_generated"].x)
    both, _ = complete(build(lacks={"sound": (0, 1), "photo": (5,)}, columns=("photo", "sound")), "sound", quick)
    both, report = complete(both, "photo", quick)
    assert report.sources == ("sound",)  # what was made is no source of what is made next
    assert {"sound_generated", "photo_generated"} < set(both.schema.nodes)


def test_the_graphs_own_split_is_kept(build):
    split = {"by": "column", "column": "part"}
    built = build(lacks={"sound": (0,)}, columns=("photo", "sound", "part"), split=split)
    _, report = complete(built, "sound", CompletionConfig(epochs=1, channels=8, hidden=8, payloads=False))
    assert report.judged == 8
    assert report.trained == 63
    rows, owner = built.graph["sound", "of", "bead"].edge_index
    seen, asked = (
        built.graph["sound"].x[rows[built.graph["bead"][f"{part}_mask"][owner]]] for part in ("train", "test")
    )
    assert report.error["mean"] == pytest.approx(float((asked - seen.mean(dim=0)).square().mean()), rel=1e-4)


def test_what_is_made_is_no_modality(build, tmp_path):
    near = [{"type": ("bead", f"near_{node}", "bead"), "nearest": node, "k": 2} for node in ("photo", "sound")]
    built = build(lacks={"sound": range(9)}, columns=("photo", "sound"), edges=near)
    filled, _ = complete(built, "sound", CompletionConfig(epochs=1, channels=8, hidden=8))
    schema = filled.schema
    for edge in built.schema.edges:
        assert torch.equal(filled.graph[edge].edge_index, built.graph[edge].edge_index)
    assert set(schema.edges) - set(built.schema.edges) == {("sound_generated", "of", "bead")}
    means = fill(filled.graph, schema, "mean")
    assert means["sound"].num_nodes == 80
    assert means["sound_generated"].num_nodes == 9
    assert schema.modalities == ("photo", "sound")
    assert set(schema.paths) == {"photo", "sound"}
    assert default_controls(schema) == default_controls(built.schema)
    assert "generated by translator@" in schema.describe(filled.graph)
    assert Schema.from_json(schema.to_json()) == schema
    engine = Engine.build(filled, tmp_path / "filled")
    hits = engine.search({"sound": filled.payload("sound", 3)}, k=80)
    assert len(hits) == 71  # those that have data
    assert {reason.matched[0].type for hit in hits for reason in hit.reasons} == {"sound"}
    engine.add({"new": {"audio": filled.payload("sound", 4)}})
    assert Engine.open(tmp_path / "filled").search({"audio": filled.payload("sound", 4)}, k=2)


def test_a_model_reads_data_alone(build):
    columns = ("photo", "sound", "kind")
    fields = {"targets": {"kind": {"column": "kind"}}}
    source_columns = {"kind": {"modality": "keep"}}
    built = build(lacks={"sound": range(9)}, columns=columns, override=source_columns, **fields)
    filled, _ = complete(built, "sound", CompletionConfig(epochs=1, channels=8, hidden=8))
    torch.manual_seed(0)
    model = classifier(filled.schema).eval()
    before = model(filled.graph)
    filled.graph["sound_generated"].x = torch.randn_like(filled.graph["sound_generated"].x)
    assert torch.equal(model(filled.graph), before)


def test_a_decoder_of_ones_own_is_used(build):
    built = build(lacks={"photo": (0,)}, columns=("photo", "sound"))

    def grey(channels, hidden, attribute="pixels"):
        return Regression(Dense(channels, (3, 8, 8), attribute=attribute, scale=1e9), dtype=torch.uint8)

    quick = CompletionConfig(epochs=1, channels=8, hidden=8, pixels=8)
    filled, _ = complete(built, "photo", quick, decoder=grey)
    picture = decode_image(filled.payload("photo_generated", 0))
    assert set(picture.tobytes()) <= {0, 255}
    with pytest.raises(ConfigError, match="must make 'pixels' of 'photo', got 'x'"):
        complete(built, "photo", quick, decoder=lambda channels, hidden: grey(channels, hidden, "x"))


def test_what_can_not_be_filled_is_refused(build):
    built = build(lacks={"sound": range(73)}, columns=("photo", "sound"))
    with pytest.raises(DataError, match=r"Each of the 80 'bead' has 'photo' already; there is nothing to fill"):
        complete(built, "photo", QUICK)
    with pytest.raises(ConfigError, match=r"must be of 'bead', one of \['photo', 'sound'\], got 'smell'"):
        complete(built, "smell", QUICK)
    with pytest.raises(DataError, match="At least 8 of 'bead' must be left .* got 5 for training, 1 for .* and 1 for"):
        complete(built, "sound", QUICK)
    with pytest.raises(ConfigError, match="'sound' is all that a 'bead' has; there is nothing to make it from"):
        complete(build(lacks={"sound": (0,)}, columns=("sound",)), "sound", QUICK)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"channels": 0}, "at least 1.* got 0, 256"),
        ({"dropout": 1.0}, "got 0.3 and 1.0"),
        ({"learning_rate": 0.0}, "0.0"),
    ],
)
def test_options_out_of_range_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        CompletionConfig(**options)
