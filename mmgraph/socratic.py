r"""Socratic composition: models are nodes, and what passes along the edges is text.

Models that were never trained together answer together, because each can read what another says (Zeng et al. 2022,
Socratic models: composing zero-shot multimodal reasoning with language, arXiv:2204.00598). A program such as

.. math:: f_{LM}(f_{VLM}(f_{LM}(f_{ALM}(f_{LM}(f_{VLM}(\mathrm{video}))))))

is a graph without cycles; it is run in topological order, and leaves a trace of who was asked what and said what.
Nothing is trained here. An agent is any callable that answers in text: a classifier that names a picture, a search, a
generator, a template (``str`` with a prompt).

Example:
    >>> sees = Agent("sees", lambda picture: "a seven" if picture > 0 else "a two", reads=["picture"])
    >>> hears = Agent("hears", lambda sound: f"{sound} knocks", reads=["sound"])
    >>> tells = Agent("tells", str, reads=["sees", "hears"], prompt="I see {sees} and hear {hears}.")
    >>> graph = Socratic([tells, sees, hears], inputs=["picture", "sound"])
    >>> graph.order
    ('sees', 'hears', 'tells')
    >>> graph.run({"picture": 1, "sound": 3}).answers["tells"]
    'I see a seven and hear 3 knocks.'
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from string import Formatter
from time import perf_counter
from typing import Any, NamedTuple
from urllib.parse import quote

import numpy as np
import torch

from mmgraph.errors import ArtifactError, ConfigError, DataError
from mmgraph.files import read_json, write_json

_VERSION = 1


@dataclass(frozen=True)
class Agent:
    """A model that answers in text.

    Args:
        name: What its answer is called.
        call: Gets the prompt, if there is one, and then what it reads and the prompt doesn't name, in the order of
            ``reads``; returns a string.
        reads: Names of inputs, and of agents whose answers it gets.
        prompt: A template; ``{name}`` is what is read under that name, which must be a text. Double braces are braces.

    Raises:
        ConfigError: No name, a name read twice, or a template that names what is not read.

    Example:
        >>> Agent("sums up", str, reads=["seen"], prompt="You saw {heard}.")
        Traceback (most recent call last):
        ...
        mmgraph.errors.ConfigError: The prompt of agent 'sums up' may name what it reads, ['seen'], got '{heard}'
    """

    name: str
    call: Callable[..., str]
    reads: Sequence[str]
    prompt: str | None = None

    def __post_init__(self) -> None:
        if not self.name:
            raise ConfigError(f"An agent must have a name, a string that is not empty, got {self.name!r}")
        if not callable(self.call):
            raise ConfigError(f"call of agent {self.name!r} must be callable, got {type(self.call).__name__}")
        if isinstance(self.reads, str) or len(set(self.reads)) < len(tuple(self.reads)):
            raise ConfigError(f"reads of agent {self.name!r} must be a list of names, each once, got {self.reads!r}")
        object.__setattr__(self, "reads", tuple(self.reads))
        for field in self.fields:
            if field not in self.reads:
                raise ConfigError(
                    f"The prompt of agent {self.name!r} may name what it reads, {list(self.reads)}, got '{{{field}}}'"
                )

    @property
    def fields(self) -> tuple[str, ...]:
        """What the prompt names."""
        try:
            parsed = list(Formatter().parse(self.prompt or ""))
        except ValueError as error:
            raise ConfigError(
                f"The prompt of agent {self.name!r} must be a template, but {error}; write a brace twice"
            ) from None
        if odd := next((part for part in parsed if part[2] or part[3]), None):
            raise ConfigError(f"The prompt of agent {self.name!r} must have plain names in braces, got {odd[1:]!r}")
        return tuple(dict.fromkeys(field for _, field, _, _ in parsed if field is not None))


@dataclass(frozen=True)
class Step:
    """What one agent was asked, and said.

    Args:
        agent: Its name.
        read: Digest of the prompt and of all that it read; ``None`` if something has no bytes that are always the same.
        prompt: The filled-in template; ``None`` without one.
        answer: What it said.
        seconds: How long that took.
    """

    agent: str
    read: str | None
    prompt: str | None
    answer: str
    seconds: float


@dataclass(frozen=True)
class Trace:
    """The steps of a run, in the order in which they were taken; a run that broke off has fewer.

    Example:
        >>> trace = Socratic([Agent("loud", str.upper, reads=["text"])], inputs=["text"]).run({"text": "yes"})
        >>> trace.answers
        {'loud': 'YES'}
        >>> path = getfixture("tmp_path") / "trace.json"
        >>> trace.save(path)
        >>> Trace.load(path) == trace
        True
    """

    steps: tuple[Step, ...] = ()

    @property
    def answers(self) -> dict[str, str]:
        """Agent → what it said."""
        return {step.agent: step.answer for step in self.steps}

    def __str__(self) -> str:
        """A line an agent, for people."""
        asked = [f"{step.agent}{'' if step.prompt is None else f' ({step.prompt})'}" for step in self.steps]
        return "\n".join(f"{who}: {step.answer}" for who, step in zip(asked, self.steps, strict=True))

    def save(self, path: Path) -> None:
        """Writes JSON, whole or not at all."""
        write_json(path, {"version": _VERSION, "steps": [asdict(step) for step in self.steps]})

    @classmethod
    def load(cls, path: Path) -> Trace:
        """Reads what :meth:`save` wrote.

        Raises:
            ArtifactError: The file is missing, or no trace.
        """
        found = read_json(path)
        try:
            if found["version"] != _VERSION:
                raise ArtifactError(f"Trace {str(path)!r} must be of version {_VERSION}, got {found['version']!r}")
            return cls(tuple(_step(row) for row in found["steps"]))
        except (TypeError, KeyError) as error:
            raise ArtifactError(
                f"File {str(path)!r} must hold a trace, but {type(error).__name__}: {error}; remove it, and run again"
            ) from None


class Failed(NamedTuple):
    """Inputs that no answer was found for: why, who was to answer, and what had been said until then."""

    reason: str
    agent: str | None  # None: the inputs are not those that the graph takes, or what was kept is no trace
    trace: Trace


class Ran(NamedTuple):
    """What came of many inputs."""

    traces: dict[str, Trace]
    failed: dict[str, Failed]


class Socratic:
    """Agents, each of which reads inputs and what others said.

    Args:
        agents: In any order; an agent is asked when all that it reads is there, of several the one named first.
        inputs: Names of what :meth:`run` is given.

    Raises:
        ConfigError: Two of one name, a name that is neither an agent's nor an input's, or agents that wait for each
            other.

    Example:
        >>> Socratic([Agent("a", str, reads=["b"]), Agent("b", str, reads=["a"])], inputs=[])
        Traceback (most recent call last):
        ...
        mmgraph.errors.ConfigError: Agents must not wait for each other, got 'a' reads 'b' reads 'a'
    """

    def __init__(self, agents: Sequence[Agent], *, inputs: Sequence[str]) -> None:
        self.inputs = tuple(inputs)
        names = [*self.inputs, *(agent.name for agent in agents)]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ConfigError(f"Inputs and agents must have names of their own, got {twice} more than once")
        for agent in agents:
            if unknown := [name for name in agent.reads if name not in names]:
                raise ConfigError(
                    f"Agent {agent.name!r} must read inputs or agents, one of {names}, got {unknown}; name it in inputs"
                )
        self.agents = {agent.name: agent for agent in agents}
        self.order = _order(self.agents)

    @property
    def edges(self) -> tuple[tuple[str, str], ...]:
        """Who is read by whom, ``(read, reader)``, readers in the order in which they are asked."""
        return tuple((name, reader) for reader in self.order for name in self.agents[reader].reads)

    def run(self, inputs: Mapping[str, Any], *, path: Path | None = None) -> Trace:
        """Asks every agent, each when all that it reads is there.

        Args:
            inputs: Name → anything its readers take; what a prompt names must be a text.
            path: Where the trace is kept, step by step. If it is there, an agent that was asked the same before is not
                asked again. What the agent itself is is not known to a trace: remove it when a model has changed.

        Raises:
            DataError: Other inputs than those of the graph, an answer that is no string, or a prompt that names
                something that is none.
            ArtifactError: ``path`` holds something else.
        """
        self._check(inputs)
        trace, (agent, error) = self._run(inputs, path)
        if error is not None:
            error.add_note(f"This was agent {agent!r}, after {list(trace.answers)}")
            raise error
        return trace

    def run_many(self, inputs: Mapping[str, Mapping[str, Any]], *, folder: Path | None = None) -> Ran:
        """Asks about many; where an agent fails, those inputs are set aside, and the others go on.

        Args:
            inputs: Key → what :meth:`run` is given.
            folder: Where traces are kept, one a key; see ``path`` of :meth:`run`.

        Returns:
            ``traces`` by key, and ``failed`` by key.

        Example:
            >>> graph = Socratic([Agent("half", lambda n: str(1 / n), reads=["n"])], inputs=["n"])
            >>> ran = graph.run_many({"two": {"n": 2}, "zero": {"n": 0}})
            >>> ran.traces["two"].answers, ran.failed["zero"].reason
            ({'half': '0.5'}, 'ZeroDivisionError: division by zero')
        """
        ran = Ran({}, {})
        for key, given in inputs.items():
            try:
                self._check(given)
                trace, (agent, wrong) = self._run(given, None if folder is None else folder / _file(key))
            except (DataError, ArtifactError) as error:
                trace, (agent, wrong) = Trace(), (None, error)
            if wrong is None:
                ran.traces[key] = trace
            else:
                ran.failed[key] = Failed(f"{type(wrong).__name__}: {wrong}", agent, trace)
        return ran

    def _check(self, inputs: Mapping[str, Any]) -> None:
        if set(inputs) != set(self.inputs):
            raise DataError(f"inputs must be {list(self.inputs)}, got {list(inputs)}")

    def _run(self, inputs: Mapping[str, Any], path: Path | None) -> tuple[Trace, tuple[str | None, Exception | None]]:
        """The trace as far as it went, and which agent broke it off, and how."""
        said, steps = dict(inputs), list[Step]()
        past = Trace.load(path).steps if path is not None and path.exists() else ()
        done = {(step.agent, step.read): step for step in past}
        for name in self.order:
            agent = self.agents[name]
            try:
                step = _ask(agent, [said[read] for read in agent.reads], done)
            except Exception as error:
                return Trace(tuple(steps)), (name, error)
            steps.append(step)
            said[name] = step.answer
            if path is not None and past[: len(steps)] != tuple(steps):
                Trace(tuple(steps)).save(path)
        return Trace(tuple(steps)), (None, None)


def _ask(agent: Agent, values: list[Any], done: Mapping[tuple[str, str | None], Step]) -> Step:
    """Asks one agent, unless it was asked the same before."""
    read, prompt = dict(zip(agent.reads, values, strict=True)), None
    if agent.prompt is not None:
        if odd := [name for name in agent.fields if not isinstance(read[name], str)]:
            raise DataError(
                f"What the prompt of agent {agent.name!r} names must be texts, got {odd[0]!r} of "
                f"{type(read[odd[0]]).__name__}; let another agent say it in words"
            )
        prompt = agent.prompt.format(**{name: read[name] for name in agent.fields})
    given = ([] if prompt is None else [prompt]) + [read[name] for name in agent.reads if name not in agent.fields]
    asked = _digest([prompt is not None, *given])
    if asked is not None and (agent.name, asked) in done:
        return done[agent.name, asked]
    start = perf_counter()
    answer: object = agent.call(*given)
    seconds = perf_counter() - start
    if not isinstance(answer, str):
        raise DataError(f"Agent {agent.name!r} must answer with a string, got {type(answer).__name__}")
    try:
        answer.encode()
    except UnicodeEncodeError as error:
        raise DataError(f"Agent {agent.name!r} must answer in Unicode, but {error}") from None
    return Step(agent.name, asked, prompt, answer, seconds)


def _order(agents: Mapping[str, Agent]) -> tuple[str, ...]:
    """Kahn's topological order; of several that are ready the one that was named first."""
    order: list[str] = []
    while len(order) < len(agents):
        left = [name for name in agents if name not in order]
        ready = [name for name in left if not set(agents[name].reads) & set(left)]
        if not ready:
            raise ConfigError(f"Agents must not wait for each other, got {_cycle(agents, left)}")
        order.append(ready[0])
    return tuple(order)


