"""Hits as a table for a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.table import Table

from mmgraph.index import Hit


def hits_table(hits: Sequence[Hit], *, title: str) -> Table:
    """One row a hit: id, similarity, metadata, and the size of its subgraph."""
    table = Table(title=title, box=box.SIMPLE_HEAD)
    table.add_column("id")
    table.add_column("similarity", justify="right")
    columns = list(hits[0].metadata) if hits else []
    for column in columns:
        table.add_column(column)
    table.add_column("subgraph")
    for hit in hits:
        size = "" if hit.subgraph is None else f"{hit.subgraph.num_nodes} nodes, {hit.subgraph.num_edges} edges"
        table.add_row(
            hit.id,
            f"{hit.score:.4f}",
            *("–" if hit.metadata[column] is None else str(hit.metadata[column]) for column in columns),
            size,
        )
    return table
