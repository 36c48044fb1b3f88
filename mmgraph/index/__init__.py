"""Vectors that can be searched, and that know which subgraph each of them stands for.

All kinds give the same kind of answer: exact scores (larger is better), ties in the order of the items.
They differ in which items they look at:

| index | looks at | prefer it |
|---|---|---|
| `Exact` | all items | up to about a million items; first choice, needs numpy alone |
| `Faiss(kind="flat")` | all items; same answer as `Exact` | as the yardstick of the next two |
| `Faiss(kind="hnsw")` | a walk over a graph of neighbours | fast answers, memory to spare, a slow build |
| `Faiss(kind="ivf")` | the cells nearest to the query | a fast build, many items |
"""

from mmgraph.index.base import Hit, Index
from mmgraph.index.exact import Exact
from mmgraph.index.faiss import Faiss
from mmgraph.index.score import Metric, score
from mmgraph.index.store import load

__all__ = ["Exact", "Faiss", "Hit", "Index", "Metric", "load", "score"]
