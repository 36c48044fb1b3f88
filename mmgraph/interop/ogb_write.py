"""Graphs as a dataset of OGB, by OGB's own saver."""

from __future__ import annotations

import io
import json
import re
import shutil
from collections.abc import Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from mmgraph.errors import ConfigError, DataError
from mmgraph.files import new_folder, write_bytes, write_json
from mmgraph.interop.ogb import GRAPH, KINDS, MASKS, NODE, RELATION, import_ogb
from mmgraph.interop.ogb_files import PARTS, SCHEMA, SEPARATOR
from mmgraph.interop.rows import check_new, check_nothing_loose, check_rows
from mmgraph.schema import Schema, TargetSpec

if TYPE_CHECKING:
    from torch_geometric.data import HeteroData

_OF = (NODE, "of", GRAPH)
_PLAIN = (NODE, RELATION, NODE)
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_TAKEN = {"node": {"x", "feat"}, "edge": {"edge_attr", "feat", "edge_weight", "weight", "index"}}
_README = "What the node types, edge types and targets mean is in `{}`.\n"


def write_ogb(
    graphs: HeteroData | Sequence[HeteroData],
    schema: Schema,
    folder: str | Path,
    *,
    name: str,
    split: Mapping[str, Any] | None = None,
    metric: str | None = None,
) -> Path:
    """Writes graphs as a dataset that OGB reads, with its ``DatasetSaver``; all of it or nothing.

    In the folder are the dataset's own (``fake`` of ``ogbn-fake``) and ``meta_dict.pt``, from which OGB makes the
    dataset: ``NodePropPredDataset(name, meta_dict=torch.load("meta_dict.pt"))``. What the types mean is kept in
    ``mapping``, so that :func:`~mmgraph.interop.read_ogb` gives the same graphs, to the bit.

    A graph of nodes ``"node"`` and edges ``("node", "to", "node")`` is homogeneous, all others are heterogeneous.

    Args:
        graphs: The graph; for ``ogbg-`` several, each with one node ``"graph"`` that all its nodes are ``of``.
        schema: What the types mean.
        folder: A new folder.
        name: ``ogbn-…`` to ask about nodes: those with the schema's targets, whose masks are the split; ``ogbg-…``
            about graphs; ``ogbl-…`` about links.
        split: ``train``, ``valid`` and ``test`` → numbers of graphs, or what is known of links (tensors by name).
        metric: By default ``acc``, ``rocauc`` or ``rmse`` by the kind of the target, and ``mrr`` for links.

    Raises:
        DataError: Something would be lost: OGB keeps integers of 64 and floats of 32 bits alone.
        ConfigError: The folder holds something, or the name is none that OGB takes.
        SchemaError: A graph is not what the schema says.
        MissingPackageError: OGB is not installed.
    """
    from torch_geometric.data import HeteroData

    folder, prefix = Path(folder), name.partition("-")[0]
    if prefix not in KINDS or not re.fullmatch(r"[a-z0-9]+", name.partition("-")[2]):
        raise ConfigError(f"name must be ogbn-, ogbl- or ogbg- and small letters and figures, got {name!r}")
    check_new(folder)
    given = [graphs] if isinstance(graphs, HeteroData) else list(graphs)
    if not given or (len(given) > 1 and prefix != "ogbg"):
        raise DataError(f"{name} must be of {'graphs' if prefix == 'ogbg' else 'one graph'}, got {len(given)}")
    hetero = _check(given, schema, prefix)
    parts = _masks(given[0], schema) if prefix == "ogbn" else _split(split)
    written = [(_typed if hetero else _plain)(graph, schema) for graph in given]
    targets = list(schema.targets.values())
    if prefix == "ogbn" and hetero:
        parts = {part: {targets[0].node: rows} for part, rows in parts.items()}
    saver_type = import_ogb("io").DatasetSaver
    suffix = name.partition("-")[2]
    with new_folder(folder) as draft, redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        saver = saver_type(dataset_name=name, is_hetero=hetero, version=1, root=str(draft / "made"))
        saver.save_graph_list(written)
        if prefix != "ogbl":
            labels = _labels(given, schema)
            saver.save_target_labels({targets[0].node: labels} if hetero else labels)
        saver.save_split(parts, "given")
        write_json(draft / "about" / SCHEMA, json.loads(schema.to_json()))
        write_bytes(draft / "about" / "README.md", _README.format(SCHEMA).encode())
        saver.copy_mapping_dir(str(draft / "about"))
        saver.save_task_info(*_task(targets, prefix, metric))
        about = {**saver.get_meta_dict(), "dir_path": str(folder.absolute() / suffix)}
        shutil.move(draft / f"made_{prefix}_{suffix}" / suffix, draft / suffix)
        for path in (draft / "about", draft / f"made_{prefix}_{suffix}"):
            shutil.rmtree(path)
        torch.save(about, draft / "meta_dict.pt")
    return folder


