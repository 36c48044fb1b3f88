"""The page as a reader and a browser get it."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mmgraph.report import Neighbourhood, Story, render, write
from mmgraph.report.html import flatten
from mmgraph.train.results import Cell, Results

VOID = {"meta", "link", "br", "wbr", "img", "input", "hr"}


class Page(HTMLParser):
    """All start tags, the text by open element, and what was not closed."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[int, str]] = []  # number of the tag that the text is in
        self.open: list[tuple[str, int]] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append((tag, len(self.tags) - 1))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open[-1][0] == tag, (self.open[-1], tag)
        self.open.pop()

    def handle_data(self, data: str) -> None:
        for _, number in self.open:
            self.texts.append((number, data))

    def every(self, tag: str, **attributes: str) -> Iterator[tuple[dict[str, str | None], str]]:
        for number, (name, attrs) in enumerate(self.tags):
            if name == tag and all(attrs.get(key.replace("_", "-")) == value for key, value in attributes.items()):
                yield attrs, "".join(text for at, text in self.texts if at == number)


@pytest.fixture(scope="module")
def whole(make_story: Any) -> Story:
    around = Neighbourhood(
        centre="a", ids=["a", "b"], labels=["benign", "malignant"], edges=[(1, 0, "near_mean")], similarity=[1.0, 0.8]
    )
    return make_story(rows=120, neighbourhood=around)


@pytest.fixture(scope="module")
def html(whole: Story) -> str:
    return render(whole)


@pytest.fixture(scope="module")
def page(html: str) -> Page:
    return Page(html)


def test_page_is_well_formed(page: Page) -> None:
    assert page.open == []
    ids = [attrs["id"] for _, attrs in page.tags if "id" in attrs]
    assert len(ids) == len(set(ids))


def test_every_reference_inside_the_page_leads_somewhere(page: Page, html: str) -> None:
    ids = {attrs["id"] for _, attrs in page.tags if "id" in attrs}
    used = {str(attrs["href"]) for tag, attrs in page.tags if tag == "use"} | set(re.findall(r"url\((#[^)]+)\)", html))
    assert used
    assert {one.removeprefix("#") for one in used} <= ids


def test_page_refers_to_nothing_outside(page: Page, html: str) -> None:
    assert not re.search(r"https?:|@import|//[a-z]", html)
    for tag, attrs in page.tags:
        assert tag not in {"img", "iframe", "object", "embed", "audio", "video", "a"}
        assert "src" not in attrs
        if "href" in attrs:
            assert str(attrs["href"]).startswith(("#", "data:,"))


def test_header_says_what_was_asked_and_what_came_out(page: Page, html: str, whole: Story) -> None:
    results = whole.results
    assert [text for _, text in page.every("h1")] == [whole.title]
    [(_, headline)] = page.every("div", **{"class": "headline"})
    mean, std = results.mean("full", "accuracy"), results.std("full", "accuracy")
    assert " ".join(headline.split()) == f"accuracy of the full model {mean:.3f}± {std:.3f}"
    [(_, facts)] = page.every("ul", **{"class": "facts"})
    assert "5 resplits" in facts
    assert "171 test rows each" in facts
    [(_, verdict)] = page.every("div", **{"class": "verdict"})
    assert results.verdict() in verdict


@pytest.mark.parametrize(
    ("rival", "kind", "said"),
    [
        (0.80, "good", "The graph helps"),
        (0.99, "bad", "The graph hurts"),
        (0.948, "none", "The graph shows no difference"),
    ],
)
def test_verdict_is_as_visible_whatever_it_is(
    rival: float, kind: str, said: str, make_story: Any, make_results: Any
) -> None:
    page = Page(render(make_story(make_results(variants={"full": 0.948, "no_graph": rival}))))
    assert [text for _, text in page.every("li", **{"class": f"chip {kind}"})] == [said]


def test_table_has_every_variant_with_the_means_of_the_results(page: Page, whole: Story) -> None:
    results = whole.results
    rows = [attrs["data-variant"] for attrs, _ in page.every("tr") if "data-variant" in attrs]
    assert rows == list(results.variants)
    for metric in results.metrics:
        cells = [text for attrs, text in page.every("td", data_metric=metric) if "title" in attrs]
        expected = [f"{results.mean(v, metric):.3f}± {results.std(v, metric):.3f}" for v in results.variants]
        assert ["".join(cell.strip().split("\n")) for cell in cells] == expected


