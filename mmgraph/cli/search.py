"""``mmgraph search DIR``: who is like whom in a run; which subgraphs of a built graph are like a few payloads."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.console import Console

from mmgraph.assembly.built import BESIDE, Built
from mmgraph.cli.table import hits_table
from mmgraph.errors import ConfigError, DataError
from mmgraph.index import Hit
from mmgraph.run import Run
from mmgraph.schema import Modality


@dataclass
class Options:
    """Finds the subjects of a run whose subgraphs are most like one subject's, or what is most like some payloads.

    Examples:
        mmgraph search runs/mine --id patient-007 -k 5
        mmgraph search runs/mine --features new_patient.json --where part=train
        mmgraph search shop --text "a red mug" --image mug.png -k 5
    """

    folder: tyro.conf.Positional[Path]
    """Folder of a finished run, or of a graph that mmgraph build wrote."""
    id: str | None = None
    """A subject of the run."""
    features: Path | None = None
    """Or a JSON file with a new subject: {"modality": [numbers], ...}; what is left out is missing."""
    text: str | None = None
    """A text, to search a built graph by."""
    image: Path | None = None
    """A picture, to search a built graph by."""
    audio: Path | None = None
    """A recording, to search a built graph by."""
    payload: tuple[str, ...] = ()
    """Further payloads as node=text or node=@file, where several node types have the same modality."""
    k: Annotated[int, tyro.conf.arg(aliases=["-k"])] = 10
    """How many."""
    where: tuple[str, ...] = ()
    """Metadata that a hit must have, as column=value."""
    json: bool = False
    """Print JSON."""


def main(words: Sequence[str]) -> None:
    """Carries out ``mmgraph search``."""
    options = tyro.cli(Options, args=list(words), prog="mmgraph search")
    if (options.folder / BESIDE / "graph.json").is_file():
        _search_built(options)
        return
    where = dict(_pair(text) for text in options.where)
    run = Run.open(options.folder)
    if options.features is not None:
        hits = run.search(records=run.query_records(_read(options.features)), k=options.k, where=where)
    else:
        hits = run.search(id=options.id, k=options.k, where=where)
    _show(hits, f"most like {options.id or options.features}", as_json=options.json)


def _search_built(options: Options) -> None:
    if odd := [name for name in ("id", "features", "where") if getattr(options, name)]:
        raise ConfigError(f"A built graph is searched by payloads, got {odd[0]!r}; --{odd[0]} is for runs")
    built = Built.open(options.folder)
    payloads: dict[str, Any] = {}
    for modality in (Modality.TEXT, Modality.IMAGE, Modality.AUDIO):
        if (value := getattr(options, modality)) is not None:
            payloads[_node_of(built, modality)] = value
    for text in options.payload:
        node, value = _pair(text)
        payloads[node] = Path(value[1:]) if value.startswith("@") else value
    hits = built.search(payloads, k=options.k, hops=1)
    shown = ", ".join(str(value) for value in payloads.values())
    _show(hits, f"subgraphs most like {shown}", as_json=options.json)


def _node_of(built: Built, modality: Modality) -> str:
    """The one node type of a modality that hangs on the anchor."""
    nodes = [node for node in built.schema.modalities if built.schema.nodes[node].modality == modality]
    if len(nodes) != 1:
        raise ConfigError(
            f"The graph must have one node type of {modality} at {built.anchor!r}, got {nodes}; "
            f"say --payload NODE=…, or build it with one"
        )
    return nodes[0]


def _show(hits: Sequence[Hit], title: str, *, as_json: bool) -> None:
    if as_json:
        shown = [{"id": hit.id, "similarity": hit.score, **hit.metadata} for hit in hits]
        sys.stdout.write(json.dumps(shown) + "\n")
        return
    Console().print(hits_table(hits, title=title))


def _pair(text: str) -> tuple[str, str]:
    column, sign, value = text.partition("=")
    if not sign:
        raise ConfigError(f"where and payload must be name=value, got {text!r}")
    return column, value


def _read(path: Path) -> dict[str, Any]:
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(f"Features file {str(path)!r} must exist; it does not") from None
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise DataError(f"Features file {str(path)!r} must be JSON, but {error}") from None
    if not isinstance(fields, dict):
        raise DataError(f"Features file {str(path)!r} must hold a JSON object, got {type(fields).__name__}")
    return fields