def _check(graphs: Sequence[HeteroData], schema: Schema, prefix: str) -> bool:
    """Checks what OGB can hold, and says whether the graphs are heterogeneous."""
    for graph in graphs:
        schema.check(graph)
        check_nothing_loose(graph, "OGB")
    nodes, edges = list(schema.nodes), list(schema.edges)
    owners = {one.node for one in schema.targets.values()}
    if prefix != "ogbl" and len(owners) != 1:
        raise DataError(f"{prefix} must ask about one node type, got targets of {sorted(owners)}")
    if prefix == "ogbl" and owners:
        raise DataError(f"ogbl must ask about links, and keeps no answers of nodes, got targets of {sorted(owners)}")
    if prefix == "ogbg":
        if set(nodes) != {NODE, GRAPH} or set(edges) - {_PLAIN} != {_OF} or owners != {GRAPH}:
            raise DataError(
                f"Graphs of OGB must have nodes {NODE!r} and {GRAPH!r}, edges {_PLAIN} and {_OF}, and targets of "
                f"{GRAPH!r}, got {nodes} and {edges}"
            )
        _check_graphs(graphs, schema)
        return False
    if not edges:
        raise DataError("OGB has no graph without an edge type, got none")
    if odd := [name for name in (*nodes, *(one for edge in edges for one in edge)) if SEPARATOR in name or "/" in name]:
        raise DataError(f"Types of OGB must not have {SEPARATOR!r} or '/' in their names, got {odd[0]!r}; rename it")
    return nodes != [NODE] or edges != [_PLAIN]


def _check_graphs(graphs: Sequence[HeteroData], schema: Schema) -> None:
    """Checks that the node that stands for each graph says nothing but what is asked."""
    targets = {one.attribute for one in schema.targets.values()}
    if schema.nodes[GRAPH].channels != 0:
        raise DataError(
            f"{GRAPH!r} must carry nothing but targets, x of 0 channels, got {schema.nodes[GRAPH].channels}"
        )
    for number, graph in enumerate(graphs):
        rows = torch.arange(graph[NODE].num_nodes)
        wanted = torch.stack([rows, torch.zeros_like(rows)])
        if graph[GRAPH].num_nodes != 1 or not torch.equal(graph[_OF].edge_index, wanted):
            raise DataError(f"All nodes of a graph must be of one {GRAPH!r}, in order, got others in graph {number}")
        more = [*(set(graph[GRAPH].keys()) - targets - {"x"}), *(set(graph[_OF].keys()) - {"edge_index"})]
        if more:
            raise DataError(f"{GRAPH!r} must carry nothing but targets, got {more[0]!r} in graph {number}; remove it")


def _plain(graph: HeteroData, schema: Schema) -> dict[str, Any]:
    index = graph[_PLAIN].edge_index if _PLAIN in schema.edges else torch.empty(2, 0, dtype=torch.long)
    found = {"edge_index": _array("edge_index", index, _PLAIN), "num_nodes": int(graph[NODE].num_nodes)}
    found |= _kept(graph, NODE, "node", schema)
    return found | ({} if _PLAIN not in schema.edges else _kept(graph, _PLAIN, "edge", schema))


def _typed(graph: HeteroData, schema: Schema) -> dict[str, Any]:
    index = {edge: _array("edge_index", graph[edge].edge_index, edge) for edge in schema.edges}
    found: dict[str, Any] = {"edge_index_dict": index}
    found["num_nodes_dict"] = {node: int(graph[node].num_nodes) for node in schema.nodes}
    for end, names in (("node", schema.nodes), ("edge", schema.edges)):
        for name in names:
            for key, one in _kept(graph, name, end, schema).items():
                found.setdefault(f"{key}_dict" if key.endswith("_feat") else key, {})[name] = one
    return found


