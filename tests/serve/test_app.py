"""The application: routes, what it never gives away, and many requests at once."""

import asyncio
import json
import os
import random
import re
from collections import Counter
from pathlib import Path

import aiohttp
import pytest

from mmgraph.errors import ArtifactError
from mmgraph.serve import Limits, make_app
from mmgraph.serve.app import STATIC

API = "/api/v1"
MANY = int(os.environ.get("MMGRAPH_MANY_REQUESTS", "600"))  # 10,000 to see what it bears


@pytest.mark.parametrize("name", STATIC)
def test_the_page_and_what_belongs_to_it(address, ask, name):
    path = "/" if name == "page.html" else f"/static/{name}"
    status, headers, body = ask(address + path)
    kind = {"html": "text/html", "css": "text/css", "js": "text/javascript"}[name.rpartition(".")[2]]
    assert (status, headers["Content-Type"]) == (200, f"{kind}; charset=utf-8")
    assert body
    assert not re.search(rb"https?://(?!www\.w3\.org/2000/svg)", body), "nothing is fetched from elsewhere"
    assert not re.search(rb"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|style=\"", body)


@pytest.mark.parametrize(
    "path",
    [
        "/static/../app.py",
        "/static/%2e%2e/app.py",
        "/static/..%2fapp.py",
        "/..%5c..%5capp.py",
        "/static/",
        "/static//etc/passwd",
        "//etc/passwd",
        f"{API}/payload/name/../../../../../etc/passwd",
        f"{API}/payload/..%2f..%2fabout/0",
        f"{API}/payload/name/..%2f0",
        f"{API}/payload/name/0/",
        f"{API}/payload/nonsense/0",
        f"{API}/payload/thing/0",
        f"{API}/payload/name/999999",
        f"{API}/node/%2e%2e%2f/neighbours",
        f"{API}/node/red%20bar/neighbours?type=../etc",
        f"{API}/nowhere",
        "/favicon.ico",
    ],
)
def test_no_address_is_a_path(address, path):
    """As it is: a client would tidy it."""
    host, port = address.removeprefix("http://").split(":")

    async def get():
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        found = await reader.read()
        writer.close()
        return found

    start, _, body = asyncio.run(get()).partition(b"\r\n\r\n")
    assert int(start.split()[1]) in (400, 404), body
    assert set(json.loads(body)) == {"error", "what", "do"}
    assert b"root:" not in body
    assert b"import" not in body


def test_a_method_that_is_not_taken(address, ask):
    status, headers, body = ask(address + f"{API}/search")
    assert (status, json.loads(body)["error"]) == (405, "not_allowed")
    assert headers["Allow"] == "POST"
    assert ask(address + f"{API}/describe", "DELETE")[0] == 405
    assert ask(address + "/", "HEAD")[0] == 200


def test_ids_with_slashes_and_letters_beyond_ascii(address, ask):
    status, _, body = ask(address + f"{API}/node/s2%2F%C3%A4/neighbours?type=shop")
    assert status == 200
    assert json.loads(body)["nodes"][0]["id"] == "s2/ä"


class Failing:
    """An engine whose searches fail."""

    def __init__(self, engine, error):
        self.folder, self.now, self.state, self.searched, self.error = None, self, engine.state, engine.now, error

    def __getattr__(self, name):
        return getattr(self.searched, name)

    def search(self, asked):
        raise self.error


def test_an_unexpected_failure_says_nothing_of_the_inside(engine, running, ask, caplog):
    with running(Failing(engine, RuntimeError("the password is 1234"))) as address:
        status, _, body = ask(address + f"{API}/search", "POST", json={"text": "a"})
    assert status == 500
    assert json.loads(body) == {
        "error": "failed",
        "what": "The server must answer, and failed",
        "do": "look at what the server printed",
    }
    assert "the password is 1234" in caplog.text  # where it belongs


def test_a_damaged_file_is_the_servers_matter(engine, running, ask):
    with running(Failing(engine, ArtifactError("The encoder of 'name' must be X, got Y; build again"))) as address:
        status, _, body = ask(address + f"{API}/search", "POST", json={"text": "a"})
    assert (status, json.loads(body)["do"]) == (500, "build again")


def test_a_server_of_all_addresses_may_be_named(engine, running, ask):
    assert callable(make_app(engine, title="all", host="0.0.0.0"))
    with running(engine, names=("Search.example",)) as address:
        assert ask(address, headers={"Host": "search.example:80"})[0] == 200
        assert ask(address, headers={"Host": "other.example"})[0] == 403


def memory():
    """Resident memory of this process, in bytes."""
    found = re.search(r"VmRSS:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(found[1]) * 1024


def requests(png, wav):
    """All kinds of requests: small and large, right and wrong."""

    def form():
        found = aiohttp.FormData({"k": "2"})
        found.add_field("image", png("circle", "red"), filename="a.png")
        found.add_field("audio", wav(440), filename="a.wav")
        return {"data": found}

    return [
        ("GET", f"{API}/describe", {}),
        ("POST", f"{API}/search", {"json": {"text": "a red circle", "k": 3}}),
        ("POST", f"{API}/search", form),
        ("POST", f"{API}/search", {"json": {"id": "red bar", "level": "subgraph", "subgraph": True}}),
        ("GET", f"{API}/node/red%20circle/neighbours", {}),
        ("GET", f"{API}/payload/picture/3?side=96", {}),
        ("GET", f"{API}/payload/sound/2", {"headers": {"Range": "bytes=0-99"}}),
        ("GET", "/", {}),
        ("POST", f"{API}/search", {"data": b"{" * 1000, "headers": {"Content-Type": "application/json"}}),
        ("POST", f"{API}/search", {"data": b"a" * 1_000_000, "headers": {"Content-Type": "application/json"}}),
        ("GET", f"{API}/payload/picture/12345", {}),
    ]


EXPECTED = [200, 200, 200, 200, 200, 200, 206, 200, 400, 413, 404]


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
def test_many_requests_at_once(engine, running, png, wav):
    """Each gets its answer or is told to come back; memory stays where it is."""
    kinds = requests(png, wav)
    order = random.Random(0).choices(range(len(kinds)), k=MANY)
    limits = Limits(rate=1e6, burst=10**6, at_once=4, waiting=120, max_bytes=400_000)

    async def storm(address, numbers):
        gate = asyncio.Semaphore(200)
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=200)) as session:

            async def once(number):
                method, path, options = kinds[number]
                options = options() if callable(options) else options
                async with gate, session.request(method, address + path, **options) as answer:
                    body = await answer.read()
                    if answer.status >= 400:
                        assert set(json.loads(body)) == {"error", "what", "do"}
                    return number, answer.status

            return await asyncio.gather(*(once(number) for number in numbers))

    with running(engine, limits) as address:
        asyncio.run(storm(address, list(range(len(kinds))) * 3))
        before = memory()
        answers = asyncio.run(storm(address, order))
        grown = memory() - before
        again = asyncio.run(storm(address, range(len(kinds))))
    assert [status for _, status in again] == EXPECTED  # as if nothing had been
    assert all(status in (EXPECTED[number], 503) for number, status in answers)
    counts = Counter(status for _, status in answers)
    assert counts[200] > MANY / 10
    assert grown < 150e6
