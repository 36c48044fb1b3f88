"""Formats: every one gives the same cells, rows keep their numbers, and what is broken is said by row."""

import csv
import io
import json
from datetime import UTC, date, datetime

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyarrow import feather, parquet

from mmgraph.assembly.formats import ROWS, Table, open_arrow, open_file
from mmgraph.errors import DataError


def read(table, *columns):
    """All rows, and what was complained of."""
    wrong: dict[int, str] = {}
    rows, following = [], 0
    for first, cells in table.blocks(columns or table.columns, wrong.__setitem__):
        assert first == following  # blocks follow each other without a gap
        found = list(zip(*cells.values(), strict=True))
        assert 0 < len(found) <= ROWS
        rows += found
        following += len(found)
    return rows, wrong


def written(path, data):
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return open_file(path, path.name)


def test_a_csv_gives_strings_and_none_for_what_is_empty(tmp_path):
    table = written(tmp_path / "a.csv", 'id,text\n1,a\n2,\n3," "\n4,"a, ""b""\nc"\n')
    assert table.columns == ("id", "text")
    assert read(table) == ([("1", "a"), ("2", None), ("3", None), ("4", 'a, "b"\nc')], {})
    assert read(table, "text")[0][0] == ("a",)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_marks_and_line_ends_are_no_part_of_cells(tmp_path, mark, end):
    table = written(tmp_path / "a.csv", mark + end.join(["id,text", "1,a", "2,b"]).encode())
    assert table.columns == ("id", "text")
    assert read(table)[0] == [("1", "a"), ("2", "b")]


def test_rows_with_too_few_or_many_cells_are_said_and_counted(tmp_path):
    lines = ["id,text", "0,a", "1", "2,b", "3,c,d", "", '"4"x,e', "5,f"]
    rows, wrong = read(written(tmp_path / "a.csv", "\n".join(lines)))
    assert rows == [("0", "a"), (None, None), ("2", "b"), (None, None), (None, None), ("5", "f")]
    assert wrong[1] == "a row must have 2 cells, got 1"
    assert wrong[3] == "a row must have 2 cells, got 3"
    assert wrong[4].startswith("a row must be well quoted, but ")
    assert list(wrong) == [1, 3, 4]


def test_rows_keep_their_numbers_beyond_a_block(tmp_path):
    lines = ["id,text", *(f"{row},x" if row % 100 != 50 else f"{row}" for row in range(3 * ROWS + 7))]
    rows, wrong = read(written(tmp_path / "a.csv", "\n".join(lines)))
    assert list(wrong) == [row for row in range(3 * ROWS + 7) if row % 100 == 50]
    assert all(cells == ((None, None) if row in wrong else (str(row), "x")) for row, cells in enumerate(rows))


def test_cells_that_are_no_utf8_are_bytes(tmp_path):
    rows, wrong = read(written(tmp_path / "a.csv", b"id,text\n1,caf\xe9\n2,caf\xc3\xa9\n"))
    assert rows == [("1", b"caf\xe9"), ("2", "café")]
    assert not wrong


def test_a_cell_of_megabytes_is_read(tmp_path):
    text = "word " * (1 << 20)
    rows, wrong = read(written(tmp_path / "a.csv", f"id,text\n1,{text}\n2,{text}\n3,{text}\n4,{text}\n5,b\n"))
    assert [len(cells[1]) for cells in rows] == [5 << 20] * 4 + [1]
    assert not wrong