def _kept(graph: HeteroData, name: Any, end: str, schema: Schema) -> dict[str, np.ndarray]:
    """What a type carries, by OGB's names; answers and masks are files of their own."""
    apart = {"num_nodes", "edge_index"}
    if end == "node":
        mine = [one.attribute for one in schema.targets.values() if one.node == name]
        apart |= {*mine, *(MASKS.values() if mine else ())}
    rows = graph[name].num_nodes if end == "node" else graph[name].edge_index.shape[1]
    found = {}
    for key, value in graph[name].items():
        if key in apart:
            continue
        tensor, integers = check_rows(key, value, rows, name), not value.dtype.is_floating_point
        main = "x" if end == "node" else "edge_attr"
        if (key == main and not integers and tensor.dim() == 2) or (
            key == "feat" and integers and main not in graph[name]
        ):
            written = f"{end}_feat"
        elif key == "edge_weight" and end == "edge" and tensor.dim() == 1 and not integers:
            written, tensor = "edge_weight", tensor[:, None]
        elif key == "weight" and end == "edge" and integers and "edge_weight" not in graph[name]:
            written = "edge_weight"
        elif key in _TAKEN[end] or not _NAME.fullmatch(key) or "node_" in key or key.endswith("_feat"):
            raise DataError(f"OGB can't keep {key!r} of {name!r}, {list(tensor.shape)} of {tensor.dtype}; rename it")
        else:
            written = f"{end}_{key}"
        found[written] = _array(key, tensor, name)
    return found


def _array(key: str, value: Tensor, name: Any) -> np.ndarray:
    if value.dtype not in (torch.int64, torch.float32):
        raise DataError(f"{key!r} of {name!r} must be int64 or float32 for OGB, got {value.dtype}; convert it")
    return value.detach().cpu().numpy()


def _masks(graph: HeteroData, schema: Schema) -> dict[str, Any]:
    node = next(iter(schema.targets.values())).node
    if missing := [mask for mask in MASKS.values() if mask not in graph[node]]:
        raise DataError(f"{node!r} must have {missing[0]!r}, which says what is in that part")
    return {part: graph[node][mask].nonzero()[:, 0] for part, mask in MASKS.items()}


def _split(split: Mapping[str, Any] | None) -> dict[str, Any]:
    if split is None or set(split) != set(PARTS):
        raise DataError(f"split must be of {list(PARTS)}, got {None if split is None else list(split)}")
    return {part: split[part] if isinstance(split[part], Mapping) else torch.as_tensor(split[part]) for part in PARTS}


def _labels(graphs: Sequence[HeteroData], schema: Schema) -> np.ndarray:
    """The answers, ``[rows, tasks]``; NaN where one is not known."""
    columns = [
        torch.cat([graph[target.node][target.attribute] for graph in graphs]) for target in schema.targets.values()
    ]
    if len({column.dtype for column in columns}) > 1 or columns[0].dtype not in (torch.int64, torch.float32):
        raise DataError(f"Targets for OGB must be all int64 or all float32, got {[str(one.dtype) for one in columns]}")
    values = torch.stack(columns, dim=1)
    if values.dtype == torch.int64 and bool((values < 0).any()):
        values = values.float().masked_fill(values < 0, float("nan"))
    return values.numpy()


def _task(targets: Sequence[TargetSpec], prefix: str, metric: str | None) -> tuple[str, str, int | None]:
    if prefix == "ogbl":
        return "link prediction", metric or "mrr", None
    if len({one.kind for one in targets}) > 1 or len({len(one.classes) for one in targets}) > 1:
        raise DataError(f"Targets for OGB must be of one kind, got {[one.kind for one in targets]}")
    kind, by_kind = targets[0].kind, {"binary": "rocauc", "multiclass": "acc", "regression": "rmse"}
    task = "regression" if kind == "regression" else f"{kind} classification"
    return task, metric or by_kind[kind], None if kind == "regression" else len(targets[0].classes)
