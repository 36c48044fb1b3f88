from collections import Counter

import pytest

from mmgraph.assembly import build_graph
from mmgraph.encoders import FeatureCache


@pytest.fixture(scope="module")
def module(builder):
    return builder("expla_graphs")


def test_words_lose_their_endings_and_plain_ones_don_t_count(module):
    assert module.words("Banning the Whales' dried") == ["bann", "the", "whales'", "dri"]
    assert module.share("be banned", "It should be banned.") == 1.0
    assert module.share("whaling bans", "Nobody bans it") == 0.5
    assert module.share("the", "the end") == 1.0  # nothing else to go by
    assert module.share("?", "anything") == 0.0


@pytest.mark.parametrize(
    ("text", "odd"),
    [("It should not be", 1.0), ("You can't not", 0.0), ("Nothing", 1.0), ("a notion", 0.0), ("DON'T", 1.0)],
)
def test_negations_are_counted_by_two(module, text, odd):
    assert module.negated(text) == odd


def test_a_table_of_other_columns_is_named(module, tmp_path):
    (tmp_path / "a.tsv").write_text("x\ty\n")
    with pytest.raises(ValueError, match="arg1, arg2, label and graph, got 'x"):
        module.build({"a.tsv": tmp_path / "a.tsv"})


def test_a_graph_is_read_fact_by_fact(module, tmp_path):
    table = (
        "arg1\targ2\tlabel\tgraph\nCats are bad.\tCats purr.\tcounter\t(cats; capable of; purr)(purr; is not a; bad)\n"
    )
    (tmp_path / "a.tsv").write_text(table)
    source = module.build({"a.tsv": tmp_path / "a.tsv"})
    concepts = source.tables["concepts"].to_pylist()
    assert [row["name"] for row in concepts] == ["cats", "purr", "bad"]
    assert [(row["in_belief"], row["in_argument"]) for row in concepts] == [(1.0, 1.0), (0.0, 1.0), (1.0, 0.0)]
    assert [(row["first"], row["last"]) for row in concepts] == [(1.0, 0.0), (0.0, 0.0), (0.0, 1.0)]
    assert source.tables["is_not_a"].to_pylist() == [{"source": "pair-0-1", "target": "pair-0-2"}]
    assert source.tables["pairs"].to_pylist()[0]["stance"] == "counter"


@pytest.mark.data
def test_expla_graphs(load_or_skip, tmp_path):
    source = load_or_skip("expla_graphs")
    pairs = source.tables["pairs"].to_pylist()
    assert Counter(row["stance"] for row in pairs) == {"support": 1534, "counter": 1232}
    assert len({row["belief"] for row in pairs}) == 2307
    assert source.tables["concepts"].num_rows == 14_294
    relations = [edge.type[1] for edge in source.config.edges if edge.table is not None]
    assert len(relations) == 28
    assert sum(source.tables[name].num_rows for name in relations) == 11_745
    texts = {name: {"kind": "hashed_text", "channels": 4} for name in ("belief", "argument", "name")}
    built = build_graph(source.with_encoders(**texts), cache=FeatureCache(tmp_path))
    assert len(built.rejected) == 0
    assert built.schema.paths["name"] == (("name", "of", "concept"), ("concept", "explains", "pair"))