def test_a_quotation_that_does_not_end_is_said(tmp_path, monkeypatch):
    rows, wrong = read(written(tmp_path / "a.csv", 'id,text\n1,a\n2,"b\n3,c\n'))
    assert rows == [("1", "a"), (None, None)]
    assert "unexpected end of data" in wrong[1]
    monkeypatch.setattr("mmgraph.assembly.formats._LONGEST", 1000)
    before = csv.field_size_limit(1000)
    try:
        with pytest.raises(DataError, match="read on from line 8.*at most 1000 characters; is a quotation mark"):
            read(written(tmp_path / "b.csv", 'id,text\n1,a\n2,"b\n' + f"{'c' * 200}\n" * 8))
    finally:
        csv.field_size_limit(before)


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("a.csv", b"", r"'a.csv' must hold a header at least, got 0 bytes"),
        ("a.csv", b"\n\n", r"must begin with the names of its columns, but it has no line"),
        ("a.csv", b"id,text,id\n1,2,3\n", r"must have columns, each once, got \['id', 'text', 'id'\]"),
        ("a.csv", "id,text\n1,2\n".encode("utf-16"), r"must be UTF-8, got the column b'\\xff\\xfei.*convert it"),
        ("a.csv", b'"id"x,text\n', r"must begin with the names of its columns, but a row must be well quoted"),
        ("a.xlsx", b"PK", r"must end in one of \['.arrow', '.csv', .*got '.xlsx'; convert it"),
        ("a.jsonl", b"\n[1]\n", r"must hold JSON objects, one a line, got none"),
        ("a.parquet", b"PAR1 and no more PAR1", r"'a.parquet' can't be read: "),
        ("a.arrow", b"ARROW1 and no more", r"'a.arrow' can't be read: "),
    ],
)
def test_what_is_no_table_is_refused_by_value(tmp_path, name, data, message):
    with pytest.raises(DataError, match=message):
        read(written(tmp_path / name, data))


def test_a_column_that_is_not_there_is_named(tmp_path):
    with pytest.raises(DataError, match=r"'a.csv' must have the column 'tittle', got \['id', 'title'\]"):
        read(written(tmp_path / "a.csv", "id,title\n1,a\n"), "tittle")


def test_json_lines_that_are_broken_are_said(tmp_path):
    lines = ['{"id": 1, "tags": ["a", null]}', "{broken", "", "[1, 2]", '{"id": NaN, "late": "x"}', "[" * 100_000]
    table = written(tmp_path / "a.jsonl", "\n".join(lines).encode() + b'\n{"id": "\xff"}')
    assert table.columns == ("id", "tags", "late")  # also what no line before has
    rows, wrong = read(table)
    assert rows[0] == (1, ["a", None], None)
    assert rows[3] == (None, None, "x")
    assert wrong[1].startswith("a line must be JSON, but ")
    assert wrong[2] == "a line must be a JSON object, got list"
    assert sorted(wrong) == [1, 2, 4, 5]
    assert len(rows) == 6


def test_all_formats_give_the_same_cells(tmp_path):
    rows = [{"id": str(row), "text": None if row % 7 == 3 else f"téxt {row}"} for row in range(2 * ROWS + 5)]
    table = pa.Table.from_pylist(rows)
    parquet.write_table(table, tmp_path / "a.parquet", row_group_size=100)
    feather.write_feather(table, tmp_path / "a.feather", chunksize=70)
    for name, make in (("a.arrow", pa.ipc.new_file), ("b.arrow", pa.ipc.new_stream)):
        with pa.OSFile(str(tmp_path / name), "wb") as sink, make(sink, table.schema) as writer:
            writer.write_table(table, max_chunksize=99)
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    for name, delimiter in (("a.csv", ","), ("a.tsv", "\t")):
        with (tmp_path / name).open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, ["id", "text"], delimiter=delimiter)
            writer.writeheader()
            writer.writerows(rows)
    expected = ([tuple(row.values()) for row in rows], {})
    assert read(open_arrow(table, "memory")) == expected
    for name in ("a.parquet", "a.feather", "a.arrow", "b.arrow", "a.jsonl", "a.csv", "a.tsv"):
        assert read(open_file(tmp_path / name, name)) == expected, name


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(*[st.text(st.characters(exclude_categories=["Cs"]), max_size=5)] * 3), max_size=20))
def test_any_text_comes_back_from_a_csv(tmp_path, rows):
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n", quoting=csv.QUOTE_ALL)
    writer.writerows([("a", "b", "c"), *rows])
    (tmp_path / "any.csv").write_bytes(file.getvalue().encode())
    found, wrong = read(open_file(tmp_path / "any.csv", "any"))
    assert found == [tuple(cell if cell.strip() else None for cell in row) for row in rows]
    assert not wrong