def test_differences_and_intervals_are_those_of_the_results(page: Page, whole: Story) -> None:
    text = "".join(text for _, text in page.every("table", **{"class": "scores"})).replace("−", "-")
    for variant in whole.results.variants[1:]:
        gap = whole.results.difference(variant)
        assert f"{gap.mean:+.3f}{gap.low:+.3f} to {gap.high:+.3f}" in text
        assert ("< 0.001" if gap.p < 0.001 else f"{gap.p:.3f}") in text


def test_published_numbers_are_marked_as_of_another_split(page: Page) -> None:
    [(_, row)] = page.every("tr", **{"class": "published"})
    assert "Street 1993" in row
    assert "published, other split" in row
    assert "0.970" in row


def test_published_number_of_a_metric_that_was_not_measured_is_still_shown(make_story: Any) -> None:
    story = make_story(published=[{"source": "A 2020", "metric": "AUPRC", "value": "0.91 ± 0.02"}])
    [(_, row)] = Page(render(story)).every("tr", **{"class": "published"})
    assert "AUPRC 0.91 ± 0.02" in row


def test_all_drawings_say_what_they_show(page: Page) -> None:
    drawings = [attrs for attrs, _ in page.every("svg") if attrs.get("aria-hidden") != "true"]
    assert len(drawings) == 5 + 9 + 8  # figures, runs of the variants, their differences
    assert all(attrs["role"] == "img" and attrs["aria-label"] for attrs in drawings)
    assert len(list(page.every("caption"))) == 3
    assert all(attrs.get("scope") in {"row", "col"} for attrs, _ in page.every("th"))


def test_drawings_have_the_colours_of_the_page_in_both_schemes(html: str) -> None:
    figures = "".join(re.findall(r"<figure>.*?</figure>", html, re.DOTALL))
    assert "var(--ink)" in figures
    assert "var(--c0)" in figures
    assert not re.search(r"#[0-9a-f]{6}\b", figures)
    assert "prefers-color-scheme:dark" in html
    assert "[data-scheme=dark]" in html
    assert 'id="scheme"' in html
    used = set(re.findall(r"var\((--[\w-]+)", html)) - {"--c", "--t"}
    light, dark = (
        set(re.findall(r"(--[\w-]+):", part)) for part in re.findall(r"color-scheme:\w+; (.*?)}", html, re.DOTALL)[:2]
    )
    assert used <= light
    assert light == dark


def test_text_of_drawings_is_text_in_the_font_of_the_page(html: str) -> None:
    figures = "".join(re.findall(r"<figure>.*?</figure>", html, re.DOTALL))
    assert ">malignant</text>" in figures
    assert "font-family" not in figures
    assert "metadata" not in figures


def test_marks_of_the_map_say_who_they_are(html: str, whole: Story) -> None:
    assert f"<title>{whole.point_ids[3]} · {whole.point_labels[3]} · " in html
    assert html.count("<title>patient-") == 120


def test_equal_stories_give_equal_bytes(whole: Story, html: str) -> None:
    assert render(whole) == html


def test_page_of_600_points_is_small(make_story: Any) -> None:
    assert len(render(make_story(rows=600)).encode()) < 500_000


EVIL = "<script>alert('&\"$x^$\x01')</script>"


def test_strings_of_the_user_are_escaped(make_story: Any, make_results: Any) -> None:
    around = Neighbourhood(centre=EVIL, ids=[EVIL, "b"], labels=[EVIL, ""], edges=[(0, 1, EVIL)])
    results = make_results(variants={"full": 0.9, EVIL: 0.8}, classes=(EVIL, 'id="x" #010101'))
    story = make_story(
        results,
        title=EVIL,
        lead=EVIL,
        published=[{"source": EVIL, "metric": EVIL, "value": EVIL}],
        config={EVIL: EVIL},
        record={"nested": {EVIL: [EVIL]}},
        points=np.eye(4),
        point_ids=[EVIL, "b", "c", "d"],
        point_labels=[EVIL] * 4,
        neighbourhood=around,
    )
    html = render(story)
    page = Page(html)
    assert len(list(page.every("script"))) == 1
    assert "alert(" not in next(text for _, text in page.every("script"))
    assert html.count("&lt;script&gt;") > 12
    assert page.open == []


