"""Sources: their root, and other encoders in place of the declared ones."""

import pytest

from mmgraph.assembly import GraphConfig, Source
from mmgraph.errors import ConfigError

CONFIG = GraphConfig(
    nodes={
        "film": {
            "table": "films",
            "columns": {
                "plot": {"modality": "text", "encoder": "words"},
                "tag": {"modality": "text", "node": "plot", "encoder": "words"},
                "words": {"modality": "text"},
                "year": "numeric",
            },
        }
    },
    encoders={"words": {"kind": "tokens"}},
)


def test_the_root_is_that_of_the_file(tmp_path):
    (tmp_path / "graph.toml").write_text('root = "data"\n[nodes.film]\ntable = "films.csv"\n')
    source = Source.read(tmp_path / "graph.toml")
    assert source.root == tmp_path / "data"
    assert not source.tables


def test_encoders_are_put_in_place_of_those_that_are_declared():
    source = Source(CONFIG).with_encoders(plot={"kind": "hashed_text", "channels": 8}, words="hashed_text")
    columns = source.config.nodes["film"].columns
    assert columns["plot"].encoder == columns["tag"].encoder == "plot"
    assert source.config.encoders["plot"].options == {"channels": 8}
    assert columns["words"].encoder == "words_"  # that name is another's
    assert source.config.encoders["words"].kind == "tokens"
    assert source.config.encoders["words_"].kind == "hashed_text"
    assert CONFIG.nodes["film"].columns["words"].encoder is None  # what was passed in stays
    assert GraphConfig(**source.config.model_dump(mode="json")) == source.config


@pytest.mark.parametrize(
    ("encoders", "message"),
    [
        ({"poster": "pixels"}, r"encoders must be of \['plot', 'table', 'words'\], got 'poster'"),
        ({"table": "columns"}, "'table' is tabular: its encoder is 'columns', got 'columns'"),
        ({"plot": {"channels": 3}}, r"The encoder of 'plot' must have a kind, got {'channels': 3}"),
    ],
)
def test_encoders_that_can_not_be_are_refused_by_value(encoders, message):
    with pytest.raises(ConfigError, match=message):
        Source(CONFIG).with_encoders(**encoders)
