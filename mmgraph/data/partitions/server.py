"""A piece offered to other processes."""

from __future__ import annotations

import contextlib
import socket
import socketserver
import threading
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from mmgraph.data.partitions.book import Book
from mmgraph.data.partitions.part import Part
from mmgraph.data.partitions.wire import Message, WireError, receive, send
from mmgraph.errors import ConfigError, MMGraphError


class PartServer:
    """Answers for one piece of a graph, a thread a connection; it reads and never writes, so it may be started anew.

    Whoever can reach the port can read the piece, and nothing else: listen on a network that you trust. What comes in
    is numbers, checked before it is used; nothing is unpickled.

    Args:
        folder: What :func:`partition_graph` wrote; of the pieces, this one is enough.
        part: Which piece.
        host: The address to listen on; ``"0.0.0.0"`` for all of this machine.
        port: The port; 0 takes a free one.

    Raises:
        ConfigError: There is no such part, or the port can't be had.
        ArtifactError: The piece is missing or damaged.

    Example:
        >>> from mmgraph.data.partitions import GraphParts, partition_graph
        >>> from mmgraph.testing import fake_graph
        >>> folder = getfixture("tmp_path") / "parts"
        >>> _ = partition_graph(fake_graph()[0], folder, parts=2, method="random")
        >>> with PartServer(folder, 1) as server:
        ...     graph = GraphParts(folder, addresses={1: server.address})
        ...     len(graph.nodes["scan"]["x"])
        61
    """

    def __init__(self, folder: str | Path, part: int, *, host: str = "127.0.0.1", port: int = 0) -> None:
        self._part = Part(Book(folder), part)
        try:
            self._server = _Server((host, port), self._part)
        except OSError as error:
            raise ConfigError(f"Part {part} must have a free port, {host}:{port} is none: {error}") from None
        self._thread: threading.Thread | None = None

    @property
    def address(self) -> str:
        """Where it listens, ``"host:port"``."""
        host, port = self._server.server_address[:2]
        return f"{host if isinstance(host, str) else host.decode()}:{port}"

    def serve(self) -> None:
        """Answers until :meth:`close` is called or the process ends."""
        self._server.serve_forever(poll_interval=0.1)

    def __enter__(self) -> Self:
        """Answers in a thread of its own, until the block ends."""
        self._thread = threading.Thread(target=self.serve, daemon=True, name=f"part {self._part.number}")
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends the answering, and the connections with it."""
        if self._thread is not None:
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()
        self._server.cut()


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, address: tuple[str, int], part: Part) -> None:
        self.part = part
        self._links: set[socket.socket] = set()
        self._lock = threading.Lock()
        super().__init__(address, _Connection)

    def keep(self, link: socket.socket) -> None:
        with self._lock:
            self._links.add(link)

    def forget(self, link: socket.socket) -> None:
        with self._lock:
            self._links.discard(link)

    def cut(self) -> None:
        """Ends all connections."""
        with self._lock:
            links = list(self._links)
        for link in links:
            with contextlib.suppress(OSError):
                link.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that is gone is no error of the server."""


class _Connection(socketserver.BaseRequestHandler):
    server: _Server

    def handle(self) -> None:
        link: socket.socket = self.request
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.server.keep(link)
        try:
            while (request := receive(link)) is not None:
                send(link, self._answer(request))
        except WireError as error:
            send(link, Message({"error": str(error)}, []))
        finally:
            self.server.forget(link)

    def _answer(self, request: Message) -> Message:
        try:
            return self.server.part.answer(request)
        except MMGraphError as error:
            return Message({"error": str(error)}, [])
