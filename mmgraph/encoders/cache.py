"""Frozen features kept on disk by the content of the payload and the identity of the encoder."""

from __future__ import annotations

import os
import sqlite3
import time
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from mmgraph.errors import ArtifactError
from mmgraph.schema import Identity

WAIT_S = 60  # for other processes that write
_AT_ONCE = 500  # keys of one question: SQLite allows a bounded number


class FeatureCache:
    """What frozen encoders have made, found again by the payload's content and the encoder's identity.

    One SQLite file an identity. What :meth:`put` was given is on disk when it returns, all of it or nothing; a killed
    process leaves the file whole. Several processes of one machine may read and write at once.

    Args:
        folder: Where the files are; by default ``features`` below the user's cache of mmgraph
            (``MMGRAPH_CACHE``, else ``$XDG_CACHE_HOME/mmgraph``, else ``~/.cache/mmgraph``).

    Example:
        >>> cache = FeatureCache(getfixture("tmp_path"))
        >>> encoder = Identity(name="length", revision="1")
        >>> cache.put(encoder, {b"key of a payload": b"its features"})
        >>> cache.get(encoder, [b"key of a payload", b"another"])
        {b'key of a payload': b'its features'}
    """

    def __init__(self, folder: str | Path | None = None) -> None:
        self.folder = Path(folder) if folder is not None else cache_folder() / "features"

    def get(self, identity: Identity, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        """The features of those payloads that were encoded before.

        Raises:
            ArtifactError: The file is damaged, or can't be read.
        """
        path = self._path(identity)
        if not path.is_file():
            return {}
        found: dict[bytes, bytes] = {}
        with self._open(path) as base:
            if not base.execute("SELECT 1 FROM sqlite_master WHERE name = 'features'").fetchone():
                return {}  # another process has just begun the file
            for start in range(0, len(keys), _AT_ONCE):
                some = keys[start : start + _AT_ONCE]
                marks = ",".join("?" * len(some))
                rows = base.execute(f"SELECT key, sum, value FROM features WHERE key IN ({marks})", some)
                for key, checksum, value in rows:
                    if not isinstance(value, bytes) or _checksum(key, value) != checksum:
                        raise ArtifactError(f"Feature cache {str(path)!r} is damaged; remove the file, it is made anew")
                    found[key] = value
        return found

    def put(self, identity: Identity, features: Mapping[bytes, bytes]) -> None:
        """Keeps features; those that are there already stay.

        Raises:
            ArtifactError: The file is damaged, or the disk refuses.
        """
        path = self._path(identity)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ArtifactError(f"Feature cache {str(path.parent)!r} can't be made: {error}") from None
        with self._open(path) as base, base:  # the inner one is a transaction
            base.execute("CREATE TABLE IF NOT EXISTS features (key BLOB PRIMARY KEY, sum INT, value BLOB)")
            base.execute("CREATE TABLE IF NOT EXISTS encoder (identity TEXT PRIMARY KEY)")
            base.execute("INSERT OR IGNORE INTO encoder VALUES (?)", (identity.model_dump_json(),))
            rows = ((key, _checksum(key, value), value) for key, value in features.items())
            base.executemany("INSERT OR IGNORE INTO features VALUES (?, ?, ?)", rows)

    def _path(self, identity: Identity) -> Path:
        return self.folder / f"{identity.digest[:32]}.sqlite"

    @contextmanager
    def _open(self, path: Path) -> Iterator[sqlite3.Connection]:
        try:
            with closing(sqlite3.connect(path, timeout=WAIT_S)) as base:
                _journal(base)
                base.execute("PRAGMA synchronous=FULL")  # on disk before put returns, whatever SQLite was built with
                yield base
        except sqlite3.Error as error:
            raise ArtifactError(
                f"Feature cache {str(path)!r} can't be used: {error}; remove the file, it is made anew"
            ) from None


def _checksum(key: bytes, value: bytes) -> int:
    return zlib.crc32(value, zlib.crc32(key))


def cache_folder() -> Path:
    """The user's cache of mmgraph."""
    named = os.environ.get("MMGRAPH_CACHE")
    return Path(named) if named else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mmgraph"


def _journal(base: sqlite3.Connection) -> None:
    """Sets the journal: the first time that needs the file for itself, and SQLite gives up at once, without waiting."""
    last = time.monotonic() + WAIT_S
    while True:
        try:
            base.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > last:
                raise
            time.sleep(0.01)
        else:
            return
