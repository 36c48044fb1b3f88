"""A graph, declared: node tables, what their columns are, relations, targets, splits. ``graph.toml`` holds the same."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, JsonValue, ValidationError, model_validator

from mmgraph.errors import ConfigError, DataError
from mmgraph.schema import Modality
from mmgraph.schema.spec import TargetKind

Kind = Literal[
    "text", "image", "audio", "video", "series", "points", "symbol", "numeric", "category", "datetime", "keep"
]
TABULAR = ("numeric", "category", "datetime")
Share = Annotated[float, Field(gt=0, lt=1)]


class Declared(BaseModel):
    """A part of a declaration: unknown words are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ColumnConfig(Declared):
    """What a column of a node table holds.

    Args:
        modality: ``text``, ``image``, ``audio``, ``video``, ``series``, ``points`` or ``symbol``: each cell that is not
            empty becomes a node that hangs on its row's. ``numeric``, ``category``, ``datetime``: cells of a tabular
            node, one a row. ``keep``: kept beside the node as a string, read by no model.
        node: Name of the modality node type; by default the column's name, for tabular columns ``table``. Columns of
            one modality may share a type: tabular ones share a node, others add nodes.
        encoder: Name of an encoder in ``[encoders]``, or of a kind; by default the modality's default kind.
        separator: What parts several payloads in a cell (lists of Parquet, JSON and Arrow need none).
        file: Whether the cells of a ``text``, ``series`` or ``points`` column are paths of files, with a text in UTF-8
            or the numbers in JSON. Cells of ``image``, ``audio`` and ``video`` columns are paths anyway.
    """

    modality: Kind
    node: str | None = None
    encoder: str | None = None
    separator: str | None = None
    file: bool = False

    @model_validator(mode="after")
    def _is_of_files(self) -> ColumnConfig:
        if self.file and self.modality not in ("text", "series", "points"):
            raise ValueError(f"file = true is for text, series and points, got {self.modality!r}")
        return self


def _alike(one: ColumnConfig, other: ColumnConfig) -> bool:
    """Whether two columns may share a node type."""
    if one.modality in TABULAR or other.modality in TABULAR:
        return one.modality in TABULAR and other.modality in TABULAR
    return (one.modality, one.encoder, one.file) == (other.modality, other.encoder, other.file)


def _column(value: Any) -> Any:
    return {"modality": value} if isinstance(value, str) else value


class NodeConfig(Declared):
    """A node type and the table of its nodes, a row each.

    Args:
        table: A table that was passed in, or a file below the root (CSV, TSV, Parquet, JSONL, Arrow/Feather), or a
            pattern of such files (``parts/*.csv``), or a folder of payload files (``photos/``): then the columns are
            ``path``, ``name`` (without suffix), ``folder`` and ``suffix``.
        key: The column whose values name the nodes; by default they are named by their row.
        columns: Column → what it holds. Columns that are not named are not read, unless something else names them.
    """

    table: str
    key: str | None = None
    columns: dict[str, Annotated[ColumnConfig, BeforeValidator(_column)]] = {}


