"""``mmgraph build GRAPH``: from tables, pictures, recordings and texts to a graph in a folder."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro
from rich.console import Console

from mmgraph.assembly import Built, Source, TooManyRejectedError, build_graph, dataset_source
from mmgraph.assembly.built import BESIDE, check_folder
from mmgraph.assembly.rejected import write_rejected
from mmgraph.encoders import FeatureCache
from mmgraph.errors import ConfigError, DataError, MMGraphError

SHOWN = 10  # reasons


@dataclass
class Options:
    """Builds a graph from its declaration; what a killed build has encoded is kept: the same command goes on.

    Examples:
        mmgraph build graph.toml -o shop
        mmgraph build glyphs --with task=all -o glyphs
        mmgraph build graph.toml -o shop --engine ray --workers 4
    """

    graph: tyro.conf.Positional[str]
    """A declaration (graph.toml), or the name of a dataset that is made of payloads."""
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """The folder to write; an older one there stays until the new one is complete."""
    with_: Annotated[tuple[str, ...], tyro.conf.arg(name="with")] = ()
    """Options of the dataset, as name=value."""
    strict: bool = False
    """Stop at the first cell that can't be read, instead of setting it aside."""
    cache: Path | None = None
    """Where features are kept; by default the user's cache."""
    engine: Literal["local", "ray"] = "local"
    """Who encodes: processes of this machine, or a Ray cluster. The graph has the same bits."""
    workers: int = 1
    """How many processes encode."""
    address: str | None = None
    """Of a running Ray cluster; without one, Ray is started on this machine for the build."""
    shared: bool = False
    """Workers read pictures and recordings themselves: all machines see the folder under the same path."""


def main(words: Sequence[str]) -> None:
    """Carries out ``mmgraph build``."""
    options = tyro.cli(Options, args=list(words), prog="mmgraph build")
    console = Console()
    check_folder(options.out)
    try:
        built = build_graph(
            _source(options),
            cache=FeatureCache(options.cache) if options.cache else None,
            strict=options.strict,
            progress=sys.stderr.isatty(),
            engine=options.engine,
            workers=options.workers,
            address=options.address,
            shared=options.shared,
        )
    except TooManyRejectedError as error:
        out = options.out.absolute()
        listed = out.with_name(f"{out.name}.rejected.parquet")
        write_rejected(error.items, listed)
        raise DataError(f"{error}; all of them are listed in {str(listed)!r}") from None
    built.write(options.out)
    _tell(built, options.out, console)


def _source(options: Options) -> Source | str | Path:
    if options.graph.endswith(".toml"):
        if options.with_:
            raise ConfigError(f"--with is for datasets, got {list(options.with_)} for {options.graph!r}")
        return Path(options.graph)
    given: dict[str, Any] = {}
    for text in options.with_:
        name, sign, value = text.partition("=")
        if not sign:
            raise ConfigError(f"--with must be name=value, got {text!r}")
        try:
            given[name] = json.loads(value)
        except ValueError:
            given[name] = value
    if not given:
        return options.graph
    try:
        return dataset_source(options.graph, **given)
    except (TypeError, ValueError) as error:
        if isinstance(error, MMGraphError):
            raise
        raise ConfigError(f"Dataset {options.graph!r} can't be made with {given}: {error}") from None


def _tell(built: Built, out: Path, console: Console) -> None:
    for node in built.schema.nodes:
        encoder = built.schema.nodes[node].encoder
        console.print(
            f"{built.graph[node].num_nodes:>9,} {node}" + (f"  by {encoder}" if encoder else ""), markup=False
        )
    for edge in built.schema.edges:
        console.print(f"{built.graph[edge].num_edges:>9,} {' – '.join(edge)}", markup=False)
    reasons = Counter((one.table, one.column, one.reason) for one in built.rejected)
    if reasons:
        console.print(f"{len(built.rejected)} set aside, listed in {out / BESIDE / 'rejected.parquet'}:")
    for (table, column, reason), count in reasons.most_common(SHOWN):
        console.print(f"{count:>9,} {table}{' · ' + column if column else ''}: {reason}", soft_wrap=True, markup=False)
    console.print(f"graph: {out}", soft_wrap=True)
