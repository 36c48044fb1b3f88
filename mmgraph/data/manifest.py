"""Datasets: a folder with a manifest (licence, citation, files with checksums) and a builder."""

from __future__ import annotations

import importlib.util
import os
import sys
import tomllib
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict, ValidationError, field_validator

from mmgraph.data.fetch import bar, check_url, fetch
from mmgraph.errors import DataError
from mmgraph.files import sha256

LISTING = "files.tsv"
_THREADS = 8


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
        return value if value is None else check_url(value)


class _Listing(BaseModel):
    """How the lines of ``files.tsv`` become files."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    folder: str = ""
    base: str | None = None

    def read(self, path: Path) -> list[dict[str, Any]]:
        lines = [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines()]
        if not lines or lines[0] != ["path", "bytes", "sha256"]:
            raise DataError(f"{str(path)!r} must begin with the columns path, bytes and sha256, parted by tabs")
        if wrong := [number for number, line in enumerate(lines, 1) if len(line) != 3]:
            raise DataError(f"{str(path)!r} must have 3 columns, parted by tabs, got another number in line {wrong[0]}")
        return [
            {
                "path": f"{self.folder}/{name}" if self.folder else name,
                "bytes": size,
                "sha256": digest,
                "url": None if self.base is None else f"{self.base}/{quote(name)}",
            }
            for name, size, digest in lines[1:]
        ]


class Manifest(BaseModel):
    """What ``datasets/<name>/manifest.toml`` says.

    Args:
        name: Of the dataset, as its folder.
        title: A few words.
        description: A few sentences.
        licence: Under which the data may be used.
        citation: Whom to cite.
        source: Where it is from, for people.
        folder: Below which its files are looked for; by default its name.
        files: Its files, each for itself.
        listed: Many files that belong together (pictures, recordings): they are all found in one folder. In TOML they
            are a table ``[listing]`` with ``base`` (of their URLs) and ``folder`` (that they are put in), and
            ``files.tsv`` beside it: a line a file with ``path``, ``bytes`` and ``sha256``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    title: str
    description: str
    licence: str
    citation: str
    source: str
    folder: str = ""
    files: tuple[File, ...] = ()
    listed: tuple[File, ...] = ()

    @field_validator("name", "folder")
    @classmethod
    def _stays_inside(cls, value: str) -> str:
        return _inside(value)

    @classmethod
    def read(cls, path: Path) -> Manifest:
        """Reads a manifest, and the listing beside it if it has one.

        Raises:
            DataError: The file is not TOML, or not a manifest, or its listing is none.
        """
        try:
            fields = tomllib.loads(path.read_text(encoding="utf-8"))
            if "listing" in fields:
                fields["listed"] = _Listing.model_validate(fields.pop("listing")).read(path.with_name(LISTING))
            return cls(**fields)
        except (OSError, tomllib.TOMLDecodeError, ValidationError) as error:
            raise DataError(f"{str(path)!r} is not a manifest: {error}") from None

    def locate(self, *, progress: bool = False) -> dict[str, Path]:
        """Finds the files of a dataset, fetching those that have a source and are nowhere yet.

        Looks in ``MMGRAPH_DATA``, then in ``../shared/data``, then in the user's cache; every file's checksum
        is compared before it is used. With ``MMGRAPH_OFFLINE`` set, nothing is fetched. What was cut off is gone on
        with the next time.

        Args:
            progress: Show on the terminal how much has been fetched.

        Raises:
            DataError: A file is missing and has no source, can't be fetched, or has other bytes.
        """
        places = [(file, self._place([file]) / file.path) for file in self.files]
        listed = self._place(self.listed)
        places += [(file, listed / file.path) for file in self.listed]
        missing = [(file, path) for file, path in places if not path.is_file()]
        self._check_can_fetch([file for file, _ in missing])
        for file, path in places:
            if path.is_file():
                self._check(file, path)
        if missing:
            self._fetch(missing, show=progress)
        return {file.path: path for file, path in places}

    def _place(self, files: Sequence[File]) -> Path:
        """The first folder that has all of some files; the user's cache if none has."""
        folders = self._folders()
        return next((one for one in folders if all((one / file.path).is_file() for file in files)), folders[-1])

    def _folders(self) -> list[Path]:
        return [root / (self.folder or self.name) for root in data_roots()]

    def _fetch(self, missing: Sequence[tuple[File, Path]], *, show: bool) -> None:
        with bar(self.name, sum(file.bytes for file, _ in missing), show=show) as tell:

            def get(place: tuple[File, Path]) -> None:
                file, path = place
                told = partial(tell, file.path)
                fetch(str(file.url), path, size=file.bytes, sha256=file.sha256, progress=told)

            with ThreadPoolExecutor(_THREADS) as pool:
                deque(pool.map(get, missing), maxlen=0)  # after one that fails, those that wait are not begun

    def _check_can_fetch(self, missing: Sequence[File]) -> None:
        offline = bool(os.environ.get("MMGRAPH_OFFLINE"))
        stuck = [file for file in missing if offline or file.url is None]
        if not stuck:
            return
        why = "It can't be fetched by itself" if stuck[0].url is None else "MMGRAPH_OFFLINE forbids to fetch it"
        looked = ", ".join(str(folder) for folder in self._folders())
        lack = ", which is in none of"
        if len(stuck) > 1:
            lack = f" and {len(stuck) - 1} more, which must lie together below one of"
        raise DataError(
            f"Dataset {self.name!r} needs {stuck[0].path!r}{lack}: {looked}. "
            f"{why}; see {self.source}, and put it below the folder that MMGRAPH_DATA names"
        )

    def _check(self, file: File, path: Path) -> None:
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
    return module.build(manifest.locate(progress=sys.stderr.isatty()), **options)
