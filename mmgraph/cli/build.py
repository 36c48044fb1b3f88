"""``mmgraph build GRAPH``: from tables, pictures, recordings and texts to a graph in a folder."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console

from mmgraph.build import TooManyRejectedError, build_graph
from mmgraph.build.built import check_folder
from mmgraph.build.rejected import write_rejected
from mmgraph.encoders import FeatureCache

SHOWN = 10  # reasons


@dataclass
class Options:
    """Builds a graph from its declaration; what a killed build has encoded is kept: the same command goes on.

    Examples:
        mmgraph build graph.toml -o shop
        mmgraph build glyphs -o glyphs
    """

    graph: tyro.conf.Positional[str]
    """A declaration (graph.toml), or the name of a dataset that is made of payloads."""
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """The folder to write; an older one there stays until the new one is complete."""
    strict: bool = False
    """Stop at the first cell that can't be read, instead of setting it aside."""
    cache: Path | None = None
    """Where features are kept; by default the user's cache."""


def main(words: Sequence[str]) -> None:
    """Carries out ``mmgraph build``."""
    options = tyro.cli(Options, args=list(words), prog="mmgraph build")
    console = Console()
    check_folder(options.out)
    try:
        built = build_graph(
            options.graph if not options.graph.endswith(".toml") else Path(options.graph),
            cache=FeatureCache(options.cache) if options.cache else None,
            strict=options.strict,
            progress=sys.stderr.isatty(),
        )
    except TooManyRejectedError as error:
        out = options.out.absolute()
        listed = out.with_name(f"{out.name}.rejected.parquet")
        write_rejected(error.items, listed)
        raise TooManyRejectedError(f"{error}; all of them are listed in {str(listed)!r}", error.items) from None
    built.write(options.out)
    for node in built.schema.nodes:
        encoder = built.schema.nodes[node].encoder
        console.print(f"{built.graph[node].num_nodes:>9,} {node}" + (f"  by {encoder}" if encoder else ""))
    for edge in built.schema.edges:
        console.print(f"{built.graph[edge].num_edges:>9,} {' – '.join(edge)}")
    reasons = Counter((one.table, one.column, one.reason) for one in built.rejected)
    if reasons:
        console.print(f"{len(built.rejected)} set aside, listed in {options.out / 'build' / 'rejected.parquet'}:")
    for (table, column, reason), count in reasons.most_common(SHOWN):
        console.print(f"{count:>9,} {table}{' · ' + column if column else ''}: {reason}", soft_wrap=True, markup=False)
    console.print(f"graph: {options.out}", soft_wrap=True)
