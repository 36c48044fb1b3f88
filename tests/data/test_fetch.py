"""Fetching from a server that cuts, lies, fails and comes back."""

import hashlib
import http.client
import threading
from concurrent.futures import ThreadPoolExecutor
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from urllib.error import HTTPError, URLError

import pytest
from filelock import FileLock

from mmgraph.data import fetch as module
from mmgraph.data.fetch import bar, check_url, fetch
from mmgraph.errors import DataError

DATA = bytes(range(256)) * 40
SIZE = len(DATA)
DIGEST = hashlib.sha256(DATA).hexdigest()


class Handler(BaseHTTPRequestHandler):
    """Answers each request as the next of the server's answers says; the last one goes on answering."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        state = self.server.state
        state.asked.append(self.headers.get("Range"))
        state.answers[min(len(state.asked), len(state.answers)) - 1](self)

    def log_message(self, *_):
        pass


def whole(data=DATA, *, cut=None, ranges=True, length=True, total=None):
    """Sends the file, or the part that is asked for; ``cut``: only so many bytes of it."""

    def answer(handler):
        wanted = handler.headers.get("Range") if ranges else None
        first = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted else 0
        if first >= len(data) and wanted:
            handler.send_error(416)
            return
        body = data[first:]
        handler.send_response(206 if wanted else 200)
        if wanted:
            handler.send_header("Content-Range", f"bytes {first}-{len(data) - 1}/{total or len(data)}")
        if length:
            handler.send_header("Content-Length", str(len(body)))
        handler.send_header("Connection", "close")
        handler.end_headers()
        handler.wfile.write(body[:cut])
        handler.close_connection = True

    return answer


def status(code, **headers):
    def answer(handler):
        handler.send_response(code)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    return answer


@pytest.fixture
def server(monkeypatch):
    """A server on this machine; plain http is allowed for it, and pauses take no time."""
    running = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    running.handle_error = lambda *_: None  # a client that has heard enough goes away
    running.state = SimpleNamespace(
        answers=[whole()], asked=[], url=f"http://127.0.0.1:{running.server_port}/a.bin", pauses=[]
    )
    monkeypatch.setattr(module, "SCHEMES", {*module.SCHEMES, "http"})
    monkeypatch.setattr(module, "sleep", running.state.pauses.append)
    monkeypatch.setenv("no_proxy", "*")
    thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield running.state
    running.shutdown()
    thread.join()
    running.server_close()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "cache" / "a.bin"


def get(server, path, **changes):
    fetch(server.url, path, **{"size": SIZE, "sha256": DIGEST, **changes})


def part_of(path):
    return path.with_name(f".{path.name}.{DIGEST[:16]}.part")


def left(path):
    return sorted(file.name for file in path.parent.iterdir() if file.suffix != ".lock")


def test_a_file_is_fetched_whole(server, path):
    there = []
    get(server, path, progress=there.append)
    assert path.read_bytes() == DATA
    assert [file.name for file in path.parent.iterdir()] == ["a.bin"]
    assert there[-1] == SIZE
    assert there == sorted(there)
    assert server.asked == [None]
    get(server, path)
    assert server.asked == [None]  # it is there: nothing was asked


def test_what_was_cut_off_is_gone_on_with(server, path):
    server.answers = [whole(cut=1000), whole(cut=2000), whole()]
    there = []
    get(server, path, progress=there.append)
    assert path.read_bytes() == DATA
    assert server.asked == [None, "bytes=1000-", "bytes=3000-"]
    assert {1000, 3000, SIZE} <= set(there)
    assert there == sorted(there)
    assert left(path) == ["a.bin"]


def test_a_part_is_gone_on_with_by_the_next_call(server, path):
    server.answers = [whole(cut=1000), status(503)]
    with pytest.raises(DataError, match=rf"could not be fetched.*503.*5 of 5 attempts, 1000 of {SIZE} bytes kept"):
        get(server, path)
    assert left(path) == [part_of(path).name]
    server.answers, server.asked = [whole()], []
    get(server, path)
    assert server.asked == ["bytes=1000-"]
    assert path.read_bytes() == DATA


def test_a_server_without_ranges_sends_all_again(server, path):
    server.answers = [whole(cut=1000), whole(ranges=False)]
    get(server, path)
    assert server.asked == [None, "bytes=1000-"]
    assert path.read_bytes() == DATA


def test_what_is_sent_again_takes_the_place_of_the_part(server, path):
    server.answers = [whole(cut=1000), whole(ranges=False, cut=500), whole()]
    get(server, path)
    assert server.asked == [None, "bytes=1000-", "bytes=500-"]
    assert path.read_bytes() == DATA


def test_a_range_that_was_not_asked_for_is_no_continuation(server, path):
    def other(handler):
        handler.send_response(206)
        handler.send_header("Content-Range", f"bytes 500-{SIZE - 1}/{SIZE}")
        handler.send_header("Content-Length", str(SIZE - 500))
        handler.end_headers()
        handler.wfile.write(DATA[500:])

    server.answers = [whole(cut=1000), other, whole(ranges=False)]
    get(server, path)
    assert path.read_bytes() == DATA


def test_a_range_without_numbers_is_tried_again(server, path):
    server.answers = [whole(cut=1000), status(206), whole()]
    get(server, path)
    assert path.read_bytes() == DATA
    assert server.asked == [None, "bytes=1000-", "bytes=1000-"]


def test_a_part_of_a_file_that_has_changed_is_dropped(server, path):
    old = b"x" * SIZE
    server.answers = [whole(old, cut=1000), whole()]
    get(server, path)
    assert path.read_bytes() == DATA
    assert server.asked == [None, "bytes=1000-", None]  # the sum was wrong, so all was fetched once more


def test_a_part_that_is_longer_than_the_file_is_dropped(server, path):
    path.parent.mkdir()
    part_of(path).write_bytes(b"x" * (SIZE + 1))
    get(server, path)
    assert path.read_bytes() == DATA
    assert server.asked == [None]


def test_a_part_of_a_file_that_has_become_shorter_is_dropped(server, path):
    server.answers = [whole(cut=5000), whole(DATA[:4000])]
    with pytest.raises(DataError, match=f"must have {SIZE} bytes.*got 4000 bytes: it has changed at its source"):
        get(server, path)
    assert server.asked == [None, "bytes=5000-", None]
    assert left(path) == []


def test_a_part_that_is_whole_needs_no_server(server, path):
    path.parent.mkdir()
    part_of(path).write_bytes(DATA)
    get(server, path)
    assert path.read_bytes() == DATA
    assert server.asked == []


def test_the_part_of_another_version_is_not_touched(server, path):
    path.parent.mkdir()
    other = path.with_name(".a.bin.0123456789abcdef.part")
    other.write_bytes(b"x" * 1000)
    get(server, path)
    assert server.asked == [None]
    assert other.read_bytes() == b"x" * 1000


@pytest.mark.parametrize(
    ("answer", "got"),
    [
        (whole(b"x" * SIZE), f"sha256 {hashlib.sha256(b'x' * SIZE).hexdigest()[:12]}…"),
        (whole(DATA[:-1]), f"{SIZE - 1} bytes"),
        (whole(DATA + b"x"), f"{SIZE + 1} bytes"),
        (whole(DATA * 1000, length=False), "more"),
    ],
)
def test_other_bytes_are_refused_and_none_are_left(server, path, answer, got):
    server.answers = [answer]
    with pytest.raises(
        DataError,
        match=f"a.bin must have {SIZE} bytes with sha256 {DIGEST[:12]}…, got {got}: .*put the file at '.*a.bin'",
    ):
        get(server, path)
    assert server.asked == [None]
    assert left(path) == []


def test_a_file_that_is_sent_without_its_length_may_be_right(server, path):
    server.answers = [whole(length=False)]
    get(server, path)
    assert path.read_bytes() == DATA


def test_other_bytes_that_are_there_are_replaced(server, path):
    path.parent.mkdir()
    path.write_bytes(b"x" * SIZE)
    get(server, path)
    assert path.read_bytes() == DATA


@pytest.mark.parametrize("code", [404, 403, 410])
def test_what_is_not_there_is_asked_for_once(server, path, code):
    server.answers = [status(code)]
    with pytest.raises(DataError, match=f"a.bin must be there, but could not be fetched: HTTP Error {code}.*1 of 5"):
        get(server, path)
    assert len(server.asked) == 1
    assert server.pauses == []
    assert left(path) == []


@pytest.mark.parametrize("code", [408, 425, 429, 500, 502, 503, 504])
def test_a_failure_that_passes_is_waited_out(server, path, code):
    server.answers = [status(code), status(code), whole()]
    get(server, path)
    assert path.read_bytes() == DATA
    assert 0.375 <= server.pauses[0] <= 0.5
    assert 0.75 <= server.pauses[1] <= 1.0


@pytest.mark.parametrize(("asked", "waited"), [("7", 7.0), ("9999", 60.0), ("Fri, 01 Jan 2100 00:00:00 GMT", 0.5)])
def test_a_server_may_ask_to_wait(server, path, asked, waited):
    server.answers = [status(429, Retry_After=asked), whole()]
    get(server, path)
    assert server.pauses == pytest.approx([waited], abs=0.13)


def test_attempts_end(server, path):
    server.answers = [whole(cut=0)]
    with pytest.raises(DataError, match=f"the connection ended after 0 of {SIZE} bytes .5 of 5 attempts, 0 of"):
        get(server, path)
    assert len(server.asked) == 5
    assert left(path) == []


@pytest.mark.parametrize(("cuts", "why"), [(1, "could not be fetched: the connection ended"), (2, "got sha256")])
def test_a_file_that_changes_all_the_time_is_given_up(server, path, cuts, why):
    cut, rest = whole(b"x" * SIZE, cut=1000), whole(b"y" * SIZE)
    server.answers = [cut] * cuts + [rest, cut] * 10
    with pytest.raises(DataError, match=why):
        get(server, path)
    assert len(server.asked) == module.ATTEMPTS


def test_who_does_not_answer_is_asked_again(server, path, monkeypatch):
    again, ended, heard = threading.Event(), threading.Event(), []

    def wait(handler):
        heard.append(again.wait(20))
        ended.set()

    def answer_again(handler):
        again.set()
        whole()(handler)

    server.answers = [wait, answer_again]
    monkeypatch.setattr(module, "TIMEOUT_S", 0.2)
    get(server, path)
    assert path.read_bytes() == DATA
    assert ended.wait(20)
    assert heard == [True]


def test_a_redirect_is_followed_where_a_manifest_may_lead(server, path, monkeypatch, tmp_path):
    server.answers = [status(302, Location="/b.bin"), whole()]
    get(server, path)
    assert path.read_bytes() == DATA
    (tmp_path / "secret").write_bytes(DATA)
    for target, why in [
        ("ftp://127.0.0.1/a.bin", "a url must be https or file, got 'ftp://127.0.0.1/a.bin'"),
        ((tmp_path / "secret").as_uri(), "could not be fetched.*file:///.*not allowed"),
    ]:
        server.answers, server.asked = [status(302, Location=target)], []
        with pytest.raises(DataError, match=why):
            get(server, path.with_name("c.bin"))
        assert len(server.asked) == 1
    assert not path.with_name("c.bin").exists()


def test_a_redirect_to_plain_http_is_refused():
    request = module.urllib.request.Request("https://example.org/a")
    with pytest.raises(DataError, match="must be https or file, got 'http://example.org/a'"):
        module._SafeRedirects().redirect_request(request, None, 302, "", Message(), "http://example.org/a")
    followed = module._SafeRedirects().redirect_request(request, None, 302, "", Message(), "https://example.org/b")
    assert followed.full_url == "https://example.org/b"


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1/a", "ftp://a.org/a", "data:,x", "a.csv", "", "file:/etc/passwd", "https:/a.org"]
)
def test_other_schemes_are_refused(url, path):
    with pytest.raises(DataError, match="a url must be https or file, got"):
        fetch(url, path, size=1, sha256="")
    assert not path.parent.exists()
    assert check_url("HTTPS://example.org") == "HTTPS://example.org"


def test_a_file_of_this_machine_is_copied(tmp_path, path):
    source = tmp_path / "source.bin"
    source.write_bytes(DATA)
    fetch(source.as_uri(), path, size=SIZE, sha256=DIGEST)
    assert path.read_bytes() == DATA
    empty = tmp_path / "empty"
    empty.touch()
    fetch(empty.as_uri(), path.with_name("none"), size=0, sha256=hashlib.sha256(b"").hexdigest())
    assert path.with_name("none").read_bytes() == b""
    with pytest.raises(DataError, match="could not be fetched: .*No such file.*1 of 5 attempts"):
        fetch((tmp_path / "nothing").as_uri(), path.with_name("b"), size=1, sha256="")


def test_a_folder_that_cant_be_written_to_is_named(tmp_path):
    (tmp_path / "a").write_text("a file")
    with pytest.raises(DataError, match="'.*/a/b' must be one that can be written to.*XDG_CACHE_HOME"):
        fetch((tmp_path / "a").as_uri(), tmp_path / "a" / "b" / "c", size=6, sha256="")


def test_who_fetches_the_same_file_waits(server, path):
    path.parent.mkdir()
    lock = FileLock(path.with_name(".a.bin.lock"))
    with ThreadPoolExecutor(4) as pool:
        with lock:
            waiting = [pool.submit(get, server, path) for _ in range(4)]
            time_of_wait = threading.Event()
            time_of_wait.wait(0.2)
            assert not any(one.done() for one in waiting)
            assert server.asked == []
        for one in waiting:
            one.result()
    assert path.read_bytes() == DATA
    assert server.asked == [None]


def test_which_failures_pass():
    def of(error):
        return module._is_temporary(error)

    assert of(URLError(ConnectionRefusedError()))
    assert of(URLError(TimeoutError()))
    assert of(URLError(module.socket.gaierror()))
    assert of(URLError(module.ssl.SSLEOFError()))
    assert of(http.client.IncompleteRead(b""))
    assert of(http.client.RemoteDisconnected())
    assert not of(URLError(module.ssl.SSLCertVerificationError()))
    assert not of(http.client.InvalidURL())
    assert not of(OSError(28, "No space left on device"))
    assert not of(HTTPError("https://a.org", 404, "", Message(), None))


def test_a_bar_counts_all_files(capsys):
    with bar("owls", 6, show=True) as tell:
        for name, there in [("a", 1), ("b", 2), ("a", 3), ("b", 3)]:
            tell(name, there)
    shown = capsys.readouterr()
    assert "owls" in shown.err
    assert "6/6 bytes" in shown.err
    assert shown.out == ""
    with bar("owls", 6, show=False) as tell:
        tell("a", 3)
    assert capsys.readouterr().err == ""
