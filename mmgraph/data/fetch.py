"""Files fetched from where a manifest says they are: whole and with the declared bytes, or not at all."""

from __future__ import annotations

import hashlib
import os
import random
import socket
import ssl
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.client import BadStatusLine, HTTPException, IncompleteRead
from itertools import count
from pathlib import Path
from time import sleep
from typing import Any
from urllib.error import HTTPError, URLError

from filelock import FileLock

from mmgraph.errors import DataError

SCHEMES = frozenset({"https", "file"})
ATTEMPTS = 5
TIMEOUT_S = 30.0
LONGEST_WAIT_S = 60.0
_BLOCK_BYTES = 1 << 18
_TEMPORARY = frozenset({408, 425, 429, 500, 502, 503, 504})


def check_url(url: str) -> str:
    """Refuses a URL by which bytes would come unprotected.

    Raises:
        DataError: It is neither ``https`` nor ``file``.

    Example:
        >>> check_url("http://example.org/a.csv")
        Traceback (most recent call last):
        ...
        mmgraph.errors.DataError: a url must be https or file, got 'http://example.org/a.csv'
    """
    if not url.lower().startswith(tuple(f"{scheme}://" for scheme in SCHEMES)):
        raise DataError(f"a url must be https or file, got {url!r}")
    return url


def fetch(url: str, path: Path, *, size: int, sha256: str, progress: Callable[[int], object] | None = None) -> None:
    """Fetches a file whose bytes are known beforehand, and puts it in its place once they are all there and right.

    What arrives is kept in a ``.part`` beside the file; where the connection was cut, the next attempt, or the next
    call, goes on from there if the server can. A part belongs to the declared checksum, so it is never continued as
    another file; if the sum is wrong although the part was continued, all is fetched once more. Of several processes
    that fetch the same file, one does, and the others wait for it. A file that is there already with these bytes is
    left as it is.

    Args:
        url: ``https`` or ``file``; it may lead on to ``https`` alone.
        path: Where the file shall be.
        size: How many bytes it has; not one more is kept.
        sha256: The digest of the bytes, in hex.
        progress: Called with the number of bytes that are there, as they come.

    Raises:
        DataError: The URL is not allowed, there is no such file, the source does not answer (after several attempts,
            with growing pauses), or has other bytes.

    Example:
        >>> folder = getfixture("tmp_path")
        >>> _ = (folder / "there.txt").write_bytes(b"owl")
        >>> digest = hashlib.sha256(b"owl").hexdigest()
        >>> fetch((folder / "there.txt").as_uri(), folder / "here.txt", size=3, sha256=digest)
        >>> (folder / "here.txt").read_bytes()
        b'owl'
    """
    check_url(url)
    lock = path.with_name(f".{path.name}.lock")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(lock):
            if not (path.is_file() and path.stat().st_size == size and _digest(path).hexdigest() == sha256):
                _Download(url, path, size, sha256, progress or (lambda _: None)).run()
            with suppress(OSError):  # whoever waits for the lock finds the file, so the lock may go
                lock.unlink()
    except OSError as error:
        raise DataError(
            f"Folder {str(path.parent)!r} must be one that can be written to, for {url}, but {error}; "
            "make room or leave to write there, or name another folder by XDG_CACHE_HOME"
        ) from None


