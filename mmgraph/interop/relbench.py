"""RelBench: its folders of Parquet files, and its objects."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from mmgraph.errors import ArtifactError, ConfigError, DataError
from mmgraph.files import new_folder, write_bytes
from mmgraph.interop.database import Database, DatabaseTable, TaskTable
from mmgraph.interop.rows import check_new
from mmgraph.optional import require
from mmgraph.schema.spec import TargetKind

if TYPE_CHECKING:
    import pyarrow as pa

_KINDS = {"binary_classification": "binary", "multiclass_classification": "multiclass", "regression": "regression"}
_PARTS = ("train", "val", "test")


def read_relbench(folder: str | Path) -> Database:
    """Reads a database from a folder of RelBench: ``manifest.yaml`` and ``db/<table>.parquet``.

    Neither RelBench nor pandas is needed.

    Raises:
        ArtifactError: A file is missing or damaged.
        DataError: The manifest names a column or a table that is not there.
    """
    folder = Path(folder)
    facts = _yaml(folder / "manifest.yaml")
    tables = {}
    for name, spec in _mapping(facts.get("tables"), folder / "manifest.yaml").items():
        rows = _parquet(folder / "db" / f"{_safe(str(name))}.parquet")
        foreign = {str(column): str(table) for column, table in (spec.get("fkeys") or {}).items()}
        tables[str(name)] = DatabaseTable(rows, spec.get("pkey"), foreign, spec.get("time_col"))
    return Database(tables, _moment(facts.get("val_timestamp")), _moment(facts.get("test_timestamp")))


def write_relbench(database: Database, folder: str | Path, *, name: str | None = None) -> Path:
    """Writes a database as a folder that RelBench loads, all of it or nothing.

    Args:
        database: In RelBench's form, as :meth:`Database.for_relbench` makes it.
        folder: A new folder.
        name: What it is called; by default like the folder.

    Raises:
        ConfigError: The folder holds something.
        DataError: A key is not the number of its row, a time is not in nanoseconds, or a name can't be that of a file.

    Example:
        >>> clubs = DatabaseTable({"id": [0, 1], "name": ["chess", "rowing"]}, key="id")
        >>> folder = write_relbench(Database({"clubs": clubs}), getfixture("tmp_path") / "sport")
        >>> read_relbench(folder).tables["clubs"].rows.to_pydict()
        {'id': [0, 1], 'name': ['chess', 'rowing']}
    """
    import pyarrow.parquet as pq

    folder = Path(folder)
    check_new(folder)
    facts: dict[str, Any] = {"name": name or folder.name, "manifest_version": 1}
    for key, time in (("val_timestamp", database.val_time), ("test_timestamp", database.test_time)):
        facts[key] = None if time is None else time.isoformat()
    facts["tables"] = {}
    with new_folder(folder) as draft:
        (draft / "db").mkdir()
        for table, one in database.tables.items():
            _check_form(table, one)
            pq.write_table(one.rows, draft / "db" / f"{_safe(table)}.parquet")
            facts["tables"][table] = {"pkey": one.key, "time_col": one.time, "fkeys": dict(one.foreign)}
        text = require("yaml", extra="tabular").safe_dump(facts, sort_keys=False, allow_unicode=True)
        write_bytes(draft / "manifest.yaml", text.encode())
    return folder


def read_task(folder: str | Path, name: str) -> TaskTable:
    """Reads a task from the folder of a database of RelBench, ``tasks/<name>``.

    Raises:
        ArtifactError: A file is missing or damaged.
        ConfigError: It is no question about single rows (a recommendation, several labels).
    """
    folder = Path(folder)
    place = folder / "tasks" / _safe(name)
    facts = _yaml(place / "manifest.yaml")
    table, hidden = str(facts.get("entity_table")), [(pair[0], pair[1]) for pair in facts.get("remove_columns") or ()]
    spec = _mapping(_yaml(folder / "manifest.yaml").get("tables"), folder / "manifest.yaml").get(table) or {}
    target, kind = str(facts.get("target_col")), _target_kind(name, str(facts.get("task_type")))
    if facts.get("kind") == "autocomplete":  # the answers are a column of the table
        hidden.append((table, target))
    return TaskTable(
        {part: _parquet(place / f"{part}.parquet") for part in _PARTS},
        table,
        str(facts.get("entity_col") or spec.get("pkey")),
        target,
        time=facts.get("time_col") or spec.get("time_col"),
        kind=kind,
        hidden=hidden,
    )


def from_relbench(found: Any) -> Database:
    """The database that an object of RelBench is, or gives: a database, a dataset, or a task.

    Datasets and tasks give what they show by default: the rows up to the test, without what a task hides.

    Raises:
        DataError: It is none of these, or a column holds what Arrow has no type for.
    """
    dataset = getattr(found, "dataset", found)
    given = found.get_db() if hasattr(found, "get_db") else found
    if not hasattr(given, "table_dict"):
        raise DataError(f"A database, a dataset or a task of RelBench is wanted, got {type(found).__name__}")
    tables = {
        name: DatabaseTable(_arrow(one.df, name), one.pkey_col, dict(one.fkey_col_to_pkey_table), one.time_col)
        for name, one in given.table_dict.items()
    }
    times = (getattr(dataset, key, None) for key in ("val_timestamp", "test_timestamp"))
    return Database(tables, *(_moment(None if time is None else time.isoformat()) for time in times))


def to_relbench(database: Database) -> Any:
    """A database as RelBench's ``Database``, of data frames.

    Raises:
        DataError: A key is not the number of its row, or a time is not in nanoseconds; see
            :meth:`Database.for_relbench`.
        MissingPackageError: RelBench is not installed.
    """
    base = require("relbench.base", extra="tabular")
    tables = {}
    for name, one in database.tables.items():
        _check_form(name, one)
        tables[name] = base.Table(one.rows.to_pandas(), dict(one.foreign), one.key, one.time)
    return base.Database(tables)


def from_relbench_task(task: Any) -> TaskTable:
    """What a task of RelBench asks of single rows, with the answers of the test.

    Raises:
        ConfigError: It is no question about single rows (a recommendation, several labels).
    """
    name = str(getattr(task, "name", type(task).__name__))
    kind = _target_kind(name, task.task_type.value)
    parts = {part: _arrow(task.get_table(part, mask_input_cols=False).df, part) for part in _PARTS}
    hidden = [(table, column) for table, column in task.hidden_columns()]
    entity, target = str(task.entity_col), str(task.target_col)
    return TaskTable(parts, str(task.entity_table), entity, target, time=task.time_col, kind=kind, hidden=hidden)


def _target_kind(name: str, kind: str) -> TargetKind:
    if kind not in _KINDS:
        raise ConfigError(f"Task {name!r} must ask for one answer a row, one of {list(_KINDS)}, got {kind}")
    return cast("TargetKind", _KINDS[kind])


def _check_form(name: str, table: DatabaseTable) -> None:
    """RelBench takes keys for the numbers of rows, and times for nanoseconds."""
    import pyarrow as pa

    if table.key is not None and table.rows.column(table.key).to_pylist() != list(range(table.rows.num_rows)):
        raise DataError(
            f"Keys of {name!r} must be the numbers of its rows, 0 to {table.rows.num_rows - 1}, for RelBench; "
            "call for_relbench() first"
        )
    if table.time is not None:
        kind = table.rows.schema.field(table.time).type
        if kind != pa.timestamp("ns") and not pa.types.is_integer(kind) and not pa.types.is_floating(kind):
            raise DataError(
                f"{table.time!r} of {name!r} must be in nanoseconds for RelBench, got {kind}; call for_relbench() first"
            )


def _safe(name: str) -> str:
    if not name or name.startswith(".") or any(sign in name for sign in '/\\:"\0'):
        raise DataError(f"A table or task must have a name that can be a file's, got {name!r}; rename it")
    return name


def _arrow(frame: Any, name: str) -> pa.Table:
    import pyarrow as pa

    try:
        return pa.Table.from_pandas(frame, preserve_index=False).replace_schema_metadata(None)
    except pa.ArrowException as error:
        raise DataError(f"Table {name!r} must have columns of one type each, but {error}") from None


def _parquet(path: Path) -> pa.Table:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            return file.read().replace_schema_metadata(None)
    except (OSError, pa.ArrowException) as error:
        raise ArtifactError(f"File {str(path)!r} must be a table of Parquet, but {error}") from None


def _yaml(path: Path) -> Mapping[str, Any]:
    yaml = require("yaml", extra="tabular")
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ArtifactError(f"File {str(path)!r} must hold YAML, but {error}") from None
    return _mapping(found, path)


def _mapping(found: Any, path: Path) -> Mapping[str, Any]:
    if not isinstance(found, Mapping):
        raise ArtifactError(f"File {str(path)!r} must describe a database or a task of RelBench, got {found!r}")
    return found


def _moment(value: Any) -> datetime | None:
    """YAML and RelBench write dates as strings, or as dates."""
    if value is None or str(value) == "NaT":
        return None
    try:
        return datetime.fromisoformat(str(value))
    except ValueError:
        raise ArtifactError(f"A manifest must have times of ISO 8601, like 2024-02-29, got {value!r}") from None
