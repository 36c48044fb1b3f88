"""The page of alignments: each weight a cell, each pair an arc, and no name that can do harm."""

import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest
import torch

from mmgraph.align import Alignment
from mmgraph.report.alignment import MOST_DRAWN, MOST_SAID, arcs, heat, render, words, write

HOSTILE = '"><script>alert(1)</script>&'


def made(weights, rows=None, columns=None, **options):
    count, width = weights.shape
    given = {
        "method": "transport",
        "anchor": 3,
        "a": "region",
        "b": "word",
        "rows": rows or tuple(f"r{row}" for row in range(count)),
        "columns": columns or tuple(f"w{column}" for column in range(width)),
        "index": (torch.arange(count) + 10, torch.arange(width) + 20),
        "weights": weights,
        "cost": 0.25,
    }
    return Alignment(**{**given, **options})


PLAN = torch.tensor([[0.4, 0.1, 0.0], [0.0, 0.2, 0.3]])


def titles(svg, tag):
    return [part.find("title").text for part in ElementTree.fromstring(svg).iter(tag) if part.find("title") is not None]


def test_each_weight_is_a_cell_as_dark_as_it_is_heavy():
    svg = heat(made(PLAN)).svg
    assert sorted(titles(svg, "rect")) == [
        "r0 with w0: 0.4000",
        "r0 with w1: 0.1000",
        "r1 with w1: 0.2000",
        "r1 with w2: 0.3000",
    ]
    opacity = {
        part.find("title").text[:10]: float(part.attrib["fill-opacity"])
        for part in ElementTree.fromstring(svg).iter("rect")
        if part.find("title") is not None
    }
    assert opacity == {"r0 with w0": 1.0, "r0 with w1": 0.25, "r1 with w1": 0.5, "r1 with w2": 0.75}
    places = {
        part.find("title").text[:10]: (float(part.attrib["x"]), float(part.attrib["y"]))
        for part in ElementTree.fromstring(svg).iter("rect")
        if part.find("title") is not None
    }
    assert places["r0 with w0"][1] == places["r0 with w1"][1] < places["r1 with w1"][1]
    assert places["r0 with w0"][0] < places["r0 with w1"][0] == places["r1 with w1"][0]


def test_each_pair_is_an_arc_as_wide_as_it_is_heavy():
    panel = arcs(made(PLAN), 0.5)
    assert titles(panel.svg, "path") == ["r1 with w1: 0.2000", "r1 with w2: 0.3000", "r0 with w0: 0.4000"]
    wide = [float(one) for one in re.findall(r"stroke-width:([\d.]+)", panel.svg)]
    assert wide == sorted(wide)
    assert len(titles(arcs(made(PLAN), 0.7).svg, "path")) == 2
    assert "2 region and 3 word" in panel.svg


def test_words_say_the_pairs():
    assert words(made(PLAN), 0.7) == "By transport, at a cost of 0.250. r0 with w0 (0.40); r1 with w2 (0.30)."
    assert words(made(torch.zeros(1, 2), cost=None)) == "By transport. Nothing goes with anything."
    many = words(made(torch.ones(10, 10)))
    assert many.endswith(f"; and {100 - MOST_SAID} more.")


def test_nothing_to_draw_is_drawn_as_nothing():
    for panel in (heat(made(torch.zeros(2, 3))), arcs(made(torch.zeros(2, 3)))):
        assert titles(panel.svg, "rect") == titles(panel.svg, "path") == []


def test_large_ones_are_cut_to_the_heaviest_and_lose_their_names():
    weights = torch.arange(1.0, 90 * 80 + 1).reshape(90, 80)
    found = made(weights)
    panel = heat(found)
    drawn = titles(panel.svg, "rect")
    assert len(drawn) == MOST_DRAWN
    assert "r89 with w79: 7200.0000" in drawn
    assert f"The {7200 - MOST_DRAWN:,} lightest are left out" in panel.note
    assert "<text" not in panel.svg
    assert "lightest are left out" in arcs(found, 0.0).note
    frame = ElementTree.fromstring(panel.svg).attrib["viewBox"].split()
    assert max(map(float, frame[2:])) < 700


class Tags(HTMLParser):
    def __init__(self):
        super().__init__()
        self.seen = set()

    def handle_starttag(self, tag, attrs):
        self.seen.add(tag)
        assert not any(name.startswith("on") for name, _ in attrs)


@pytest.mark.parametrize("threshold", [0.0, 1.0])
def test_no_name_can_do_harm(threshold):
    found = made(PLAN, rows=(HOSTILE, "\x00\x1b"), columns=("a", HOSTILE, "c"), a=HOSTILE)
    page = render([found], title=HOSTILE, threshold=threshold, record={"versions": {"torch": HOSTILE}})
    tags = Tags()
    tags.feed(page)
    assert "script" not in tags.seen
    assert "<script" not in page
    for svg in re.findall(r"<svg.*?</svg>", page, flags=re.DOTALL):
        ElementTree.fromstring(svg)


def test_the_page_is_written_and_equal_alignments_give_equal_pages(tmp_path):
    path = write([made(PLAN), made(PLAN.flip(0))], tmp_path / "page.html", title="Dogs", record={"seed": 3})
    assert path.read_text() == render([made(PLAN), made(PLAN.flip(0))], title="Dogs", record={"seed": 3})
    assert path.read_text().count("<svg") == 4
    assert "://" not in path.read_text()
