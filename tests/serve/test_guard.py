"""The guard: what is too large, too slow, too often or called by another name is told so, and holds nothing."""

import asyncio
import json
import socket
import threading
import time
import tracemalloc

import aiohttp
import pytest
from starlette.datastructures import Headers

from mmgraph.serve import Limits
from mmgraph.serve.guard import POLICY, Guard

SEARCH = "/api/v1/search"
JSON = {"Content-Type": "application/json"}


def raw(address, *pieces, pause=0.0, read=True):
    """What a server answers to bytes as they are."""
    host, port = address.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as line:
        for piece in pieces:
            line.sendall(piece)
            time.sleep(pause)
        found = b""
        while read and (some := line.recv(1 << 16)):
            found += some
            if b"\r\n\r\n" in found and found.endswith(b"}"):
                break
    return found


def head(path=SEARCH, method="POST", host="localhost", **headers):
    lines = [f"{method} {path} HTTP/1.1", f"Host: {host}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode()


def said(answer):
    start, _, body = answer.partition(b"\r\n\r\n")
    return int(start.split()[1]), json.loads(body)


@pytest.fixture(scope="module")
def small(engine, running):
    """A server with a limit of 10 kB and little patience."""
    with running(engine, Limits(max_bytes=10_000, read_s=0.3, rate=1000, burst=1000)) as address:
        yield address


def test_a_body_that_says_it_is_too_large_is_refused_before_it_is_sent(small):
    status, body = said(raw(small, head(Content_Length=20_000_000, Expect="100-continue", Content_Type="text/plain")))
    assert status == 413
    assert body == {
        "error": "too_large",
        "what": "The body must have at most 10,000 bytes",
        "do": "send less: a smaller picture, a shorter recording",
    }


@pytest.mark.parametrize("data", [b"a" * 10_001, b"a" * 35_000], ids=len)
def test_a_body_that_is_too_large_is_refused(small, ask, data):
    status, _, body = ask(small + SEARCH, "POST", data=data, headers=JSON)
    assert (status, json.loads(body)["error"]) == (413, "too_large")


def test_a_body_without_a_length_is_counted_as_it_comes(small):
    chunk = b"fa0\r\n" + b"a" * 4000 + b"\r\n"
    answer = raw(small, head(Transfer_Encoding="chunked", Content_Type="application/json"), *[chunk] * 3, b"0\r\n\r\n")
    assert said(answer)[0] == 413


def test_what_is_too_large_is_thrown_away_as_it_comes():
    most, chunks = 1_000_000, 40

    async def read():
        left = chunks

        async def receive():
            nonlocal left
            left -= 1
            return {"type": "http.request", "body": bytes(100_000), "more_body": left > 0}

        return await Guard(None, limits=Limits(max_bytes=most), names=())._read(Headers({}), receive)

    tracemalloc.start()
    try:
        assert asyncio.run(read()) is None
        assert tracemalloc.get_traced_memory()[1] < 2 * most
    finally:
        tracemalloc.stop()


def test_a_body_within_the_limit_is_read_whole(small, ask):
    text = "red bar " * 1_230
    status, _, body = ask(small + SEARCH, "POST", data=json.dumps({"text": text, "k": 1}), headers=JSON)
    assert status == 200, body


def test_a_body_that_never_comes_is_not_waited_for(small):
    status, body = said(raw(small, head(Content_Length=100, Content_Type="application/json"), b'{"text'))
    assert (status, body["error"], body["what"]) == (408, "too_slow", "The body must arrive within 0.3 s")


def test_clients_that_go_away_leave_no_place_taken(small, ask):
    for _ in range(30):  # more than there are places
        raw(small, head(Content_Length=100, Content_Type="application/json"), b'{"te', read=False)
    status, _, _ = ask(small + SEARCH, "POST", json={"text": "a red bar"})
    assert status == 200


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example:80", "", "10.0.0.1"])
@pytest.mark.parametrize("path", ["/", "/api/v1/describe"])
def test_other_names_do_not_lead_here(address, host, path):
    status, body = said(raw(address, head(path, "GET", host)))
    assert (status, body["error"]) == (403, "refused")
    assert body["what"].endswith(f"got {host!r}")


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://localhost:1"])
def test_other_pages_may_not_ask(address, ask, origin):
    status, headers, body = ask(address + SEARCH, "POST", json={"text": "a"}, headers={"Origin": origin})
    assert (status, json.loads(body)["what"]) == (403, f"Origin must be this server's own page, got {origin!r}")
    assert not [name for name in headers if name.lower().startswith("access-control")]


def test_its_own_page_may_ask(address, ask):
    status, headers, _ = ask(address + SEARCH, "POST", json={"text": "red"}, headers={"Origin": address})
    assert status == 200
    assert not [name for name in headers if name.lower().startswith("access-control")]


def test_headers_keep_the_page_to_itself(address, ask):
    for path in ("/", "/static/page.js", "/api/v1/describe", "/nowhere"):
        _, headers, _ = ask(address + path)
        assert headers["Content-Security-Policy"] == POLICY
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["X-Frame-Options"] == "DENY"
    assert "unsafe" not in POLICY
    assert "http" not in POLICY


def test_who_asks_too_often_is_told_when_to_come_back(engine, running, ask):
    with running(engine, Limits(rate=0.5, burst=3)) as address:
        answers = [ask(address + "/api/v1/describe") for _ in range(4)]
    assert [status for status, _, _ in answers] == [200, 200, 200, 429]
    _, headers, body = answers[-1]
    assert headers["Retry-After"] == "2"
    assert json.loads(body) == {
        "error": "too_many",
        "what": "One client may ask 0.5 times a second, and 3 times at once",
        "do": "wait as long as Retry-After says",
    }


class Slow:
    """An engine whose searches end when they may."""

    def __init__(self, engine):
        self.folder, self.now, self.state, self.searched = None, self, engine.state, engine.now
        self.open, self.busy, self.most, self.lock = threading.Event(), 0, 0, threading.Lock()

    def __getattr__(self, name):
        return getattr(self.searched, name)

    def search(self, asked):
        with self.lock:
            self.busy += 1
            self.most = max(self.most, self.busy)
        self.open.wait(10)
        with self.lock:
            self.busy -= 1
        return self.searched.search(asked)


async def several(address, count):
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def once():
            async with session.post(address + SEARCH, json={"text": "a red bar", "k": 1}) as answer:
                return answer.status, answer.headers.get("Retry-After"), await answer.json()

        return await asyncio.gather(*(once() for _ in range(count)))


def test_searches_that_take_too_long_are_given_up_and_their_threads_stay_few(engine, running):
    slow = Slow(engine)
    with running(slow, Limits(answer_s=0.3, threads=2, at_once=4, waiting=100)) as address:
        answers = asyncio.run(several(address, 4))
        assert {status for status, _, _ in answers} == {504}
        assert answers[0][2]["what"] == "An answer may take 0.3 s"
        assert slow.most == 2
        slow.open.set()
        end = time.monotonic() + 5
        while slow.busy and time.monotonic() < end:
            time.sleep(0.01)
        assert {status for status, _, _ in asyncio.run(several(address, 2))} == {200}


def test_those_for_whom_there_is_no_room_are_told_to_come_back(engine, running):
    slow = Slow(engine)
    with running(slow, Limits(threads=1, at_once=2, waiting=3)) as address:
        threading.Timer(0.6, slow.open.set).start()
        answers = asyncio.run(several(address, 12))
        assert {status for status, _, _ in asyncio.run(several(address, 5))} == {200}  # there is room again
    statuses = sorted(status for status, _, _ in answers)
    assert statuses == [200] * 5 + [503] * 7
    refused = next(body for status, _, body in answers if status == 503)
    assert refused["error"] == "busy"
    assert {wait for status, wait, _ in answers if status == 503} == {"1"}


def test_who_waits_too_long_is_told_to_come_back(engine, running):
    slow = Slow(engine)
    with running(slow, Limits(threads=1, at_once=1, answer_s=0.4, read_s=2)) as address:
        answers = asyncio.run(several(address, 4))
        slow.open.set()
        end = time.monotonic() + 5
        while slow.busy and time.monotonic() < end:
            time.sleep(0.01)
        again = asyncio.run(several(address, 2))
    assert {status for status, _, _ in again} == {200}
    said = {(status, body["what"]) for status, _, body in answers}
    assert (503, "A request waits at most 0.4 s for its turn") in said
    assert said <= {(503, "A request waits at most 0.4 s for its turn"), (504, "An answer may take 0.4 s")}
    assert {wait for status, wait, _ in answers if status == 503} == {"1"}
