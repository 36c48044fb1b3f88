"""Files of SQLite: their tables, with the keys that they declare."""

import sqlite3
from contextlib import closing

import pytest

from mmgraph.errors import DataError
from mmgraph.interop import read_sqlite


@pytest.fixture
def file(tmp_path):
    def make(script):
        path = tmp_path / "a b?.db"
        with closing(sqlite3.connect(path)) as database:
            database.executescript(script)
        return path

    return make


def test_tables_and_keys(file):
    path = file(
        """
        CREATE TABLE "the clubs" (id TEXT PRIMARY KEY, name TEXT);
        CREATE TABLE people (nr INTEGER PRIMARY KEY AUTOINCREMENT, club REFERENCES "the clubs"(id), at DATE, note);
        CREATE TABLE pairs (one REFERENCES people, other REFERENCES people, PRIMARY KEY (one, other));
        CREATE VIEW old AS SELECT * FROM people;
        INSERT INTO "the clubs" VALUES ('c', 'chess'), ('d', NULL);
        INSERT INTO people VALUES (1, 'd', '2024-01-01', 1), (2, NULL, NULL, 'é'), (3, 'c', NULL, x'ff');
        INSERT INTO pairs VALUES (1, 2);
        """
    )
    database = read_sqlite(path, times={"people": "at"})
    assert list(database.tables) == ["the clubs", "people", "pairs"]
    people, pairs = database.tables["people"], database.tables["pairs"]
    assert (people.key, people.foreign, people.time) == ("nr", {"club": "the clubs"}, "at")
    assert people.rows.to_pydict() == {
        "nr": [1, 2, 3],
        "club": ["d", None, "c"],
        "at": ["2024-01-01", None, None],
        "note": ["1", "é", "\ufffd"],  # cells of several types
    }
    assert (pairs.key, pairs.foreign) == (None, {"one": "people", "other": "people"})


def test_an_empty_table_and_a_name_with_signs(file):
    path = file('CREATE TABLE "a""b; DROP" ("x""y" INTEGER)')
    assert read_sqlite(path).tables['a"b; DROP'].rows.to_pydict() == {'x"y': []}


@pytest.mark.parametrize(
    ("script", "message"),
    [
        (
            "CREATE TABLE a (x, y, PRIMARY KEY (x, y)); CREATE TABLE b (p, q, FOREIGN KEY (p, q) REFERENCES a);",
            r"must be of one column, got \['p', 'q'\] of 'b'",
        ),
        (
            "CREATE TABLE a (x PRIMARY KEY, y UNIQUE); CREATE TABLE b (p REFERENCES a(y));",
            "'p' of 'b' must hold the key of 'a', 'x', got one to 'y'",
        ),
        ("CREATE TABLE b (p REFERENCES a);", r"'p' of 'b' must lead to a table with a key, but 'a' is none of \['b'\]"),
    ],
)
def test_other_keys_are_refused(file, script, message):
    with pytest.raises(DataError, match=message):
        read_sqlite(file(script))


def test_other_files_are_refused(file, tmp_path):
    with pytest.raises(DataError, match="must be a file of SQLite; there is none"):
        read_sqlite(tmp_path / "none.db")
    (tmp_path / "text.db").write_text("not a database, " * 100)
    with pytest.raises(DataError, match="must be a file of SQLite, but file is not a database"):
        read_sqlite(tmp_path / "text.db")
    with pytest.raises(DataError, match=r"times must be of tables, \['a'\], got 'b'"):
        read_sqlite(file("CREATE TABLE a (x)"), times={"b": "x"})