class EdgeConfig(Declared):
    """A relation.

    Exactly one of these says where its edges come from:

    * ``table`` with ``source`` and ``target``: a table of pairs of keys (and ``weight``: a column of numbers).
    * ``column``: a column of the source's table with the key of a target, or several (a list, or parted by
      ``separator``). Where the target type has no table, its nodes are the values.
    * ``nearest``: a modality node type in whose features the ``k`` nearest are joined, each to the node; the edges
      join the nodes that those nodes hang on.
    * ``order``: a column by whose values each node is joined to the next one (``by``: within equal values of a column).

    Args:
        type: Source node type, name of the relation, target node type.
        table: See above.
        source: Column with the source's key.
        target: Column with the target's key.
        weight: Column with the weight of the edge.
        column: See above.
        separator: What parts several keys in a cell.
        nearest: See above.
        k: How many are nearest.
        metric: ``cosine`` or ``euclidean``.
        order: See above.
        by: See above.
        symmetric: Add each edge the other way round too, under the same type.
        inverse: Add each edge the other way round under this name.
    """

    type: tuple[str, str, str]
    table: str | None = None
    source: str | None = None
    target: str | None = None
    weight: str | None = None
    column: str | None = None
    separator: str | None = None
    nearest: str | None = None
    k: Annotated[int, Field(ge=1)] = 10
    metric: Literal["cosine", "euclidean"] = "cosine"
    order: str | None = None
    by: str | None = None
    symmetric: bool = False
    inverse: str | None = None

    @property
    def types(self) -> tuple[tuple[str, str, str], ...]:
        """Its type, and that of its inverse."""
        source, _, target = self.type
        return (self.type, (target, self.inverse, source)) if self.inverse else (self.type,)

    @model_validator(mode="after")
    def _one_origin(self) -> EdgeConfig:
        origins = [name for name in ("table", "column", "nearest", "order") if getattr(self, name) is not None]
        if len(origins) != 1:
            raise ValueError(f"exactly one of table, column, nearest and order must be given, got {origins or 'none'}")
        if (self.table is None) != (self.source is None) or (self.source is None) != (self.target is None):
            raise ValueError("table, source and target must be given together")
        within = self.nearest is not None or self.order is not None or self.symmetric
        if within and self.type[0] != self.type[2]:
            raise ValueError(f"nearest, order and symmetric join nodes of one type, got {list(self.type)}")
        for name, needs in (("weight", "table"), ("separator", "column"), ("by", "order")):
            if getattr(self, name) is not None and getattr(self, needs) is None:
                raise ValueError(f"{name} needs {needs}")
        if "" in (self.separator, self.inverse):
            raise ValueError("separator and inverse must have a character, got ''")
        if self.symmetric and self.inverse is not None:
            raise ValueError("symmetric edges are their own inverse; give one of symmetric and inverse")
        return self


class TargetConfig(Declared):
    """What is to be predicted of a node type.

    Args:
        node: The node type; by default the anchor.
        column: The column with the answers; empty where not known. It may be kept, but is no feature and no relation.
        kind: ``binary``, ``multiclass`` or ``regression``; by default what the values are: numbers with a fraction are
            a regression, two values binary, more multiclass.
        classes: The classes in order; by default the values, sorted.
    """

    node: str | None = None
    column: str
    kind: TargetKind | None = None
    classes: tuple[str, ...] = ()


class SplitConfig(Declared):
    """Which anchors are for training, validation and test.

    Args:
        by: ``random``; ``stratified`` (each part has like shares of a target's classes); ``group`` (rows of equal
            values of ``column`` stay together); ``time`` (the latest by ``column`` are the test, those before them
            validation); ``column`` (the column says it: train, val or test; others are in no part).
        column: See above; for ``stratified`` the target's name, by default the only one.
        test: Share of the test part.
        val: Share of the validation part.
        seed: Of chance.
    """

    by: Literal["random", "stratified", "group", "time", "column"]
    column: str | None = None
    test: Share = 0.2
    val: Share = 0.1
    seed: int = 0

    @model_validator(mode="after")
    def _agrees(self) -> SplitConfig:
        if self.by in ("group", "time", "column") and self.column is None:
            raise ValueError(f"by={self.by!r} needs a column")
        if self.test + self.val >= 1:
            raise ValueError(f"test and val must leave a share for training, got {self.test} and {self.val}")
        return self


class LimitConfig(Declared):
    """How much may be wrong before the build is refused.

    Args:
        rejected: Share of the cells of any one column, and of the edges of any one relation, that may be set aside.
        characters: Of a text.
        bytes: Of a file.
    """

    rejected: Annotated[float, Field(ge=0, le=1)] = 0.05
    characters: Annotated[int, Field(ge=1)] = 1 << 20
    bytes: Annotated[int, Field(ge=1)] = 1 << 30


