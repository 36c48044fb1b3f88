"""Manifests with a listing: many files that belong together."""

import hashlib
import threading
from pathlib import Path

import pytest

from mmgraph.data import Manifest, manifest
from mmgraph.errors import DataError

HEAD = "path\tbytes\tsha256"
NAMES = ("a b.txt", "c#.txt", "d/e.txt")
FIELDS = "\n".join(f'{name} = "toy"' for name in ("name", "title", "description", "licence", "citation", "source"))


def content(name):
    return f"this is {name}".encode()


def line(name):
    return f"{name}\t{len(content(name))}\t{hashlib.sha256(content(name)).hexdigest()}"


def write(folder, *, names=NAMES, lines=None, listing=""):
    folder.mkdir(exist_ok=True)
    (folder / "manifest.toml").write_text(f"{FIELDS}\n[listing]\n{listing}\n")
    (folder / "files.tsv").write_text("\n".join([HEAD, *map(line, names)] if lines is None else lines) + "\n")
    return folder / "manifest.toml"


def fill(root, names=NAMES, folder="toy/payload"):
    for name in names:
        path = root / folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content(name))


@pytest.fixture(autouse=True)
def roots(tmp_path, monkeypatch):
    monkeypatch.setenv("MMGRAPH_DATA", str(tmp_path / "named"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(manifest, "__file__", str(tmp_path / "main" / "mmgraph" / "data" / "manifest.py"))
    monkeypatch.delenv("MMGRAPH_OFFLINE")
    return tmp_path / "named", tmp_path / "cache" / "mmgraph"


@pytest.fixture
def toy(tmp_path):
    return tmp_path / "toy"


def test_a_listing_is_read_with_its_base_and_folder(toy):
    read = Manifest.read(write(toy, listing='base = "https://a.org/x"\nfolder = "raw"'))
    assert [file.path for file in read.listed] == ["raw/a b.txt", "raw/c#.txt", "raw/d/e.txt"]
    assert [file.url for file in read.listed] == [
        "https://a.org/x/a%20b.txt",
        "https://a.org/x/c%23.txt",
        "https://a.org/x/d/e.txt",
    ]
    assert [file.bytes for file in read.listed] == [len(content(name)) for name in NAMES]
    assert read.listed[1].sha256 == hashlib.sha256(content("c#.txt")).hexdigest()
    assert read.files == ()


def test_a_listing_without_a_base_has_no_urls(toy):
    read = Manifest.read(write(toy))
    assert [(file.path, file.url) for file in read.listed] == [(name, None) for name in NAMES]


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"lines": []}, "files.tsv' must begin with the columns path, bytes and sha256"),
        ({"lines": ["path,bytes,sha256"]}, "files.tsv' must begin with the columns path, bytes and sha256"),
        ({"lines": [HEAD, line("a"), "b\t1"]}, "must have 3 columns, parted by tabs, got another number in line 3"),
        ({"lines": [HEAD, "a\tmany\t00"]}, r"(?s)is not a manifest.*listed\.0\.bytes.*'many'"),
        ({"lines": [HEAD, "../a\t1\t00"]}, "(?s)must stay in its dataset's folder, got '../a'"),
        ({"lines": [HEAD, "/etc/passwd\t1\t00"]}, "(?s)must stay in its dataset's folder, got '/etc/passwd'"),
        ({"listing": 'folder = "../x"'}, "(?s)must stay in its dataset's folder, got '../x/a b.txt'"),
        ({"listing": 'base = "http://a.org"'}, "(?s)a url must be https or file, got 'http://a.org/a%20b.txt'"),
        ({"listing": 'colour = "red"'}, "(?s)is not a manifest.*colour"),
    ],
)
def test_a_listing_that_is_none_is_named(toy, changes, why):
    with pytest.raises(DataError, match=why):
        Manifest.read(write(toy, **changes))


def test_a_listing_that_is_missing_is_named(toy):
    write(toy)
    (toy / "files.tsv").unlink()
    with pytest.raises(DataError, match=r"(?s)is not a manifest.*No such file.*files\.tsv"):
        Manifest.read(toy / "manifest.toml")


def test_listed_files_are_all_found_in_one_folder(toy, roots):
    named, cache = roots
    read = Manifest.read(write(toy, listing='folder = "payload"'))
    fill(named, NAMES[:2])
    fill(cache)
    found = read.locate()
    assert found == {f"payload/{name}": cache / "toy" / "payload" / name for name in NAMES}
    fill(named, NAMES[2:])
    assert read.locate()["payload/a b.txt"] == named / "toy" / "payload" / "a b.txt"


def test_each_listed_file_is_checked(toy, roots):
    read = Manifest.read(write(toy, listing='folder = "payload"'))
    fill(roots[0])
    path = roots[0] / "toy" / "payload" / "d" / "e.txt"
    path.write_bytes(b"x" * len(content("d/e.txt")))
    with pytest.raises(DataError, match=r"e\.txt' must have 15 bytes.*got 15 bytes with .*remove it"):
        read.locate()


def test_listed_files_that_cant_be_fetched_are_counted(toy, roots):
    read = Manifest.read(write(toy, listing='folder = "payload"'))
    fill(roots[1], NAMES[:1])
    with pytest.raises(
        DataError,
        match=r"'toy' needs 'payload/c#\.txt' and 1 more, which must lie together below one of: .*named/toy, ",
    ):
        read.locate()


def test_listed_files_are_fetched_at_once_and_those_that_are_there_are_left(toy, roots, monkeypatch, tmp_path):
    fill(tmp_path, folder="source")
    read = Manifest.read(write(toy, listing=f'base = "{(tmp_path / "source").as_uri()}"\nfolder = "payload"'))
    fill(roots[1], NAMES[:1])
    fetched, meeting = [], threading.Barrier(2, timeout=20)

    def get(url, path, **wanted):
        meeting.wait()  # the two that are missing are fetched at the same time
        fetched.append(Path(path).name)
        real(url, path, **wanted)

    real = manifest.fetch
    monkeypatch.setattr(manifest, "fetch", get)
    found = read.locate()
    assert sorted(fetched) == ["c#.txt", "e.txt"]
    assert {path.parts[-1]: path.read_bytes() for path in found.values()} == {
        name.split("/")[-1]: content(name) for name in NAMES
    }
    assert all(path.is_relative_to(roots[1] / "toy" / "payload") for path in found.values())


def test_after_a_failure_no_more_are_begun_and_what_came_is_kept(toy, roots, tmp_path):
    names = [f"{number:03d}" for number in range(400)]
    fill(tmp_path, names[:1] + names[2:], folder="source")
    listing = f'base = "{(tmp_path / "source").as_uri()}"\nfolder = "payload"'
    read = Manifest.read(write(toy, names=names, listing=listing))
    with pytest.raises(DataError, match="source/001 must be there, but could not be fetched"):
        read.locate()
    there = sorted(path.name for path in (roots[1] / "toy" / "payload").glob("[0-9]*"))
    assert "000" in there
    assert len(there) < 350


def test_a_bar_is_shown_where_it_is_asked_for(toy, tmp_path, capsys):
    fill(tmp_path, folder="source")
    read = Manifest.read(write(toy, listing=f'base = "{(tmp_path / "source").as_uri()}"'))
    read.locate(progress=True)
    total = sum(len(content(name)) for name in NAMES)
    assert f"{total}/{total} bytes" in capsys.readouterr().err
    read.locate(progress=True)
    assert capsys.readouterr().err == ""  # all is there
