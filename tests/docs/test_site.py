"""The docs site: built with warnings as errors, whole, and readable without any other host."""

import html
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr or done.stdout
    return folder


@pytest.fixture(scope="module")
def pages(site) -> dict[str, str]:
    return {str(page.relative_to(site)): page.read_text() for page in site.rglob("*.html")}


def test_each_public_name_is_on_exactly_one_page(pages, rooms) -> None:
    count: Counter[str] = Counter()
    for name, text in pages.items():
        if name.startswith("api/"):
            count.update(set(re.findall(r'<h\d id="(mmgraph[\w.]*)"', text)))
    for room in rooms:
        text = pages[room.page.replace(".md", ".html")]
        for path in (room.path, *room.names.values()):
            assert count[path] == 1, path
            assert f'id="{path}"' in text, path


def test_each_top_name_is_in_the_index(pages) -> None:
    import mmgraph

    for name in mmgraph.__all__[1:]:
        assert f"<code>mmgraph.{name}</code>" in pages["api/index.html"], name


def test_no_role_or_formula_is_left_as_it_was_written(pages) -> None:
    for name, text in pages.items():
        prose = re.sub(r"<pre.*?</pre>|<code.*?</code>|<math.*?</math>", "", text, flags=re.DOTALL)
        assert not re.search(r":(class|func|meth|attr|data|mod|math):`|\.\. math::|#!math|\$\$", prose), name
    assert sum(text.count("<math") for text in pages.values()) > 500
    assert '<math alttext="' + html.escape(r"\sum_m W_m h_m + b") in pages["api/mmgraph.fusion.html"]


def test_a_docstring_leads_to_others(pages) -> None:
    text = pages["api/mmgraph.fusion.html"]
    assert re.search(r'<a class="autorefs autorefs-internal"[^>]*href="#mmgraph.fusion.tensor.Tensor"', text)
    assert re.search(r'href="mmgraph.model.html#mmgraph.model.Model"', pages["api/mmgraph.linker.html"])


def test_nothing_is_asked_of_another_host(site, pages) -> None:
    source = re.compile(r'<(?:script|img|iframe|source)[^>]*src="([^"]*)"|<link(?![^>]*canonical)[^>]*href="([^"]*)"')
    for name, text in pages.items():
        asked = source.findall(text)
        outside = [one for pair in asked for one in pair if re.match(r"(https?:)?//", one)]
        assert outside == [], name
    for sheet in site.rglob("*.css"):
        assert not re.search(r"(@import|url\()\s*[\"']?(https?:)?//", sheet.read_text()), sheet.name


def test_every_link_within_the_site_leads_somewhere(site, pages) -> None:
    known = {name: set(re.findall(r'\sid="([^"]*)"', text)) for name, text in pages.items()}
    for name, text in pages.items():
        if name == "404.html":
            continue
        for target in {html.unescape(one) for one in re.findall(r'<a[^>]*\shref="([^"]*)"', text)}:
            if re.match(r"[a-z]+:", target):
                continue
            file, _, anchor = target.partition("#")
            where = os.path.normpath(Path(name).parent / file) if file else name
            assert (site / where).exists(), (name, target)
            if anchor and where in known:
                assert anchor in known[where] or anchor.startswith("__"), (name, target)


def test_notebooks_are_pages_with_their_pictures(site, pages) -> None:
    for notebook in (ROOT / "notebooks").glob("*.ipynb"):
        text = pages[f"notebooks/{notebook.stem}.html"]
        pictures = re.findall(r'<img alt="([^"]+)" src="([^"]+\.png)"', text)
        assert len(pictures) >= 4
        assert all((site / "notebooks" / file).read_bytes().startswith(b"\x89PNG") for _, file in pictures)


def test_the_hooks_are_no_pages(site) -> None:
    assert not (site / "hooks").exists()
    assert not list(site.rglob("*.py"))
