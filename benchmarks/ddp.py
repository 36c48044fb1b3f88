"""The same fit by one process and by two: the same step dealt out, the same loss curve, and the time on the clock."""

import os
import statistics
from typing import Any

import torch
from measure import main, row
from torch import nn

import mmgraph as mg
from mmgraph.testing import fake_graph
from mmgraph.train import launch

CHANNELS, BATCH, EPOCHS, ROUNDS = 1024, 1024, 4, 3
WIDTHS = {"scan": 256, "text": 256}


def work(subjects: int, hops: int) -> dict[str, Any]:
    """A fit as any other; in several processes each takes its part of every step."""
    torch.manual_seed(0)
    graph, schema = fake_graph(subjects, widths=WIDTHS, signal=0.5)
    task = mg.NodeClassification(schema)
    model = mg.Model(
        schema=schema,
        encoder=mg.encoders.Table(WIDTHS, CHANNELS),
        fusion=mg.fusion.Concat(dict.fromkeys(WIDTHS, CHANNELS), CHANNELS),
        between=mg.layers.Mean(CHANNELS, CHANNELS, relations=[("subject", "near", "subject")]) if hops else None,
        head=nn.Linear(CHANNELS, 2),
    )
    config = mg.FitConfig(epochs=EPOCHS, patience=None, learning_rate=0.001, batch_size=BATCH, hops=hops)
    fitted = mg.fit(model, mg.Supervised(task.target), task, graph, config)
    losses = [one["val_log_loss"] for one in fitted.history]
    return {"seconds": fitted.seconds, "losses": losses, "test": fitted.evaluate("test")["log_loss"]}


def rows() -> list[dict[str, Any]]:
    return [compared(16_000, 0), compared(3_000, 1)]


def compared(subjects: int, hops: int) -> dict[str, Any]:
    work(1000, hops)  # warms up
    found: dict[int, list[dict[str, Any]]] = {1: [], 2: []}
    for _ in range(ROUNDS):
        for processes, results in found.items():
            results.append(launch(work, subjects, hops, processes=processes))
    one, two = found[1][0], found[2][0]
    apart = max(abs(a - b) for a, b in zip([*one["losses"], one["test"]], [*two["losses"], two["test"]], strict=True))
    assert apart < 1e-4, f"losses must agree to 1e-4, got {apart:.2g}"
    seconds = {processes: statistics.median(one["seconds"] for one in results) for processes, results in found.items()}
    name = (
        f"fit of {EPOCHS} epochs of {subjects:,} subjects with 2 modalities × {WIDTHS['scan']}, {CHANNELS} channels, "
        f"steps of {BATCH}, {hops} hops, by 2 processes (gloo)"
    )
    note = (
        f"seconds on the clock, not of the processor; log loss on test {two['test']:.6f} by two and {one['test']:.6f} "
        f"by one; load of the machine {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
    )
    found_row = row(name, seconds[2], peer=("1 process", seconds[1]), note=note)
    return {**found_row, "unit": "seconds"}


if __name__ == "__main__":
    main(rows)
