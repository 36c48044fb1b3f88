"""The head of a folder of columns: what is committed, in which version of the format, and the digests of all bytes.

A folder holds ``<kind>.json`` (the head), one raw little-endian file a column under ``columns/``, and whole files
beside them. Columns only grow, whole files are never overwritten, and the head alone is replaced, atomically. So a
writer that is killed leaves the version before as it was, and a reader keeps the version that it opened.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from mmgraph.errors import ArtifactError
from mmgraph.files import read_json, write_json

VERSION = 1
"""The newest version of the format that this code reads, and the one that it writes."""

BLOCK_BYTES = 4 << 20
"""About how many bytes one digest covers: what is read at first touch, to know that a row is what was written."""

DTYPES: dict[torch.dtype, np.dtype] = {
    torch.bool: np.dtype("bool"),
    torch.uint8: np.dtype("u1"),
    torch.int8: np.dtype("i1"),
    torch.int16: np.dtype("<i2"),
    torch.int32: np.dtype("<i4"),
    torch.int64: np.dtype("<i8"),
    torch.uint16: np.dtype("<u2"),
    torch.uint32: np.dtype("<u4"),
    torch.uint64: np.dtype("<u8"),
    torch.float16: np.dtype("<f2"),
    torch.float32: np.dtype("<f4"),
    torch.float64: np.dtype("<f8"),
    torch.complex64: np.dtype("<c8"),
    torch.complex128: np.dtype("<c16"),
    torch.bfloat16: np.dtype("<i2"),  # what numpy has no name for is kept by its bits
    torch.float8_e4m3fn: np.dtype("i1"),
    torch.float8_e5m2: np.dtype("i1"),
}
"""What a column may hold, and how numpy holds it."""

DTYPE_NAMES = {str(dtype).removeprefix("torch."): dtype for dtype in DTYPES}
_NAMES = {dtype: name for name, dtype in DTYPE_NAMES.items()}


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class FileHead(_Part):
    """One file in a folder: where it is, relative to it, and what it must be."""

    file: str

    @field_validator("file")
    @classmethod
    def _stays_inside(cls, value: str) -> str:
        path = PurePosixPath(value)
        if path.is_absolute() or ".." in path.parts or not path.parts or "\0" in value:
            raise ValueError(f"a file must lie in its folder, got {value!r}")
        return value


class WholeHead(FileHead):
    """A file that is written once: its size and its digest."""

    bytes: int = Field(ge=0)
    sha256: str


class ColumnHead(FileHead):
    """A column: ``rows`` rows of ``shape`` are committed, with a digest for every ``block_rows`` of them."""

    dtype: str
    shape: tuple[int, ...] = Field(strict=False)
    rows: int = Field(ge=0)
    block_rows: int = Field(ge=1)
    sha256: tuple[str, ...] = Field(strict=False)

    @model_validator(mode="after")
    def _parts_agree(self) -> ColumnHead:
        if self.dtype not in DTYPE_NAMES:
            raise ValueError(f"dtype must be one of {sorted(DTYPE_NAMES)}, got {self.dtype!r}")
        if any(size < 0 for size in self.shape):
            raise ValueError(f"shape must not be negative, got {self.shape}")
        blocks = -(-self.rows // self.block_rows) if self.row_bytes else 0
        if len(self.sha256) != blocks:
            raise ValueError(f"{self.rows} rows are {blocks} blocks, got {len(self.sha256)} digests")
        return self

    @property
    def torch_dtype(self) -> torch.dtype:
        """The dtype of the column's tensors."""
        return DTYPE_NAMES[self.dtype]

    @property
    def row_bytes(self) -> int:
        """Bytes of one row."""
        return row_bytes(DTYPE_NAMES[self.dtype], self.shape)


class Head(_Part):
    """All that is committed: columns, whole files, and what the kind adds in ``meta``."""

    format: str
    version: int
    commit: int = Field(ge=1)
    columns: dict[str, ColumnHead]
    files: dict[str, WholeHead]
    meta: dict[str, Any]


def row_bytes(dtype: torch.dtype, shape: tuple[int, ...]) -> int:
    """Bytes of one row of a column.

    Example:
        >>> row_bytes(torch.float32, (16,))
        64
    """
    return DTYPES[dtype].itemsize * math.prod(shape)


def dtype_name(dtype: torch.dtype | np.dtype) -> str:
    """The name under which a dtype is kept.

    Raises:
        ArtifactError: No column holds this dtype.

    Example:
        >>> dtype_name(torch.bfloat16), dtype_name(np.dtype("float32"))
        ('bfloat16', 'float32')
    """
    name = _NAMES.get(dtype) if isinstance(dtype, torch.dtype) else dtype.name
    if name not in DTYPE_NAMES:
        raise ArtifactError(f"A column must hold one of {sorted(DTYPE_NAMES)}, got {dtype}; convert it")
    return name


