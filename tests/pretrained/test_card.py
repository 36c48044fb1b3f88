import math

import pytest
import yaml
from huggingface_hub import ModelCard

from mmgraph.errors import SchemaError
from mmgraph.pretrained import Card
from mmgraph.pretrained.card import check_card, schema_section
from mmgraph.schema import EdgeSpec, NodeSpec, Schema, TargetSpec
from mmgraph.testing import fake_graph
from mmgraph.train.results import Cell, Results

CELL = {"val_metrics": {}, "seconds": 0.0, "data_sha256": "", "parts": (6, 2, 2), "test_sha256": ""}
RESULTS = Results(
    [
        Cell(run=run, variant=variant, metrics={"accuracy": score + run / 100, "odd": math.nan}, **CELL)
        for run in range(3)
        for variant, score in {"full": 0.8, "no_graph": 0.7}.items()
    ],
    metric="accuracy",
)


def test_the_head_is_what_a_hub_reads():
    card = Card(
        title='A "quoted": title', results=RESULTS, data="rosmap", licence="apache-2.0", tags=["brain", "graph"]
    )
    text = card.text(fake_graph()[1], "Model")
    head = yaml.safe_load(text.split("---\n")[1])
    assert head["library_name"] == "mmgraph"
    assert head["license"] == "apache-2.0"
    assert head["tags"] == ["mmgraph", "graph", "multimodal", "brain"]
    data = ModelCard(text).data  # the hub's own reader
    (result,) = data.eval_results
    assert (result.task_name, result.dataset_name, result.metric_type) == ("diagnosis", "rosmap", "accuracy")
    assert result.metric_value == pytest.approx(0.81)
    assert data.model_name == 'A "quoted": title'


def test_scores_stand_beside_their_controls():
    text = Card(results=RESULTS).text(fake_graph()[1], "Model")
    assert "| full | 0.810 ± 0.010 | nan ± nan |  |" in text
    assert "| no_graph | 0.710 ± 0.010 | nan ± nan | +0.100 (" in text
    assert "Mean and deviation over 3 runs; lead in accuracy, with its 95 % interval. The graph helps" in text


def test_a_card_without_scores_claims_none():
    text = Card(title="Bare").text(fake_graph()[1], "Aligner")
    assert "model-index" not in text
    assert "## Scores" not in text
    assert "A `Aligner` of mmgraph, on graphs of this schema" in text
    assert "from mmgraph.pretrained import from_pretrained" in text


def test_settings_are_written_as_json():
    text = Card(settings={"depth": 2, "path": {1}}).text(fake_graph()[1], "Model")
    assert '## Settings\n\n```json\n{\n  "depth": 2,' in text


def test_names_break_no_table():
    schema = Schema(
        nodes={"a|b\nc": NodeSpec(channels=1, unit="<!-- schema of the model: end -->"), "d": NodeSpec()},
        edges={("a|b\nc", "of", "d"): EdgeSpec(weighted=True, channels=2, multiple=True)},
        targets={"t": TargetSpec(node="d", kind="multiclass", classes=tuple("abcdefghijklmnop"))},
        anchor="d",
    )
    section = schema_section(schema)
    assert "| a\\|b c |  | 1 | &lt;!-- schema of the model: end --> | x |  |" in section
    assert "| a\\|b c · of · d | yes | 2 | yes |" in section
    assert "a, b, c, d, e, f, g, h, i, j, k, l, … (16)" in section
    check_card(Card().text(schema, "Model"), schema, "README.md")


def test_a_card_of_another_schema_is_refused():
    one, other = (Schema(nodes={"a": NodeSpec(channels=channels)}) for channels in (1, 2))
    text = Card().text(one, "Model")
    check_card(text, one, "README.md")
    check_card("Nothing of the kind.", other, "README.md")
    with pytest.raises(SchemaError, match=r"The card 'README.md' must say .*, '\| a \|  \| 2 .*', got '\| a \|  \| 1 "):
        check_card(text, other, "README.md")
    with pytest.raises(SchemaError, match=r"got ''"):
        check_card("<!-- schema of the model: begin -->", one, "README.md")
    longer = text.replace("<!-- schema of the model: end -->", "| b |\n<!-- schema of the model: end -->")
    with pytest.raises(SchemaError, match=r"got '\| b \|'"):
        check_card(longer, one, "README.md")


def test_windows_line_ends_are_no_difference():
    schema = fake_graph()[1]
    check_card(Card().text(schema, "Model").replace("\n", "\r\n"), schema, "README.md")
