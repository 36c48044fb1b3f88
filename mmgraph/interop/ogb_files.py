"""The files of an OGB dataset: compressed CSV and NumPy's archives, read without OGB and without trust in pickles."""

from __future__ import annotations

import csv
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias
from zipfile import BadZipFile

import numpy as np
import torch
from torch import Tensor

from mmgraph.errors import DataError
from mmgraph.typing import EdgeType, NodeType

if TYPE_CHECKING:
    from collections.abc import Callable

SCHEMA = "mmgraph.json"  # in the folder ``mapping``: what the types of a graph of ours mean
SEPARATOR = "___"
PARTS = ("train", "valid", "test")
Attributes: TypeAlias = dict[str, Tensor]
Part: TypeAlias = Any
"""Numbers of nodes or graphs ``[rows]``, those by node type, or what a file says of links."""

_PLAIN = ("node", "to", "node")
_HEADS = {"edge_index", "num_nodes_list", "num_edges_list"}
_DTYPES = ("Float16", "Float32", "Float64", "Int8", "Int16", "Int32", "Int64", "UInt8", "Bool")


@dataclass
class Columns:
    """The rows of all graphs of a dataset, one below the other.

    Args:
        num_nodes: Node type → nodes of each graph, ``[graphs]``.
        num_edges: Edge type → edges of each graph, ``[graphs]``.
        index: Edge type → ``[2, edges]``, rows within each graph.
        nodes: Node type → its tensors.
        edges: Edge type → its tensors.
    """

    num_nodes: dict[NodeType, np.ndarray]
    num_edges: dict[EdgeType, np.ndarray]
    index: dict[EdgeType, Tensor]
    nodes: dict[NodeType, Attributes] = field(default_factory=dict)
    edges: dict[EdgeType, Attributes] = field(default_factory=dict)

    def check(self, where: Path) -> Columns:
        """Checks that all columns have the rows that they should.

        Raises:
            DataError: One has not.
        """
        counts: dict[Any, np.ndarray] = dict(self.num_nodes) | dict(self.num_edges)
        totals = {name: int(one.sum()) for name, one in counts.items()}
        rows = [
            (name, key, one)
            for part in (self.nodes, self.edges)
            for name, found in part.items()
            for key, one in found.items()
        ]
        rows += [(edge, "index", one.T) for edge, one in self.index.items()]
        for name, key, one in rows:
            if len(one) != totals.get(name, -1):
                raise DataError(
                    f"{key!r} of {name!r} in {str(where)!r} must have {totals.get(name, 0)} rows, got {len(one)}"
                )
        if len({len(one) for one in counts.values()}) != 1:
            raise DataError(
                f"All types in {str(where)!r} must be counted in the same graphs; the files contradict each other"
            )
        return self


def find(folder: Path, name: str) -> Path:
    """The folder of a dataset: this one, or one in it.

    Raises:
        DataError: There is none.
    """
    suffix = "_".join(name.split("-")[1:])
    for place in (folder, folder / name.replace("-", "_"), folder / suffix):
        if (place / "raw").is_dir():
            return place
    raise DataError(
        f"{str(folder)!r} must be the folder of {name}, with 'raw' and 'split' in it, or hold "
        f"{name.replace('-', '_')!r}; fetch it with OGB first"
    )


def read_meta(root: Path) -> dict[str, Any]:
    """What OGB's saver wrote of a dataset beside its folder, if it did."""
    path = root.parent / "meta_dict.pt"
    found = load(path) if path.is_file() else {}
    return found if isinstance(found, dict) and found.get("download_name") == root.name else {}


def read_master(path: Path) -> dict[str, dict[str, Any]]:
    """What OGB says of its own datasets: name → key → value."""
    with path.open(encoding="utf-8", newline="") as file:
        heads, *rows = csv.reader(file)
    return {name: {row[0]: row[place] for row in rows} for place, name in enumerate(heads) if place}


def read_plain(root: Path, about: Mapping[str, Any]) -> Columns:
    """Graphs of one node type and one edge type."""
    raw = root / "raw"
    found: dict[str, Attributes] = {"node": {}, "edge": {}}
    if (raw / "data.npz").is_file():
        arrays = _npz(raw / "data.npz")
        if missing := _HEADS - set(arrays):
            raise DataError(f"{str(raw / 'data.npz')!r} must hold {sorted(missing)[0]!r}, got {sorted(arrays)}")
        counts = [arrays["num_nodes_list"], arrays["num_edges_list"]]
        index = arrays["edge_index"]
        for key in set(arrays) - _HEADS:
            _add(found[_end(key)], key, arrays[key])
    else:
        counts = [_csv(raw / f"num-{one}-list.csv.gz")[:, 0] for one in ("node", "edge")]
        index = _csv(raw / "edge.csv.gz").reshape(-1, 2).T
        for path in _tables(raw):
            key = {"species": "node_species"}.get(path.name.removesuffix(".csv.gz"), _key(path))
            _add(found[_end(key)], key, _csv(path))
        if str(about.get("add_inverse_edge")) == "True":  # each edge is followed by its inverse
            index = np.stack([index, index[::-1]], axis=2).reshape(2, -1)
            found["edge"] = {key: one.repeat_interleave(2, dim=0) for key, one in found["edge"].items()}
            counts[1] = counts[1] * 2
    return Columns(
        {"node": counts[0]},
        {_PLAIN: counts[1]},
        {_PLAIN: _tensor(index)},
        {"node": found["node"]},
        {_PLAIN: found["edge"]},
    ).check(raw)


