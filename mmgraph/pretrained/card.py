"""The card of a model: what it reads, what it scored beside its controls, how to load it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mmgraph.errors import SchemaError
from mmgraph.schema import Schema
from mmgraph.train import Results
from mmgraph.train.results import FULL

BEGIN, END = "<!-- schema of the model: begin -->", "<!-- schema of the model: end -->"
LIBRARY = "mmgraph"
_MOST_SHOWN = 5  # metrics in the table


@dataclass(frozen=True, kw_only=True)
class Card:
    """What is said of a model beside its schema.

    Args:
        title: Its name.
        description: What it does, what it is for and what not; Markdown.
        results: Scores beside their controls.
        metrics: Scores, where there are no results of several runs; by name.
        data: What it was trained on: the name of a dataset.
        settings: With which settings, as JSON.
        licence: As the hub abbreviates it, e.g. ``apache-2.0``.
        tags: By which it is found on a hub.

    Example:
        >>> from mmgraph.testing import fake_graph
        >>> text = Card(title="Small", metrics={"accuracy": 0.9}).text(fake_graph()[1], "Model")
        >>> print(text.split("---")[1].strip())
        library_name: "mmgraph"
        tags: ["mmgraph", "graph", "multimodal"]
        model-index: [{"name": "Small", "results": [{"task": {"type": "graph-ml", "name": "diagnosis"}, \
"dataset": {"type": "unknown", "name": "unknown"}, "metrics": [{"type": "accuracy", "value": 0.9}]}]}]
    """

    title: str = "A model of mmgraph"
    description: str = ""
    results: Results | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    data: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    licence: str = ""
    tags: Sequence[str] = ()

    def text(self, schema: Schema, kind: str) -> str:
        """Gives the card as Markdown, with a head that a hub reads.

        Args:
            schema: Of the model.
            kind: Its class.
        """
        settings = json.dumps(self.settings, indent=2, ensure_ascii=False, default=str)
        parts = [
            f"---\n{self._head(schema)}\n---",
            f"# {_line(self.title)}",
            self.description.strip(),
            f"## What it reads\n\nA `{kind}` of mmgraph, on graphs of this schema (`schema.json`).\n\n"
            f"{schema_section(schema)}",
            self._scores(),
            f"## Settings\n\n```json\n{settings}\n```" if self.settings else "",
            _LOADING,
        ]
        return "\n\n".join(part for part in parts if part) + "\n"

    @property
    def scores(self) -> dict[str, float]:
        """The mean score of the full model, metric by metric; those that are no number are left out."""
        means = {} if self.results is None else {m: self.results.mean(FULL, m) for m in self.results.metrics}
        return {name: value for name, value in {**means, **self.metrics}.items() if math.isfinite(value)}

    def _head(self, schema: Schema) -> str:
        """YAML, each value as JSON, which YAML contains."""
        head: dict[str, Any] = {"library_name": LIBRARY}
        if self.licence:
            head["license"] = self.licence
        head["tags"] = list(dict.fromkeys([LIBRARY, "graph", "multimodal", *self.tags]))
        if self.scores:
            result = {
                "task": {"type": "graph-ml", "name": ", ".join(schema.targets) or "representation"},
                "dataset": {"type": self.data or "unknown", "name": self.data or "unknown"},
                "metrics": [{"type": name, "value": round(value, 6)} for name, value in self.scores.items()],
            }
            head["model-index"] = [{"name": self.title, "results": [result]}]
        return "\n".join(f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in head.items())

    def _scores(self) -> str:
        if self.results is not None and self.results.cells:
            return f"## Scores beside controls\n\n{_results_table(self.results)}"
        if not self.metrics:
            return ""
        rows = "\n".join(f"| {_cell(name)} | {value:.4g} |" for name, value in self.metrics.items())
        return f"## Scores\n\n| metric | score |\n|---|---:|\n{rows}"


_LOADING = """## How to load it

