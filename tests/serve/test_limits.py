"""Limits, buckets of tokens, and names: against worked examples."""

import ipaddress
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmgraph.errors import ConfigError
from mmgraph.serve import Limits
from mmgraph.serve.limits import Buckets, client_of, is_local, may_be_called, names_of


@pytest.mark.parametrize(("name", "value"), [("rate", 0), ("max_bytes", -1), ("read_s", float("inf"))])
def test_limits_are_positive_numbers(name, value):
    with pytest.raises(ConfigError, match=f"{name} must be a positive number, got {value}"):
        Limits(**{name: value})


@given(st.lists(st.floats(0, 3), max_size=60), st.integers(1, 5), st.floats(0.5, 4))
def test_a_bucket_is_that_of_a_slow_count(pauses, burst, rate):
    """Among all windows that end now, none may hold more requests than it has tokens: burst + rate × its length."""
    now, passed = 0.0, []
    buckets = Buckets(rate=rate, burst=burst, clients=1, clock=lambda: now)
    for pause in pauses:
        now += pause
        room = min([burst + rate * (now - one) - len([o for o in passed if o >= one]) for one in passed] + [burst])
        wait_s = buckets.wait_s("me")
        if abs(room - 1) > 1e-6:
            assert (wait_s == 0) == (room > 1)
            assert wait_s == pytest.approx(max(0.0, 1 - room) / rate, abs=1e-6)
        if wait_s == 0:
            passed.append(now)


def test_after_the_wait_there_is_a_token():
    now = 0.0
    buckets = Buckets(rate=4, burst=2, clients=9, clock=lambda: now)
    assert [buckets.wait_s("a") for _ in range(4)] == [0, 0, 0.25, 0.25]
    assert buckets.wait_s("b") == 0
    now = 0.25
    assert buckets.wait_s("a") == 0
    assert buckets.wait_s("a") > 0


def test_clients_are_forgotten_the_longest_away_first():
    buckets = Buckets(rate=1, burst=1, clients=2, clock=lambda: 0.0)
    assert [buckets.wait_s(one) for one in "abab"] == [0, 0, 1, 1]
    assert buckets.wait_s("c") == 0  # a is forgotten
    assert buckets.wait_s("b") == 1
    assert buckets.wait_s("a") == 0
    assert len(buckets._left) == 2


def test_a_network_of_ipv6_is_one_client():
    assert client_of("2001:db8::1") == client_of("2001:db8::ffff:1%eth0") == "2001:db8::/64"
    assert client_of("2001:db8:0:1::1") != client_of("2001:db8::1")
    assert client_of("10.0.0.1") != client_of("10.0.0.2")


@pytest.mark.parametrize(
    ("host", "local"),
    [
        *((one, True) for one in ("127.0.0.1", "127.8.8.8", "::1", "localhost")),
        *((one, False) for one in ("0.0.0.0", "::", "192.168.1.2", "example.org")),
    ],
)
def test_what_is_local(host, local):
    assert is_local(host) is local


@pytest.mark.parametrize(
    ("header", "fits"),
    [
        *((one, True) for one in ("localhost", "LOCALHOST:80", "localhost.", "127.0.0.1:8000", "[::1]:8000")),
        *((one, False) for one in ("", "localhost.evil.example", "evil.example:80", "10.0.0.1", "[::2]")),
    ],
)
def test_names_by_which_a_local_server_is_called(header, fits):
    assert may_be_called(header, names_of("127.0.0.1")) is fits


def test_a_server_of_all_addresses_is_called_by_any_of_them_but_by_no_other_name():
    names = names_of("0.0.0.0")
    assert socket.gethostname().lower() in names
    assert may_be_called("192.0.2.1:80", names, any_address=True)
    assert may_be_called(f"[{ipaddress.ip_address('2001:db8::1')}]:80", names, any_address=True)
    assert not may_be_called("evil.example", names, any_address=True)
