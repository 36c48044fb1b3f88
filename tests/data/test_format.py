"""The head, the columns and their writer: what is committed is read back, and what has changed is named."""

import hashlib
import json
import os
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mmgraph.data import Columns, ColumnsWriter
from mmgraph.data.format import DTYPES, VERSION, dtype_name, file_name, read_head
from mmgraph.errors import ArtifactError, DataError

NUMBERS = np.arange(300, dtype=np.int64)


def write(folder, *, block_bytes=512, **columns):
    with ColumnsWriter(folder, kind="csc", block_bytes=block_bytes) as writer:
        for name, array in columns.items():
            writer.append(name, array)
        writer.commit({"made": "here"})
    return folder


def reseal(folder, change):
    """Changes the head by hand, and gives it the digest that belongs to it."""
    path = folder / "csc.json"
    head = json.loads(path.read_text())
    head.pop("sha256")
    change(head)
    text = json.dumps(head, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    path.write_text(json.dumps({**head, "sha256": hashlib.sha256(text.encode()).hexdigest()}))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_every_dtype_keeps_its_bits(tmp_path, dtype):
    generator = torch.Generator().manual_seed(0)
    bytes_ = torch.randint(0, 256, (7, 3 * dtype.itemsize), generator=generator, dtype=torch.uint8)
    values = (bytes_ > 99)[:, :3] if dtype == torch.bool else bytes_.view(dtype)
    columns = Columns.open(write(tmp_path / "c", x=values), kind="csc")
    got = columns["x"].read(2, 7)
    assert (got.dtype, got.shape) == (dtype, (5, 3))
    assert got.contiguous().view(torch.uint8).equal(values[2:].contiguous().view(torch.uint8))
    assert columns["x"].dtype == dtype


@settings(max_examples=60)
@given(
    arrays=st.lists(
        hnp.arrays(np.int16, st.tuples(st.integers(0, 40), st.just(3)), elements=st.integers(-9, 9)), max_size=5
    ),
    commits=st.sets(st.integers(0, 4)),
    block_bytes=st.integers(1, 64),
)
def test_chunks_and_commits_make_no_difference(tmp_path_factory, arrays, commits, block_bytes):
    folder = tmp_path_factory.mktemp("columns") / "c"
    writer = ColumnsWriter(folder, kind="csc", block_bytes=block_bytes)
    writer.append("x", np.empty((0, 3), np.int16))
    for number, array in enumerate(arrays):
        writer.append("x", array)
        if number in commits:
            writer.commit({})
            writer.close()
            writer = ColumnsWriter(folder, kind="csc", append=True, block_bytes=block_bytes)
    writer.commit({})
    writer.close()
    columns = Columns.open(folder, kind="csc")
    whole = np.concatenate([np.empty((0, 3), np.int16), *arrays])
    columns.verify()
    assert columns["x"].array.tolist() == whole.tolist()
    again = ColumnsWriter(folder.parent / "d", kind="csc", block_bytes=block_bytes)
    again.append("x", whole)
    again.commit({})
    again.close()
    if not commits:
        assert read_head(folder.parent / "d", "csc").columns == columns.head.columns


def test_columns_are_read_only(tmp_path):
    column = Columns.open(write(tmp_path / "c", x=NUMBERS, empty=NUMBERS[:0]), kind="csc")["x"]
    with pytest.raises(ValueError, match="read-only"):
        column.array[0] = 1
    column.read(0, 3).zero_()
    assert column.array[:3].tolist() == [0, 1, 2]


def test_columns_that_are_not_mapped_are_read_piece_by_piece(tmp_path, monkeypatch):
    """The system may give fewer bytes than it is asked for."""
    write(tmp_path / "c", x=NUMBERS, wide=NUMBERS.reshape(3, 100), empty=NUMBERS[:0])
    preadv = os.preadv
    monkeypatch.setattr("mmgraph.data.columns.columns.may_map", lambda size: False)
    monkeypatch.setattr("os.preadv", lambda file, buffers, place: preadv(file, [buffers[0][:700]], place))
    columns = Columns.open(tmp_path / "c", kind="csc")
    columns.verify()
    assert not columns["x"].file.mapped
    assert columns["x"].read(7, 250).tolist() == list(range(7, 250))
    assert columns["wide"].read(1, 3).tolist() == NUMBERS.reshape(3, 100)[1:].tolist()
    assert columns["empty"].array.tolist() == []
    with pytest.raises(ValueError, match="read-only"):
        columns["x"].array[0] = 1
    (tmp_path / "c/columns/x").write_bytes(b"")
    with pytest.raises(ArtifactError, match=r"columns/x' is truncated since it was opened"):
        columns["x"].read(0, 1)


def test_columns_are_a_mapping_that_can_be_sent_to_another_process(tmp_path):
    columns = Columns.open(write(tmp_path / "c", x=NUMBERS, y=NUMBERS[:2]), kind="csc")
    with ColumnsWriter(tmp_path / "c", kind="csc", append=True) as writer:
        writer.append("y", NUMBERS)
        writer.commit({"made": "later"})
    twin = pickle.loads(pickle.dumps(columns))
    for one in (columns, twin):
        assert (list(one), len(one), "x" in one, "z" in one, one.meta) == (["x", "y"], 2, True, False, {"made": "here"})
        assert (len(one["y"]), repr(one["y"])) == (2, "Column('y', [2], int64)")
    assert len(Columns.open(tmp_path / "c", kind="csc")["y"]) == 302


@pytest.mark.parametrize("first", [0, 63, 64, 200, 299])
def test_damage_is_seen_when_its_block_is_touched_and_not_before(tmp_path, first):
    write(tmp_path / "c", x=NUMBERS)  # 512 bytes a block: 64 rows
    path = tmp_path / "c/columns/x"
    data = bytearray(path.read_bytes())
    data[8 * first] ^= 4
    path.write_bytes(data)
    block = first // 64
    where = rf"columns/x.*rows {64 * block} to {min(64 * block + 63, 299)}.*sha256 must be"

    def column():
        return Columns.open(tmp_path / "c", kind="csc")["x"]

    others = [row for row in range(300) if row // 64 != block]
    fine = column()
    fine.check_rows(np.array(others))
    fine.check_ranges(np.array(others), np.array(others) + 1)
    fine.check(first, first)
    for touch in (
        lambda one: one.check(first, first + 1),
        lambda one: one.check(0, 300),
        lambda one: one.check_rows(np.array([5, first])),
        lambda one: one.check_ranges(np.array([0, first]), np.array([0, first + 1])),
        lambda one: one.check_ranges(np.array([0]), np.array([300])),
        lambda one: one.read(first, first + 1),
        lambda one: one.verify(),
    ):
        for one in (column(), fine):
            with pytest.raises(ArtifactError, match=where):
                touch(one)


def test_a_block_is_read_once(tmp_path, monkeypatch):
    column = Columns.open(write(tmp_path / "c", x=NUMBERS), kind="csc")["x"]
    seen = []
    check = column._check_block
    monkeypatch.setattr(column, "_check_block", lambda block: (seen.append(block), check(block)))
    column.check(10, 70)
    column.check(0, 128)
    column.check_ranges(np.array([3, 190]), np.array([5, 193]))
    column.check_rows(np.array([3, 260, 261, 190]))
    column.verify()
    assert seen == [0, 1, 2, 3, 4]
    assert column._unseen is None


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda c: (c / "columns/x").unlink(), r"columns/x' is missing"),
        (lambda c: (c / "columns/x").write_bytes(b"1234"), r"columns/x' is truncated: it must hold 2400 bytes, got 4"),
        (lambda c: (c / "csc.json").unlink(), r"csc\.json.* must exist"),
        (lambda c: (c / "csc.json").write_bytes(b"\xff\xfe"), r"csc\.json.* must hold JSON"),
        (lambda c: (c / "csc.json").write_text("[" * 100_000), r"csc\.json.* must hold JSON"),
        (lambda c: (c / "csc.json").write_text("9" * 5000), r"csc\.json.* must hold JSON"),
        (lambda c: (c / "csc.json").write_text("[1]"), r"head of a csc, 'mmgraph.csc', got 'list'"),
        (lambda c: (c / "csc.json").write_text('{"format": "other"}'), r"'mmgraph.csc', got 'other'"),
        (lambda c: reseal(c, lambda h: h.update(version=VERSION + 1)), r"newer mmgraph: it has format 2.* up to 1"),
        (lambda c: reseal(c, lambda h: h.update(version="1")), r"format 1, but .*version"),
        (lambda c: reseal(c, lambda h: h.pop("columns")), r"format 1, but .*columns"),
        (lambda c: reseal(c, lambda h: h["columns"]["x"].update(file="../../x")), r"lie in its folder, got '../../x'"),
        (lambda c: reseal(c, lambda h: h["columns"]["x"].update(file="/etc/passwd")), r"in its folder, got '/etc/pass"),
        (lambda c: reseal(c, lambda h: h["columns"]["x"].update(rows=-1)), r"but .*rows.*greater.*-1"),
        (lambda c: reseal(c, lambda h: h["columns"]["x"].update(rows=1)), r"1 rows are 1 blocks, got 5 digests"),
        (lambda c: reseal(c, lambda h: h["columns"]["x"].update(dtype="object")), r"dtype must be one of .*'object'"),
        (lambda c: reseal(c, lambda h: h["columns"]["x"].update(shape=[-2])), r"negative, got \(-2,\)"),
        (lambda c: (c / "csc.json").write_text((c / "csc.json").read_text().replace("here", "hare")), "is damaged"),
    ],
)
def test_what_is_wrong_is_named_on_opening(tmp_path, damage, message):
    folder = write(tmp_path / "c", x=NUMBERS)
    damage(folder)
    with pytest.raises(ArtifactError, match=message):
        Columns.open(folder, kind="csc")


