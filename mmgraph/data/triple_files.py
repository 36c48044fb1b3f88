"""Triples from files and to files: tables (TSV, CSV, Parquet) and RDF (N-Triples, Turtle, JSON-LD).

============ ============================ ================================================== ===============
format       ends in                      a line that is broken                              needs
============ ============================ ================================================== ===============
``tsv``      ``.tsv`` ``.txt``            set aside with its number
``csv``      ``.csv``                     set aside with its number
``parquet``  ``.parquet``                 set aside with the number of its row
``nt``       ``.nt``                      set aside with its number
``turtle``   ``.ttl``                     an error with its number                           ``rdf`` (extra)
``json-ld``  ``.jsonld`` ``.json``        an error (with its number where it is no JSON)     ``rdf`` (extra)
============ ============================ ================================================== ===============

What is written is read back the same: facts in their order, repetitions and literals with them. What a format can't
hold (a tab in a name of a TSV file) is refused before anything is written.
"""

from __future__ import annotations

import codecs
import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, count
from pathlib import Path
from typing import Any, TypeAlias

from mmgraph.data.triple_names import BASE, Names
from mmgraph.data.triple_rdf import read_json_ld, read_nt, read_turtle, write_json_ld, write_nt, write_turtle
from mmgraph.data.triple_rows import Rows
from mmgraph.data.triples import LITERAL_COLUMNS, Triples
from mmgraph.errors import ConfigError, DataError
from mmgraph.files import write_bytes

FORMATS = {
    ".tsv": "tsv",
    ".txt": "tsv",
    ".csv": "csv",
    ".parquet": "parquet",
    ".nt": "nt",
    ".ttl": "turtle",
    ".jsonld": "json-ld",
    ".json": "json-ld",
}
COLUMNS = ("head", "relation", "tail")
HEADERS = (
    COLUMNS,
    ("subject", "predicate", "object"),
    ("subject", "relation", "object"),
    ("source", "relation", "target"),
)
_DESCRIBED = LITERAL_COLUMNS[3:]
_KIND = "kind"  # of a row, in a table that has literals too: "fact" or "literal"
_READ_RDF = {"nt": read_nt, "turtle": read_turtle, "json-ld": read_json_ld}
_WRITE_RDF = {"nt": write_nt, "turtle": write_turtle, "json-ld": write_json_ld}
_LONGEST = 1 << 26  # characters of a cell of a CSV file

_Record: TypeAlias = tuple[int, int, Sequence[str] | tuple[str, str]]
"""Number of its first line, how many lines it has, and its cells (a list); or the text and what is wrong with it."""


def read_triples(
    path: str | Path,
    *,
    format: str | None = None,
    columns: Sequence[str] | Sequence[int] = COLUMNS,
    header: bool | None = None,
    rejected: float = 0.05,
    namespaces: Mapping[str, str] | None = None,
    base: str = BASE,
) -> Triples:
    r"""Reads facts, and literals where the file has them.

    In a table a fact is a row. In RDF a statement whose object is a literal becomes a row of the literals, any other a
    fact; IRIs are names as they stand, ``_:x`` is a blank node by its label, and one without a label is ``_:anon0``,
    ``_:anon1``… in the order of the file. Named graphs of JSON-LD are read as one. No remote context is ever fetched.

    Args:
        path: The file.
        format: ``tsv``, ``csv``, ``parquet``, ``nt``, ``turtle`` or ``json-ld``; by default by the end of its name.
        columns: Of a table, where head, relation and tail are: names in its header, or positions from 0. By default
            ``head``, ``relation``, ``tail``, or other usual names (``subject``, ``predicate`` or ``relation``,
            ``object``; ``source``, ``relation``, ``target``), small or capital. A file of three columns needs no
            header.
        header: Whether the first line of a TSV or CSV file is a header; by default it is one if it has those names.
        rejected: Share of the lines that may be set aside; what was is in ``Triples.broken``.
        namespaces: Prefix → namespace of RDF: ``{"ex": "http://example.org/"}`` makes ``ex:ann`` of
            ``<http://example.org/ann>``.
        base: Namespace of RDF whose names are plain: ``<urn:mmgraph:New%20York>`` is ``New York``.

    Raises:
        DataError: The file is missing or empty of sense, more than ``rejected`` of its lines are broken, Turtle or
            JSON-LD is (the message names file and line), or JSON-LD asks for a remote context.
        ConfigError: A format, or columns, that can't be.
        MissingPackageError: Turtle or JSON-LD is read without rdflib.

    Example:
        >>> path = getfixture("tmp_path") / "facts.tsv"
        >>> _ = path.write_text("ann\tknows\tbob\nbob\tknows\tann\n")
        >>> list(read_triples(path))
        [('ann', 'knows', 'bob'), ('bob', 'knows', 'ann')]
    """
    path = Path(path)
    kind = _format(path, format)
    rows = Rows(path)
    try:
        if kind in _READ_RDF:
            _READ_RDF[kind](rows, Names(base, namespaces or {}))
        else:
            _read_table(rows, kind, _columns(columns), header)
    except OSError as error:
        raise DataError(f"File {str(path)!r} must be readable: {error}") from None
    return rows.triples(rejected)


