import hashlib
import json
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmgraph.errors import ArtifactError, ConfigError
from mmgraph.files import check_seal, claim, new_folder, read_json, seal, sha256, write_bytes, write_json


def names(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@pytest.mark.parametrize("size", [0, 1, (1 << 20) - 1, 1 << 20, (1 << 21) + 3])
def test_sha256_equals_hashlib(tmp_path, size):
    data = bytes(range(256)) * (size // 256) + bytes(size % 256)
    (tmp_path / "a").write_bytes(data)
    assert sha256(tmp_path / "a") == hashlib.sha256(data).hexdigest()


def test_bytes_are_written_into_new_folders_and_over_old_files(tmp_path):
    path = tmp_path / "a" / "b" / "c.bin"
    write_bytes(path, b"old")
    write_bytes(path, b"new")
    assert path.read_bytes() == b"new"
    assert names(path.parent) == ["c.bin"]


@pytest.mark.parametrize("step", ["replace", "fsync"])
def test_a_write_that_fails_leaves_the_old_bytes_and_nothing_else(tmp_path, monkeypatch, step):
    path = tmp_path / "a.bin"
    write_bytes(path, b"old")

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(*{"replace": (Path, "replace"), "fsync": ("os.fsync",)}[step], fail)
    with pytest.raises(OSError, match="disk full"):
        write_bytes(path, b"new")
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["a.bin"]


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(value=VALUES)
def test_json_round_trip(tmp_path_factory, value):
    path = tmp_path_factory.mktemp("json") / "a.json"
    write_json(path, value)
    assert read_json(path) == value


def test_json_keeps_the_order_of_keys_and_letters_as_they_are(tmp_path):
    write_json(tmp_path / "a.json", {"z": 1, "ä": 2})
    assert (tmp_path / "a.json").read_text(encoding="utf-8") == '{\n  "z": 1,\n  "ä": 2\n}\n'


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_json_can_not_say_is_refused(tmp_path, value):
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "a.json", [value])
    assert names(tmp_path) == []


@pytest.mark.parametrize(("data", "value"), [(b'{"a": ', "Expecting value"), (b"\xff\xfe\x00", "decode")])
def test_a_file_that_is_not_json_is_named(tmp_path, data, value):
    (tmp_path / "a.json").write_bytes(data)
    with pytest.raises(ArtifactError, match=f"a.json.*must hold JSON.*{value}"):
        read_json(tmp_path / "a.json")


def test_a_missing_json_file_is_named(tmp_path):
    with pytest.raises(ArtifactError, match=r"a\.json.*does not"):
        read_json(tmp_path / "a.json")


def test_a_folder_is_claimed_once_and_only_for_the_same(tmp_path):
    path, meta = tmp_path / "mine" / "run.json", {"seed": 0, "widths": (4, 8)}
    claim(path, meta, "a run", "choose another", command="first")
    claim(path, meta, "a run", "choose another", command="second")
    assert read_json(path) == {"seed": 0, "widths": [4, 8], "command": "first"}
    said = r"mine' holds a run with other settings \(it has another seed, widths\); choose another"
    with pytest.raises(ConfigError, match=said):
        claim(path, {"seed": 1, "widths": (4,)}, "a run", "choose another")
    write_json(path, ["something", "else"])
    with pytest.raises(ConfigError, match=said):
        claim(path, meta, "a run", "choose another")


def test_a_folder_appears_whole_and_replaces_the_old_one(tmp_path):
    folder = tmp_path / "deep" / "index"
    for text in ("old", "new"):
        with new_folder(folder) as draft:
            (draft / text).write_text(text)
            assert names(folder) == ([] if text == "old" else ["old"])
    assert names(folder) == ["new"]
    assert names(folder.parent) == ["index", "index/new"]


@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt()])
def test_a_folder_that_fails_vanishes_and_leaves_the_old_one(tmp_path, error):
    def write(text):
        with new_folder(tmp_path / "index") as draft:
            (draft / text).write_text(text)
            if text == "new":
                raise error

    with pytest.raises(type(error)):
        write("new")
    assert names(tmp_path) == []
    write("old")
    with pytest.raises(type(error)):
        write("new")
    assert names(tmp_path) == ["index", "index/old"]


@pytest.fixture
def sealed(tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "a.txt").write_text("a")
    (tmp_path / "deep" / "b.txt").write_text("b")
    seal(tmp_path)
    return tmp_path


def test_a_seal_lists_all_files_below(sealed):
    expected = {"a.txt": b"a", "deep/b.txt": b"b"}
    assert read_json(sealed / "sha256.json") == {n: hashlib.sha256(v).hexdigest() for n, v in expected.items()}
    check_seal(sealed)
    seal(sealed)  # again
    check_seal(sealed)


def test_a_sealed_folder_may_hold_a_sealed_folder(sealed):
    seal(sealed / "deep")
    seal(sealed)
    check_seal(sealed)
    write_json(sealed / "deep" / "sha256.json", {})
    with pytest.raises(ArtifactError, match=r"deep/sha256\.json.*damaged"):
        check_seal(sealed)


def test_damage_is_named(sealed):
    (sealed / "deep" / "b.txt").write_text("B")
    want, got = hashlib.sha256(b"b").hexdigest()[:12], hashlib.sha256(b"B").hexdigest()[:12]
    with pytest.raises(ArtifactError, match=rf"deep/b\.txt.*damaged.*{want}….*got {got}…"):
        check_seal(sealed)


def test_a_missing_file_is_named(sealed):
    (sealed / "a.txt").unlink()
    with pytest.raises(ArtifactError, match=r"a\.txt.*missing"):
        check_seal(sealed)


def test_a_further_file_is_named(sealed):
    (sealed / "deep" / "c.txt").write_text("c")
    with pytest.raises(ArtifactError, match=r"c\.txt.*not among the sealed"):
        check_seal(sealed)


@pytest.mark.parametrize("name", ["../outside.txt", "/etc/hostname", "deep/../../outside.txt"])
def test_a_seal_does_not_reach_outside(sealed, name):
    (sealed / "sha256.json").write_text(json.dumps({**read_json(sealed / "sha256.json"), name: "0"}))
    with pytest.raises(ArtifactError, match="outside its folder"):
        check_seal(sealed)


def test_no_folder_no_seal_and_no_object_are_named(tmp_path):
    with pytest.raises(ArtifactError, match="nowhere.*does not"):
        check_seal(tmp_path / "nowhere")
    with pytest.raises(ArtifactError, match=r"sha256\.json"):
        check_seal(tmp_path)
    (tmp_path / "sha256.json").write_text("[]")
    with pytest.raises(ArtifactError, match=r"sha256\.json.*JSON object"):
        check_seal(tmp_path)
