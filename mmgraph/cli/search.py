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

from mmgraph.assembly.built import BESIDE
from mmgraph.cli.table import hits_table
from mmgraph.engine import Engine, Level
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
        mmgraph search shop --id 4711 --where brand=acme --level subgraph
    """

    folder: tyro.conf.Positional[Path]
    """Folder of a finished run, or of a graph that mmgraph build wrote."""
    id: str | None = None
    """A subject of the run, or an anchor of the graph."""
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
    """Metadata that a hit must have, as column=value; node=value is the type of the nodes that it may be found by."""
    level: Level = "sample"
    """What is found in a graph: single nodes, anchors, or anchors by all that is around them."""
    hops: int = 1
    """Radius of what is around an anchor, in edges."""
    text_weight: float | None = None
    """The share of the words in the value of a match of texts, 0 to 1; by default that of the index."""
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
    if options.features is not None:
        raise ConfigError("A built graph is searched by payloads or --id, got --features, which is for runs")
    payloads: dict[str, Any] = {}
    for modality in (Modality.TEXT, Modality.IMAGE, Modality.AUDIO):
        if (value := getattr(options, modality)) is not None:
            payloads[modality.value] = value
    for text in options.payload:
        node, value = _pair(text)
        payloads[node] = Path(value[1:]) if value.startswith("@") else value
    hits = Engine.open(options.folder).search(
        None if options.id is not None and not payloads else payloads,
        id=options.id,
        k=options.k,
        where=_filters(options.where),
        level=options.level,
        hops=options.hops,
        text_weight=options.text_weight,
    )
    if options.json:
        sys.stdout.write(json.dumps([hit.to_json() for hit in hits], ensure_ascii=False) + "\n")
        return
    shown = ", ".join(str(value) for value in (payloads or {"id": options.id}).values())
    rows = [Hit(hit.id, hit.score, {**hit.metadata, "why": hit.why}, hit.position, hit.subgraph) for hit in hits]
    Console().print(hits_table(rows, title=f"subgraphs most like {shown}"))


def _filters(pairs: Sequence[str]) -> dict[str, list[str]]:
    """Column → the values that are allowed: of one that is named twice either."""
    found: dict[str, list[str]] = {}
    for column, value in map(_pair, pairs):
        found.setdefault(column, []).append(value)
    return found


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
