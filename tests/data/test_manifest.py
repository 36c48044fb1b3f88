import hashlib
from pathlib import Path

import pytest

from mmgraph.data import Manifest, dataset_names, load_dataset, manifest
from mmgraph.data.manifest import File, bundled, data_roots
from mmgraph.errors import DataError

DATA = b"1,2\n3,4\n"
DIGEST = hashlib.sha256(DATA).hexdigest()


def make(**changes):
    file = {"path": "raw/table.csv", "bytes": len(DATA), "sha256": DIGEST, **changes.pop("file", {})}
    fields = {name: name for name in ("title", "description", "licence", "citation", "source")}
    return Manifest(**{"name": "toy", "files": [file], **fields, **changes})


@pytest.fixture(autouse=True)
def roots(tmp_path, monkeypatch):
    """Two empty folders for data: the one the user names, and the cache."""
    monkeypatch.setenv("MMGRAPH_DATA", str(tmp_path / "named"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("MMGRAPH_OFFLINE")
    return tmp_path / "named", tmp_path / "cache" / "mmgraph"


def put(root, data=DATA, folder="toy"):
    path = root / folder / "raw" / "table.csv"
    path.parent.mkdir(parents=True)
    path.write_bytes(data)
    return path


def files_below(folder):
    return [path for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock"]


@pytest.mark.parametrize("path", ["../secret", "a/../../secret", "/etc/passwd"])
def test_a_path_that_leaves_the_folder_is_refused(path):
    with pytest.raises(ValueError, match=f"must stay in its dataset's folder, got '{path}'"):
        make(file={"path": path})


@pytest.mark.parametrize("field", ["name", "folder"])
@pytest.mark.parametrize("path", ["../secret", "/etc"])
def test_a_folder_that_leaves_the_root_is_refused(field, path):
    with pytest.raises(ValueError, match=f"got '{path}'"):
        make(**{field: path})


@pytest.mark.parametrize("url", ["http://example.org/a", "ftp://example.org/a", "javascript:alert(1)", ""])
def test_an_unsafe_url_is_refused(url):
    with pytest.raises(ValueError, match=f"must be https or file, got '{url}'".replace("(1)", r"\(1\)")):
        make(file={"url": url})


def test_a_manifest_that_is_none_is_named(tmp_path):
    for text, value in [
        ("name = ", "Invalid value"),
        ('name = "toy"', "licence"),
        ('colour = "red"', "colour"),
    ]:
        (tmp_path / "manifest.toml").write_text(text)
        with pytest.raises(DataError, match=rf"(?s)manifest\.toml' is not a manifest: .*{value}"):
            Manifest.read(tmp_path / "manifest.toml")


def test_the_named_folder_comes_first_then_shared_then_the_cache(roots, monkeypatch):
    named, cache = roots
    monkeypatch.setattr(manifest, "__file__", str(named.parent / "main" / "mmgraph" / "data" / "manifest.py"))
    shared = named.parent / "shared" / "data"
    assert data_roots() == [named, cache]
    expected = []
    for root in (cache, shared, named):
        expected.insert(0, put(root))
        assert make().locate() == {"raw/table.csv": expected[0]}
    assert data_roots() == [named, shared, cache]
    monkeypatch.delenv("MMGRAPH_DATA")
    assert make().locate() == {"raw/table.csv": expected[1]}


@pytest.mark.parametrize("empty", [True, False])
def test_the_cache_is_in_the_home_folder_by_default(monkeypatch, tmp_path, empty):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("MMGRAPH_DATA", "")
    monkeypatch.setenv("XDG_CACHE_HOME", "") if empty else monkeypatch.delenv("XDG_CACHE_HOME")
    assert data_roots()[-1] == tmp_path / ".cache" / "mmgraph"
    assert Path() not in data_roots()


def test_a_dataset_may_have_a_folder_of_another_name(roots):
    path = put(roots[0], folder="planetoid")
    assert make(folder="planetoid").locate() == {"raw/table.csv": path}


@pytest.mark.parametrize("data", [b"1,2\n3,5\n", DATA + b"\n", b""])
def test_other_bytes_are_named(roots, data):
    put(roots[0], data)
    got = hashlib.sha256(data).hexdigest()[:12]
    with pytest.raises(
        DataError, match=rf"table\.csv.*{len(DATA)} bytes.*{DIGEST[:12]}….*got {len(data)} bytes.*{got}…"
    ):
        make().locate()


def test_a_file_is_fetched_once_into_the_cache(roots, tmp_path):
    source = tmp_path / "source.csv"
    source.write_bytes(DATA)
    toy = make(file={"url": source.as_uri()})
    path = roots[1] / "toy" / "raw" / "table.csv"
    assert toy.locate() == {"raw/table.csv": path}
    assert path.read_bytes() == DATA
    source.unlink()
    assert toy.locate() == {"raw/table.csv": path}
    assert files_below(roots[0]) == []


@pytest.mark.parametrize("data", [None, b"", DATA[:-1], DATA + b"more", b"9,2\n3,4\n"])
def test_a_fetch_that_fails_leaves_nothing(roots, tmp_path, data):
    source = tmp_path / "source.csv"
    if data is not None:
        source.write_bytes(data)
    with pytest.raises(DataError, match=r"could not be fetched" if data is None else f"must have {len(DATA)} bytes"):
        make(file={"url": source.as_uri()}).locate()
    assert files_below(roots[1]) == []


def test_offline_nothing_is_fetched(roots, tmp_path, monkeypatch):
    source = tmp_path / "source.csv"
    source.write_bytes(DATA)
    monkeypatch.setenv("MMGRAPH_OFFLINE", "1")
    with pytest.raises(DataError, match="MMGRAPH_OFFLINE forbids to fetch it"):
        make(file={"url": source.as_uri()}).locate()
    assert files_below(roots[1]) == []


def test_without_a_url_the_message_says_where_it_looked(roots):
    named, cache = roots
    with pytest.raises(
        DataError, match=f"'toy' needs 'raw/table.csv'.*{named / 'toy'}.*{cache / 'toy'}.*see source.*MMGRAPH_DATA"
    ):
        make().locate()


def test_a_dataset_without_files_needs_none():
    assert make(files=[]).locate() == {}


def test_an_unknown_dataset_is_named():
    with pytest.raises(DataError, match=r"'cora'.*'wdbc'.*got 'imagenet'"):
        load_dataset("imagenet")
    with pytest.raises(DataError, match="got '../datasets/wdbc'"):
        load_dataset("../datasets/wdbc")


def test_a_dataset_is_built_from_its_folder(tmp_path, monkeypatch, roots):
    monkeypatch.setattr(manifest, "bundled", lambda kind: tmp_path / kind)
    folder = tmp_path / "datasets" / "toy"
    folder.mkdir(parents=True)
    (tmp_path / "datasets" / "notes").mkdir()
    lines = [f'{key} = "{value}"' for key, value in make().model_dump(exclude={"files", "folder", "listed"}).items()]
    lines += ["[[files]]", 'path = "raw/table.csv"', f"bytes = {len(DATA)}", f'sha256 = "{DIGEST}"']
    (folder / "manifest.toml").write_text("\n".join(lines))
    (folder / "build.py").write_text(
        "def build(files, *, skip=0):\n    return files['raw/table.csv'].read_text()[skip:]"
    )
    put(roots[0])
    assert dataset_names() == ["toy"]
    assert load_dataset("toy") == DATA.decode()
    assert load_dataset("toy", skip=4) == "3,4\n"


def test_bundled_folders_are_those_of_the_checkout():
    assert (bundled("datasets") / "wdbc" / "manifest.toml").is_file()
    assert bundled("recipes").is_dir()


def test_a_file_is_frozen():
    with pytest.raises(ValueError, match="frozen"):
        File(path="a", bytes=1, sha256="").path = "../b"
