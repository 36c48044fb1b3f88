"""CoDEx-S: facts of Wikidata, types of the entities with English texts, and facts that were verified to be false."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from mmgraph import GraphConfig, KnowledgeGraph, Source, Triples, build_graph, read_triples
from mmgraph.builders import Mark

PARTS = {"train": "train", "val": "valid", "test": "test"}


def build(
    files: Mapping[str, Path],
    *,
    give: str = "graph",
    types: bool | str = False,
    texts: str | Mapping[str, Any] | None = None,
    symmetric: bool = False,
) -> KnowledgeGraph | dict[str, Triples] | dict[str, str]:
    """The graph, or what belongs to it.

    Args:
        files: Facts, types and texts.
        give: ``graph``; ``negatives``: the facts that are false, for ``val`` and ``test``; ``texts``: the English texts
            of relations (``P27``) and of types (``type:Q5``).
        types: Types are entities, ``type:Q5``, of node type ``class``, and a relation ``type`` leads to them; with
            ``facts`` they are entities as all others, and who is of which type is a fact of training like any other.
        texts: What encodes English texts: a kind (``hashed_text``), or a kind and its options
            (``{"kind": "sentences", "model": …}``). With ``types`` each type has its text; without, each entity has
            those of its types as one. ``None`` leaves them out.
        symmetric: Mark as symmetric the relations whose training facts mostly stand both ways round.
    """
    by_name = {path.name: path for path in files.values()}
    if give not in ("graph", "negatives", "texts"):
        raise ValueError(f"give must be 'graph', 'negatives' or 'texts', got {give!r}")
    if give == "negatives":
        found = {part: f"{name}_negatives.txt" for part, name in PARTS.items() if part != "train"}
        return {part: read_triples(by_name[name], rejected=0) for part, name in found.items()}
    said = {f"type:{key}": _text(one) for key, one in _json(by_name["types.json"]).items()}
    if give == "texts":
        return {key: _text(one) for key, one in _json(by_name["relations.json"]).items()} | said
    triples = {part: read_triples(by_name[f"{name}.txt"], rejected=0) for part, name in PARTS.items()}
    entities = sorted(triples["train"].entities)
    listed = _json(by_name["entity2types.json"])
    kinds = {key: [f"type:{one}" for one in listed[key]] for key in entities}
    marks = _symmetric(triples) if symmetric else None
    if types == "facts":
        rows = [(key, "type", one) for key, several in kinds.items() for one in several]
        triples["train"] = triples["train"].concat(Triples(*zip(*rows, strict=True)))
    if texts is None:
        return KnowledgeGraph.fit(triples, types=kinds if types is True else None, marks=marks)
    built = build_graph(_source(kinds, said, types is True).with_encoders(text=texts))
    return KnowledgeGraph.fit(triples, payloads=built, marks=marks)


def _symmetric(triples: Mapping[str, Triples]) -> dict[str, Mark]:
    leaks = KnowledgeGraph.fit(triples).report.leaks
    return {leak.relation: Mark(symmetric=True) for leak in leaks if leak.kind == "symmetric"}


def _source(kinds: Mapping[str, list[str]], said: Mapping[str, str], types: bool) -> Source:
    """Entities with the texts of their types, or with edges to types that have texts."""
    own = {"key": list(kinds), "types": list(kinds.values())}
    own["text"] = ["; ".join(said[one] for one in several) for several in kinds.values()]
    columns = {"text": "text"}
    if not types:
        nodes = {"entity": {"table": "entities", "key": "key", "columns": columns}}
        return Source(GraphConfig(name="codex_s", anchor="entity", nodes=nodes), tables={"entities": pa.table(own)})
    classes = sorted({one for several in kinds.values() for one in several})
    nodes = {
        "entity": {"table": "entities", "key": "key"},
        "class": {"table": "classes", "key": "key", "columns": columns},
    }
    edges = [{"type": ("entity", "type", "class"), "column": "types"}]
    tables = {
        "entities": pa.table(own),
        "classes": pa.table({"key": classes, "text": [said[one] for one in classes]}),
    }
    return Source(GraphConfig(name="codex_s", anchor="entity", nodes=nodes, edges=edges), tables=tables)


def _json(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))


def _text(one: Mapping[str, str]) -> str:
    return ": ".join(part for part in (one["label"], one["description"]) if part)