def _cycle(agents: Mapping[str, Agent], left: Sequence[str]) -> str:
    """A way from an agent back to itself; each of those left reads another of them."""
    way = [left[0]]
    while way[-1] not in way[:-1]:
        way.append(next(name for name in agents[way[-1]].reads if name in left))
    return " reads ".join(repr(name) for name in way[way.index(way[-1]) :])


def _digest(values: list[Any]) -> str | None:
    """One digest of all values; ``None`` if one of them is of a kind whose bytes are not always the same."""
    sha = hashlib.sha256()
    for value in values:
        try:
            if isinstance(value, np.ndarray | torch.Tensor):
                array = np.asarray(value.detach().cpu() if isinstance(value, torch.Tensor) else value)
                if array.dtype.hasobject:
                    return None
                told, data = f"{array.dtype.str}{array.shape}", np.ascontiguousarray(array).tobytes()
            elif isinstance(value, bytes | bytearray | Path):
                told, data = "bytes", value.read_bytes() if isinstance(value, Path) else bytes(value)
            else:
                told, data = "json", json.dumps(value, sort_keys=True).encode()
        except (TypeError, ValueError, RuntimeError, OSError):
            return None
        sha.update(f"{told} {len(data)} ".encode() + data)
    return sha.hexdigest()


def _file(key: str) -> str:
    """A file name that can be read, and that no other key has."""
    return f"{quote(key, safe='')[:80]}-{hashlib.sha256(key.encode('utf-8', 'surrogatepass')).hexdigest()[:16]}.json"


def _step(row: Any) -> Step:
    step = Step(**row)
    kinds = {"agent": str, "read": str | None, "prompt": str | None, "answer": str, "seconds": float}
    for name, kind in kinds.items():
        if not isinstance(getattr(step, name), kind):
            raise TypeError(f"{name} is {getattr(step, name)!r}")
    return step
