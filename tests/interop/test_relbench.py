"""RelBench's folders and objects: what it reads is what was written, and the other way round."""

import importlib

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mmgraph.errors import ArtifactError, ConfigError, DataError, MissingPackageError
from mmgraph.interop import (
    Database,
    DatabaseTable,
    TaskTable,
    from_relbench,
    from_relbench_task,
    read_relbench,
    read_task,
    to_relbench,
    write_relbench,
)

relbench = pytest.importorskip("relbench.load")


def shop():
    """Users and their orders, of 2024."""
    days = [f"2024-0{month}-01" for month in range(1, 7)]
    users = pa.table({"id": [0, 1], "age": [31.0, None], "joined": pa.array(days[:2]).cast(pa.timestamp("ns"))})
    orders = {"id": list(range(6)), "user": pa.array([0, 1, 0, None, 1, 0]), "price": [float(n) for n in range(6)]}
    orders = pa.table(orders | {"at": pa.array(days).cast(pa.timestamp("ns"))})
    tables = {
        "users": DatabaseTable(users, key="id", time="joined"),
        "orders": DatabaseTable(orders, key="id", foreign={"user": "users"}, time="at"),
    }
    return Database(tables, pd.Timestamp("2024-03-15"), pd.Timestamp("2024-04-15"))


@pytest.fixture
def folder(tmp_path):
    """The shop, with a task of each kind."""
    folder = write_relbench(shop(), tmp_path / "shop")
    asks = {
        "churn": {"kind": "external", "task_type": "binary_classification", "time_col": "at", "entity_col": "user"}
        | {"entity_table": "users", "target_col": "left", "remove_columns": [["orders", "price"]]},
        "price": {"kind": "autocomplete", "task_type": "regression", "entity_table": "orders", "target_col": "price"},
        "next": {"kind": "external", "task_type": "recommendation"},
    }
    rows = {"at": pa.array(["2024-02-01", "2024-03-01"]).cast(pa.timestamp("ns")), "user": [0, 1], "left": [1, 0]}
    tables = {"churn": pa.table(rows), "price": pa.table({"at": rows["at"], "id": [0, 1], "price": [0.0, 1.0]})}
    for name, facts in asks.items():
        place = folder / "tasks" / name
        place.mkdir(parents=True)
        (place / "manifest.yaml").write_text("".join(f"{key}: {one}\n" for key, one in {"name": name, **facts}.items()))
        for part in ("train", "val", "test"):
            if name in tables:
                pq.write_table(tables[name], place / f"{part}.parquet")
    return folder


def same(one, other):
    assert list(one.tables) == list(other.tables)
    for name, table in one.tables.items():
        found = other.tables[name]
        assert (found.key, found.foreign, found.time) == (table.key, table.foreign, table.time)
        assert found.rows.to_pydict() == table.rows.to_pydict()
    assert (other.val_time, other.test_time) == (one.val_time, one.test_time)


def test_what_is_written_is_read(folder):
    same(shop(), read_relbench(folder))


def test_relbench_reads_what_is_written(folder):
    dataset = relbench.load_dataset(folder)
    frames = dataset.get_db(upto_test_timestamp=False).table_dict
    assert (dataset.val_timestamp, dataset.test_timestamp) == (pd.Timestamp("2024-03-15"), pd.Timestamp("2024-04-15"))
    assert frames["orders"].df["price"].tolist() == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]
    assert frames["orders"].fkey_col_to_pkey_table == {"user": "users"}
    assert (frames["users"].pkey_col, frames["users"].time_col) == ("id", "joined")


def test_a_database_of_no_times_is_read(tmp_path):
    database = Database({"clubs": DatabaseTable({"id": [0], "name": ["chess"]}, key="id")})
    folder = write_relbench(database, tmp_path / "clubs", name="sport")
    same(database, read_relbench(folder))
    loaded = relbench.load_dataset(folder)
    assert loaded.manifest.name == "sport"
    assert loaded.get_db().table_dict["clubs"].df["name"].tolist() == ["chess"]


def test_objects_come_and_go(folder):
    made = to_relbench(shop())
    assert made.max_timestamp == pd.Timestamp("2024-06-01")
    back = from_relbench(made)
    assert back.tables["orders"].rows.to_pydict() == shop().tables["orders"].rows.to_pydict()
    assert back.val_time is None
    dataset = from_relbench(relbench.load_dataset(folder))  # up to the test, as RelBench shows it
    same(dataset, shop().upto("2024-04-15"))


def test_a_task_is_read_as_relbench_reads_it(folder):
    read, given = read_task(folder, "churn"), from_relbench_task(relbench.load_dataset(folder).load_task("churn"))
    for task in (read, given):
        assert (task.table, task.entity, task.target, task.time) == ("users", "user", "left", "at")
        assert task.kind == "binary"
        assert list(task.hidden) == [("orders", "price")]
        assert task.rows.column("left").to_pylist() == [1, 0] * 3
        assert task.rows.column("part").to_pylist() == ["train", "train", "val", "val", "test", "test"]
    assert from_relbench(relbench.load_dataset(folder).load_task("churn")).tables["orders"].rows.column_names == [
        "id",
        "user",
        "at",
    ]


