"""The section of explanations: what is drawn, what it says, and what no name can do to it."""

import math
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest
import torch

from mmgraph.explain import Attribution, Case, Cases, Sanity
from mmgraph.report import Story, render
from mmgraph.report.explain import MOST_OTHERS, bars, graph_of, section, words, write
from mmgraph.report.explain import render as render_page

HOSTILE = '"><script>alert(1)</script>&'
NEAR = ("patient", "near", "patient")


def made_cases(parts=None, names=None, sanity=None, others=3):
    """Patient 10 with a scan and two texts, and others with a scan each who are near it."""
    rows = [10, *range(20, 20 + others)]
    scans = torch.arange(len(rows)) + 100
    detail = Attribution(
        method="integrated gradients",
        anchor=10,
        output=1,
        score=2.0,
        baseline=-0.5,
        parts={"scan": 1.0, "text": -0.5, "scan of others": 0.1, "near": 1.9},
        nodes={
            "patient": torch.zeros(len(rows)),
            "scan": torch.tensor([1.0, *[0.01 * n for n in range(1, others + 1)]]),
            "text": torch.tensor([-0.2, -0.3]),
        },
        edges={NEAR: torch.tensor([0.5 + n for n in range(others)])},
        n_id={"patient": torch.tensor(rows), "scan": scans, "text": torch.tensor([7, 8])},
        index={
            ("scan", "of", "patient"): torch.stack([scans, torch.tensor(rows)]),
            ("text", "of", "patient"): torch.tensor([[7, 8], [10, 10]]),
            NEAR: torch.stack([torch.tensor(rows[1:]), torch.full((others,), 10)]),
        },
    )
    parts = {"scan": 2.0, "text": -0.5, "near": 1.0} if parts is None else parts
    shares = Attribution(
        method="shapley", anchor=10, output=1, score=2.0, baseline=2.0 - sum(parts.values()), parts=parts
    )
    case = Case(
        id=(names or {}).get(10, "p10"),
        said="ill",
        truth="healthy",
        shares=shares,
        detail=detail,
        names=names or {row: f"p{row}" for row in rows},
    )
    return Cases(
        anchor="patient",
        modalities=("scan", "text"),
        cases=(case,),
        sanity=sanity or Sanity(0.05, 0.31, (0.05, 0.05)),
    )


def test_nodes_of_others_are_drawn_as_one_and_own_ones_by_modality():
    cases = made_cases()
    marks, lines = graph_of(cases, cases.cases[0])
    assert [(mark.name, mark.ring) for mark in marks] == [
        ("p10", 0),
        ("scan", 1),
        ("text", 1),
        ("p22", 2),
        ("p21", 2),
        ("p20", 2),
    ]
    values = {mark.name: mark.value for mark in marks}
    assert values["text"] == pytest.approx(-0.5)
    assert values["p21"] == pytest.approx(0.02)
    places = {mark.name: place for place, mark in enumerate(marks)}
    assert lines[places["p21"], places["p10"], "near"] == pytest.approx(1.5)
    assert lines[places["text"], places["p10"], "of"] == 0
    assert len(lines) == 5


def test_only_those_that_add_most_are_drawn():
    cases = made_cases(others=MOST_OTHERS + 5)
    marks, _ = graph_of(cases, cases.cases[0])
    assert [mark.name for mark in marks if mark.ring == 2][:2] == ["p40", "p39"]
    assert sum(mark.ring == 2 for mark in marks) == MOST_OTHERS
    assert f"{MOST_OTHERS} of {MOST_OTHERS + 5} others" in section(cases).cards[0].around.note


def test_bars_are_as_long_as_their_values_and_on_their_side():
    svg = ElementTree.fromstring(bars(made_cases().cases[0].shares).svg)
    drawn = [(float(one.get("x")), float(one.get("width")), one.get("fill")) for one in svg.iter("rect")]
    (x0, w0, c0), (x1, w1, c1), (x2, w2, c2) = drawn  # scan 2, near 1, text -0.5
    assert (w1 / w0, w2 / w0) == (pytest.approx(0.5), pytest.approx(0.25))
    assert x0 == x1 == x2 + w2
    assert c0 == c1 == "var(--c0)"
    assert c2 == "var(--c4)"


def test_small_parts_beyond_the_twelfth_are_one_bar():
    shares = made_cases(parts={f"m{n}": float(20 - n) for n in range(15)}).cases[0].shares
    svg = bars(shares).svg
    assert "3 others" in svg
    assert ">+21.00<" in svg  # 8 + 7 + 6


def test_drawings_are_well_formed_and_empty_parts_are_said():
    card = section(made_cases(parts={})).cards[0]
    for panel in (card.bars, card.around):
        ElementTree.fromstring(panel.svg)
    assert "Nothing speaks for it. Nothing speaks against it." in card.text


def test_words():
    shares = made_cases().cases[0].shares
    assert words(shares, "ill") == (
        "Log-odds of ill: 2.00, and −0.50 where nothing is known. For it: scan (+2.00), near (+1.00). "
        "Against it: text (−0.50)."
    )


def test_the_title_says_whether_it_is_right():
    assert section(made_cases()).cards[0].title == "p10: said ill, truly healthy (wrong)"


def test_the_control_is_printed_beside():
    assert "rank correlation of +0.05 with these (+0.31 without signs)" in section(made_cases()).control
    assert "too few for a rank correlation" in section(made_cases(sanity=Sanity(math.nan, math.nan, ()))).control


def test_what_is_left_over_is_said():
    card = section(made_cases()).cards[0]
    assert "nothing is left over" in card.bars.note
    assert "2e-07" not in card.around.note


class Tags(HTMLParser):
    def __init__(self, html):
        super().__init__()
        self.scripts = 0
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.scripts += tag == "script"


def test_names_are_escaped_everywhere(tmp_path):
    cases = made_cases(parts={HOSTILE: 1.0, "scan": 0.5}, names={row: HOSTILE + str(row) for row in (10, 20, 21, 22)})
    page = write(cases, tmp_path / "page.html", title=HOSTILE, record={"command": HOSTILE}).read_text()
    assert Tags(page).scripts == 0
    assert page == render_page(cases, title=HOSTILE, record={"command": HOSTILE})
    assert "http" not in page.replace("http-equiv", "")


def test_the_section_is_on_the_page_of_a_run(make_story):
    story: Story = make_story(explained=made_cases(), left_out=["No sun: it is night."])
    page = render(story)
    assert "Why the model said what it said" in page
    assert "p10: said ill, truly healthy (wrong)" in page
    assert "No sun: it is night." in page
    assert "Why the model" not in render(make_story())
