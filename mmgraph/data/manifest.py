"""Datasets: a folder with a manifest (licence, citation, files with checksums) and a builder."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import sys
import tomllib
import urllib.request
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError, field_validator

from mmgraph.errors import DataError
from mmgraph.files import sha256, write_bytes


class File(BaseModel):
    """One file of a dataset, with the checksum of its bytes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: str
    bytes: int
    sha256: str
    url: str | None = None

    @field_validator("path")
    @classmethod
    def _stays_inside(cls, value: str) -> str:
        return _inside(value)

    @field_validator("url")
    @classmethod
    def _is_safe(cls, value: str | None) -> str | None:
        if value is not None and not value.startswith(("https://", "file://")):
            raise ValueError(f"a url must be https or file, got {value!r}")
        return value


class Manifest(BaseModel):
    """What ``datasets/<name>/manifest.toml`` says."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    title: str
    description: str
    licence: str
    citation: str
    source: str
    folder: str = ""
    files: tuple[File, ...] = ()

    @field_validator("name", "folder")
    @classmethod
    def _stays_inside(cls, value: str) -> str:
        return _inside(value)

    @classmethod
    def read(cls, path: Path) -> Manifest:
        """Reads a manifest.

        Raises:
            DataError: The file is not TOML, or not a manifest.
        """
        try:
            return cls(**tomllib.loads(path.read_text(encoding="utf-8")))
        except (tomllib.TOMLDecodeError, ValidationError) as error:
            raise DataError(f"{str(path)!r} is not a manifest: {error}") from None

    def locate(self) -> dict[str, Path]:
        """Finds the files of a dataset, fetching those that have a source and are nowhere yet.

        Looks in ``MMGRAPH_DATA``, then in ``../shared/data``, then in the user's cache; every file's checksum
        is compared before it is used. With ``MMGRAPH_OFFLINE`` set, nothing is fetched.

        Raises:
            DataError: A file is missing and has no source, can't be fetched, or has other bytes.
        """
        return {file.path: self._locate(file) for file in self.files}

    def _locate(self, file: File) -> Path:
        roots = data_roots()
        for root in roots:
            path = root / (self.folder or self.name) / file.path
            if path.is_file():
                self._check(path, file)
                return path
        if file.url is None or os.environ.get("MMGRAPH_OFFLINE"):
            why = "It can't be fetched by itself" if file.url is None else "MMGRAPH_OFFLINE forbids to fetch it"
            looked = ", ".join(str(root / (self.folder or self.name)) for root in roots)
            raise DataError(
                f"Dataset {self.name!r} needs {file.path!r}, which is in none of: {looked}. "
                f"{why}; see {self.source}, and put it below the folder that MMGRAPH_DATA names"
            )
        path = roots[-1] / (self.folder or self.name) / file.path
        try:
            with urllib.request.urlopen(file.url, timeout=60) as response:
                data = response.read(file.bytes + 1)
        except OSError as error:
            raise DataError(f"Dataset {self.name!r} needs {file.url}, which could not be fetched: {error}") from None
        if len(data) != file.bytes or hashlib.sha256(data).hexdigest() != file.sha256:
            raise DataError(
                f"{file.url} must have {file.bytes} bytes with sha256 {file.sha256[:12]}…, "
                f"got {'more' if len(data) > file.bytes else len(data)}: it has changed at its source"
            )
        write_bytes(path, data)
        return path

    def _check(self, path: Path, file: File) -> None:
        if (size := path.stat().st_size) != file.bytes or sha256(path) != file.sha256:
            raise DataError(
                f"{str(path)!r} must have {file.bytes} bytes with sha256 {file.sha256[:12]}…, got {size} bytes "
                f"with {sha256(path)[:12]}…; remove it to fetch it again from {file.url or self.source}"
            )


def _inside(path: str) -> str:
    if Path(path).is_absolute() or ".." in Path(path).parts:
        raise ValueError(f"a path must stay in its dataset's folder, got {path!r}")
    return path


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a dataset's folder."""
    return Manifest.read(folder / "manifest.toml")


def data_roots() -> list[Path]:
    """The folders that are searched for data, the user's cache last."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mmgraph"
    shared = Path(__file__).parents[2].parent / "shared" / "data"
    named = os.environ.get("MMGRAPH_DATA")
    return [*([Path(named)] if named else []), *([shared] if shared.is_dir() else []), cache]


def bundled(kind: str) -> Path:
    """The folder of the recipes or datasets: in a checkout the top-level one, else the one in the package."""
    package = Path(__file__).parents[1]
    inside = package / "_bundled" / kind
    return inside if inside.is_dir() else package.parent / kind


def dataset_names() -> list[str]:
    """The names of the datasets that :func:`load_dataset` knows.

    Example:
        >>> "wdbc" in dataset_names()
        True
    """
    return sorted(path.parent.name for path in bundled("datasets").glob("*/manifest.toml"))


def load_dataset(name: str, **options: Any) -> Any:
    """Loads a dataset: what the ``build`` function of ``datasets/<name>/build.py`` returns.

    Args:
        name: One of :func:`dataset_names`.
        options: Passed to the builder.

    Returns:
        :class:`Records`, or a graph and its schema; the dataset's card says which.

    Raises:
        DataError: There is no such dataset, or its files are not there.

    Example:
        >>> len(load_dataset("wdbc"))
        569
    """
    if name not in (names := dataset_names()):
        raise DataError(f"Dataset must be one of {names}, got {name!r}")
    folder = bundled("datasets") / name
    manifest = Manifest.read(folder / "manifest.toml")
    spec = importlib.util.spec_from_file_location(f"mmgraph_dataset_{name}", folder / "build.py")
    if spec is None or spec.loader is None:
        raise DataError(f"Dataset {name!r} must have a build.py in {str(folder)!r}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module.build(manifest.locate(), **options)