def test_missing_folders_kinds_columns_and_files_are_named(tmp_path):
    folder = write(tmp_path / "c", x=NUMBERS)
    with pytest.raises(ArtifactError, match=r"nowhere' must exist"):
        Columns.open(tmp_path / "nowhere", kind="csc")
    with pytest.raises(ArtifactError, match=r"collection\.json' must exist"):
        Columns.open(folder, kind="collection")
    columns = Columns.open(folder, kind="csc")
    with pytest.raises(ArtifactError, match=r"must have a column 'z'; it has \['x'\]"):
        columns["z"]
    with pytest.raises(ArtifactError, match=r"must have a file 'a.txt'; it has \[\]"):
        columns.file("a.txt")


def test_whole_files_are_kept_beside_their_successors(tmp_path):
    with ColumnsWriter(tmp_path / "c", kind="csc") as writer:
        writer.put("notes.txt", b"one")
        writer.put("deep/a.bin", b"first")
        writer.commit({})
        before = Columns.open(tmp_path / "c", kind="csc")
        writer.put("notes.txt", b"two")
        writer.put("deep/a.bin", b"first")
        assert before.read_file("notes.txt") == b"one"
        writer.commit({})
    after = Columns.open(tmp_path / "c", kind="csc")
    assert (before.read_file("notes.txt"), after.read_file("notes.txt")) == (b"one", b"two")
    assert after.file("deep/a.bin") == tmp_path / "c/deep/a.bin"
    with ColumnsWriter(tmp_path / "c", kind="csc", append=True):
        pass
    assert sorted(path.name for path in (tmp_path / "c").glob("notes*")) == ["notes.2.txt"]
    (tmp_path / "c/notes.2.txt").write_bytes(b"owt")
    with pytest.raises(ArtifactError, match=r"notes\.2\.txt' is damaged: sha256 must be"):
        after.file("notes.txt")
    with pytest.raises(ArtifactError, match=r"notes\.2\.txt' is damaged"):
        after.verify()