def as_numpy(tensor: torch.Tensor) -> np.ndarray:
    """The rows of a tensor as a column holds them: contiguous, little-endian, by bits where numpy has no dtype."""
    plain = tensor.detach().resolve_conj().resolve_neg().contiguous()
    dtype = DTYPES[plain.dtype]
    if plain.dtype.is_floating_point and dtype.kind == "i":
        plain = plain.view(torch.int16 if dtype.itemsize == 2 else torch.int8)
    return plain.numpy().astype(dtype, copy=False)


def new_tensor(shape: tuple[int, ...], dtype: torch.dtype) -> tuple[torch.Tensor, np.ndarray]:
    """A tensor to be filled, and the array through which rows of a column are copied into it.

    Example:
        >>> tensor, array = new_tensor((2,), torch.bfloat16)
        >>> array[:] = as_numpy(torch.tensor([1.0, 2.0], dtype=torch.bfloat16))
        >>> tensor
        tensor([1., 2.], dtype=torch.bfloat16)
    """
    tensor = torch.empty(shape, dtype=dtype)
    if dtype.is_floating_point and DTYPES[dtype].kind == "i":
        return tensor, tensor.view(torch.int16 if dtype.itemsize == 2 else torch.int8).numpy()
    return tensor, tensor.numpy()


def file_name(name: str) -> str:
    """The name of a column's file: the column's own, what is not plain in it percent-encoded.

    A name that a file system may refuse or confuse with another (signs, capital letters, great length) gets a digest.

    Example:
        >>> file_name("node.scan.x"), file_name("node.Scan.x"), file_name("a/b")
        ('node.scan.x', 'node.Scan.x~82391033', 'a%2Fb~c14cddc0')
    """
    encoded = quote(name, safe="%")
    plain = re.sub("%[0-9A-F]{2}", "", name)
    if len(encoded) <= 160 and encoded == name and plain == plain.lower() and name.strip("."):
        return encoded
    return f"{encoded[:160]}~{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def write_head(folder: Path, kind: str, head: Head) -> None:
    """Replaces the head of a folder: this is the moment of the commit."""
    fields = head.model_dump(mode="json")
    write_json(folder / f"{kind}.json", {**fields, "sha256": _digest(fields)})
    sync_folder(folder)


def read_head(folder: Path, kind: str) -> Head:
    """Reads the head of a folder, and checks that it is the one that was written.

    Raises:
        ArtifactError: The folder or its head is missing, damaged, of another kind, or of a newer format.
    """
    if not folder.is_dir():
        raise ArtifactError(f"Folder {str(folder)!r} must exist; it does not")
    path = folder / f"{kind}.json"
    try:
        fields = read_json(path)
    except OSError as error:
        raise ArtifactError(f"File {str(path)!r} can't be read: {error}") from None
    except (RecursionError, ValueError) as error:
        if isinstance(error, ArtifactError):
            raise
        raise ArtifactError(f"File {str(path)!r} must hold JSON, but {error}; restore a copy") from None
    if not isinstance(fields, dict) or fields.get("format") != f"mmgraph.{kind}":
        got = fields.get("format") if isinstance(fields, dict) else type(fields).__name__
        raise ArtifactError(f"File {str(path)!r} must be the head of a {kind}, 'mmgraph.{kind}', got {got!r}")
    version = fields.get("version")
    if isinstance(version, int) and version > VERSION:
        raise ArtifactError(
            f"{str(folder)!r} was made by a newer mmgraph: it has format {version}, this one reads up to {VERSION}; "
            "upgrade mmgraph"
        )
    sealed = fields.pop("sha256", None)
    if sealed != (got := _digest(fields)):
        raise ArtifactError(
            f"File {str(path)!r} is damaged: sha256 must be {str(sealed)[:12]}…, got {got[:12]}…; restore a copy"
        )
    try:
        return Head(**fields)
    except (ValidationError, TypeError) as error:
        raise ArtifactError(f"File {str(path)!r} must be a head of format {VERSION}, but {problems(error)}") from None


def problems(error: Exception) -> str:
    """What is wrong with a record that was read, on one line."""
    if not isinstance(error, ValidationError):
        return str(error)
    return "; ".join(
        f"{'.'.join(str(part) for part in one['loc'])}: {one['msg']}, got {str(one['input'])[:60]}"
        for one in error.errors()[:3]
    )


def sync_folder(folder: Path) -> None:
    """Makes the names in a folder durable."""
    if os.name == "nt":  # which can't, and keeps them so
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _digest(fields: dict[str, Any]) -> str:
    text = json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()