def test_page_of_one_run_and_nothing_else_says_what_is_missing(make_story: Any, make_results: Any) -> None:
    results = make_results(runs=1, variants={"full": 0.9, "majority": 0.6})
    bare = [{**cell.to_json(), "history": (), "probabilities": (), "labels": ()} for cell in results.cells]
    results = Results.from_json({**results.to_json(), "cells": bare})
    story = make_story(results, published=(), config={}, record={})
    html = render(story)
    for said in (
        "No verdict",
        "No learning curves",
        "No confusion matrix",
        "No calibration",
        "No map",
        "No neighbourhood",
    ):
        assert html.count(said) == 1
    assert "<figure>" not in html
    assert "Nothing was recorded." in html
    assert "nan" not in html.lower().split("</style>")[1]


def test_single_class_has_no_confusion_and_no_calibration(make_story: Any, make_results: Any) -> None:
    results = make_results()
    cells = [{**cell.to_json(), "labels": [0] * 171, "probabilities": [[1.0]] * 171} for cell in results.cells]
    html = render(make_story(Results.from_json({**results.to_json(), "cells": cells, "classes": ["one"]})))
    assert "it takes 2 to 40 classes, and there are 1" in html
    assert "No calibration" in html


def test_rivals_with_fewer_runs_or_metrics_leave_gaps(make_story: Any, make_results: Any) -> None:
    results = make_results(variants={"full": 0.9, "no_graph": 0.8, "rival": 0.85})
    cells = [cell.to_json() for cell in results.cells if (cell.run, cell.variant) != (4, "no_graph")]
    for cell in cells:
        if cell["variant"] == "rival":
            cell["metrics"] = {"accuracy": float("nan"), "f1": 0.5}
    html = render(make_story(Results.from_json({**results.to_json(), "cells": cells})))
    assert "No verdict" in html
    assert "n/a" in html
    assert "–" in html


def test_write_gives_the_path_of_the_page(whole: Story, html: str, tmp_path: Path) -> None:
    path = write(whole, tmp_path / "new" / "report.html")
    assert path.read_text(encoding="utf-8") == html
    assert [one.name for one in path.parent.iterdir()] == ["report.html"]


def test_flatten_keeps_empty_settings() -> None:
    assert flatten({"a": {}, "b": [1, None], "c": {"d": True}}) == [("a", "{}"), ("b", "[1, null]"), ("c.d", "true")]


def test_import_is_cheap() -> None:
    heavy = "{'torch', 'sklearn', 'matplotlib', 'jinja2', 'lightning'}"
    code = f"import sys, mmgraph.report; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_payload_that_is_better_than_that_of_others_is_said_to_help() -> None:
    scores = {"full": [0.5, 0.52, 0.54], "shuffled:image": [0.4, 0.42, 0.43], "zeroed:image": [0.4, 0.5, 0.6]}
    cell: dict[str, Any] = {"val_metrics": {}, "seconds": 1.0, "data_sha256": "", "parts": (6, 2, 2), "test_sha256": ""}
    cells = [
        Cell(run=run, variant=variant, metrics={"mrr": value}, **cell)
        for variant, values in scores.items()
        for run, value in enumerate(values)
    ]
    page = render(Story(title="a", lead="b", results=Results(cells, metric="mrr"), config={}, record={}))
    assert "The image helps" in page
    assert "The image of an entity over that of another helps (+0.103 mrr, 95 % interval" in page
    assert "same model, payloads of other entities" in page
    assert "same model, payloads of zeros" in page


def test_what_was_made_is_shown(make_story, tmp_path):
    from PIL import Image

    Image.new("L", (4, 4)).save(tmp_path / "sheet.png")
    lines = [f"{number}\ta <dog>\tthe dog\n" for number in range(40)]
    (tmp_path / "samples.tsv").write_text("row\tmade\treferences\n" + "".join(lines))
    (tmp_path / "triples.txt").write_text("made: a | b | c\n")
    html = render(make_story(made=sorted(tmp_path.glob("*"))))
    page = Page(html)
    assert not page.open
    assert html.count("a &lt;dog&gt;") == 24
    assert "data:image/png;base64," in html
    assert "made: a | b | c" in html
    assert "What was made" not in render(make_story())


def test_groups_of_what_is_asked_have_a_table(whole: Story) -> None:
    results = whole.results
    by_group = {f"{results.metric} tail": 0.4321, f"{results.metric} head": 0.1234}
    cells = [replace(cell, metrics=cell.metrics | by_group) for cell in results.cells]
    page = Page(render(replace(whole, results=replace(results, cells=cells))))
    found = [text for _, text in page.every("td", data_metric=f"{results.metric} tail")]
    assert len(found) == len(results.variants)
    assert all("0.432" in text for text in found)
    assert "by what is asked" not in render(whole)
