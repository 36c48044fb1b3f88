"""The page, in a headless Chromium: by mouse, by keyboard, on a telephone; with what is hostile in the graph."""

import pyarrow as pa
import pytest

from mmgraph.assembly import GraphConfig, Source, build_graph
from mmgraph.encoders import FeatureCache
from mmgraph.engine import Engine

RESULTS = "document.querySelectorAll('.result').length"
NODES = "document.querySelectorAll('.node').length"
FIRST = "document.querySelector('.result h3 button').textContent"
FOCUS = "document.activeElement"


@pytest.fixture(autouse=True)
def calm(browser, address):
    """No test leaves an error on the page, or a request to elsewhere."""
    yield
    assert browser.troubles() == []
    asked = [url for url in browser.requests() if not url.startswith(("blob:", "data:"))]
    assert asked
    assert [url for url in asked if not url.startswith(address)] == []


def find(browser, address, text="a red circle", **options):
    browser.open(address, **options)
    browser.type(text)  # the field has the focus
    browser.key("Enter")
    browser.until(RESULTS)


def walked(browser, name):
    """Waits until the neighbourhood of a node is drawn."""
    browser.until(f"document.getElementById('around-title').textContent === {name!r} && {NODES} > 1")


def test_a_text_finds_results_that_say_why(browser, address):
    find(browser, address)
    assert browser.run(RESULTS) == 10
    assert browser.run(FIRST) == "red circle"
    assert "10 results for “a red circle”" in browser.run("document.getElementById('said').textContent")
    assert browser.run("document.title") == "“a red circle” · shapes"
    assert browser.run("document.querySelector('.result .why').innerText").split()[0] == "name"
    assert browser.run("document.querySelector('.result .why .part').getBoundingClientRect().width > 20")
    browser.until("[...document.querySelectorAll('.result img')].every((one) => one.complete && one.naturalWidth > 0)")
    assert browser.run("document.querySelectorAll('.result audio').length") > 3
    browser.run("(document.querySelector('[data-column=shape]').value = JSON.stringify('bar'), 0)")
    browser.run("document.querySelector('[data-column=shape]').dispatchEvent(new Event('change', { bubbles: true }))")
    browser.until(f"{RESULTS} === 4")
    assert "is.shape" in browser.run("location.search")


def test_a_picture_and_a_sound_find_results(browser, address, png, wav, tmp_path):
    (tmp_path / "red.png").write_bytes(png("circle", "red"))
    (tmp_path / "tone.wav").write_bytes(wav(200 + 150 * 6))
    browser.open(address)
    browser.upload("#file", tmp_path / "red.png")
    browser.until(RESULTS)
    assert browser.run(FIRST) == "red circle"
    assert browser.run("document.querySelector('#given img').naturalWidth") == 64
    browser.run("document.querySelector('#given button').click()")
    browser.until("!document.querySelector('#given img')")
    browser.upload("#file", tmp_path / "tone.wav")
    browser.until(RESULTS)
    assert browser.run(FIRST) == "blue square"
    browser.upload("#file", tmp_path / "red.png")
    browser.until("document.getElementById('results-title').textContent.includes('a sound and a picture')")
    names = browser.run("[...document.querySelectorAll('.result .why')].map((one) => one.innerText)")
    assert all("sound" in name and "picture" in name for name in names)
    assert any("none" in name for name in names)  # it has no sound
    browser.run("history.back()")  # the files of an earlier question are there again
    browser.until("document.getElementById('results-title').textContent.endsWith('for a sound')")


def test_dropped_and_pasted_files_are_taken_and_others_refused(browser, address):
    browser.open(address)
    make = "new File([Uint8Array.from(atob(%r), (one) => one.charCodeAt(0))], 'a', { type: %r })"
    send = "(() => { const data = new DataTransfer(); data.items.add(%s); window.dispatchEvent(new %s); })()"
    text = make % ("aGFsbG8=", "application/zip")
    browser.run(send % (text, "DragEvent('dragenter', { dataTransfer: data })"))
    assert browser.run("!document.getElementById('drop').hidden")
    browser.run(send % (text, "DragEvent('drop', { dataTransfer: data, cancelable: true })"))
    assert browser.run("document.getElementById('drop').hidden")
    said = "document.getElementById('trouble').innerText"
    assert "can be searched by texts, pictures, sounds" in browser.until(said)
    wrong = make % ("R0lGODlh", "image/gif")
    browser.run(send % (wrong, "ClipboardEvent('paste', { clipboardData: data, cancelable: true })"))
    browser.until(f"{said}.includes('A picture must be whole and undamaged')")
    browser.events[:] = [one for one in browser.events if one["method"] != "Log.entryAdded"]  # the answer was 400


def test_by_keyboard_alone(browser, address):
    find(browser, address)
    for _ in range(12):
        browser.key("Tab")
        if browser.run(f"{FOCUS}.closest('.result') !== null"):
            break
    assert browser.run(f"{FOCUS}.textContent") == "red circle"
    browser.key("Enter")
    walked(browser, "red circle")
    assert browser.run(f"{FOCUS}.getAttribute('aria-label')") == "thing red circle, in the middle"
    seen = set()
    for key in ["ArrowUp", "ArrowRight", "ArrowDown", "ArrowDown", "ArrowLeft", "ArrowLeft", "ArrowUp"] * 2:
        browser.key(key)
        seen.add(browser.run(f"{FOCUS}.dataset.key"))
    assert len(seen) > 4
    browser.run("document.querySelector('.node[aria-label^=\"tag red\"]').focus()")
    name = browser.run("document.querySelector('.detail h3').firstChild.textContent")
    assert "tagged" in browser.run(f"{FOCUS}.getAttribute('aria-label')")
    browser.key("Enter")
    walked(browser, name)
    assert browser.run(f"{FOCUS}.getAttribute('aria-label')") == "tag red, in the middle"
    assert browser.run("document.getElementById('trail').innerText").split() == ["red", "circle", "›", *name.split()]
    browser.run("history.back()")
    walked(browser, "red circle")
    browser.key("Escape")
    browser.until("document.getElementById('around').hidden")
    browser.until(f"{FOCUS}.textContent === 'red circle'")
    assert browser.run("document.querySelectorAll('.node[tabindex=\"0\"]').length") == 1


