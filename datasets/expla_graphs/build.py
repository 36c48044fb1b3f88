"""ExplaGraphs: a belief, an argument, and the commonsense graph that joins them."""

import re
from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa

from mmgraph import GraphConfig, Source

FACT = re.compile(r"\(([^;()]*);([^;()]*);([^;()]*)\)")
NEGATION = re.compile(r"not|.*n't|never|no|nobody|nothing|none|nor|neither|cannot|cant|dont|doesnt|isnt|wont|without")
PLAIN = {
    *("a", "an", "and", "are", "as", "be", "by", "can", "could", "do", "does", "for", "in", "is", "it", "more", "not"),
    *("of", "on", "or", "should", "that", "the", "this", "to", "was", "were", "will", "with", "would"),
}
SUFFIXES = ("ing", "ed", "es", "s", "ly", "e")
DENIED = {f"{what}_negated": {"modality": "numeric", "node": "denial"} for what in ("belief", "argument")}
MENTIONS = {
    name: {"modality": "numeric", "node": "mention"}
    for name in ("in_belief", "in_argument", "negated", "first", "last")
}


def build(files: Mapping[str, Path]) -> Source:
    """The pairs, each with the concepts of its graph, and the relations between them."""
    (path,) = files.values()
    header, *lines = path.read_text(encoding="utf-8").splitlines()
    if header.split("\t") != ["arg1", "arg2", "label", "graph"]:
        raise ValueError(f"columns must be arg1, arg2, label and graph, got {header!r}")
    pairs, concepts = [], []
    facts: dict[str, list[dict[str, str]]] = {}
    for row, line in enumerate(lines):
        belief, argument, stance, graph = line.split("\t")
        pair, names = f"pair-{row}", dict[str, str]()
        for found in FACT.findall(graph):
            source, relation, target = (part.strip() for part in found)
            for name in (source, target):
                names.setdefault(name, f"{pair}-{len(names)}")
            ends = {"source": names[source], "target": names[target]}
            facts.setdefault(relation.replace(" ", "_"), []).append(ends)
        said = {"belief": belief, "argument": argument}
        denied = {f"{what}_negated": negated(sentence) for what, sentence in said.items()}
        pairs.append({"pair": pair, **said, **denied, "stance": stance})
        last = len(names) - 1
        for place, (name, key) in enumerate(names.items()):
            mentioned = {f"in_{what}": share(name, sentence) for what, sentence in said.items()}
            ends = {"first": float(place == 0), "last": float(place == last)}
            concepts.append({"concept": key, "name": name, "pair": pair, **mentioned, "negated": negated(name), **ends})
    relations = sorted(facts)
    config = GraphConfig(
        name="expla_graphs",
        anchor="pair",
        nodes={
            "pair": {"table": "pairs", "key": "pair", "columns": {"belief": "text", "argument": "text"} | DENIED},
            "concept": {"table": "concepts", "key": "concept", "columns": {"name": "text"} | MENTIONS},
        },
        edges=[
            {"type": ("concept", "explains", "pair"), "column": "pair", "inverse": "explained_by"},
            *(
                {"type": ("concept", name, "concept"), "table": name, "source": "source", "target": "target"}
                for name in relations
            ),
        ],
        targets={"stance": {"column": "stance", "kind": "binary", "classes": ("counter", "support")}},
        split={"by": "random", "test": 0.2, "val": 0.1},
    )
    tables = {"pairs": pa.Table.from_pylist(pairs), "concepts": pa.Table.from_pylist(concepts)}
    return Source(config, tables={**tables, **{name: pa.Table.from_pylist(facts[name]) for name in relations}})


def words(text: str) -> list[str]:
    """The words of a text in small letters, without their usual endings."""
    found = []
    for word in re.findall(r"[a-z0-9']+", text.lower()):
        ending = next((end for end in SUFFIXES if word.endswith(end) and len(word) >= len(end) + 3), "")
        found.append(word.removesuffix(ending))
    return found


def share(name: str, sentence: str) -> float:
    """The share of a concept's words, plain ones left out, that stand in a sentence."""
    of = [word for word in words(name) if word not in PLAIN] or words(name)
    there = set(words(sentence))
    return sum(word in there for word in of) / max(len(of), 1)


def negated(text: str) -> float:
    """1 where a text holds an odd number of negations, else 0."""
    return float(sum(NEGATION.fullmatch(word) is not None for word in re.findall(r"[a-z']+", text.lower())) % 2)
