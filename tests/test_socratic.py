"""Agents that read what others say: the order they are asked in, what is kept, and what goes wrong."""

import json
import random
from pathlib import Path

import networkx as nx
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mmgraph.errors import ArtifactError, ConfigError, DataError
from mmgraph.socratic import Agent, Socratic, Step, Trace


def said(name, calls=None):
    """An agent's call that wraps what it reads in its own name."""

    def call(*read):
        if calls is not None:
            calls.append(name)
        return f"{name}({', '.join(map(str, read))})"

    return call


def chain(calls=None):
    """The paper's program over a video, its agents declared in a muddled order."""
    agents = [
        Agent("vlm1", said("VLM", calls), reads=["video"]),
        Agent("lm1", said("LM", calls), reads=["vlm1"]),
        Agent("alm", said("ALM", calls), reads=["lm1"]),
        Agent("lm2", said("LM", calls), reads=["alm"]),
        Agent("vlm2", said("VLM", calls), reads=["lm2"]),
        Agent("lm3", said("LM", calls), reads=["vlm2"]),
    ]
    random.Random(0).shuffle(agents)
    return Socratic(agents, inputs=["video"])


def test_the_order_of_a_chain_is_the_printed_nesting():
    def vlm(text):
        return f"VLM({text})"

    def lm(text):
        return f"LM({text})"

    def alm(text):
        return f"ALM({text})"

    trace = chain().run({"video": "clip"})
    assert trace.answers["lm3"] == lm(vlm(lm(alm(lm(vlm("clip"))))))
    assert [step.agent for step in trace.steps] == ["vlm1", "lm1", "alm", "lm2", "vlm2", "lm3"]


@given(st.integers(1, 8), st.randoms(use_true_random=False))
def test_any_graph_is_run_in_the_topological_order_that_networkx_finds(count, chance):
    names = [f"a{number}" for number in range(count)]
    reads = {name: [other for other in names[:place] if chance.random() < 0.4] for place, name in enumerate(names)}
    declared = list(names)
    chance.shuffle(declared)
    graph = Socratic([Agent(name, said(name), reads=["x", *reads[name]]) for name in declared], inputs=["x"])
    reference = nx.DiGraph()
    reference.add_nodes_from(declared)
    reference.add_edges_from((other, name) for name in declared for other in reads[name])
    assert list(graph.order) == list(nx.lexicographical_topological_sort(reference, key=declared.index))
    assert {edge for edge in graph.edges if edge[0] != "x"} == set(reference.edges)

    def nested(name):
        return f"{name}({', '.join(['0', *map(nested, reads[name])])})"

    assert graph.run({"x": 0}).answers == {name: nested(name) for name in names}


def test_among_equals_the_first_declared_is_asked_first():
    graph = Socratic([Agent(name, str, reads=["x"]) for name in "cab"], inputs=["x"])
    assert graph.order == ("c", "a", "b")


def test_a_prompt_comes_first_and_what_it_does_not_name_follows():
    got = []
    call = lambda *read: got.append(read) or "yes"  # noqa: E731
    agents = [
        Agent("says", str, reads=["x"]),
        Agent("looks", call, reads=["p", "says", "q"], prompt="Is it {says}{{}}?"),
    ]
    trace = Socratic(agents, inputs=["x", "p", "q"]).run({"x": "red", "p": [1, 2], "q": 3})
    assert got == [("Is it red{}?", [1, 2], 3)]
    assert trace.steps[1].prompt == "Is it red{}?"
    assert str(trace) == "says: red\nlooks (Is it red{}?): yes"
    assert all(step.seconds >= 0 for step in trace.steps)


