"""``mmgraph serve DIR``: a page to search a built graph with, and a JSON API, on this machine."""

from __future__ import annotations

import socket
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import tyro

from mmgraph.errors import ConfigError
from mmgraph.optional import require

BACKLOG = 2048


@dataclass
class Options:
    """Opens a page to search a graph with: type, drop a picture or a sound, walk from result to result.

    The same as an API of JSON: see /api/v1/openapi.json. Ctrl-C ends it.

    Examples:
        mmgraph serve shop
        mmgraph serve shop --port 9000
        mmgraph serve shop --host 0.0.0.0 --name search.example.org
    """

    folder: tyro.conf.Positional[Path]
    """Folder of a graph that mmgraph build wrote."""
    host: str = "127.0.0.1"
    """Address to listen on; any other than this machine's own lets others in: there are no passwords."""
    port: int = 8000
    """Port to listen on; 0 takes a free one."""
    name: tuple[str, ...] = ()
    """Further names by which the server may be called."""
    rate: float = 50.0
    """Requests a second of one client."""
    max_bytes: int = 20_000_000
    """Largest question, in bytes."""


def main(words: Sequence[str]) -> None:
    """Carries out ``mmgraph serve``."""
    options = tyro.cli(Options, args=list(words), prog="mmgraph serve")
    for package in ("starlette", "uvicorn"):
        require(package, extra="serve")
    from mmgraph.engine import Engine
    from mmgraph.serve import Limits, make_app, serve
    from mmgraph.serve.limits import is_local

    limits = Limits(rate=options.rate, max_bytes=options.max_bytes)
    engine = Engine.open(options.folder)
    title = options.folder.resolve().name
    app = make_app(engine, title=title, limits=limits, host=options.host, names=options.name)
    with listen(options.host, options.port) as listener:
        host, port = listener.getsockname()[:2]
        sys.stdout.write(f"{title}: http://{f'[{host}]' if ':' in host else host}:{port}/  (Ctrl-C ends it)\n")
        sys.stdout.flush()
        if not is_local(options.host):
            sys.stderr.write(
                f"mmgraph: warning: {host} is reached from other machines; whoever reaches it can search this graph "
                "and read its payloads: there are no passwords\n"
            )
        with suppress(KeyboardInterrupt):  # how it is meant to end
            serve(app, listener, limits=limits)


def listen(host: str, port: int) -> socket.socket:
    """Listens on an address.

    Raises:
        ConfigError: It is no address of this machine, or taken.
    """
    if not 0 <= port < 1 << 16:
        raise ConfigError(f"port must be between 0 and 65535, got {port}")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen(BACKLOG)  # whoever comes before the server is ready waits
        except OSError:
            listener.close()
            raise
    except OSError as error:
        reason = error.strerror or error
        raise ConfigError(f"{host}:{port} must be free to listen on, but {reason}; choose another --port") from None
    return listener
