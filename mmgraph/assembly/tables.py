"""Tables, read in blocks of rows: files, patterns of files, folders of payloads, tables in memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mmgraph.assembly.formats import ROWS, Block, Complain, Table, open_arrow, open_file
from mmgraph.errors import DataError

if TYPE_CHECKING:
    from mmgraph.assembly.source import Source

_FOLDER = ("path", "name", "folder", "suffix")


def open_table(source: Source, name: str) -> Table:
    """Opens a table of a source.

    Args:
        source: What a graph is built from.
        name: Of a table in memory; or a file, a pattern of files or a folder below the root.

    Raises:
        DataError: There is no such table or file, it leads out of the root, or its format is not known.
    """
    if name in source.tables:
        import pyarrow as pa

        table = source.tables[name]
        try:
            return open_arrow(table if isinstance(table, pa.Table) else pa.table(table), name)
        except (TypeError, ValueError, pa.ArrowException) as error:
            raise DataError(f"Table {name!r} must be a table of Arrow, or what becomes one, but {error}") from None
    if source.root is None:
        raise DataError(f"Table must be one of {sorted(source.tables)}, got {name!r}; or give a root to find files in")
    paths = _below(source.root, name)
    if paths[0].is_dir():
        return _folder(name, source.root.resolve(), paths[0])
    opened = [open_file(path, name) for path in paths]
    if odd := [one for one in opened if one.columns != opened[0].columns]:
        raise DataError(
            f"The files of {name!r} must have the same columns, "
            f"got {list(opened[0].columns)} and {list(odd[0].columns)}"
        )
    return opened[0] if len(opened) == 1 else _chain(name, opened)


def _below(root: Path, name: str) -> list[Path]:
    """The file or folder of a name, or the files of a pattern, in order."""
    inside = root.resolve()
    if Path(name).is_absolute() or ".." in Path(name).parts:
        raise DataError(f"Table {name!r} must lie below {str(root)!r}; give its path from there, without '..'")
    paths = [inside / name]
    if any(sign in name for sign in "*?[") and not paths[0].exists():
        paths = sorted(path for path in inside.glob(name) if path.is_file())
    if not paths or not paths[0].exists():
        raise DataError(f"Table {name!r} must be a file or folder below {str(root)!r}; there is none")
    if wrong := [path for path in paths if not path.resolve().is_relative_to(inside)]:
        raise DataError(f"Table {str(wrong[0])!r} must lie below {str(root)!r}; it is a link that leads out")
    return paths


def _chain(name: str, tables: Sequence[Table]) -> Table:
    """One table below the other; rows are counted on."""

    def read(columns: Sequence[str], complain: Complain) -> Iterator[Block]:
        before = 0
        for table in tables:
            rows = 0
            for first, cells in table.read(columns, _after(before, complain)):
                rows = first + len(cells[columns[0]])
                yield before + first, cells
            before += rows

    return Table(name, tables[0].columns, read)


def _after(before: int, complain: Complain) -> Complain:
    return lambda row, reason: complain(before + row, reason)


def _folder(name: str, root: Path, folder: Path) -> Table:
    """The files that are there now; those that come later are not seen."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and not _hidden(path.relative_to(folder)))

    def read(columns: Sequence[str], _: Complain) -> Iterator[Block]:
        for first in range(0, len(paths), ROWS):
            some = paths[first : first + ROWS]
            cells = {
                "path": [path.relative_to(root).as_posix() for path in some],
                "name": [path.stem for path in some],
                "folder": [path.parent.relative_to(folder).as_posix() for path in some],
                "suffix": [path.suffix for path in some],
            }
            yield first, {column: list(cells[column]) for column in columns}

    return Table(name, _FOLDER, read)


def _hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)