def read_typed(root: Path, about: Mapping[str, Any]) -> Columns:
    """Graphs of several types."""
    raw = root / "raw"
    if (raw / "edge_index_dict.npz").is_file():
        index = {_edge(key): _tensor(one) for key, one in _npz(raw / "edge_index_dict.npz").items()}
        num_edges = {_edge(key): one for key, one in _npz(raw / "num_edges_dict.npz").items()}
        found = Columns(_npz(raw / "num_nodes_dict.npz"), num_edges, index)
        known = {"num_nodes_dict", "num_edges_dict", "edge_index_dict"}
        for path in sorted(raw.glob("*.npz")):
            key = path.name.removesuffix(".npz")
            if key in known or key.endswith("-label"):
                continue
            for name, one in _npz(path).items():
                if _end(key) == "node":
                    _add(found.nodes.setdefault(name, {}), key.removesuffix("_dict") if "_feat" in key else key, one)
                else:
                    _add(
                        found.edges.setdefault(_edge(name), {}),
                        key.removesuffix("_dict") if "_feat" in key else key,
                        one,
                    )
        return found.check(raw)
    if str(about.get("add_inverse_edge")) == "True":
        raise DataError(f"A dataset of several types must have no inverse edges to add, got {str(root)!r}")
    counts = _header(raw / "num-node-dict.csv.gz")
    triples = [_edge(SEPARATOR.join(row)) for row in _words(raw / "triplet-type-list.csv.gz")]
    found = Columns({node: np.array(counts[node], dtype=np.int64) for node in sorted(counts)}, {}, {})
    for edge in sorted(triples):
        place = raw / "relations" / SEPARATOR.join(edge)
        found.num_edges[edge] = _csv(place / "num-edge-list.csv.gz")[:, 0]
        found.index[edge] = _tensor(_csv(place / "edge.csv.gz").reshape(-1, 2).T)
        for path in _tables(place):
            _add(found.edges.setdefault(edge, {}), _key(path), _csv(path))
    for node in found.num_nodes:
        for path in _tables(raw / "node-feat" / node):
            _add(found.nodes.setdefault(node, {}), _key(path), _csv(path))
    return found.check(raw)


def read_labels(raw: Path, hetero: bool) -> dict[NodeType, np.ndarray]:
    """Node type → its answers, ``[rows, tasks]``; ``"graph"`` → those of graphs. Empty if there are none."""
    if hetero:
        if (raw / "node-label.npz").is_file():
            return {node: _columns(one) for node, one in _npz(raw / "node-label.npz").items()}
        if not (raw / "nodetype-has-label.csv.gz").is_file():
            return {}
        named = [node for node, has in _header(raw / "nodetype-has-label.csv.gz").items() if has[0]]
        return {node: _csv(raw / "node-label" / node / "node-label.csv.gz") for node in named}
    for node in ("node", "graph"):
        if (raw / f"{node}-label.npz").is_file():
            return {node: _columns(_npz(raw / f"{node}-label.npz")[f"{node}_label"])}
        if (raw / f"{node}-label.csv.gz").is_file():
            return {node: _csv(raw / f"{node}-label.csv.gz")}
    return {}


def read_split(place: Path) -> dict[str, Part]:
    """Part → what is in it.

    Raises:
        DataError: A file is missing, or holds more than tensors, arrays, numbers and words.
    """
    if (place / "split_dict.pt").is_file():
        found = load(place / "split_dict.pt")
        if not isinstance(found, Mapping) or set(found) != set(PARTS):
            raise DataError(f"{str(place / 'split_dict.pt')!r} must be of {list(PARTS)}, got {type(found).__name__}")
        return {part: found[part] for part in PARTS}
    if (place / "nodetype-has-split.csv.gz").is_file():
        named = [node for node, has in _header(place / "nodetype-has-split.csv.gz").items() if has[0]]
        return {part: {node: _numbers(place / node / f"{part}.csv.gz") for node in named} for part in PARTS}
    if (place / "train.pt").is_file():
        return {part: load(place / f"{part}.pt") for part in PARTS}
    return {part: _numbers(place / f"{part}.csv.gz") for part in PARTS}


