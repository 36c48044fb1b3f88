import os
import random

import numpy as np
import pytest
import torch

from mmgraph.encoders import Frozen
from mmgraph.errors import DataError
from mmgraph.schema import Identity, Modality
from mmgraph.testing import check_frozen


class Good(Frozen):
    """Letters of a text, times a factor that is an option and a bias that is state."""

    identity = Identity(name="letters", revision="1", options={"factor": 2})
    modality = Modality.TEXT
    shape = (3,)

    def __init__(self, factor=2, bias=None):
        self.factor = factor
        self.bias = torch.tensor([0.0, 1.0, 2.0]) if bias is None else bias

    @classmethod
    def restore(cls, options, state):
        return cls(**options, bias=state["bias"])

    def state(self):
        return {"bias": self.bias}

    def content(self, payload):
        if not isinstance(payload, str):
            raise DataError(f"a text must be a str, got {payload!r}")
        return payload.encode()

    def prepare(self, payload):
        if not payload.isalpha():
            raise DataError(f"no letters: {payload}")
        return payload

    def encode(self, prepared):
        return self.factor * torch.tensor([[text.count(one) for one in "abc"] for text in prepared]) + self.bias


class NoJson(Good):
    identity = Identity(name="letters", revision="1", options={"x": float("nan")})


class NoModality(Good):
    modality = "text"


class NoShape(Good):
    shape = (3, 0)


class Wide(Good):
    shape = (3, 1)

    def encode(self, prepared):
        return super().encode(prepared)[:, :, None]


class Infinite(Good):
    def encode(self, prepared):
        return super().encode(prepared).log()


class Blind(Good):
    def encode(self, prepared):
        return torch.ones(len(prepared), 3)


class Mixes(Good):
    def encode(self, prepared):
        found = super().encode(prepared)
        return found - found.mean(dim=0)


class Remembers(Good):
    calls = 0

    def encode(self, prepared):
        self.calls += 1
        return super().encode(prepared) + 1e-6 * self.calls


class SortsRows(Good):
    def encode(self, prepared):
        return super().encode(sorted(prepared))


class Conflates(Good):
    def content(self, payload):
        return super().content(payload)[:1]


class Forgets(Good):
    @classmethod
    def restore(cls, options, state):
        return cls(**options)


class Fitted(Good):
    @classmethod
    def restore(cls, options, state):
        return cls(**options, bias=state["bias"] + 1)


class Renamed(Good):
    @classmethod
    def restore(cls, options, state):
        found = cls(**options, bias=state["bias"])
        found.identity = Identity(name="other", revision="1")
        return found


class TakesAll(Good):
    def content(self, payload):
        return str(payload).encode()

    def prepare(self, payload):
        return str(payload)


class Crashes(Good):
    def prepare(self, payload):
        return payload if payload.isalpha() else 1 / 0


class Seeds(Good):
    def encode(self, prepared):
        torch.manual_seed(1)
        return super().encode(prepared)


class SeedsNumpy(Good):
    def encode(self, prepared):
        np.random.seed(987_654)  # what no other test leaves behind
        return super().encode(prepared)


class Draws(Good):
    def encode(self, prepared):
        random.random()
        return super().encode(prepared)


class SetsThreads(Good):
    def encode(self, prepared):
        torch.set_num_threads(torch.get_num_threads() + 1)
        return super().encode(prepared)


class SetsType(Good):
    def encode(self, prepared):
        torch.set_default_dtype(torch.float64)
        return super().encode(prepared)


class SetsEnvironment(Good):
    def encode(self, prepared):
        os.environ["MMGRAPH_TEST_OF_FROZEN"] = str(random.SystemRandom().random())
        return super().encode(prepared)


class Changes(Good):
    def content(self, payload):
        return payload["text"].encode()

    def prepare(self, payload):
        payload["text"] += "a"
        return payload["text"]


class Varies(Good):
    turn = 0

    def content(self, payload):
        self.turn += 1
        return f"{payload} {self.turn}".encode()


TEXTS = ["abc", "a", "bb", "zzz"]
BROKEN = {
    NoJson: "NoJson must have an identity that JSON keeps",
    NoModality: "NoModality must have a Modality, got 'text'",
    NoShape: r"NoShape must have a shape of sizes above 0, got \(3, 0\)",
    Wide: r"Wide must give vectors as 'x', got rows of shape \(3, 1\)",
    Infinite: r"Infinite must give finite features, got NaN or infinity in rows \[2, 3\]",
    Blind: "Blind must read its payloads, got equal rows of all 4",
    Mixes: r"Mixes must encode a payload alone as among others, got other rows of \[0",
    Remembers: "Remembers must give equal bits each time",
    SortsRows: r"SortsRows must encode a payload alone as among others, got other rows of \[0, 1\]",
    Conflates: "Conflates must tell payloads apart by their content",
    Fitted: "Fitted must give equal bits when it is kept and taken back",
    Renamed: "Renamed must be who it was when it is kept and taken back, got .*'other'",
    TakesAll: "TakesAll must refuse None with a DataError, got features",
    Crashes: "Crashes must refuse '1' with a DataError, got ZeroDivisionError",
    Seeds: "got a change of the random state of torch$",
    SeedsNumpy: "got a change of the random state of numpy$",
    Draws: "got a change of the random state of Python$",
    SetsThreads: "got a change of torch's number of threads$",
    SetsType: "got a change of torch's default type$",
    SetsEnvironment: "got a change of the environment$",
    Varies: "Varies must encode nothing that the cache holds, got 4 of 4 made again",
}


@pytest.fixture
def restored():
    threads, dtype = torch.get_num_threads(), torch.get_default_dtype()
    yield
    torch.set_num_threads(threads)
    torch.set_default_dtype(dtype)
    os.environ.pop("MMGRAPH_TEST_OF_FROZEN", None)


@pytest.mark.parametrize("broken", BROKEN)
def test_a_broken_promise_is_found(broken, restored):
    with pytest.raises(AssertionError, match=BROKEN[broken]):
        check_frozen(broken(), TEXTS, [None, "1"])


def test_a_good_one_passes():
    check_frozen(Good(), TEXTS, [None, "1", ""])
    check_frozen(Good(factor=3), TEXTS, options={"factor": 3})


def test_other_options_are_found_out_unless_none_are_to_be_kept():
    with pytest.raises(AssertionError, match="must give equal bits when it is kept and taken back"):
        check_frozen(Good(factor=3), TEXTS)
    check_frozen(Good(factor=3), TEXTS, options=None)


def test_a_lost_state_is_found_out():
    with pytest.raises(AssertionError, match="Forgets must give equal bits when it is kept and taken back"):
        check_frozen(Forgets(bias=torch.zeros(3)), TEXTS)


def test_a_payload_that_is_changed_is_found_out():
    payloads = [{"text": text} for text in TEXTS]
    with pytest.raises(AssertionError, match="Changes must"):
        check_frozen(Changes(), payloads, options=None)


def test_tensors_may_hold_nan_and_whole_numbers():
    class Pixels(Wide):
        attribute = "pixels"

        def encode(self, prepared):
            found = super().encode(prepared).float()
            return torch.where(found == 0, torch.nan, found)

    class Tokens(Wide):
        attribute = "tokens"
        dtype = torch.int64

    check_frozen(Pixels(), TEXTS, [None])
    check_frozen(Tokens(), TEXTS, [None])


def test_one_payload_is_too_few():
    with pytest.raises(AssertionError, match="Good must be checked on at least 2 payloads, got 1"):
        check_frozen(Good(), ["a"])