def test_a_version_that_is_cleared_away_while_it_is_opened_gives_way_to_the_newer(tmp_path, monkeypatch):
    with ColumnsWriter(tmp_path / "c", kind="csc") as writer:
        writer.put("notes.txt", b"one")
        writer.commit({})
        old = read_head(tmp_path / "c", "csc")
        writer.put("notes.txt", b"two")
        writer.commit({})
    with ColumnsWriter(tmp_path / "c", kind="csc", append=True):
        pass
    heads = iter([old, read_head(tmp_path / "c", "csc")])
    monkeypatch.setattr("mmgraph.data.columns.columns.read_head", lambda *_: next(heads))
    assert Columns.open(tmp_path / "c", kind="csc").read_file("notes.txt") == b"two"


def test_rows_that_do_not_fit_are_refused(tmp_path):
    with ColumnsWriter(tmp_path / "c", kind="csc") as writer:
        writer.append("x", np.zeros((1, 3), np.float32))
        for wrong, message in [
            (np.zeros((1, 4), np.float32), r"'x' holds rows of \[3\] torch.float32, got \[4\] torch.float32"),
            (np.zeros((1, 3), np.float64), r"got \[3\] torch.float64"),
            (np.float32(1), "got one number"),
        ]:
            with pytest.raises(DataError, match=message):
                writer.append("x", np.asarray(wrong))
        for wrong in (np.array(["a"]), np.array([None])):
            with pytest.raises(ArtifactError, match=r"must hold one of .* got"):
                writer.append("s", wrong)
        writer.append("x", np.ones((3, 2), np.dtype(">f4")).T[::-1])
        writer.commit({})
    assert Columns.open(tmp_path / "c", kind="csc")["x"].array.tolist() == [[0, 0, 0], [1, 1, 1], [1, 1, 1]]
    assert dtype_name(np.dtype(">f4")) == "float32"


def test_an_interrupt_amid_a_write_is_never_committed(tmp_path, monkeypatch):
    def interrupt(self, array):
        raise KeyboardInterrupt

    with ColumnsWriter(write(tmp_path / "c", x=NUMBERS), kind="csc", append=True) as writer:
        monkeypatch.setattr("mmgraph.data.columns.writer._Growing.write", interrupt)
        with pytest.raises(KeyboardInterrupt):
            writer.append("x", NUMBERS)
        with pytest.raises(ArtifactError, match=r"after a failed write; .*\(commit 1\) is intact"):
            writer.commit({})
    assert len(Columns.open(tmp_path / "c", kind="csc")["x"]) == 300


def test_a_column_can_begin_with_what_another_holds(tmp_path):
    with ColumnsWriter(tmp_path / "c", kind="csc") as writer:
        writer.append("x", np.arange(100_000))
        writer.copy("x", "y")
        writer.append("y", NUMBERS[:1])
        writer.commit({})
    columns = Columns.open(tmp_path / "c", kind="csc")
    columns.verify()
    assert columns["y"].array.tolist() == [*range(100_000), 0]


@given(st.lists(st.text(max_size=200), min_size=2, max_size=2, unique=True))
def test_names_of_files_are_plain_and_differ(names):
    files = [file_name(name) for name in names]
    assert files[0].lower() != files[1].lower() or set(files) == set(names)
    for file in files:
        assert len(file) <= 200
        assert set(file) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-~%")
        assert file.strip(".")