def test_a_link_shows_the_same_again(browser, address):
    find(browser, address, "a blue bar")
    browser.run("document.querySelector('.result h3 button').click()")
    walked(browser, "blue bar")
    shown = "[...document.querySelectorAll('.node')].map((one) => one.getAttribute('aria-label')).sort().join()"
    link, before = browser.run("location.href"), browser.run(shown)
    browser.open(link)
    walked(browser, "blue bar")
    assert browser.run(shown) == before
    assert browser.run("document.getElementById('text').value") == "a blue bar"
    assert browser.run("document.querySelector('.result[aria-current]').innerText").split()[1:3] == ["blue", "bar"]
    browser.run("document.querySelector('.like').click()")
    browser.until("document.getElementById('results-title').textContent.endsWith('more like blue bar')")
    assert browser.run(f"{RESULTS} > 3 && !document.querySelector('.results').innerText.includes('1 blue bar')")


@pytest.mark.parametrize("dark", [False, True])
def test_on_a_telephone_nothing_is_wider_than_the_screen(browser, address, dark):
    find(browser, address, width=360, height=740, dark=dark)
    narrow = "document.documentElement.scrollWidth <= 360 && document.body.scrollWidth <= 360"
    assert browser.run(narrow)
    browser.run("document.querySelector('.result h3 button').click()")
    walked(browser, "red circle")
    assert browser.run(narrow)
    assert browser.run("document.getElementById('drawing').getBoundingClientRect().top < innerHeight / 2")
    heights = "[...document.querySelectorAll('button')].map((one) => one.offsetHeight).filter(Boolean)"
    assert browser.run(f"Math.min(...{heights})") >= 24
    apart = """(() => {
      const places = [...document.querySelectorAll('.node .reach')].map((one) => one.getBoundingClientRect());
      const inside = places.every(({ left, right }) => left >= 0 && right <= 360);
      return inside && places.every((one, i) => places.every((other, j) =>
        i === j || Math.hypot(one.x - other.x, one.y - other.y) > 36));
    })()"""
    assert browser.run(apart)


def test_words_of_the_graph_stay_words(browser, address):
    find(browser, address, "pink onerror img")
    assert browser.run(FIRST).startswith("<img src=x")
    browser.run("document.querySelector('.result h3 button').click()")
    browser.until(f"{NODES} > 1")
    browser.run("document.querySelector('details summary').click()")
    assert browser.run("document.querySelectorAll('img[src=x], b:not(.facts b), i:not(.legend i)').length") == 0
    assert "hacked" not in browser.run("document.title").partition("·")[0].replace("'hacked'", "")
    assert "<b>bold</b>" in browser.run("document.getElementById('plain').innerText")
    browser.open(address + "/?q=%3Cimg%20src%3Dx%20onerror%3Dalert(1)%3E&type=tag&id=%3Cb%3Ebold%3C%2Fb%3E&is.shape=x")
    browser.until(f"{NODES} > 1")
    assert browser.run("document.querySelectorAll('img[src=x]').length") == 0


def test_a_text_is_compared_with_all_texts_or_with_those_of_one_type(browser, address, running, tmp_path):
    columns = {"title": "text", "plot": "text"}
    config = GraphConfig(nodes={"film": {"table": "films", "key": "id", "columns": columns}})
    films = pa.table(
        {"id": ["a", "b"], "title": ["Rain", "Snow"], "plot": ["A dog in the snow.", "Thieves in the rain."]}
    )
    engine = Engine(build_graph(Source(config, {"films": films}), cache=FeatureCache(tmp_path)))
    why = "[...document.querySelector('.why').querySelectorAll('span:first-child, .number + span')].length"
    with running(engine) as films_address:
        find(browser, films_address, "rain")
        assert browser.run(why) == 2
        browser.run("(document.getElementById('in-text').value = 'plot', 0)")
        browser.run("document.getElementById('in-text').dispatchEvent(new Event('change', { bubbles: true }))")
        browser.until(f"{why} === 1")
        assert browser.run(FIRST) == "b"
        assert browser.run("location.search") == "?q=rain&in.text=plot"
        assert browser.run("document.getElementById('choose').hidden")
    browser.events[:] = [one for one in browser.events if one["method"] != "Network.requestWillBeSent"]
    browser.open(address)


def test_what_is_not_there_is_said(browser, address):
    browser.open(address + "/?type=thing&id=gold")
    said = browser.until("document.getElementById('trouble').innerText")
    assert "'thing' must have a node 'gold'" in said
    browser.open(address + "/?files=9")
    assert "is not in its link" in browser.until("document.getElementById('trouble').innerText")
    browser.open(address)
    browser.until("document.querySelectorAll('#examples button').length === 8")
    browser.run("document.querySelector('#examples button').click()")
    walked(browser, "red circle")
    browser.events[:] = [one for one in browser.events if one["method"] != "Log.entryAdded"]