```python
from mmgraph.pretrained import from_pretrained

model = from_pretrained("FOLDER")  # this folder, or "hub:owner/name"
answers = model(graph)  # a graph of the schema above
```"""


def schema_section(schema: Schema) -> str:
    """The schema as tables between two marks, by which it is found again.

    Example:
        >>> from mmgraph.schema import NodeSpec
        >>> print(schema_section(Schema(nodes={"scan": NodeSpec(modality="image", channels=64)})))
        <!-- schema of the model: begin -->
        <BLANKLINE>
        | node | modality | channels | unit | tensors | made by |
        |---|---|---:|---|---|---|
        | scan | image | 64 |  | x |  |
        <BLANKLINE>
        <!-- schema of the model: end -->
    """
    lines = [BEGIN, "", "| node | modality | channels | unit | tensors | made by |", "|---|---|---:|---|---|---|"]
    for name, node in schema.nodes.items():
        tensors = [*(["x"] if node.channels is not None else []), *node.attributes]
        title = f"**{_cell(name)}** (anchor)" if name == schema.anchor else _cell(name)
        made = node.generated or node.encoder
        row = [title, node.modality or "", node.channels if node.channels is not None else "", _cell(node.unit)]
        lines.append(_row([*row, _cell(", ".join(tensors)), _cell(str(made)) if made else ""]))
    if schema.edges:
        lines += ["", "| edges | weighted | attributes | several |", "|---|---|---:|---|"]
        for (source, relation, target), edge in schema.edges.items():
            marks = [_yes(edge.weighted), edge.channels if edge.channels is not None else "", _yes(edge.multiple)]
            lines.append(_row([_cell(f"{source} · {relation} · {target}"), *marks]))
    if schema.targets:
        lines += ["", "| target | kind | on | classes |", "|---|---|---|---|"]
        for name, asked in schema.targets.items():
            shown = ", ".join(asked.classes[:12]) + (f", … ({len(asked.classes)})" if asked.classes[12:] else "")
            lines.append(_row([_cell(name), asked.kind, _cell(asked.node), _cell(shown)]))
    return "\n".join([*lines, "", END])


def check_card(text: str, schema: Schema, where: str) -> None:
    """Checks that a card says of the schema what the schema is; one without that section says nothing wrong.

    Raises:
        SchemaError: It says something else; the message names the first line.
    """
    if BEGIN not in text:
        return
    found = text.partition(BEGIN)[2].partition(END)[0].split("\n")
    wanted = schema_section(schema).partition(BEGIN)[2].partition(END)[0].split("\n")
    for place in range(max(len(found), len(wanted))):
        said, meant = (lines[place].strip() if place < len(lines) else "" for lines in (found, wanted))
        if said != meant:
            raise SchemaError(
                f"The card {where!r} must say what schema.json says, {meant!r}, got {said!r}; one of them is of "
                "another model: take the whole folder anew, or mend the card"
            )


def _results_table(results: Results) -> str:
    metrics = [name for name in dict.fromkeys((results.metric, *results.metrics)) if name in results.metrics]
    metrics = metrics[:_MOST_SHOWN]
    lines = [_row(["variant", *metrics, "lead of the full model"]), _row(["---", *(["---:"] * (len(metrics) + 1))])]
    for row in results.rows(metrics):
        gap = row["difference"]
        interval = f" ({gap.low:+.3f} to {gap.high:+.3f})" if gap is not None and math.isfinite(gap.low) else ""
        lead = "" if gap is None else f"{gap.mean:+.3f}{interval}"
        scores = [f"{mean:.3f} ± {std:.3f}" for mean, std in (row[name] for name in metrics)]
        lines.append(_row([_cell(row["variant"]), *scores, lead]))
    told = f"Mean and deviation over {results.runs} runs; lead in {results.metric}, with its 95 % interval."
    return "\n".join([*lines, "", f"{told} {results.verdict()}".strip()])


def _row(cells: Sequence[Any]) -> str:
    return f"| {' | '.join(str(cell) for cell in cells)} |"


def _cell(text: str) -> str:
    """Text that breaks no table and no mark."""
    return _line(text).replace("|", "\\|").replace("<", "&lt;")


def _line(text: str) -> str:
    return " ".join(text.split())


def _yes(said: bool) -> str:
    return "yes" if said else ""