def write_triples(
    triples: Triples,
    path: str | Path,
    *,
    format: str | None = None,
    namespaces: Mapping[str, str] | None = None,
    base: str = BASE,
) -> None:
    """Writes facts and literals, atomically; :func:`read_triples` gives them back.

    A table with literals has a header and the columns ``kind`` (``fact`` or ``literal``), ``datatype``, ``language``
    and ``unit`` besides. In RDF a name that is an IRI stays one, ``ex:ann`` is resolved by ``namespaces``, and any
    other name is percent-encoded below ``base``; a unit is a datatype below ``urn:mmgraph:unit:``.

    Args:
        triples: What is written.
        path: The file.
        format: As in :func:`read_triples`.
        namespaces: As in :func:`read_triples`.
        base: As in :func:`read_triples`.

    Raises:
        DataError: The format can't hold a name or a value; the message says which, and nothing is written.
        ConfigError: A format that can't be.

    Example:
        >>> path = getfixture("tmp_path") / "facts.ttl"
        >>> write_triples(Triples(["ann"], ["lives in"], ["New York"]), path)
        >>> print(path.read_text())
        @prefix : <urn:mmgraph:> .
        @prefix xsd: <http://www.w3.org/2001/XMLSchema#> .
        <BLANKLINE>
        :ann <urn:mmgraph:lives%20in> <urn:mmgraph:New%20York> .
        <BLANKLINE>
    """
    path = Path(path)
    kind = _format(path, format)
    try:
        if kind in _WRITE_RDF:
            data = _WRITE_RDF[kind](triples, Names(base, namespaces or {}))
        else:
            data = _parquet(triples) if kind == "parquet" else _text(triples, kind)
    except UnicodeEncodeError as error:
        raise DataError(
            f"Names and values must be characters that a file can hold, got {error.object[error.start]!r}"
        ) from None
    write_bytes(path, data)


def _format(path: Path, format: str | None) -> str:
    known = sorted(set(FORMATS.values()))
    if format is None and path.suffix.lower() not in FORMATS:
        raise ConfigError(f"{path.name!r} must end in one of {sorted(FORMATS)}, or format must be one of {known}")
    if format is not None and format not in known:
        raise ConfigError(f"format must be one of {known}, got {format!r}")
    return format or FORMATS[path.suffix.lower()]


def _columns(columns: Sequence[Any]) -> tuple[str, ...] | tuple[int, ...]:
    found = tuple(columns)
    names = all(isinstance(one, str) for one in found)
    positions = all(isinstance(one, int) and not isinstance(one, bool) and one >= 0 for one in found)
    if isinstance(columns, str) or len(set(found)) != 3 or not (names or positions):
        raise ConfigError(f"columns must be 3 names, or 3 positions from 0, each once, got {columns!r}")
    return found


@dataclass(frozen=True)
class _Layout:
    """Where the cells of a table are."""

    places: tuple[int, int, int]
    width: int
    exact: bool = True
    described: tuple[int, ...] = ()  # kind, datatype, language and unit


def _read_table(rows: Rows, kind: str, columns: tuple[Any, ...], header: bool | None) -> None:
    records = _parquet_records(rows.path) if kind == "parquet" else _text_records(rows.path, kind)
    first = next(records, None)
    if first is None:
        return
    cells = [] if isinstance(first[2], tuple) else first[2]
    has_header, layout = _layout(cells, columns, True if kind == "parquet" else header, rows.path)
    for record in records if has_header else chain([first], records):
        _take(rows, record, layout)


def _layout(first: Sequence[str], columns: tuple[Any, ...], header: bool | None, path: Path) -> tuple[bool, _Layout]:
    """Whether the first line is a header, and what it says."""
    if not isinstance(columns[0], str):
        return bool(header), _Layout(columns, max(columns) + 1, exact=False)
    if header is not False and columns == COLUMNS and (usual := _usual(first)):
        first, columns = [cell.lower() for cell in first], usual
    if header is not False and set(columns) <= set(first):
        head, relation, tail = (first.index(name) for name in columns)
        described = (_KIND, *_DESCRIBED)
        held = tuple(first.index(name) for name in described) if set(described) <= set(first) else ()
        return True, _Layout((head, relation, tail), len(first), described=held)
    if columns != COLUMNS or (header and len(first) != 3):
        raise DataError(
            f"The first line of {str(path)!r} must name the columns {list(columns)}, got {list(first)}; name those "
            "that are there, or give positions: columns=(0, 1, 2)"
        )
    return bool(header), _Layout((0, 1, 2), 3)


def _usual(cells: Sequence[str]) -> tuple[str, ...] | None:
    """The usual names of head, relation and tail that the cells of a line hold, if they do."""
    there = {cell.lower() for cell in cells}
    return next((names for names in HEADERS if there.issuperset(names)), None)


