"""Checks that a class of your own keeps its contract, and small graphs to try it on; no test framework needed.

| contract | check | small input |
|---|---|---|
| Encoder | :func:`check_encoder` | :func:`fake_graph` |
| Frozen | :func:`check_frozen` | payloads of your own |
| Layer | :func:`check_layer` | :func:`fake_states` |
| Fusion | :func:`check_fusion` | :func:`fake_parts` |
| Generative | :func:`check_generative` | drawn states |
| Generation | :func:`check_generation` | a graph with payloads |
| Objective | :func:`check_objective` | :func:`fake_graph` |
| Scorer | :func:`check_scorer` | drawn vectors |
| Task | :func:`check_task` | :func:`fake_graph` |
| a model on its views | :func:`check_no_leak` | :func:`fake_graph` |

A check returns nothing, or raises an ``AssertionError`` that says which promise is broken and by what; an error of
the class itself passes through. The module and the graph that it is given stay as they are.
"""

from mmgraph.testing.encoder import check_encoder
from mmgraph.testing.fakes import fake_graph, fake_knowledge, fake_parts, fake_records, fake_states
from mmgraph.testing.frozen import check_frozen
from mmgraph.testing.fusion import check_fusion
from mmgraph.testing.generation import check_generation
from mmgraph.testing.generative import check_generative
from mmgraph.testing.layer import check_layer
from mmgraph.testing.leak import check_no_leak
from mmgraph.testing.objective import check_objective
from mmgraph.testing.scorer import check_scorer
from mmgraph.testing.task import check_task

__all__ = [
    "check_encoder",
    "check_frozen",
    "check_fusion",
    "check_generation",
    "check_generative",
    "check_layer",
    "check_no_leak",
    "check_objective",
    "check_scorer",
    "check_task",
    "fake_graph",
    "fake_knowledge",
    "fake_parts",
    "fake_records",
    "fake_states",
]
