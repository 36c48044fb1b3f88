"""Results and hits as tables for a terminal."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rich import box
from rich.table import Table

from mmgraph.index import Hit
from mmgraph.train.results import Results

SHOWN = ("accuracy", "f1_macro", "auroc")  # all of them are in the report


def results_table(results: Results, *, title: str) -> Table:
    """One row a variant: mean ± std of each metric, and the full model's lead with its interval."""
    metrics = [metric for metric in SHOWN if metric in results.metrics]
    caption = f"mean ± std over {results.runs} runs; lead: full model minus row, paired, 95 % interval"
    table = Table(title=title, caption=caption, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("variant", no_wrap=True)
    for metric in metrics:
        table.add_column(metric, justify="right", no_wrap=True)
    table.add_column(f"lead in {results.metric}", justify="right", no_wrap=True)
    for row in results.rows(metrics):
        scores = [f"{mean:.3f}±{std:.3f}" for mean, std in (row[metric] for metric in metrics)]
        gap = row["difference"]
        if gap is None:
            lead = ""
        elif math.isfinite(gap.low):
            lead = f"{gap.mean:+.3f} ({gap.low:+.3f} {gap.high:+.3f})"
        else:
            lead = f"{gap.mean:+.3f}"
        table.add_row(row["variant"], *scores, lead, style="bold" if gap is None else "")
    return table


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
        table.add_row(hit.id, f"{hit.score:.4f}", *(str(hit.metadata[column]) for column in columns), size)
    return table