def test_braces_in_what_is_read_stay_as_they_are():
    graph = Socratic([Agent("echo", str, reads=["x"], prompt="{x}!")], inputs=["x"])
    assert graph.run({"x": "{y} {0.__class__}"}).answers == {"echo": "{y} {0.__class__}!"}


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: Agent("", str, reads=[]), r"must have a name, a string that is not empty, got ''"),
        (lambda: Agent("a", "str", reads=[]), r"call of agent 'a' must be callable, got str"),
        (lambda: Agent("a", str, reads="x"), r"reads of agent 'a' must be a list of names, each once, got 'x'"),
        (lambda: Agent("a", str, reads=["x", "x"]), r"each once, got \['x', 'x'\]"),
        (lambda: Agent("a", str, reads=["x"], prompt="{y}"), r"may name what it reads, \['x'\], got '\{y\}'"),
        (lambda: Agent("a", str, reads=["x"], prompt="{}"), r"may name what it reads, \['x'\], got '\{\}'"),
        (lambda: Agent("a", str, reads=["x"], prompt="{x.real}"), r"got '\{x.real\}'"),
        (lambda: Agent("a", str, reads=["x"], prompt="{x!r}"), r"plain names in braces, got \('x', '', 'r'\)"),
        (lambda: Agent("a", str, reads=["x"], prompt="{x"), r"must be a template, but expected '}'.*a brace twice"),
        (lambda: socratic("ab", "a"), r"names of their own, got \['a'\] more than once"),
        (lambda: socratic("aa", "x"), r"names of their own, got \['a'\] more than once"),
        (
            lambda: socratic("a", "x", a=["y", "x"]),
            r"read inputs or agents, one of \['x', 'a'\], got \['y'\]",
        ),
        (lambda: socratic("abcd", "x", a=["b"], b=["c"], c=["b", "d"]), r"got 'b' reads 'c' reads 'b'$"),
        (lambda: socratic("a", "x", a=["a"]), r"must not wait for each other, got 'a' reads 'a'$"),
    ],
)
def test_what_cannot_be_run_is_refused_when_it_is_made(make, match):
    with pytest.raises(ConfigError, match=match):
        make()


def socratic(names, inputs, **reads):
    return Socratic([Agent(name, str, reads=reads.get(name, [])) for name in names], inputs=list(inputs))


@pytest.mark.parametrize(
    ("agent", "inputs", "match"),
    [
        (Agent("a", len, reads=["x"]), {"x": "four"}, r"Agent 'a' must answer with a string, got int"),
        (Agent("a", lambda _: "\ud800", reads=["x"]), {"x": 1}, r"Agent 'a' must answer in Unicode"),
        (Agent("a", str, reads=["x"], prompt="{x}"), {"x": 4}, r"agent 'a' names must be texts, got 'x' of int"),
        (Agent("a", str, reads=["x"]), {}, r"inputs must be \['x'\], got \[\]"),
        (Agent("a", str, reads=["x"]), {"x": 1, "y": 2}, r"inputs must be \['x'\], got \['x', 'y'\]"),
    ],
)
def test_what_goes_wrong_in_a_run_is_told(agent, inputs, match):
    with pytest.raises(DataError, match=match):
        Socratic([agent], inputs=["x"]).run(inputs)


def test_an_error_names_the_agent():
    with pytest.raises(ZeroDivisionError) as caught:
        Socratic([Agent("a", str, reads=["x"]), Agent("b", lambda x: 1 / x, reads=["x"])], inputs=["x"]).run({"x": 0})
    assert caught.value.__notes__ == ["This was agent 'b', after ['a']"]


def test_a_run_that_broke_off_goes_on_where_it_was(tmp_path):
    calls, broken = [], [True]

    def fails(read):
        if broken:
            raise OSError("no answer")
        return read.upper()

    agents = [
        Agent("a", said("a", calls), reads=["x"]),
        Agent("b", fails, reads=["a"]),
        Agent("c", said("c", calls), reads=["b", "y"]),
    ]
    graph, path = Socratic(agents, inputs=["x", "y"]), tmp_path / "kept" / "trace.json"
    with pytest.raises(OSError, match="no answer"):
        graph.run({"x": 1, "y": 2}, path=path)
    (first,) = Trace.load(path).steps
    assert first.answer == "a(1)"
    broken.clear()
    trace = graph.run({"x": 1, "y": 2}, path=path)
    assert (calls, trace.steps[0], Trace.load(path)) == (["a", "c"], first, trace)
    graph.run({"x": 1, "y": 3}, path=path)  # only c reads y
    assert calls == ["a", "c", "c"]
    graph.run({"x": 2, "y": 3}, path=path)
    assert calls == ["a", "c", "c", "a", "c"]
    other = Socratic([agents[0]], inputs=["x"])
    assert other.run({"x": 2}, path=path).answers == {"a": "a(2)"}
    assert calls == ["a", "c", "c", "a", "c"]


def test_another_prompt_is_another_question(tmp_path):
    calls = []
    for prompt in ("One {x}", "Two {x}", "Two {x}"):
        agent = Agent("a", said("a", calls), reads=["x"], prompt=prompt)
        Socratic([agent], inputs=["x"]).run({"x": "1"}, path=tmp_path / "t.json")
    assert calls == ["a", "a"]


def test_a_text_read_is_not_a_prompt_of_the_same_words(tmp_path):
    calls = []
    for prompt in (None, "{x}"):
        agent = Agent("a", said("a", calls), reads=["x"], prompt=prompt)
        Socratic([agent], inputs=["x"]).run({"x": "1"}, path=tmp_path / "t.json")
    assert calls == ["a", "a"]


