"""What the head of a collection says, and whether its parts agree with each other."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mmgraph.data.columns.columns import Columns
from mmgraph.data.columns.layout import UNIT, AttributeLayout, Layout
from mmgraph.data.columns.payload import PayloadHead
from mmgraph.data.format import DTYPE_NAMES, problems
from mmgraph.errors import ArtifactError, SchemaError
from mmgraph.schema import Schema

KIND = "collection"


class Contents(BaseModel):
    """The samples of a collection, the columns that they are taken apart into, and what they stand for."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    samples: int = Field(ge=0)
    layout: Layout
    payloads: tuple[PayloadHead, ...]


def read_contents(columns: Columns) -> Contents:
    """Reads the contents off the head, and checks that the columns are what it says.

    Raises:
        ArtifactError: A column is missing, or has another dtype, shape or length than the head says.
    """
    try:
        contents = Contents(**columns.meta)
    except (ValidationError, TypeError) as error:
        raise ArtifactError(
            f"Collection {str(columns.folder)!r} must say what it holds, but {problems(error)}"
        ) from None
    ends = {
        store.type: _last(columns, store.offsets, contents.samples)
        for store in contents.layout.stores
        if store.offsets != UNIT
    }
    for store in contents.layout.stores:
        if isinstance(store.type, tuple) and not {store.type[0], store.type[2]} <= ends.keys():
            raise _disagree(columns, f"edge type {store.type} must join node types of it")
        for one in store.attributes:
            if one.kind != "count":
                _check_column(columns, one, contents.samples)
    for payload in contents.payloads:
        rows = contents.samples if payload.type is None else ends.get(payload.type)
        if payload.rows != rows:
            raise _disagree(columns, f"payload {payload.key!r} must have {rows} values, got {payload.rows}")
    return contents


def read_schema(columns: Columns, layout: Layout | None) -> Schema | None:
    """Reads the schema, none if there is none, and checks that the columns are what it declares.

    Raises:
        ArtifactError: The file is damaged, or declares other types or widths than the columns have.
    """
    if "schema.json" not in columns.head.files:
        return None
    try:
        schema = Schema.from_json(columns.read_file("schema.json").decode())
    except (SchemaError, UnicodeDecodeError) as error:
        raise ArtifactError(f"File {str(columns.folder / 'schema.json')!r} must hold a schema, but {error}") from None
    stores = {store.type: store for store in (layout.stores if layout else ()) if store.type is not None}
    declared: dict[Any, tuple[str, int | None]] = {node: ("x", spec.channels) for node, spec in schema.nodes.items()}
    declared |= {edge: ("edge_attr", spec.channels) for edge, spec in schema.edges.items()}
    if stores and stores.keys() != declared.keys():
        raise _disagree(columns, f"the schema declares {list(declared)}, its columns are of {list(stores)}")
    for kind, store in stores.items():
        name, channels = declared[kind]
        found = next((one.shape for one in store.attributes if one.name == name), None)
        if channels is not None and found != (channels,):
            raise _disagree(columns, f"the schema declares {channels} channels for {kind!r}, its column has {found}")
    return schema


def read_splits(columns: Columns, samples: int) -> dict[str, list[list[int]]]:
    """Reads the splits, each as ranges of samples, first and last + 1.

    Raises:
        ArtifactError: The file is damaged, or speaks of samples that are not there.
    """
    try:
        splits = json.loads(columns.read_file("splits.json"))
        ends = [(name, start, stop) for name, ranges in splits.items() for start, stop in ranges]
    except (ValueError, TypeError, AttributeError) as error:
        if isinstance(error, ArtifactError):
            raise
        raise _disagree(columns, f"its splits must be ranges of samples, but {error}") from None
    for name, start, stop in ends:
        if type(start) is not int or type(stop) is not int or not 0 <= start < stop <= samples:
            raise _disagree(
                columns, f"its splits must be ranges within {samples} samples, got {start}, {stop} in {name!r}"
            )
    return splits


def _check_column(columns: Columns, one: AttributeLayout, samples: int) -> None:
    column = columns[one.column]
    if column.shape != one.shape or one.dtype not in DTYPE_NAMES or column.dtype != one.stored:
        raise _disagree(columns, f"column {one.column!r} must be {list(one.shape)} {one.dtype}, got {column!r}")
    rows = samples if one.offsets == UNIT else _last(columns, one.offsets, samples)
    if column.rows != rows:
        raise _disagree(columns, f"column {one.column!r} must have {rows} rows, got {column.rows}")


def _last(columns: Columns, offsets: str, samples: int) -> int:
    """The end of the last sample, as an offsets column has it."""
    column = columns[offsets]
    if column.head.dtype != "int64" or column.shape or column.rows != samples + 1:
        raise _disagree(columns, f"offsets {offsets!r} must be [{samples + 1}] of int64, got {column!r}")
    column.check_rows(np.array([0, samples]))
    if column.array[0] != 0:
        raise _disagree(columns, f"offsets {offsets!r} must begin with 0, got {column.array[0]}")
    return int(column.array[samples])


def _disagree(columns: Columns, what: str) -> ArtifactError:
    return ArtifactError(f"The parts of collection {str(columns.folder)!r} must agree: {what}; write it again")