class _Download:
    """One file on its way."""

    def __init__(self, url: str, path: Path, size: int, sha256: str, progress: Callable[[int], object]) -> None:
        self.url, self.path, self.size, self.sha256, self.progress = url, path, size, sha256, progress
        self.part = path.with_name(f".{path.name}.{sha256[:16]}.part")

    def run(self) -> None:
        for attempt in count(1):
            try:
                digest, continued = self._receive()
            except (OSError, HTTPException) as error:
                if not _is_temporary(error) or attempt >= ATTEMPTS:
                    raise self._unreachable(error, attempt) from None
                sleep(_pause_s(error, attempt))
                continue
            if digest == self.sha256:
                self.part.replace(self.path)
                return
            self.part.unlink()
            if not continued or attempt >= ATTEMPTS:
                raise self._other_bytes(f"sha256 {digest[:12]}…")

    def _receive(self) -> tuple[str, bool]:
        """Fetches what is missing; returns the digest of the whole part, and whether it began with older bytes."""
        self.part.touch()
        there = self.part.stat().st_size
        if there >= self.size:
            return _digest(self.part).hexdigest(), there > 0
        request = urllib.request.Request(self.url, headers={"User-Agent": "mmgraph"})
        if there:
            request.add_header("Range", f"bytes={there}-")
        try:
            response = urllib.request.build_opener(_SafeRedirects).open(request, timeout=TIMEOUT_S)
        except HTTPError as error:
            if error.code != 416:  # the file has become shorter than the part
                raise
            self.part.unlink()
            raise ConnectionError("the server has no such range") from None
        with response:
            first, total = _range(response)
            if total not in (None, self.size):
                self.part.unlink()
                raise self._other_bytes(f"{total} bytes")
            continued = there > 0 and first == there
            self._append(response, there if continued else 0)
        return _digest(self.part).hexdigest(), continued

    def _append(self, response: Any, there: int) -> None:
        with self.part.open("r+b") as file:
            file.truncate(there)
            file.seek(there)
            while block := response.read(min(_BLOCK_BYTES, self.size - there + 1)):
                there += len(block)
                if there > self.size:
                    file.truncate(0)
                    self.part.unlink()
                    raise self._other_bytes("more")
                file.write(block)
                self.progress(there)
            file.flush()
            os.fsync(file.fileno())
        if there < self.size:
            raise ConnectionError(f"the connection ended after {there} of {self.size} bytes")

    def _other_bytes(self, got: str) -> DataError:
        return DataError(
            f"{self.url} must have {self.size} bytes with sha256 {self.sha256[:12]}…, got {got}: it has changed at "
            f"its source, or something on the way changes it; put the file at {str(self.path)!r} yourself"
        )

    def _unreachable(self, error: Exception, attempts: int) -> DataError:
        kept = self.part.stat().st_size if self.part.is_file() else 0
        if not kept:
            self.part.unlink(missing_ok=True)
        return DataError(
            f"{self.url} must be there, but could not be fetched: {error} ({attempts} of {ATTEMPTS} attempts, {kept} "
            f"of {self.size} bytes kept); try again, or put the file at {str(self.path)!r} yourself"
        )


class _SafeRedirects(urllib.request.HTTPRedirectHandler):
    """Follows a redirect where a manifest may lead too; that the library follows none to a file is tested."""

    def redirect_request(self, *args: Any) -> urllib.request.Request | None:
        check_url(args[-1])
        return super().redirect_request(*args)


def _range(response: Any) -> tuple[int, int | None]:
    """The number of the first byte that a response brings, and how many the whole file has, if it says so."""
    if getattr(response, "status", None) == 206:
        span, _, total = response.headers.get("Content-Range", "").removeprefix("bytes ").partition("/")
        first = span.partition("-")[0]
        if not first.isdigit():
            raise BadStatusLine(f"206 with the range {span!r}")
        return int(first), int(total) if total.isdigit() else None
    length = response.headers.get("Content-Length") or ""
    return 0, int(length) if length.isdigit() else None


def _is_temporary(error: Exception) -> bool:
    if isinstance(error, HTTPError):
        return error.code in _TEMPORARY
    reason = error.reason if isinstance(error, URLError) else error
    cut = ConnectionError | ssl.SSLEOFError | IncompleteRead | BadStatusLine
    return isinstance(reason, cut | TimeoutError | socket.gaierror)


def _pause_s(error: Exception, attempt: int) -> float:
    """Half a second, doubled with each attempt, a little less by chance; longer if the server asks for it."""
    asked = (error.headers.get("Retry-After") or "") if isinstance(error, HTTPError) else ""
    pause_s = 2.0 ** (attempt - 2) * random.uniform(0.75, 1.0)
    return min(max(pause_s, float(asked) if asked.isdigit() else 0.0), LONGEST_WAIT_S)


def _digest(path: Path) -> Any:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256")


@contextmanager
def bar(title: str, total: int, *, show: bool) -> Iterator[Callable[[str, int], None]]:
    """A bar for files that are fetched at once, on the terminal's error stream.

    Args:
        title: What stands beside it.
        total: Bytes of all files.
        show: Without it, nothing is shown.

    Yields:
        Takes the name of a file, and how many of its bytes are there.

    Example:
        >>> with bar("owls", 6, show=False) as tell:
        ...     tell("a.txt", 3)
    """
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    there: dict[str, int] = {}
    with Progress(*columns, console=Console(stderr=True), disable=not show) as progress:
        task = progress.add_task(title, total=total)

        def tell(name: str, size: int) -> None:
            progress.advance(task, size - there.get(name, 0))
            there[name] = size

        yield tell
