"""The Open Graph Benchmark: datasets in folders, as OGB keeps them, and its evaluators."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from mmgraph.errors import DataError
from mmgraph.files import read_json
from mmgraph.interop import ogb_files as files
from mmgraph.interop.ogb_files import Attributes, Columns, Part
from mmgraph.optional import require
from mmgraph.schema import EdgeSpec, NodeSpec, Schema, TargetSpec

if TYPE_CHECKING:
    from torch_geometric.data import HeteroData

NODE, GRAPH, RELATION = "node", "graph", "to"
KINDS = {"ogbn": "nodeproppred", "ogbl": "linkproppred", "ogbg": "graphproppred"}
MASKS = {"train": "train_mask", "valid": "val_mask", "test": "test_mask"}
_NAMES = {"acc": "accuracy", "rocauc": "auroc", "ap": "average_precision"}


@dataclass(frozen=True, eq=False)
class OgbDataset:
    """A dataset of the Open Graph Benchmark.

    Source: Hu et al. 2020, Open Graph Benchmark: datasets for machine learning on graphs, arXiv:2005.00687.

    Args:
        name: Of the dataset, e.g. ``"ogbn-arxiv"``.
        graphs: The graphs; one where nodes or links are asked about.
        schema: What their types mean.
        split: ``train``, ``valid`` and ``test`` → what is in that part: of nodes and graphs their numbers; of links
            what the files hold, e.g. ``{"edge": [edges, 2]}`` or ``{"head": [facts], …}``.
    """

    name: str
    graphs: Sequence[HeteroData]
    schema: Schema
    split: Mapping[str, Any]

    @property
    def graph(self) -> HeteroData:
        """The only graph.

        Raises:
            DataError: There are several.
        """
        if len(self.graphs) != 1:
            raise DataError(f"{self.name} has {len(self.graphs)} graphs; choose one of its graphs")
        return self.graphs[0]


class _Graphs(Sequence[Any]):
    """Graphs that are cut out of long columns when they are asked for."""

    def __init__(self, size: int, make: Callable[[int], HeteroData]) -> None:
        self.size, self.make = size, make

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, number: Any) -> Any:
        if isinstance(number, slice):
            return [self.make(one) for one in range(self.size)[number]]
        return self.make(range(self.size)[number])  # an IndexError where there is none


def read_ogb(folder: str | Path, name: str) -> OgbDataset:
    """Reads a dataset from a folder in which OGB, or :func:`write_ogb`, has put it; nothing is fetched.

    The nodes of a graph of one type are ``"node"``, its edges ``("node", "to", "node")``. Features are ``x`` and
    ``edge_attr`` if they are floats, ``feat`` if they are numbers of something (as the atoms of molecules); what else
    there is keeps its name (``node_year`` is ``year``), and weights of edges that are floats are ``edge_weight``.

    | asked about | answers | parts |
    |---|---|---|
    | nodes (``ogbn-``) | ``y`` of the nodes | masks; ``split`` |
    | graphs (``ogbg-``) | ``y`` of a node ``"graph"`` that all nodes of a graph are ``of`` | ``split`` |
    | links (``ogbl-``) | | ``split``; the graph has the edges of training |

    Several answers of one node are targets ``label_0``, ``label_1``, …; one that is not known is -1 or NaN.

    The files are read by us: no pickle is loaded but the split's, of which nothing but tensors, arrays, numbers, words,
    lists and mappings is taken. OGB is needed for what is written in none of the files, unless it is in
    ``meta_dict.pt``.

    Args:
        folder: The dataset's own folder, with ``raw`` and ``split`` in it, or the one that it lies in.
        name: Of the dataset, e.g. ``"ogbn-mag"``.

    Raises:
        DataError: There is no such dataset, a file is missing, or holds what it must not.
        MissingPackageError: OGB is not installed, and needed.

    Example:
        >>> from mmgraph.interop import write_ogb
        >>> from mmgraph.testing import fake_graph
        >>> folder = write_ogb(*fake_graph(), getfixture("tmp_path") / "fake", name="ogbn-fake")
        >>> dataset = read_ogb(folder, "ogbn-fake")
        >>> dataset.graph["scan"].x.shape, dataset.split["test"].shape
        (torch.Size([61, 3]), torch.Size([8]))
    """
    if name.partition("-")[0] not in KINDS:
        raise DataError(f"A dataset of OGB must be called ogbn-…, ogbl-… or ogbg-…, got {name!r}")
    root = files.find(Path(folder), name)
    about = files.read_meta(root) or _master(name)
    hetero = str(about.get("is hetero", "False")) == "True"
    read = files.read_typed if hetero else files.read_plain
    columns = read(root, about)
    split, labels = files.read_split(root / "split" / str(about["split"])), files.read_labels(root / "raw", hetero)
    kept = root / "mapping" / files.SCHEMA
    facts = read_json(kept) if kept.is_file() else None
    if name.startswith("ogbl-"):
        labels = {}
    schema = _schema(name, columns, labels, about) if facts is None else Schema.from_json(json.dumps(facts))
    make = _Maker(name, columns, labels, schema)
    graphs: Sequence[Any] = _Graphs(len(columns.num_nodes[next(iter(columns.num_nodes))]), make.graph)
    if name.startswith("ogbn-"):
        graphs = [_with_masks(graphs[0], schema, split)]
        split = {part: _of_type(one, schema) for part, one in split.items()}
    return OgbDataset(name, graphs, schema, split)


def ogb_evaluator(name: str) -> Callable[..., dict[str, float]]:
    """OGB's own judge of a dataset, with the names of our metrics (``accuracy``, ``auroc``, ``mrr``, ``hits@50``).

    Args:
        name: Of the dataset, e.g. ``"ogbn-arxiv"``.

    Returns:
        A function of arrays or tensors: ``y_true`` and ``y_pred [rows]`` or ``[rows, tasks]`` for nodes and graphs
        (where accuracy is asked, ``y_pred`` are class numbers); ``y_pred_pos [pairs]`` and ``y_pred_neg``, scores, for
        links. Lists of OGB become their means.

    Raises:
        DataError: There is no such dataset.
        MissingPackageError: OGB is not installed.

    Example:
        >>> ogb_evaluator("ogbn-arxiv")(y_true=[0, 1, 2, 2], y_pred=[0, 1, 2, 0])
        {'accuracy': 0.75}
    """
    _master(name)
    judge = import_ogb(KINDS[name.partition("-")[0]]).Evaluator(name)

    def evaluate(**given: Any) -> dict[str, float]:
        arrays = {key: torch.as_tensor(value).detach().cpu() for key, value in given.items()}  # its numpy has a flaw
        if not name.startswith("ogbl-"):
            arrays = {key: value[:, None] if value.dim() == 1 else value for key, value in arrays.items()}
        found = judge.eval(arrays)
        means = {
            key.removesuffix("_list"): float(torch.as_tensor(value).double().mean()) for key, value in found.items()
        }
        return {_NAMES.get(key, key): value for key, value in means.items()}

    return evaluate


def _master(name: str) -> dict[str, Any]:
    """What OGB says of a dataset."""
    place = Path(import_ogb("").__file__).parent / KINDS.get(name.partition("-")[0], "") / "master.csv"
    known = files.read_master(place) if place.is_file() else {}
    if name not in known:
        raise DataError(f"A dataset of OGB must be one of {sorted(known)}, or have a meta_dict.pt, got {name!r}")
    return known[name]


def import_ogb(module: str) -> Any:
    """OGB, which looks for a newer version of itself on the net when it is imported: not here."""
    with _no_look_up():
        return require(f"ogb.{module}" if module else "ogb", extra="ogb")


@contextmanager
def _no_look_up() -> Iterator[None]:
    absent = object()
    before = sys.modules.get("outdated", absent)
    sys.modules["outdated"] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        if before is absent:
            del sys.modules["outdated"]
        else:
            sys.modules["outdated"] = before  # type: ignore[assignment]


class _Maker:
    """Cuts graphs out of columns."""

    def __init__(self, name: str, columns: Columns, labels: Mapping[str, np.ndarray], schema: Schema) -> None:
        self.name, self.columns, self.labels, self.schema = name, columns, labels, schema
        self.nodes = {node: np.concatenate([[0], np.cumsum(one)]) for node, one in columns.num_nodes.items()}
        self.edges = {edge: np.concatenate([[0], np.cumsum(one)]) for edge, one in columns.num_edges.items()}

    def graph(self, number: int) -> HeteroData:
        from torch_geometric.data import HeteroData

        graph, wanted = HeteroData(), self.schema
        for node in (one for one in wanted.nodes if one in self.nodes):
            span = slice(*self.nodes[node][number : number + 2].tolist())
            for key, rows in self.columns.nodes.get(node, {}).items():
                graph[node][key] = rows[span]
            if wanted.nodes[node].channels is None:
                graph[node].num_nodes = span.stop - span.start
            elif "x" not in graph[node]:
                graph[node].x = torch.empty(span.stop - span.start, 0)
        for edge in (one for one in wanted.edges if one in self.edges):
            span = slice(*self.edges[edge][number : number + 2].tolist())
            graph[edge].edge_index = self.columns.index[edge][:, span]
            for key, rows in self.columns.edges.get(edge, {}).items():
                graph[edge][key] = rows[span]
        if self.name.startswith("ogbg-"):
            rows = torch.arange(graph[NODE].num_nodes)
            graph[GRAPH].x = torch.empty(1, 0)
            graph[NODE, "of", GRAPH].edge_index = torch.stack([rows, torch.zeros_like(rows)])
        for place, target in enumerate(wanted.targets.values()):
            values = next(iter(self.labels.values()))[:, place]
            if self.name.startswith("ogbg-"):
                values = values[number : number + 1]
            graph[target.node][target.attribute] = _answers(values, target)
        return graph


def _answers(values: np.ndarray, target: TargetSpec) -> Tensor:
    """Answers as we have them: -1 or NaN where they are not known."""
    if target.kind == "regression":
        return torch.from_numpy(values.astype(np.float32))
    whole = np.where(np.isnan(values), -1, values) if values.dtype.kind == "f" else values
    return torch.from_numpy(whole.astype(np.int64))


def _schema(name: str, columns: Columns, labels: Mapping[str, np.ndarray], about: Mapping[str, Any]) -> Schema:
    """What the types mean, as far as files say it."""
    nodes = {node: NodeSpec(**_spec(columns.nodes.get(node, {}), "x")) for node in columns.num_nodes}
    edges = {}
    for edge in columns.num_edges:
        found = columns.edges.get(edge, {})
        width = found["edge_attr"].shape[1] if "edge_attr" in found else None
        edges[edge] = EdgeSpec(channels=width, weighted="edge_weight" in found, multiple=True)
    owner = next(iter(labels), None)
    if name.startswith("ogbg-"):
        owner, nodes[GRAPH] = GRAPH, NodeSpec(channels=0)
        edges[NODE, "of", GRAPH] = EdgeSpec()
    tasks = next(iter(labels.values())).shape[1] if labels else 0
    targets = {}
    for place in range(tasks):
        kind, classes = _kind(about, next(iter(labels.values()))[:, place])
        key, spec = ("label", "y") if tasks == 1 else (f"label_{place}", f"y_{place}")
        targets[key] = TargetSpec(node=str(owner), attribute=spec, kind=kind, classes=classes)
    return Schema(nodes=nodes, edges=edges, targets=targets, anchor=owner)


def _kind(about: Mapping[str, Any], values: np.ndarray) -> tuple[Any, tuple[str, ...]]:
    if "regression" in about["task type"]:
        return "regression", ()
    known = values[~np.isnan(values)] if values.dtype.kind == "f" else values
    count = max(int(about.get("num classes", 2)), int(known.max(initial=0)) + 1, 2)
    return ("binary" if count == 2 else "multiclass"), tuple(str(one) for one in range(count))


def _spec(found: Attributes, main: str) -> dict[str, Any]:
    x = found.get(main)
    others = tuple(key for key in found if key != main)
    allow_nan = x is not None and not bool(x.isfinite().all())
    return {"channels": None if x is None else x.shape[1], "attributes": others, "allow_nan": allow_nan}


def _of_type(part: Part, schema: Schema) -> Part:
    """The nodes of the type that is asked about."""
    node = next(iter(schema.targets.values())).node
    return part[node] if isinstance(part, Mapping) else part


def _with_masks(graph: HeteroData, schema: Schema, split: Mapping[str, Part]) -> HeteroData:
    node = next(iter(schema.targets.values())).node
    for part, mask in MASKS.items():
        rows = torch.as_tensor(_of_type(split[part], schema)).long()
        graph[node][mask] = torch.zeros(graph[node].num_nodes, dtype=torch.bool)
        graph[node][mask][rows] = True
    return graph