def test_types_of_arrow_become_those_of_python(tmp_path):
    table = pa.table(
        {
            "number": pa.array([1.5, float("nan"), None]),
            "list": pa.array([[1, 2], [], None]),
            "picture": pa.array([{"bytes": b"x", "path": "a"}, {"bytes": None, "path": None}, None]),
            "time": pa.array([datetime(2024, 1, 2, tzinfo=UTC)] * 2 + [None], pa.timestamp("ms", "Europe/Berlin")),
            "date": pa.array([date(2024, 1, 2), None, None]),
            "word": pa.array(["a", "b", "a"]).dictionary_encode(),
        }
    )
    parquet.write_table(table, tmp_path / "a.parquet")
    rows, _ = read(open_file(tmp_path / "a.parquet", "a"))
    assert rows[0][:3] == (1.5, [1, 2], {"bytes": b"x", "path": "a"})
    assert rows[0][3] == datetime(2024, 1, 2, tzinfo=UTC)
    assert rows[0][4:] == (date(2024, 1, 2), "a")
    assert rows[1][:3] == (None, None, None)
    assert rows[2][:5] == (None,) * 5


def test_values_that_python_has_none_for_spoil_no_others(tmp_path):
    offsets, data = pa.py_buffer(b"\0\0\0\0\1\0\0\0\3\0\0\0"), pa.py_buffer(b"a\xffb")
    broken = pa.Array.from_buffers(pa.string(), 2, [None, offsets, data])
    far = pa.array([0, 1 << 60], pa.timestamp("s"))
    rows, _ = read(open_arrow(pa.table({"text": broken, "time": far}), "memory"))
    assert rows[0] == ("a", datetime(1970, 1, 1))
    assert rows[1][0] == b"\xffb"
    assert isinstance(rows[1][1], str | None)


def test_a_parquet_file_that_is_damaged_in_the_middle_loses_that_group(tmp_path):
    texts = [f"text {row} {row * 7919 % 1000}" for row in range(3000)]
    table = pa.table({"id": list(range(3000)), "text": texts})
    path = tmp_path / "a.parquet"
    parquet.write_table(
        table, path, row_group_size=1000, use_dictionary=False, compression="snappy", write_page_checksum=True
    )
    column = parquet.read_metadata(path).row_group(1).column(1)
    data = bytearray(path.read_bytes())
    middle = column.data_page_offset + column.total_compressed_size // 2
    data[middle : middle + 50] = bytes(50)
    path.write_bytes(data)
    rows, wrong = read(open_file(path, "a"))
    assert rows[:1000] == list(enumerate(texts[:1000]))
    assert rows[2000:] == [(row, texts[row]) for row in range(2000, 3000)]
    assert len(rows) == 3000
    assert wrong
    assert set(wrong) <= set(range(1000, 2000))
    assert all(rows[row] == ((None, None) if row in wrong else (row, texts[row])) for row in range(1000, 2000))
    assert next(iter(wrong.values())).startswith("a row must be readable, but ")
    assert read(open_file(path, "a"), "id") == ([(row,) for row in range(3000)], {})  # that column is whole


def test_one_wrong_bit_of_a_parquet_file_with_checksums_is_noticed(tmp_path):
    table = pa.table({"text": [f"text {row}" for row in range(30)]})
    path = tmp_path / "a.parquet"
    options = {"row_group_size": 10, "use_dictionary": False, "compression": "none", "write_statistics": False}
    parquet.write_table(table, path, write_page_checksum=True, **options)
    path.write_bytes(path.read_bytes().replace(b"text 15", b"test 15"))
    rows, wrong = read(open_file(path, "a"))
    assert list(wrong) == list(range(10, 20))
    assert [row for row, (text,) in enumerate(rows) if text is None] == list(range(10, 20))


def test_an_arrow_file_that_is_cut_is_refused(tmp_path):
    table = pa.table({"text": [f"text {row}" for row in range(3000)]})
    with pa.OSFile(str(tmp_path / "a.arrow"), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=500)
    data = (tmp_path / "a.arrow").read_bytes()
    with pytest.raises(DataError, match="'a.arrow' can't be read to its end: "):
        read(written(tmp_path / "a.arrow", data[: len(data) // 2]))


def test_a_table_has_columns_each_once():
    with pytest.raises(DataError, match=r"'t' must have columns, each once, got \[\]"):
        Table("t", (), lambda columns, complain: iter(()))
    with pytest.raises(DataError, match=r"each once, got \['a', 'a'\]"):
        open_arrow(pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["a", "a"]), "t")
