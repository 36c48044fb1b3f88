"""What manifests say of their files, whether the files are here or not."""

import re
import tomllib
from pathlib import Path, PurePosixPath

import pytest

from mmgraph.data import Manifest, dataset_names
from mmgraph.data.manifest import bundled

NAMES = dataset_names()
LISTED = {"coco_mini": 338, "easy_vqa": 5003, "emoji": 3429, "fsdd": 3000}


def read(name):
    return Manifest.read(bundled("datasets") / name / "manifest.toml")


@pytest.mark.parametrize("name", NAMES)
def test_files_have_sizes_sums_safe_paths_and_pinned_urls(name):
    manifest = read(name)
    files = [*manifest.files, *manifest.listed]
    for file in files:
        assert file.bytes > 0
        assert re.fullmatch("[0-9a-f]{64}", file.sha256)
        assert not PurePosixPath(file.path).is_absolute()
        assert not {"..", ".", ""} & set(file.path.split("/"))
        assert re.fullmatch(r"[\w+. /@-]+", file.path), file.path
        if file.url is not None:
            assert re.match(r"https://raw\.githubusercontent\.com/[\w.-]+/[\w.-]+/[0-9a-f]{40}/", file.url), file.url
    assert len({file.path for file in files}) == len(files)
    assert len({file.url for file in files if file.url}) == sum(file.url is not None for file in files)


@pytest.mark.parametrize("name", NAMES)
def test_a_listing_is_sorted_and_of_the_size_that_the_card_says(name):
    folder: Path = bundled("datasets") / name
    assert (folder / "files.tsv").is_file() == (name in LISTED)
    assert ("listing" in tomllib.loads((folder / "manifest.toml").read_text(encoding="utf-8"))) == (name in LISTED)
    if name in LISTED:
        text = (folder / "files.tsv").read_text(encoding="utf-8")
        paths = [line.split("\t")[0] for line in text.splitlines()[1:]]
        assert paths == sorted(set(paths))
        assert len(paths) == LISTED[name] == len(read(name).listed)
        assert text.endswith("\n")
        assert "\r" not in text


def test_what_is_not_fetched_by_itself_is_said_in_the_card():
    for name in NAMES:
        manifest = read(name)
        stuck = [file for file in (*manifest.files, *manifest.listed) if file.url is None]
        card = (bundled("datasets") / name / "card.md").read_text(encoding="utf-8")
        assert bool(stuck) == ("not fetched by itself" in card), name