def _take(rows: Rows, record: _Record, layout: _Layout) -> None:
    line, lines, cells = record
    rows.num_lines += lines
    if isinstance(cells, tuple):
        text, reason = cells
        rows.set_aside(line, text, reason, lines=lines)
        return
    if len(cells) < layout.width or (layout.exact and len(cells) > layout.width):
        least = "" if layout.exact else "at least "
        reason = f"a line must have {least}{layout.width} cells, got {len(cells)}"
        rows.set_aside(line, "\t".join(cells), reason, lines=lines)
        return
    a, b, c = layout.places
    head, relation, tail = cells[a], cells[b], cells[c]
    kind, *described = [cells[place] for place in layout.described] or ["fact"]
    if kind == "literal" and head and relation:
        rows.literal(head, relation, tail, *(cell or None for cell in described))
    elif kind == "fact" and head and relation and tail:
        rows.fact(head, relation, tail)
    elif kind in ("fact", "literal"):
        rows.set_aside(line, "\t".join(cells), "names must not be empty", lines=lines)
    else:
        rows.set_aside(line, "\t".join(cells), f"kind must be 'fact' or 'literal', got {kind!r}", lines=lines)


def _text_records(path: Path, kind: str) -> Iterator[_Record]:
    with path.open("rb") as file:
        if file.read(3) != codecs.BOM_UTF8:
            file.seek(0)
        yield from _csv_records(file) if kind == "csv" else _tsv_records(file)


def _tsv_records(file: Iterable[bytes]) -> Iterator[_Record]:
    """Cells between tabs; a quotation mark is a character like others. Empty lines are none."""
    for number, line in enumerate(file, 1):
        try:
            if text := line.decode().rstrip("\r\n"):
                yield number, 1, text.split("\t")
        except UnicodeDecodeError:
            yield number, 1, (line.decode(errors="replace"), "a line must be UTF-8")


def _csv_records(file: Iterable[bytes]) -> Iterator[_Record]:
    csv.field_size_limit(max(csv.field_size_limit(), _LONGEST))
    reader = csv.reader((line.decode(errors="surrogateescape") for line in file), strict=True)
    before = 0
    while True:
        cells: list[str] | tuple[str, str]
        try:
            cells = next(reader)
            "".join(cells).encode()
        except StopIteration:
            return
        except csv.Error as error:
            cells = ("", f"a line must be well quoted, but {error}")
        except UnicodeEncodeError:
            cells = (",".join(cells), "a line must be UTF-8")
        if cells:
            yield before + 1, reader.line_num - before, cells
        before = reader.line_num


def _parquet_records(path: Path) -> Iterator[_Record]:
    """The names of the columns, then the rows; what is no string becomes one, and nothing an empty one."""
    import pyarrow as pa
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(path) as file:
            yield 0, 1, file.schema_arrow.names
            numbers = count(1)
            for batch in file.iter_batches():
                columns = [column.cast(pa.string()).fill_null("").to_pylist() for column in batch.columns]
                for cells in zip(*columns, strict=True):
                    yield next(numbers), 1, list(cells)
    except pa.ArrowException as error:
        raise DataError(f"{str(path)!r} must be a Parquet file with columns of names, but {error}") from None


def _rows(triples: Triples) -> tuple[list[str], Iterable[Sequence[str | None]]]:
    """Header and rows of a table: facts alone, or facts and literals."""
    if triples.literals is None:
        return list(COLUMNS), iter(triples)
    facts = ((*fact, "fact", None, None, None) for fact in triples)
    columns = [triples.literals.column(name).to_pylist() for name in LITERAL_COLUMNS]
    literals = ((*row[:3], "literal", *row[3:]) for row in zip(*columns, strict=True))
    return [*COLUMNS, _KIND, *_DESCRIBED], chain(facts, literals)


def _text(triples: Triples, kind: str) -> bytes:
    header, rows = _rows(triples)
    text = io.StringIO(newline="")
    if kind == "csv":
        writer = csv.writer(text, lineterminator="\r\n")
        writer.writerow(header)
        writer.writerows(rows)
        return text.getvalue().encode()
    if triples.literals is not None:
        text.write("\t".join(header) + "\n")
    elif len(triples) and (_usual(next(iter(triples))) or triples.heads[0].startswith("\ufeff")):
        raise DataError(f"The first fact of a TSV file must not look like a header, got {next(iter(triples))}; use CSV")
    for number, row in enumerate(rows):
        cells = [cell or "" for cell in row]
        if wrong := next((cell for cell in cells if "\t" in cell or "\n" in cell or "\r" in cell), None):
            raise DataError(f"A TSV file holds no tabs and no line breaks, got {wrong!r} in row {number}; use CSV")
        text.write("\t".join(cells) + "\n")
    return text.getvalue().encode()


def _parquet(triples: Triples) -> bytes:
    import pyarrow as pa
    from pyarrow import parquet

    header, rows = _rows(triples)
    columns = list(zip(*rows, strict=True)) or [()] * len(header)
    schema = pa.schema(dict.fromkeys(header, pa.string()))
    sink = pa.BufferOutputStream()
    parquet.write_table(pa.table(dict(zip(header, columns, strict=True)), schema=schema), sink)
    return bytes(sink.getvalue())
