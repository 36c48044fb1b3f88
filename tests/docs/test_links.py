"""Every link of README.md, CONTRIBUTING.md and docs/ leads to a file, and every anchor to a heading."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md")])
LINK = re.compile(r"!?\]\(([^)\s]+)(?:\s[^)]*)?\)")
PROSE = re.compile(r"^```.*?^```|`[^`\n]*`", re.DOTALL | re.MULTILINE)


def _anchors(page: Path) -> set[str]:
    """The slugs of a page's headings, as GitHub and the site both make them."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    titles = re.findall(r"^#+ (.*)$", text, flags=re.MULTILINE)
    plain = (re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", title) for title in titles)
    return {re.sub(r"\s+", "-", re.sub(r"[^\w\s-]", "", title).strip().lower()) for title in plain}


def _broken(page: Path, text: str, made: set[Path]) -> list[str]:
    """The links of a page that lead nowhere."""
    found = []
    for target in LINK.findall(PROSE.sub("", text)):
        if re.match(r"[a-z]+:", target):
            if not target.startswith(("https://", "mailto:")):
                found.append(target)
            continue
        name, _, anchor = target.partition("#")
        file = (page.parent / name).resolve() if name else page
        whole = file in made or (file.is_file() and (not anchor or anchor in _anchors(file)))
        inside = not page.is_relative_to(DOCS) or file.is_relative_to(DOCS)  # else the site can't follow it
        if not (whole and inside):
            found.append(target)
    return found


@pytest.fixture(scope="module")
def made(rooms) -> set[Path]:
    """The pages that only the site has."""
    api = {DOCS / room.page for room in rooms}
    notebooks = {DOCS / "notebooks" / f"{path.stem}.md" for path in (ROOT / "notebooks").glob("*.ipynb")}
    return {DOCS / "api" / "index.md", *api, *notebooks}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_resolve(page, made) -> None:
    assert _broken(page, page.read_text(), made) == []


def test_what_is_broken_is_seen(made) -> None:
    page = DOCS / "concepts.md"
    text = """
[a](build.md) [b](build.md#relations) [c](nowhere.md) [d](build.md#nowhere) [e](#the-words) [f](http://x.org)
[g](../README.md) `[h](code.md)` [i](api/mmgraph.fusion.md) [j](api/mmgraph.nowhere.md) [k](https://x.org) ![l](no.svg)
"""
    broken = ["nowhere.md", "build.md#nowhere", "http://x.org", "../README.md", "api/mmgraph.nowhere.md", "no.svg"]
    assert _broken(page, text, made) == broken


def test_every_page_is_in_the_navigation() -> None:
    nav = (ROOT / "mkdocs.yml").read_text().partition("\nnav:\n")[2]
    named = re.findall(r"[\w/-]+\.md", nav)
    pages = {str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md")}
    assert set(named) == pages
    assert len(named) == len(set(named))
