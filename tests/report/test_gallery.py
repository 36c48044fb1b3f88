"""The page of a graph: what is on it, what it refers to, and what no payload can do to it."""

import base64
import io
import json
import re
from html.parser import HTMLParser

import numpy as np
import pyarrow as pa
import pytest
import torch
from PIL import Image
from torch_geometric.data import HeteroData

from mmgraph.assembly import Built, GraphConfig, Source, build_graph
from mmgraph.data import Collection, CollectionWriter
from mmgraph.describe import describe
from mmgraph.media.audio import Sound, decode_audio, wav_bytes
from mmgraph.report.gallery import bar, render, stack, write
from mmgraph.testing import fake_graph

VOID = {"meta", "link", "br", "wbr", "img"}
HOSTILE = '</title></script><script>alert("x")</script><img src=x onerror=alert(1)>'


class Page(HTMLParser):
    """All tags with their attributes, and the text of the page; refuses what is not well formed."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        assert len(dict(attrs)) == len(attrs)
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if not {"style", "script"} & set(self.open):
            self.text += data

    def every(self, tag):
        return [attrs for name, attrs in self.tags if name == tag]


def png(number: int) -> bytes:
    file = io.BytesIO()
    noise = np.random.default_rng(number).integers(0, 256, (150, 300, 3), dtype=np.uint8)
    Image.fromarray(noise).save(file, "PNG")
    return file.getvalue()


def gif(number: int) -> bytes:
    frames = [Image.new("RGB", (8, 8), (number, 60 * step, 0)) for step in range(3)]
    file = io.BytesIO()
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:], duration=1000)
    return file.getvalue()


def wav(number: int) -> bytes:
    return wav_bytes(Sound(np.sin(np.arange(8000) / (4 + number)).astype(np.float32), 8000))


def build() -> Built:
    rng = np.random.default_rng(0)
    count = 12
    rows = {
        "id": ["animal 0", HOSTILE, *(f"animal {n}" for n in range(2, count))],
        "about": [HOSTILE if n == 1 else None if n == 5 else f"A text, number {n}. حيوان" for n in range(count)],
        "photo": [None if n % 4 == 3 else png(n) for n in range(count)],
        "call": [None if n % 3 == 2 else wav(n) for n in range(count)],
        "clip": [gif(n) if n < 2 else None for n in range(count)],
        "kg": [float(n) for n in range(count)],
        "price": [n + 0.5 for n in range(count)],
        "colour": ["red", HOSTILE] * (count // 2),
        "pulse": [rng.normal(size=20).tolist() for _ in range(count)],
        "shape": [rng.normal(size=(9, 3)).tolist() for _ in range(count)],
        "name": ["TP53", "MDM2"] * (count // 2),
        "kind": ["cat", "dog", HOSTILE, "bird"] * (count // 4),
        "near": [f"animal {(n + 2) % count}" if (n + 2) % count != 1 else HOSTILE for n in range(count)],
        "home": [HOSTILE if n % 2 else "north" for n in range(count)],
        "note": [HOSTILE] * count,
        "part": ["train"] * 6 + ["val"] * 3 + ["test"] * 3,
    }
    columns = {"about": "text", "photo": "image", "call": "audio", "clip": "video", "kg": "numeric"}
    columns |= {"colour": "category", "pulse": "series", "shape": "points", "name": "symbol", "note": "keep"}
    config = GraphConfig(
        name=f"animals {HOSTILE}",
        nodes={"animal": {"table": "animals", "key": "id", "columns": columns}},
        edges=[
            {"type": ("animal", "like", "animal"), "column": "near"},
            {"type": ("animal", "lives_in", "place"), "column": "home"},
        ],
        targets={"kind": {"column": "kind"}, "price": {"column": "price"}},
        split={"by": "column", "column": "part"},
    )
    return build_graph(Source(config, {"animals": pa.table(rows)}))


@pytest.fixture(scope="module")
def built() -> Built:
    return build()


@pytest.fixture(scope="module")
def html(built) -> str:
    return render(built)


@pytest.fixture(scope="module")
def page(html) -> Page:
    return Page(html)


def card_of(html: str, unit: int) -> str:
    return re.findall(rf'<article class="card" id="card-{unit}".*?</article>', html, re.DOTALL)[0]


def test_ids_are_unique_and_links_lead_to_them(page):
    ids = [attrs["id"] for _, attrs in page.tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    links = [attrs["href"] for attrs in page.every("a")]
    assert links
    assert {link.removeprefix("#") for link in links} <= set(ids)


def test_page_refers_to_nothing_outside(page, html):
    assert not re.search(r"https?:|@import|url\(", html)
    assert {tag for tag, _ in page.tags} <= {
        *("html", "head", "meta", "link", "title", "style", "script", "body", "main", "header", "section", "div"),
        *("article", "h1", "h2", "h3", "h4", "p", "ul", "li", "table", "caption", "thead", "tbody", "tr", "th", "td"),
        *("svg", "path", "img", "audio", "a", "bdi", "small", "button"),
    }
    for tag, attrs in page.tags:
        assert not any(name.startswith("on") for name in attrs)
        if "src" in attrs:
            assert re.match(r"data:(image/png|audio/wav);base64,", attrs["src"])
        if "href" in attrs:
            assert attrs["href"].startswith("#") or (tag, attrs["href"]) == ("link", "data:,")
    (policy,) = [attrs["content"] for attrs in page.every("meta") if attrs.get("http-equiv")]
    assert policy.startswith("default-src 'none'; ")


def test_every_picture_and_recording_can_be_decoded(page):
    pictures, sounds = page.every("img"), page.every("audio")
    assert len(pictures) == 9 + 2 * 3
    assert len(sounds) == 8
    for attrs in pictures:
        picture = Image.open(io.BytesIO(base64.b64decode(attrs["src"].split(",")[1], validate=True)))
        picture.load()
        assert (picture.format, picture.info) == ("PNG", {})
        assert max(picture.size) <= 256
        assert attrs["alt"].startswith("picture, ")
    for attrs in sounds:
        assert decode_audio(base64.b64decode(attrs["src"].split(",")[1], validate=True), rate_hz=None).duration_s == 1.0
        assert attrs["aria-label"] == "recording, 1.0 s at 8000 Hz"


def test_hostile_words_stay_words(page, html):
    assert page.text.count(HOSTILE) >= 12  # keys, labels, notes, texts, cells, neighbours
    assert len(page.every("script")) == 1
    assert "<script>alert" not in html
    assert not [attrs for attrs in page.every("img") if attrs["src"] == "x"]


def test_what_is_missing_is_said(html):
    card = card_of(html, 5)
    for said in ("no text", "no recording", "no video"):
        assert f'<p class="absent">{said}</p>' in card
    assert "no picture" not in card
    assert "no picture" in card_of(html, 3)


def test_texts_have_their_direction_and_cells_their_names(html):
    card = card_of(html, 0)
    assert '<p class="text" dir="auto">A text, number 0. حيوان</p>' in card
    assert '<th scope="row" dir="auto">colour</th><td dir="auto">red</td>' in card
    assert "<bdi>cat</bdi>" in card
    assert 'aria-label="20 steps"' in card
    assert 'aria-label="9 points in 3 dimensions, the first two drawn"' in card
    assert "TP53" in card


def test_neighbours_are_links_to_their_cards(html):
    card = card_of(html, 0)
    assert "<h4>like → animal</h4>" in card
    assert '<a href="#card-2"><bdi>animal 2</bdi></a>' in card
    assert "<h4>lives_in → place</h4>" in card
    assert '<p class="near"><bdi>north</bdi></p>' in card
    few = render(build_small(), cards=1)
    assert re.search(r'<p class="near"><bdi>(a|b)</bdi></p>', few)
    assert '<a href="#card' not in few


def build_small() -> Built:
    config = GraphConfig(
        nodes={"film": {"table": "films", "key": "id", "columns": {"plot": "text"}}},
        edges=[{"type": ("film", "next", "film"), "column": "next"}],
    )
    return build_graph(
        Source(config, {"films": pa.table({"id": ["a", "b"], "plot": ["One.", "Two."], "next": ["b", None]})})
    )


def test_figures_are_those_of_the_description(page, built):
    found = describe(built)
    for one in found.missing:
        assert one.share is not None
        assert f"{one.share:.1%}" in page.text
    for relation in found.relations:
        for one in relation.homophily.values():
            assert f"{one.share:.1%}{one.expected:.1%}" in "".join(page.text.split())
    assert "12 × animal" in page.text
    for warning in found.warnings:
        assert warning in page.text


def test_equal_graphs_give_equal_pages_also_from_a_folder(html, built, tmp_path):
    assert render(build()) == html
    built.write(tmp_path / "animals")
    assert render(Collection(tmp_path / "animals")) == html
    path = write(Collection(tmp_path / "animals"), tmp_path / "page.html")
    assert path.read_text(encoding="utf-8") == html


def test_a_small_budget_is_kept_and_said(built):
    for budget in (300_000, 20_000, 0):
        html = render(built, budget=budget)
        assert sum(len(uri) for uri in re.findall(r'src="(data:[^"]*)"', html)) <= budget
        assert "To keep the page small, " in html
        Page(html)
    assert "the page is full" in html
    assert "To keep the page small" not in render(built)


def test_colours_are_those_of_the_other_page_in_both_schemes(html):
    from importlib.resources import files

    other = files("mmgraph.report").joinpath("page.html.j2").read_text(encoding="utf-8")
    mine = files("mmgraph.report").joinpath("gallery.html.j2").read_text(encoding="utf-8")
    palette = re.compile(r"{% macro light\(\) %}.*?{% endmacro %}\n{% macro dark\(\) %}.*?{% endmacro %}", re.DOTALL)
    assert palette.findall(mine) == palette.findall(other) != []
    used = set(re.findall(r"var\((--[\w-]+)", html)) - {"--c"}
    assert used <= set(re.findall(r"(--[\w-]+):", palette.findall(mine)[0]))
    assert "prefers-color-scheme:dark" in html


def test_drawings_say_what_they_show(page):
    drawings = [attrs for attrs in page.every("svg") if attrs.get("aria-hidden") != "true"]
    assert drawings
    assert all(attrs["role"] == "img" and attrs["aria-label"] for attrs in drawings)
    assert all(attrs.get("scope") in {"row", "col"} for attrs in page.every("th"))


def test_bars_are_as_long_as_their_shares():
    assert 'd="M0 0h25.0v8H0z"' in bar(0.25)
    assert 'd="M50.0 0v8"' in bar(0.25, 0.5)
    assert bar(None) == ""
    found = stack({"a": 0.25, "b": 0.0, "c": 0.75})
    assert re.findall(r"class c(\d)\" d=\"M([\d.]+) 0h([\d.]+)", found) == [
        ("0", "0.00", "25.00"),
        ("2", "25.00", "75.00"),
    ]


def test_a_bare_graph_has_a_page(tmp_path):
    graph = HeteroData()
    graph["paper"].x = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))
    with CollectionWriter(tmp_path / "papers") as writer:
        writer.add(graph)
    page = Page(render(Collection(tmp_path / "papers")))
    for said in ("There are no targets.", "There is no split.", "There are none.", "3 of 3 × paper"):
        assert said in page.text


def test_nothing_at_all_has_a_page(tmp_path):
    with CollectionWriter(tmp_path / "none"):
        pass
    assert "0 of 0 × sample" in Page(render(Collection(tmp_path / "none"))).text


def test_many_samples_have_a_page(tmp_path):
    schema = fake_graph(12)[1]
    with CollectionWriter(tmp_path / "talks", schema) as writer:
        for number in range(40):
            graph = fake_graph(12, seed=number)[0]
            words = [f"{HOSTILE} {row}" for row in range(graph["text"].num_nodes)]
            bytes_ = [b"\x89PNG\r\n\x1a\nbroken" for _ in range(graph["scan"].num_nodes)]
            payloads = {"title": HOSTILE, "raw": b"12345", ("text", "words"): words, ("scan", "file"): bytes_}
            writer.add(graph, payloads=payloads, split="train" if number % 2 else "test")
    html = render(Collection(tmp_path / "talks"))
    page = Page(html)
    assert html.count("<article") == 24
    assert "This node can’t be read: A picture must be whole" in page.text
    assert "raw: 5 bytes" in page.text
    assert "each has" in page.text
    assert "more" in card_of(html, 0)
    assert len(page.every("script")) == 1


def test_page_is_json_safe_where_cells_hold_anything(tmp_path):
    graph = HeteroData()
    graph["row"].x = torch.ones(3, 1)
    values = [json.dumps({"a": {"b": [1, None]}, "c": "\ud800"}), "NaN", "null"]
    with CollectionWriter(tmp_path / "rows") as writer:
        writer.add(graph, payloads={("row", "cells"): values})
    Page(render(Collection(tmp_path / "rows")))