class EncoderConfig(Declared):
    """An encoder: its kind, and what else it is made with.

    Args:
        kind: One of the kinds of frozen encoders, e.g. ``sentences``.
        options: What it is made with, e.g. ``{model = "…"}``.
    """

    kind: str
    options: dict[str, JsonValue] = {}


def _encoder(value: Any) -> Any:
    if isinstance(value, Mapping) and "options" not in value:
        return {"kind": value.get("kind"), "options": {key: one for key, one in value.items() if key != "kind"}}
    return value


class GraphConfig(Declared):
    """A graph, declared.

    Args:
        name: What it is called.
        anchor: The node type that the modalities speak about; by default the only one with a table.
        nodes: Node type → its table and columns.
        edges: The relations.
        targets: Name → what is to be predicted.
        split: Which anchors are for training, validation and test.
        encoders: Name → an encoder.
        limits: How much may be wrong.
        root: Folder below which tables and payload files lie; by default that of the declaration.

    Raises:
        ConfigError: A word that is not known, or parts that contradict each other.

    Example:
        >>> config = GraphConfig(
        ...     nodes={"product": {"table": "products.csv", "key": "sku", "columns": {"title": "text"}}},
        ...     edges=[{"type": ("product", "sold_by", "shop"), "column": "shop"}],
        ... )
        >>> config.anchor, config.modality_nodes
        ('product', {'title': ('product', ('title',))})
    """

    name: str = "graph"
    anchor: str = ""
    nodes: dict[str, NodeConfig]
    edges: tuple[EdgeConfig, ...] = ()
    targets: dict[str, TargetConfig] = {}
    split: SplitConfig | None = None
    encoders: dict[str, Annotated[EncoderConfig, BeforeValidator(_encoder)]] = {}
    limits: LimitConfig = LimitConfig()
    root: str = "."

    def __init__(self, /, **fields: Any) -> None:
        try:
            super().__init__(**fields)
        except ValidationError as error:
            problems = "; ".join(
                f"{'.'.join(str(part) for part in item['loc']) or 'its parts'}: "
                f"{item['msg'].removeprefix('Value error, ')}"
                + (f", got {item['input']!r}" if item["type"] not in ("missing", "value_error") else "")
                for item in error.errors()
            )
            raise ConfigError(f"The graph's declaration is not valid: {problems}") from None

    @model_validator(mode="before")
    @classmethod
    def _name_anchor(cls, fields: Any) -> Any:
        if isinstance(fields, Mapping) and not fields.get("anchor") and isinstance(fields.get("nodes"), Mapping):
            if len(fields["nodes"]) != 1:
                raise ValueError(f"anchor must name one of the node types {sorted(fields['nodes'])}, got none")
            return {**fields, "anchor": next(iter(fields["nodes"]))}
        return fields

    @model_validator(mode="after")
    def _parts_agree(self) -> GraphConfig:
        if self.anchor not in self.nodes:
            raise ValueError(f"anchor must be one of {sorted(self.nodes)}, got {self.anchor!r}")
        if "" in self.nodes:
            raise ValueError("a node type must have a name, got ''")
        modality_nodes = self.modality_nodes
        for node in modality_nodes:
            if node in self.nodes:
                raise ValueError(f"the modality node {node!r} has the name of a node type; set node = … on the column")
        for edge in self.edges:
            self._check_edge(edge, modality_nodes)
        kinds = [one for edge in self.edges for one in edge.types]
        if twice := [kind for kind in kinds if kinds.count(kind) > 1]:
            raise ValueError(f"each relation must be declared once, got {list(twice[0])} again")
        for name, target in self.targets.items():
            if (target.node or self.anchor) not in self.nodes:
                raise ValueError(f"target {name!r} must be on one of {sorted(self.nodes)}, got {target.node!r}")
            self._check_target(name, target)
        if self.split and self.split.by == "stratified":
            names = [name for name, target in self.targets.items() if (target.node or self.anchor) == self.anchor]
            if (self.split.column is None and len(names) != 1) or self.split.column not in (None, *names):
                raise ValueError(f"a stratified split needs a target of the anchor, one of {names}, as its column")
        for table in self.nodes.values():
            for column, one in table.columns.items():
                if one.modality in (*TABULAR, "keep") and (one.separator or one.encoder):
                    raise ValueError(
                        f"column {column!r} is {one.modality}: it has no separator and no encoder of its own"
                    )
                if one.modality in ("series", "points") and one.separator:
                    raise ValueError(f"column {column!r} is {one.modality}: a cell is one payload, it has no separator")
                if one.separator == "":
                    raise ValueError(f"column {column!r}: a separator must have a character, got ''")
        return self

    def _check_target(self, name: str, target: TargetConfig) -> None:
        node = target.node or self.anchor
        one = self.nodes[node].columns.get(target.column)
        if one is not None and one.modality != "keep":
            raise ValueError(
                f"column {target.column!r} of {node!r} has the answers of target {name!r}: it can't be a feature too"
            )
        for edge in self.edges:
            if edge.type[0] == node and target.column in (edge.column, edge.order, edge.by):
                raise ValueError(
                    f"column {target.column!r} of {node!r} has the answers of target {name!r}: "
                    f"edge {list(edge.type)} can't be made of them"
                )

    def _check_edge(self, edge: EdgeConfig, modality_nodes: Mapping[str, Any]) -> None:
        source, relation, target = edge.type
        made = {one.type[2] for one in self.edges if one.column is not None}
        if source not in self.nodes:
            raise ValueError(f"edge {list(edge.type)} must start at a node type with a table, {sorted(self.nodes)}")
        if target not in self.nodes and target not in made:
            raise ValueError(f"edge {list(edge.type)} must end at a node type with a table, {sorted(self.nodes)}")
        if "of" in (relation, edge.inverse):
            raise ValueError(f"edge {list(edge.type)}: the relation 'of' is kept for modality nodes")
        if target in modality_nodes:
            raise ValueError(
                f"edge {list(edge.type)}: {target!r} is a modality node, it can't be a value's too; rename it"
            )
        if edge.nearest is not None and modality_nodes.get(edge.nearest, ("",))[0] != source:
            known = sorted(node for node, (owner, _) in modality_nodes.items() if owner == source)
            raise ValueError(f"edge {list(edge.type)}: nearest must be a modality node of {source!r}, one of {known}")

    @property
    def modality_nodes(self) -> dict[str, tuple[str, tuple[str, ...]]]:
        """Modality node type → the node type it hangs on, and the columns it comes from."""
        found: dict[str, tuple[str, tuple[str, ...]]] = {}
        for owner, node in self.nodes.items():
            for column, one in node.columns.items():
                if one.modality == "keep":
                    continue
                name = one.node or ("table" if one.modality in TABULAR else column)
                before = found.get(name)
                if before is not None and (before[0] != owner or not _alike(one, node.columns[before[1][-1]])):
                    raise ValueError(
                        f"columns {before[1][-1]!r} of {before[0]!r} and {column!r} of {owner!r} both make the node "
                        f"type {name!r}; set node = … on one of them"
                    )
                found[name] = (owner, (*(before[1] if before else ()), column))
        return found

    def modality(self, node: str) -> Modality:
        """The modality of a modality node type."""
        owner, columns = self.modality_nodes[node]
        kind = self.nodes[owner].columns[columns[0]].modality
        return Modality.TABULAR if kind in TABULAR else Modality(kind)


def read_config(path: Path) -> GraphConfig:
    """Reads a declaration from a TOML file.

    Raises:
        DataError: The file is missing, or is not TOML.
        ConfigError: It declares no graph.
    """
    try:
        fields = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"{str(path)!r} must be a file that declares a graph, but {error}") from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise DataError(f"{str(path)!r} must be TOML, but {error}") from None
    return GraphConfig(**fields)
