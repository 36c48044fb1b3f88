"""UMLS: concepts of medicine with names and descriptions, joined by facts."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from mmgraph import GraphConfig, KnowledgeGraph, Source, build_graph, read_triples

PARTS = {"train": "train.tsv", "val": "dev.tsv", "test": "test.tsv"}
TEXTS = {"name": "entity2text.txt", "description": "entity2textlong.txt"}


def build(
    files: Mapping[str, Path],
    *,
    texts: str | Mapping[str, Any] | None = "hashed_text",
    columns: Sequence[str] = ("name", "description"),
    relation_names: bool = False,
) -> KnowledgeGraph | dict[str, str]:
    """The graph; each text of a concept is a node that hangs on it.

    Args:
        files: Facts and texts.
        texts: What encodes the texts: a kind (``hashed_text``), or a kind and its options
            (``{"kind": "sentences", "model": …}``); ``None`` leaves the texts out.
        columns: Which texts: ``name``, ``description``.
        relation_names: Give the names of the relations instead: relation → a few words.
    """
    by_name = {path.name: path for path in files.values()}
    if relation_names:
        return _pairs(by_name["relation2text.txt"])
    if not columns or not set(columns) <= set(TEXTS):
        raise ValueError(f"columns must be among {list(TEXTS)}, at least one, got {list(columns)}")
    triples = {part: read_triples(by_name[name], rejected=0) for part, name in PARTS.items()}
    if texts is None:
        return KnowledgeGraph.fit(triples)
    told = {column: _pairs(by_name[TEXTS[column]]) for column in columns}
    entities = sorted(told[columns[0]])
    table = {"key": entities} | {column: [pairs[key] for key in entities] for column, pairs in told.items()}
    declared = {"entity": {"table": "entities", "key": "key", "columns": dict.fromkeys(columns, "text")}}
    source = Source(
        GraphConfig(name="umls_text", anchor="entity", nodes=declared), tables={"entities": pa.table(table)}
    )
    return KnowledgeGraph.fit(triples, payloads=build_graph(source.with_encoders(**dict.fromkeys(columns, texts))))


def _pairs(path: Path) -> dict[str, str]:
    lines = [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines()]
    return {name: text.strip() for name, text in lines}
