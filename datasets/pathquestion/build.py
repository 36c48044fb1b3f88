"""PathQuestion: questions of two hops over a small knowledge base, with the path that answers each."""

from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa

from mmgraph import GraphConfig, Source

SPLITS = {"random": {"by": "random"}, "path": {"by": "group", "column": "path"}}


def build(files: Mapping[str, Path], *, split: str = "random") -> Source:
    """The questions, and the facts as relations between entities.

    Args:
        files: The knowledge base and the questions.
        split: ``random``, as published: of a path's three paraphrases some may be in training; or ``path``: the
            questions of one path are all in one part.
    """
    if split not in SPLITS:
        raise ValueError(f"split must be one of {sorted(SPLITS)}, got {split!r}")
    by_name = {path.name: path for path in files.values()}
    facts: dict[str, list[dict[str, str]]] = {}
    entities: dict[str, None] = {}
    for line in by_name["2H-kb.txt"].read_text(encoding="utf-8").splitlines():
        source, relation, target = line.split("\t")
        facts.setdefault(relation, []).append({"source": source, "target": target})
        entities |= {source: None, target: None}
    questions = []
    for row, line in enumerate(by_name["PQ-2H.txt"].read_text(encoding="utf-8").splitlines()):
        text, answer, path = line.split("\t")
        answers = answer.partition("(")[2].rstrip("/)")
        questions.append(
            {
                "question": f"question-{row}",
                "text": text,
                "answers": answers.split("/"),
                "path": path.partition("#<end>")[0],  # entity#relation#entity#relation#entity
            }
        )
    relations = sorted(facts)
    config = GraphConfig(
        name="pathquestion",
        anchor="question",
        nodes={
            "question": {"table": "questions", "key": "question", "columns": {"text": "text"}},
            "entity": {"table": "entities", "key": "name"},
        },
        edges=[
            {"type": ("entity", name, "entity"), "table": name, "source": "source", "target": "target"}
            for name in relations
        ],
        split={**SPLITS[split], "test": 0.1, "val": 0.1},
    )
    tables = {"questions": pa.Table.from_pylist(questions), "entities": pa.table({"name": list(entities)})}
    return Source(config, tables={**tables, **{name: pa.Table.from_pylist(facts[name]) for name in relations}})
