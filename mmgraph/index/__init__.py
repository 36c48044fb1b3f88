"""Vectors that can be searched, and that know which subgraph each of them stands for.

All kinds give the same kind of answer: exact scores (larger is better), ties in the order of the items.
They differ in which items they look at:

| index | looks at | prefer it |
|---|---|---|
| `Exact` | all items | up to about a million items; first choice, needs numpy alone |
| `Faiss(kind="flat")` | all items; same answer as `Exact` | as the yardstick of the next three |
| `Faiss(kind="hnsw")` | a walk over a graph of neighbours | fast answers, memory to spare, a slow build |
| `Faiss(kind="ivf")` | the cells nearest to the query | a fast build, a hundred thousand items |
| `Faiss(kind="ivfpq")` | these cells by short codes, then the best by vectors | the fastest answers, a million items |

What is built on them:

| class | what it is for |
|---|---|
| `Store` | a folder that is added to, updated, deleted from and compacted while others search a `Snapshot` |
| `BM25` | texts found by their words |
| `Hybrid` | an index or a snapshot, and `BM25`, in one ranking (`fuse_ranks` or `fuse_scores`) |
| `MultiVector` | items of several vectors each, by late interaction |

An index and a snapshot are both `Searchable`: `search`, `search_batch` and `search_id` give `Hit`, `search_arrays`
gives numbers, `scores` the scores of chosen items, `allowed` the positions that a filter allows.
"""

from mmgraph.index.base import Index
from mmgraph.index.bm25 import BM25
from mmgraph.index.exact import Exact
from mmgraph.index.faiss import Faiss
from mmgraph.index.hybrid import Hybrid, fuse_ranks, fuse_scores
from mmgraph.index.multi import MultiVector
from mmgraph.index.saved import load
from mmgraph.index.score import Metric, score
from mmgraph.index.searchable import Hit, Searchable
from mmgraph.index.snapshot import Snapshot
from mmgraph.index.store import Store

__all__ = [
    "BM25",
    "Exact",
    "Faiss",
    "Hit",
    "Hybrid",
    "Index",
    "Metric",
    "MultiVector",
    "Searchable",
    "Snapshot",
    "Store",
    "fuse_ranks",
    "fuse_scores",
    "load",
    "score",
]