KINDS = [
    (torch.tensor([1.0, 2.0]), torch.tensor([1.0, 3.0])),
    (torch.tensor([[1.0], [2.0]]), torch.tensor([[1.0, 2.0]])),
    (np.array([1, 2]), np.array([1, 2], dtype=np.int32)),
    (b"png", b"jpg"),
    ({"a": [1, None]}, {"a": [1, False]}),
    ("1", 1),
    (torch.nn.Linear(1, 1), torch.nn.Linear(1, 1)),
]


@pytest.mark.parametrize(("one", "two"), KINDS)
def test_inputs_of_any_kind_are_told_apart(one, two, tmp_path):
    calls = []
    graph = Socratic([Agent("a", lambda _: calls.append(1) or "", reads=["x"])], inputs=["x"])
    path = tmp_path / "t.json"
    for value in (one, two, two):
        graph.run({"x": value}, path=path)
    has_no_bytes = isinstance(one, torch.nn.Module)
    assert len(calls) == (3 if has_no_bytes else 2)
    assert (Trace.load(path).steps[0].read is None) == has_no_bytes


def test_a_file_is_what_is_in_it(tmp_path):
    calls, file = [], tmp_path / "a.png"
    graph = Socratic([Agent("a", lambda _: calls.append(1) or "", reads=["x"])], inputs=["x"])
    for data in (b"1", b"1", b"2"):
        file.write_bytes(data)
        graph.run({"x": file}, path=tmp_path / "t.json")
    assert len(calls) == 2


def test_of_many_those_that_fail_are_set_aside_and_the_others_go_on(tmp_path):
    agents = [Agent("half", lambda n: str(1 / n), reads=["n"]), Agent("loud", str.upper, reads=["half"])]
    graph = Socratic(agents, inputs=["n"])
    many = {"a/b": {"n": 2}, "zero": {"n": 0}, "none": {}, "A/B": {"n": 4}, "x" * 300: {"n": "s"}}
    ran = graph.run_many(many, folder=tmp_path)
    assert {key: trace.answers["half"] for key, trace in ran.traces.items()} == {"a/b": "0.5", "A/B": "0.25"}
    assert {key: (one.agent, one.reason.split(":")[0]) for key, one in ran.failed.items()} == {
        "zero": ("half", "ZeroDivisionError"),
        "none": (None, "DataError"),
        "x" * 300: ("half", "TypeError"),
    }
    assert len(list(tmp_path.iterdir())) == 2
    (first, *_) = sorted(tmp_path.iterdir())
    first.write_text("[]")
    again = graph.run_many(many, folder=tmp_path)
    assert len(again.failed) == 4
    assert next(one for key, one in again.failed.items() if key in ran.traces).reason.startswith("ArtifactError: File")


def test_what_was_said_before_a_failure_is_kept():
    agents = [Agent("a", str, reads=["x"]), Agent("b", int, reads=["a"])]
    ran = Socratic(agents, inputs=["x"]).run_many({"k": {"x": "word"}})
    assert ran.failed["k"].agent == "b"
    assert ran.failed["k"].trace.answers == {"a": "word"}


def kept(**changes):
    row = {"agent": "a", "read": None, "prompt": None, "answer": "yes", "seconds": 0.5} | changes
    return {"version": 1, "steps": [row]}


@pytest.mark.parametrize(
    ("value", "match"),
    [
        (kept(seconds="0"), r"must hold a trace, but TypeError: seconds is '0'; remove it, and run again"),
        (kept(answer=None), r"answer is None"),
        (kept(other=1), r"must hold a trace"),
        ({"version": 2, "steps": []}, r"must be of version 1, got 2"),
        ({"steps": []}, r"KeyError: 'version'"),
        ([], r"must hold a trace"),
    ],
)
def test_what_is_no_trace_is_not_read(value, match, tmp_path):
    path = tmp_path / "trace.json"
    path.write_text(json.dumps(value))
    with pytest.raises(ArtifactError, match=match):
        Trace.load(path)


def test_a_trace_is_read_as_it_was_written(tmp_path):
    path = Path(tmp_path / "trace.json")
    trace = Trace((Step("ä", None, "“?”", "sieben\n", 0.25), Step("b", "00", None, "", 0.0)))
    trace.save(path)
    assert Trace.load(path) == trace
    path.write_text(json.dumps(kept()))
    assert Trace.load(path).answers == {"a": "yes"}