def load(path: Path) -> Any:
    """What a file of torch holds: tensors (and arrays, as tensors), numbers, words, lists and mappings.

    Raises:
        DataError: It is damaged, or holds anything else, which might run as a program when it is read.
    """
    import pickle

    multiarray = np._core.multiarray  # type: ignore[attr-defined]
    parts = [
        (one, f"numpy.{core}.multiarray.{name}") for core in ("core", "_core") for name, one in _arrays(multiarray)
    ]
    types = [np.ndarray, np.dtype, *(getattr(np.dtypes, f"{name}DType") for name in _DTYPES)]
    try:
        with torch.serialization.safe_globals([*parts, *types]):
            return _tensors(torch.load(path, map_location="cpu", weights_only=True))
    except (pickle.UnpicklingError, OSError, EOFError, RuntimeError, ValueError, KeyError) as error:
        reason = str(error).strip().partition("\n")[0][:200]
        raise DataError(
            f"{str(path)!r} must hold tensors, arrays, numbers and words alone, but {reason}; if you trust it, load it "
            "with torch.load(…, weights_only=False) and write it again as tensors"
        ) from None


def _arrays(multiarray: Any) -> list[tuple[str, Callable[..., Any]]]:
    return [("_reconstruct", multiarray._reconstruct), ("scalar", multiarray.scalar)]


def _tensors(found: Any) -> Any:
    if isinstance(found, np.ndarray):
        return torch.from_numpy(found)
    if isinstance(found, np.generic):
        return found.item()
    if isinstance(found, Mapping):
        return {key: _tensors(one) for key, one in found.items()}
    return [_tensors(one) for one in found] if isinstance(found, list | tuple) else found


def _add(to: Attributes, key: str, values: np.ndarray) -> None:
    """A tensor, by the name that we have for it."""
    end, _, name = key.partition("_")
    floats, tensor = values.dtype.kind == "f", _tensor(values)
    if name == "feat" and floats and tensor.dim() == 2:
        name = "x" if end == "node" else "edge_attr"
    elif key == "edge_weight" and floats and tensor.shape[1:] == (1,):
        name, tensor = "edge_weight", tensor[:, 0].clone()
    to[name] = tensor


def _end(key: str) -> str:
    end = key.partition("_")[0]
    if end not in ("node", "edge"):
        raise DataError(f"What nodes and edges carry must be called node_… or edge_…, got {key!r}")
    return end


def _edge(key: str) -> EdgeType:
    parts = key.split(SEPARATOR)
    if len(parts) != 3:
        raise DataError(f"An edge type must be source{SEPARATOR}relation{SEPARATOR}target, got {key!r}")
    return parts[0], parts[1], parts[2]


def _tensor(values: np.ndarray) -> Tensor:
    """As OGB has it: 64 bits of integers, 32 of floats."""
    return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32 if values.dtype.kind == "f" else np.int64))


def _columns(values: np.ndarray) -> np.ndarray:
    return values[:, None] if values.ndim == 1 else values


def _numbers(path: Path) -> Tensor:
    return _tensor(_csv(path).reshape(-1))


def _tables(place: Path) -> list[Path]:
    """The files of a folder that hold what nodes or edges carry."""
    known = ("node_", "edge_", "node-feat.", "edge-feat.", "species.")
    return sorted(path for path in place.glob("*.csv.gz") if path.name.startswith(known))


def _key(path: Path) -> str:
    return path.name.removesuffix(".csv.gz").replace("-feat", "_feat")


def _npz(path: Path) -> dict[str, np.ndarray]:
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as found:
            arrays = {key: found[key] for key in found.files}
    except (OSError, ValueError, EOFError, BadZipFile, zlib.error) as error:
        raise DataError(f"{str(path)!r} must be an archive of arrays, but {error}") from None
    if odd := [key for key, one in arrays.items() if one.dtype.kind not in "fiub"]:
        raise DataError(f"{odd[0]!r} in {str(path)!r} must be numbers, got {arrays[odd[0]].dtype}")
    return arrays


def _csv(path: Path) -> np.ndarray:
    """A table of numbers, ``[rows, columns]``; NaN where a cell is empty."""
    table = _read(path, header=False)
    if table is None:
        return np.empty((0, 1), dtype=np.int64)
    columns = [column.to_numpy() for column in table.columns]
    if odd := [one.dtype for one in columns if one.dtype.kind not in "fib"]:
        raise DataError(f"{str(path)!r} must be a table of numbers, got {odd[0]}")
    values = np.stack(columns, axis=1)
    return values.astype(np.float32) if values.dtype.kind == "f" else values.astype(np.int64)


def _header(path: Path) -> dict[str, list[Any]]:
    table = _read(path, header=True)
    return {} if table is None else table.to_pydict()


def _words(path: Path) -> list[list[str]]:
    table = _read(path, header=False)
    return [] if table is None else [[str(one) for one in row.values()] for row in table.to_pylist()]


def _read(path: Path, *, header: bool) -> Any:
    import pyarrow as pa
    from pyarrow import csv as arrow_csv

    options = arrow_csv.ReadOptions(autogenerate_column_names=not header)
    try:
        return arrow_csv.read_csv(path, options)
    except FileNotFoundError:
        raise DataError(f"{str(path)!r} must be there, and is not; fetch the dataset again") from None
    except (pa.ArrowException, OSError) as error:
        if "Empty CSV file" in str(error):
            return None
        raise DataError(f"{str(path)!r} must be a table of numbers, but {error}") from None
