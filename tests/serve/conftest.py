"""What the tests of the server share: a small graph, a running server, and a browser driven over its own protocol."""

import asyncio
import base64
import io
import json
import os
import shutil
import socket
import subprocess
import threading
import time
import wave
from contextlib import contextmanager
from pathlib import Path

import aiohttp
import numpy as np
import pyarrow as pa
import pytest
from PIL import Image, ImageDraw

from mmgraph.assembly import GraphConfig, Source, build_graph
from mmgraph.encoders import FeatureCache
from mmgraph.engine import Engine
from mmgraph.serve import Limits, make_app

HOSTILE = "<img src=x onerror=document.title='hacked'>"
SHAPES, COLOURS = ("circle", "square", "bar"), ("red", "green", "blue", "orange")


def _png(shape, colour, size=64):
    picture = Image.new("RGB", (size, size), "white")
    draw = ImageDraw.Draw(picture)
    box = (size // 2 - 6, 8, size // 2 + 6, size - 8) if shape == "bar" else (10, 10, size - 10, size - 10)
    (draw.ellipse if shape == "circle" else draw.rectangle)(box, fill=colour)
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


def _wav(hertz, seconds=0.3):
    samples = np.sin(np.arange(round(8000 * seconds)) * hertz * 2 * np.pi / 8000) * 0.5
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setparams((1, 2, 8000, 0, "NONE", ""))
        out.writeframes((samples * 32767).astype("<i2").tobytes())
    return file.getvalue()


def _rows():
    for number, (shape, colour) in enumerate((shape, colour) for shape in SHAPES for colour in COLOURS):
        yield {
            "id": f"{colour} {shape}",
            "name": f"A {colour} {shape}",
            "picture": _png(shape, colour),
            "sound": _wav(200 + 150 * number) if number % 5 else None,
            "tags": f"{colour};{shape}",
            "shop": "s1" if number % 2 else "s2/ä",
            "price": float(number),
            "shape": shape,
        }
    odd = {"id": HOSTILE, "name": f"{HOSTILE} pink", "picture": _png("bar", "pink"), "sound": None}
    yield {**odd, "tags": "<b>bold</b>", "shop": "s1", "price": None, "shape": "<i>"}


@pytest.fixture(scope="session")
def png():
    """Gives the bytes of a picture of a shape."""
    return _png


@pytest.fixture(scope="session")
def wav():
    """Gives the bytes of a tone."""
    return _wav


@pytest.fixture(scope="session")
def engine(tmp_path_factory):
    """Searches things with names, pictures, sounds and prices, some of them hostile, sold by shops."""
    config = GraphConfig(
        anchor="thing",
        nodes={
            "thing": {
                "table": "things",
                "key": "id",
                "columns": {"name": "text", "picture": "image", "sound": "audio", "price": "numeric", "shape": "keep"},
            },
            "shop": {"table": "shops", "key": "id", "columns": {"city": "keep"}},
        },
        edges=[
            {"type": ("thing", "sold_by", "shop"), "column": "shop"},
            {"type": ("thing", "tagged", "tag"), "column": "tags", "separator": ";"},
            {"type": ("thing", "like", "thing"), "nearest": "picture", "k": 2},
        ],
    )
    tables = {
        "things": pa.Table.from_pylist(list(_rows())),
        "shops": pa.table({"id": ["s1", "s2/ä"], "city": ["Oslo", "Lima"]}),
    }
    return Engine(build_graph(Source(config, tables), cache=FeatureCache(tmp_path_factory.mktemp("features"))))


@contextmanager
def _running(engine, limits=None, **options):
    import uvicorn

    limits = limits or Limits(rate=10_000, burst=10_000)
    app = make_app(engine, title="shapes", limits=limits, **options)
    config = uvicorn.Config(app, log_level="error", access_log=False, log_config=None, proxy_headers=False, ws="none")
    server = uvicorn.Server(config)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        while not server.started:
            time.sleep(0.005)
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(10)


@pytest.fixture(scope="session")
def running():
    """Runs a server of an engine within ``with``, and gives its address."""
    return _running


@pytest.fixture(scope="module")
def address(engine):
    """The address of a server that all tests of a module ask."""
    with _running(engine) as found:
        yield found


@pytest.fixture(scope="session")
def ask():
    """Asks a server once: ``ask(url, "POST", …) -> (status, headers, body)``."""

    def request(url, method="GET", **options):
        async def once():
            async with aiohttp.ClientSession() as session, session.request(method, url, **options) as answer:
                return answer.status, answer.headers, await answer.read()

        return asyncio.run(once())

    return request


class Browser:
    """A headless Chromium, driven by the DevTools protocol over a websocket."""

    def __init__(self, program: str, folder: Path) -> None:
        words = ["--headless=new", "--remote-debugging-port=0", f"--user-data-dir={folder}", "--disable-gpu"]
        words += ["--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"]
        words += ["--disable-extensions", "--mute-audio", "--disable-dev-shm-usage", "--disable-default-apps"]
        words += ["--no-sandbox"] if os.geteuid() == 0 else []
        self.log = (folder / "log").open("w")
        self.process = subprocess.Popen([program, *words, "about:blank"], stdout=self.log, stderr=self.log)
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()
        self.answers, self.events, self.number = {}, [], 0
        self._wait(self._connect(folder / "DevToolsActivePort"))
        for domain in ("Page", "Runtime", "Network", "Log", "DOM"):
            self.call(f"{domain}.enable")

    def _wait(self, work):
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(30)

    async def _connect(self, file):
        for _ in range(1500):
            if file.exists() and file.read_text().count("\n"):
                break
            await asyncio.sleep(0.02)
        port = file.read_text().split()[0]
        self.session = aiohttp.ClientSession()
        async with self.session.get(f"http://127.0.0.1:{port}/json/list") as found:
            (page,) = [one for one in await found.json() if one["type"] == "page"]
        self.socket = await self.session.ws_connect(page["webSocketDebuggerUrl"], max_msg_size=0)
        self.reader = asyncio.create_task(self._read())

    async def _read(self):
        async for message in self.socket:
            found = json.loads(message.data)
            if "id" in found:
                self.answers.pop(found["id"]).set_result(found)
            else:
                self.events.append(found)

    async def _call(self, method, params):
        self.number += 1
        answer = self.answers[self.number] = self.loop.create_future()
        await self.socket.send_str(json.dumps({"id": self.number, "method": method, "params": params}))
        return await answer

    def call(self, method, **params):
        found = self._wait(self._call(method, params))
        assert "error" not in found, found
        return found["result"]

    def run(self, script):
        """The value of an expression on the page."""
        found = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def until(self, script, seconds=10):
        """Waits until an expression holds, and gives its value."""
        end = time.monotonic() + seconds
        while not (value := self.run(script)):
            assert time.monotonic() < end, f"{script} never held; the page says {self.run('document.body.innerText')}"
            time.sleep(0.02)
        return value

    def open(self, url, *, width=1280, height=900, dark=False, still=True):
        self.events.clear()
        phone = width < 760
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": phone}
        self.call("Emulation.setDeviceMetricsOverride", **size)
        media = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        media += [{"name": "prefers-reduced-motion", "value": "reduce"}] if still else []
        self.call("Emulation.setEmulatedMedia", features=media)
        self.call("Page.navigate", url=url)
        self.until("document.readyState === 'complete' && document.documentElement.dataset.ready === 'true'")

    def key(self, key, text=None):
        codes = {"Enter": 13, "Tab": 9, "Escape": 27, "ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40}
        text = "\r" if key == "Enter" else text
        event = {
            "key": key,
            "code": key,
            "windowsVirtualKeyCode": codes.get(key, 0),
            **({"text": text} if text else {}),
        }
        self.call("Input.dispatchKeyEvent", type="keyDown", **event)
        self.call("Input.dispatchKeyEvent", type="keyUp", key=key, code=key)

    def type(self, text):
        self.call("Input.insertText", text=text)

    def upload(self, selector, file):
        root = self.call("DOM.getDocument")["root"]["nodeId"]
        node = self.call("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.call("DOM.setFileInputFiles", nodeId=node, files=[str(file)])

    def screenshot(self, path):
        data = self.call("Page.captureScreenshot", captureBeyondViewport=False)["data"]
        Path(path).write_bytes(base64.b64decode(data))

    def troubles(self):
        """What went wrong on the page: exceptions, and what the console was told."""
        bad = ("Runtime.exceptionThrown", "Log.entryAdded", "Runtime.consoleAPICalled")
        return [event["params"] for event in self.events if event["method"] in bad]

    def requests(self):
        """The addresses that were asked."""
        return [e["params"]["request"]["url"] for e in self.events if e["method"] == "Network.requestWillBeSent"]

    def close(self):
        async def end():
            await self.socket.close()
            await self.session.close()
            self.reader.cancel()

        self._wait(end())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()
        self.process.terminate()
        self.process.wait(10)
        self.log.close()


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    """A browser for the tests of a module."""
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if program is None:
        pytest.skip("Chromium is not here")
    found = Browser(program, tmp_path_factory.mktemp("browser"))
    yield found
    found.close()
