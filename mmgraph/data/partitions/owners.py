"""All parts of a graph, opened here or asked over the network: all at once, and again where one was started anew."""

from __future__ import annotations

import contextlib
import socket
import time
import weakref
from collections.abc import Mapping

from mmgraph.data.partitions.book import Book
from mmgraph.data.partitions.part import Part
from mmgraph.data.partitions.wire import VERSION, Message, receive, send
from mmgraph.errors import ArtifactError, ConfigError, MMGraphError

PAUSE_S = 0.1


class PartLostError(MMGraphError, ConnectionError):
    """A part of a graph does not answer."""


class Owners:
    """Asks parts, from any number of threads; a connection serves one question at a time.

    Args:
        book: The book of the graph.
        addresses: Part → ``"host:port"`` where it is served; the others are opened from the book's folder.
        wait_s: How long a part that is gone may take to come back.
        reply_s: How long a part may take to send the next bytes.

    Raises:
        ConfigError: An address is none, or of no part.
        ArtifactError: A piece is missing or damaged, or a server has another graph.
        PartLostError: A part does not answer.
    """

    def __init__(self, book: Book, addresses: Mapping[int, str], *, wait_s: float, reply_s: float) -> None:
        if wrong := sorted(set(addresses) - set(range(book.parts))):
            raise ConfigError(f"addresses must be of parts in [0, {book.parts}), got {wrong[0]}")
        self._book, self._wait_s, self._reply_s = book, wait_s, reply_s
        self._addresses = {part: _address(part, text) for part, text in addresses.items()}
        self.here = {part: Part(book, part) for part in range(book.parts) if part not in addresses}
        self._idle: dict[int, list[socket.socket]] = {part: [] for part in addresses}
        weakref.finalize(self, _close, self._idle)
        self.ask({part: Message({"ask": "take", "columns": []}, []) for part in addresses})

    def ask(self, requests: Mapping[int, Message]) -> dict[int, Message]:
        """What the parts answer; all are asked before the first answer is read.

        Raises:
            PartLostError: One does not answer, nor after ``wait_s``.
            ArtifactError: One says that it can't.
        """
        links: dict[int, socket.socket | None] = {}
        found: dict[int, Message] = {}
        try:
            for part, request in requests.items():
                if part not in self.here:
                    links[part] = self._sent(part, request)
            for part, request in requests.items():
                if part in self.here:
                    found[part] = self.here[part].answer(request)
            for part in list(links):
                found[part] = self._received(part, requests[part], links)
        finally:
            for link in links.values():  # those whose answer was not read
                if link is not None:
                    link.close()
        return found

    def close(self) -> None:
        """Ends the connections that are not in use; the next question makes new ones."""
        _close(self._idle)

    def _sent(self, part: int, request: Message) -> socket.socket | None:
        """The connection over which a request is on its way; None where that has failed."""
        link = None
        try:
            link = self._idle[part].pop()
            send(link, request)
        except IndexError:
            return None
        except OSError:
            if link is not None:
                link.close()
            return None
        return link

    def _received(self, part: int, request: Message, links: dict[int, socket.socket | None]) -> Message:
        """The answer to a request; where none comes it is asked again, on a new connection."""
        link, until, why = links[part], time.monotonic() + self._wait_s, "it was never reached"
        while True:
            try:
                if link is None:
                    links[part] = link = self._connected(part)
                    send(link, request)
                reply = receive(link)
                if reply is None:
                    raise ConnectionResetError("it has closed the connection")
            except OSError as error:
                why = str(error)
                if link is not None:
                    link.close()
                links[part] = link = None
                if isinstance(error, TimeoutError) or time.monotonic() >= until:
                    raise self._lost(part, why) from None
                time.sleep(PAUSE_S)
                continue
            links[part] = None
            self._idle[part].append(link)
            return _checked(reply, self._name(part))

    def _connected(self, part: int) -> socket.socket:
        link = socket.create_connection(self._addresses[part], timeout=self._reply_s)
        try:
            link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            send(link, Message({"ask": "hello", "version": VERSION, "book": self._book.digest}, []))
            reply = receive(link)
            if reply is None:
                raise ConnectionResetError("it has closed the connection")
            if (got := _checked(reply, self._name(part)).fields.get("part")) != part:
                raise ConfigError(f"{self._name(part)} must serve that part, it serves part {got}; mend addresses")
        except BaseException:
            with contextlib.suppress(OSError):
                link.close()
            raise
        return link

    def _name(self, part: int) -> str:
        return "Part {} at {}:{}".format(part, *self._addresses[part])

    def _lost(self, part: int, why: str) -> PartLostError:
        return PartLostError(
            f"{self._name(part)} must answer within {self._reply_s:g} s, or come back within {self._wait_s:g} s, "
            f"but {why}; start its PartServer again, and go on from the last state_dict()"
        )


def _close(idle: Mapping[int, list[socket.socket]]) -> None:
    for links in idle.values():
        while links:
            links.pop().close()


def _checked(reply: Message, name: str) -> Message:
    if "error" in reply.fields:
        raise ArtifactError(f"{name} refuses: {reply.fields['error']}")
    return reply


def _address(part: int, text: str) -> tuple[str, int]:
    host, _, port = str(text).rpartition(":")
    if not host or not port.isascii() or not port.isdigit():
        raise ConfigError(f"addresses[{part}] must be 'host:port', got {text!r}")
    return host, int(port)