def test_a_column_that_is_the_answer_is_hidden(folder):
    task = read_task(folder, "price")
    assert (task.table, task.entity, task.time, list(task.hidden)) == ("orders", "id", "at", [("orders", "price")])
    theirs = from_relbench_task(relbench.load_dataset(folder).load_task("price"))
    assert (theirs.table, theirs.entity, theirs.time, list(theirs.hidden)) == (
        task.table,
        task.entity,
        task.time,
        list(task.hidden),
    )


def test_other_tasks_are_refused(folder):
    with pytest.raises(ConfigError, match="Task 'next' must ask for one answer a row, .* got recommendation"):
        read_task(folder, "next")
    with pytest.raises(ArtifactError, match="must hold YAML, but"):
        read_task(folder, "none")
    with pytest.raises(DataError, match="a name that can be a file's, got '../shop'"):
        read_task(folder, "../shop")


@pytest.mark.parametrize(
    "write", [lambda one, folder: write_relbench(one, folder / "new"), lambda one, _: to_relbench(one)]
)
def test_keys_must_be_numbers_of_rows(tmp_path, write):
    database = Database({"clubs": DatabaseTable({"id": ["a", "b"]}, key="id")})
    with pytest.raises(
        DataError, match=r"Keys of 'clubs' must be the numbers of its rows, 0 to 1, .* call for_relbench"
    ):
        write(database, tmp_path)
    write(database.for_relbench(), tmp_path)


def test_times_must_be_in_nanoseconds(tmp_path):
    """RelBench 3 reads times of another unit as if they were nanoseconds."""
    database = Database({"t": DatabaseTable({"at": ["2024-01-01"]}, time="at")})
    with pytest.raises(DataError, match="'at' of 't' must be in nanoseconds for RelBench, got string; call for_relb"):
        write_relbench(database, tmp_path / "new")
    assert to_relbench(database.for_relbench()).min_timestamp == pd.Timestamp("2024-01-01")


def test_a_folder_must_be_new_and_names_those_of_files(tmp_path):
    database = Database({"a/b": DatabaseTable({"id": [0]}, key="id")})
    with pytest.raises(DataError, match="a name that can be a file's, got 'a/b'"):
        write_relbench(database, tmp_path / "new")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "mine.txt").write_text("")
    with pytest.raises(ConfigError, match="must be a new folder"):
        write_relbench(shop(), tmp_path)


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("db/users.parquet", b"", "must be a table of Parquet, but"),
        ("manifest.yaml", b"tables: [", "must hold YAML, but"),
        ("manifest.yaml", b"- 1", r"must describe a database or a task of RelBench, got \[1\]"),
        ("manifest.yaml", b"name: shop", "must describe a database or a task of RelBench, got None"),
        ("manifest.yaml", b"tables: {}\nval_timestamp: soon", "times of ISO 8601, like 2024-02-29, got 'soon'"),
        ("manifest.yaml", b"!!python/object/apply:os.getcwd []", "must hold YAML, but could not determine"),
    ],
)
def test_damage_is_said(folder, file, content, message):
    (folder / file).write_bytes(content)
    with pytest.raises(ArtifactError, match=message):
        read_relbench(folder)


def test_a_manifest_must_fit_its_tables(folder):
    text = (folder / "manifest.yaml").read_text()
    (folder / "manifest.yaml").write_text(text.replace("user: users", "user: others"))
    with pytest.raises(DataError, match="'user' of 'orders' must lead to a table with a key, but 'others'"):
        read_relbench(folder)


def test_other_objects_are_refused():
    with pytest.raises(DataError, match="A database, a dataset or a task of RelBench is wanted, got int"):
        from_relbench(3)
    odd = relbench.Database({"t": relbench.Table(pd.DataFrame({"a": [1, "x"]}, dtype=object), {})})
    with pytest.raises(DataError, match="Table 't' must have columns of one type each, but"):
        from_relbench(odd)


def test_without_relbench_it_is_said_what_to_install(monkeypatch):
    def refused(name, *args):
        raise ModuleNotFoundError("none", name=name.split(".")[0])

    monkeypatch.setattr(importlib, "import_module", refused)
    with pytest.raises(MissingPackageError, match="needs the package 'relbench.base'"):
        to_relbench(shop())


def test_a_task_may_be_made_by_hand():
    part = {"user": [0], "at": ["2024-01-01"], "left": [True]}
    task = TaskTable(dict.fromkeys(("train", "val", "test"), part), "users", "user", "left", time="at")
    assert task.rows.num_rows == 3
