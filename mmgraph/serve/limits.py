"""What a server allows: sizes, rates, how many at once, how long, and by which names it may be called."""

from __future__ import annotations

import ipaddress
import math
import socket
import time
from collections import OrderedDict
from collections.abc import Callable, Collection
from dataclasses import dataclass, fields

from mmgraph.errors import ConfigError

LOCAL = ("127.0.0.1", "::1", "localhost")
ANYWHERE = ("0.0.0.0", "::", "")  # addresses that stand for all of a machine's


@dataclass(frozen=True)
class Limits:
    """What a server allows.

    Args:
        max_bytes: Largest body of a request.
        max_k: Most results of a search.
        max_hops: Largest radius of a result's subgraph.
        max_nodes: Most nodes of a neighbourhood.
        rate: Requests a second of one client, in the long run.
        burst: Requests that a client may make at once after a pause.
        clients: Clients whose rates are known at a time; the one that was away for longest is forgotten first.
        at_once: Requests whose bodies are in memory at a time.
        waiting: Requests that may wait for their turn; further ones are told to come back.
        threads: Searches and decodings at a time.
        connections: Open connections.
        read_s: How long a body may take to arrive.
        answer_s: How long an answer may take from the whole body on, and how long a request waits for its turn.

    Raises:
        ConfigError: One is not positive.

    Example:
        >>> Limits(rate=0)
        Traceback (most recent call last):
        ...
        mmgraph.errors.ConfigError: rate must be a positive number, got 0
    """

    max_bytes: int = 20_000_000
    max_k: int = 100
    max_hops: int = 3
    max_nodes: int = 60
    rate: float = 50.0
    burst: int = 200
    clients: int = 4096
    at_once: int = 8
    waiting: int = 512
    threads: int = 2
    connections: int = 1024
    read_s: float = 20.0
    answer_s: float = 30.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not (0 < value < math.inf):
                raise ConfigError(f"{field.name} must be a positive number, got {value}")


class Buckets:
    """A bucket of tokens a client, which fills at a rate; a request takes one out.

    Args:
        rate: Tokens a second.
        burst: Tokens that a bucket holds.
        clients: Buckets that are kept.
        clock: Gives seconds.

    Example:
        >>> buckets = Buckets(rate=2, burst=1, clients=10, clock=lambda: 0.0)
        >>> buckets.wait_s("here"), buckets.wait_s("here"), buckets.wait_s("there")
        (0.0, 0.5, 0.0)
    """

    def __init__(self, *, rate: float, burst: int, clients: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.rate, self.burst, self.clients, self.clock = rate, burst, clients, clock
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()  # client → tokens, when

    def wait_s(self, address: str) -> float:
        """Takes a token out; where there is none, how many seconds it takes until there is one."""
        client, now = client_of(address), self.clock()
        tokens, before = self._left.pop(client, (float(self.burst), now))
        tokens = min(float(self.burst), tokens + (now - before) * self.rate)
        short = max(0.0, 1.0 - tokens)
        self._left[client] = (tokens if short else tokens - 1.0, now)
        while len(self._left) > self.clients:
            self._left.popitem(last=False)
        return short / self.rate


def client_of(address: str) -> str:
    """Whom an address belongs to: an IPv6 address to the network of its first 64 bits, which has one owner.

    Example:
        >>> client_of("192.0.2.7"), client_of("2001:db8::7"), client_of("unknown")
        ('192.0.2.7', '2001:db8::/64', 'unknown')
    """
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    return str(found) if found.version == 4 else str(ipaddress.ip_network((int(found), 64), strict=False))


def is_local(host: str) -> bool:
    """Whether an address to listen on is reached from this machine alone."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def names_of(host: str) -> frozenset[str]:
    """The names by which a server that listens on an address may be called.

    Example:
        >>> sorted(names_of("127.0.0.1"))
        ['127.0.0.1', '::1', 'localhost']
    """
    return frozenset({*LOCAL, socket.gethostname().lower()} if host in ANYWHERE else {*LOCAL, host.lower()})


def may_be_called(header: str, names: Collection[str], *, any_address: bool = False) -> bool:
    """Whether a ``Host`` header names this server, so that no other site's name leads to it (DNS rebinding).

    Args:
        header: ``name``, ``name:port`` or ``[address]:port``.
        names: By which it may be called.
        any_address: Whether any address will do: only names can be made to lead elsewhere.

    Example:
        >>> [may_be_called(one, names_of("127.0.0.1")) for one in ("localhost:8000", "[::1]", "evil.example", "")]
        [True, True, False, False]
        >>> may_be_called("192.0.2.7:8000", (), any_address=True)
        True
    """
    name = header[1:].partition("]")[0] if header.startswith("[") else header.partition(":")[0]
    if name.lower().rstrip(".") in names:
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return any_address
