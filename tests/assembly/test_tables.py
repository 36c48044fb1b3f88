"""Where tables are found: below the root and nowhere else, by name, pattern or folder, or in memory."""

import pyarrow as pa
import pytest

from mmgraph.assembly import GraphConfig, Source
from mmgraph.assembly.tables import open_table
from mmgraph.errors import DataError

CONFIG = GraphConfig(nodes={"a": {"table": "t"}})


def cells(root, name, *columns, tables=()):
    table = open_table(Source(CONFIG, dict(tables), root), name)
    found, wrong = [], {}
    for first, block in table.blocks(columns or table.columns, wrong.__setitem__):
        assert first == len(found)
        found += zip(*block.values(), strict=True)
    return found, wrong


def test_a_pattern_is_one_table_in_the_order_of_names(tmp_path):
    (tmp_path / "parts" / "deep").mkdir(parents=True)
    (tmp_path / "parts" / "b.csv").write_text("id,x\n2,b\n3\n4,d\n")
    (tmp_path / "parts" / "a.csv").write_text("id,x\n0\n1,a\n")
    (tmp_path / "parts" / "deep.csv").mkdir()  # a folder is no part
    found, wrong = cells(tmp_path, "parts/*.csv")
    assert found == [(None, None), ("1", "a"), ("2", "b"), (None, None), ("4", "d")]
    assert list(wrong) == [0, 3]
    (tmp_path / "parts" / "c.csv").write_text("id,y\n")
    with pytest.raises(DataError, match=r"must have the same columns, got \['id', 'x'\] and \['id', 'y'\]"):
        cells(tmp_path, "parts/*.csv")


def test_a_name_with_signs_of_a_pattern_is_a_name_where_it_is_there(tmp_path):
    (tmp_path / "a[1].csv").write_text("id\n1\n")
    assert cells(tmp_path, "a[1].csv")[0] == [("1",)]


def test_a_folder_is_a_table_of_its_files_as_they_are_when_it_is_opened(tmp_path):
    for name in ("photos/cat/b.PNG", "photos/a.png", "photos/.hidden/c.png", "photos/.d.png", "other/e.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    table = open_table(Source(CONFIG, root=tmp_path), "photos")
    (tmp_path / "photos" / "0.png").write_bytes(b"late")
    assert table.columns == ("path", "name", "folder", "suffix")
    ((first, block),) = table.blocks(table.columns, pytest.fail)
    assert first == 0
    assert list(zip(*block.values(), strict=True)) == [
        ("photos/a.png", "a", ".", ".png"),
        ("photos/cat/b.PNG", "b", "cat", ".PNG"),
    ]
    assert cells(tmp_path, "photos", "suffix")[0] == [(".png",), (".png",), (".PNG",)]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("../out.csv", "'../out.csv' must lie below .*without '..'"),
        ("/etc/passwd", "'/etc/passwd' must lie below .*give its path from there"),
        ("parts/../../out.csv", "must lie below"),
        ("link.csv", "link.csv' must lie below .*a link that leads out"),
        ("out/a.csv", "a.csv' must lie below .*a link that leads out"),
        ("li*.csv", "link.csv' must lie below .*a link that leads out"),
        ("none.csv", "'none.csv' must be a file or folder below .*there is none"),
        ("none*.csv", r"'none\*.csv' must be a file or folder below .*there is none"),
        ("a\0.csv", "must be a file or folder below .*there is none"),
    ],
)
def test_what_is_not_below_the_root_is_refused(tmp_path, name, message):
    root = tmp_path / "root"
    root.mkdir()
    (tmp_path / "a.csv").write_text("id\n1\n")
    (tmp_path / "out.csv").write_text("id\n1\n")
    (root / "link.csv").symlink_to(tmp_path / "out.csv")
    (root / "out").symlink_to(tmp_path)
    with pytest.raises(DataError, match=message):
        cells(root, name)


def test_a_table_in_memory_is_of_arrow_or_becomes_one():
    tables = {"a": pa.table({"x": [1, None]}), "b": {"x": [1, None]}, "c": 5}
    assert cells(None, "a", tables=tables)[0] == cells(None, "b", tables=tables)[0] == [(1,), (None,)]
    with pytest.raises(DataError, match="'c' must be a table of Arrow, or what becomes one, but "):
        cells(None, "c", tables=tables)
    with pytest.raises(DataError, match=r"Table must be one of \['a', 'b', 'c'\], got 'd'; or give a root"):
        cells(None, "d", tables=tables)


def test_a_data_frame_is_a_table():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"id": ["a", "b"], "n": [1.0, None]})
    assert cells(None, "f", "id", "n", tables={"f": frame})[0] == [("a", 1.0), ("b", None)]
