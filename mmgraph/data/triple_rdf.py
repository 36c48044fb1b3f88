"""Triples from RDF and to RDF: N-Triples line by line, Turtle and JSON-LD through rdflib."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from itertools import count, groupby
from operator import itemgetter
from threading import Lock
from typing import Any

from mmgraph.data.triple_names import Names, is_blank
from mmgraph.data.triple_rows import Rows
from mmgraph.data.triples import XSD, Triples
from mmgraph.errors import DataError
from mmgraph.optional import require

_IRI = r'<([^\x00-\x20<>"{}|^`\\]+(?:\\[uU][0-9A-Fa-f]{4}[^\x00-\x20<>"{}|^`\\]*)*)>'
_BLANK = r"(_:[\w:](?:[\w:.\-·]*[\w:\-·])?)"
_STRING = r'"([^"\\]*(?:\\.[^"\\]*)*)"'
_LANGUAGE = r"[A-Za-z]+(?:-[A-Za-z0-9]+)*"
_STATEMENT = re.compile(
    rf"[ \t]*(?:{_IRI}|{_BLANK})[ \t]*{_IRI}[ \t]*(?:{_IRI}|{_BLANK}|{_STRING}(?:@({_LANGUAGE})|\^\^{_IRI})?)"
    r"[ \t]*\.[ \t]*(?:#.*)?"
)
_ESCAPE = re.compile(r"\\(?:u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{8})|(.?))", re.DOTALL)
_ESCAPED = {"t": "\t", "b": "\b", "n": "\n", "r": "\r", "f": "\f", '"': '"', "'": "'", "\\": "\\"}
_ESCAPES = {code: f"\\u{code:04X}" for code in (*range(32), 127)} | {ord(one): "\\" + one for one in '"\\'}
_ESCAPES |= {ord("\n"): "\\n", ord("\r"): "\\r", ord("\t"): "\\t"}
_LOCAL = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_LABEL = re.compile(r"_:[\w:.\-·]*[\w:\-·]")
_NOWHERE = "http://relative.invalid/"  # what relative IRIs are below
_NUMBER = re.compile(r"([-+]?(?:\d+\.?\d*|\.\d+)[eE][-+]?\d+)|([-+]?\d*\.\d+)|([-+]?\d+)", re.ASCII)
_NUMBERS = ("double", "decimal", "integer")  # what its groups are
_COLLAPSED = (XSD + "normalizedString", XSD + "token")  # rdflib changes their spaces
_RDFLIB = Lock()  # that literals stay as they are written is a setting of all of rdflib


def read_nt(rows: Rows, names: Names) -> None:
    """Reads N-Triples, a statement a line."""
    with rows.path.open("rb") as file:
        for number, line in enumerate(file, 1):
            stripped = line.strip()
            if not stripped or stripped.startswith(b"#"):
                continue
            rows.num_lines += 1
            try:
                _take_line(line.decode().rstrip("\r\n"), rows, names)
            except UnicodeDecodeError:
                rows.set_aside(number, line.decode(errors="replace"), "a line must be UTF-8")
            except ValueError as error:
                rows.set_aside(number, line.decode().rstrip("\r\n"), str(error))


def _take_line(line: str, rows: Rows, names: Names) -> None:
    found = _STATEMENT.fullmatch(line)
    if found is None:
        raise ValueError("a line must be a subject, a predicate, an object and a full stop, as N-Triples has them")
    subject, blank, predicate, thing, other, value, language, datatype = (
        _unescape(one) if one is not None and "\\" in one else one for one in found.groups()
    )
    head = blank or names.name(str(subject))
    relation = names.name(str(predicate))
    if value is None:
        rows.fact(head, relation, other or names.name(str(thing)))
    else:
        kind, unit = names.datatype_of(datatype)
        rows.literal(head, relation, value, kind, language, unit)


def _unescape(text: str) -> str:
    def one(found: re.Match[str]) -> str:
        short, long, letter = found.groups()
        code = int(short or long, 16) if letter is None else -1
        if code < 0 and letter in _ESCAPED:
            return _ESCAPED[letter]
        if not 0 <= code < 0x110000 or 0xD800 <= code < 0xE000:
            raise ValueError(f"there is no character {found[0]!r}")
        return chr(code)

    return _ESCAPE.sub(one, text)


class _Literal(str):
    """A literal as it is written; rdflib's own change the form of some."""

    datatype: str | None = None
    language: str | None = None


@dataclass
class _Statements:
    """Takes the statements of rdflib's parsers; a blank node without a label gets one.

    Args:
        rows: Where they go.
        names: What IRIs are called.
        labels: Those of blank nodes, ``_:x``.
    """

    rows: Rows
    names: Names
    labels: Collection[str]
    context_aware: bool = False
    given: dict[str, str] = field(default_factory=dict)
    numbers: Iterator[int] = field(default_factory=count)

    def bind(self, *prefix: object) -> None:
        """Prefixes are the user's to choose."""

    def add(self, statement: tuple[Any, Any, Any]) -> None:
        """Takes a statement.

        Raises:
            DataError: Its subject is a literal, its predicate no IRI, or an IRI is none.
        """
        subject, predicate, thing = statement
        if _is_literal(subject) or _is_literal(predicate) or _is_blank(predicate):
            raise DataError(f"a subject must be a node and a predicate an IRI, got {subject!r} and {predicate!r}")
        head, relation = self._name(subject), self._name(predicate)
        if _is_literal(thing):
            datatype, unit = self.names.datatype_of(None if thing.datatype is None else str(thing.datatype))
            self.rows.literal(head, relation, str(thing), datatype, thing.language, unit)
        else:
            self.rows.fact(head, relation, self._name(thing))

    def _name(self, node: Any) -> str:
        if not _is_blank(node):
            if str(node).startswith(_NOWHERE):
                raise DataError(f"<{str(node)[len(_NOWHERE) :]}> is relative; give its @base")
            return self.names.name(str(node))
        if (label := f"_:{node}") in self.labels:
            return label
        if label not in self.given:
            self.given[label] = next(f"_:anon{n}" for n in self.numbers if f"_:anon{n}" not in self.labels)
        return self.given[label]


def _is_literal(node: object) -> bool:
    return isinstance(node, _Literal | require("rdflib", extra="rdf").Literal)


def _is_blank(node: object) -> bool:
    return isinstance(node, require("rdflib", extra="rdf").BNode)


def read_turtle(rows: Rows, names: Names) -> None:
    """Reads Turtle.

    Raises:
        DataError: It is broken; the message names file and line.
    """
    rdflib = require("rdflib", extra="rdf")
    from rdflib.plugins.parsers.notation3 import BadSyntax, RDFSink, SinkParser

    def literal(value: str, datatype: str | None, language: str | None) -> _Literal:
        said = _Literal(value)
        said.datatype, said.language = datatype, language
        return said

    def thing(text: str, place: int, found: list[Any]) -> int:
        """Takes a number as it is written: rdflib would say 1000.0 for 1e3."""
        start = parser.skipSpace(text, place)
        number = _NUMBER.match(text, start) if start >= 0 else None
        if number is None:
            return int(others(text, place, found))
        found.append(literal(number[0], XSD + _NUMBERS[(number.lastindex or 0) - 1], None))
        return number.end()

    data = rows.path.read_bytes()
    text, place = "", 0
    try:
        text = data.decode("utf-8-sig")
        sink = RDFSink(_Statements(rows, names, set(_LABEL.findall(text))))
        sink.newLiteral = literal
        parser = SinkParser(sink, baseURI=_NOWHERE, turtle=True)
        parser.anonymousNode = rdflib.BNode
        others, parser.nodeOrLiteral = parser.nodeOrLiteral, thing
        while (start := parser.skipSpace(text, place)) >= 0:
            place = start
            if (after := parser.directiveOrStatement(text, start)) < 0:
                parser.BadSyntax(text, start, "expected directive or statement")
            place = after
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise DataError(f"{str(rows.path)!r}, line {line}: Turtle must be UTF-8; convert the file") from None
    except BadSyntax as error:
        line = text.count("\n", 0, error._i) + 1
        why = " ".join(error._why.split())
        raise DataError(f"{str(rows.path)!r}, line {line}: this is no Turtle: {why}; mend the line") from None
    except (ValueError, AssertionError, LookupError, TypeError, AttributeError, RecursionError) as error:
        line = text.count("\n", 0, place) + 1
        why = " ".join(str(error).split()) or type(error).__name__
        if why == "string index out of range":
            why = "the file ends before the statement does"
        elif why.startswith("Quote expected"):
            why = "a string is not closed"
        raise DataError(
            f"{str(rows.path)!r}, in the statement from line {line} on: this is no Turtle: {why}; mend it"
        ) from None


def read_json_ld(rows: Rows, names: Names) -> None:
    """Reads JSON-LD; its context must be in the file. As its rules have it, keys and ids without an IRI say nothing.

    Raises:
        DataError: It is broken, says nothing, or names a context that would have to be fetched.
    """
    rdflib: Any = require("rdflib", extra="rdf")
    from rdflib.plugins.parsers.jsonld import to_rdf

    path = str(rows.path)
    try:
        found = json.loads(rows.path.read_bytes().decode("utf-8-sig"))
        labels = set(_check_json_ld(found, path))
        with _RDFLIB:
            before = rdflib.NORMALIZE_LITERALS
            rdflib.NORMALIZE_LITERALS = False
            try:
                to_rdf(found, _Statements(rows, names, labels), base=_NOWHERE)
            finally:
                rdflib.NORMALIZE_LITERALS = before
        if found and not (rows.heads or rows.literals):
            raise DataError("JSON-LD must say something, got no statement; give the IRIs of its keys in @context")
    except json.JSONDecodeError as error:
        raise DataError(f"{path!r}, line {error.lineno}: this is no JSON: {error.msg}; mend the line") from None
    except UnicodeDecodeError:
        raise DataError(f"{path!r}: JSON-LD must be UTF-8; convert the file") from None
    except DataError as error:
        raise error if path in str(error) else DataError(f"{path!r}: {error}") from None
    except (ValueError, AssertionError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(f"{path!r}: this is no JSON-LD: {str(error) or type(error).__name__}; mend it") from None


def _check_json_ld(found: object, path: str) -> Iterator[str]:
    """Refuses what would be fetched, and gives the labels of blank nodes."""
    waiting = [found]
    while waiting:
        one = waiting.pop()
        if isinstance(one, str):
            if one.startswith("_:"):
                yield one
        elif isinstance(one, list):
            waiting += one
        elif isinstance(one, dict):
            contexts = one.get("@context")
            for context in [*(contexts if isinstance(contexts, list) else [contexts]), one.get("@import")]:
                if isinstance(context, str):
                    raise DataError(
                        f"{path!r}: a context must be in the file, got {context!r}, which is not fetched; put what it "
                        "says in its place, or convert the file to N-Triples"
                    )
            waiting += [*one, *one.values()]


def write_nt(triples: Triples, names: Names) -> bytes:
    """Writes N-Triples."""
    statements = _statements(triples, names)
    return "".join(f"{head} {relation} {thing} .\n" for head, relation, thing in statements).encode()


def write_turtle(triples: Triples, names: Names) -> bytes:
    """Writes Turtle: what is said of one subject in a row shares it."""
    prefixes = {"": names.base, **names.namespaces, "xsd": XSD}

    def short(iri: str) -> str:
        for prefix, namespace in prefixes.items():
            if iri.startswith(namespace) and _LOCAL.fullmatch(iri, len(namespace)):
                return f"{prefix}:{iri[len(namespace) :]}"
        return f"<{iri}>"

    lines = [f"@prefix {prefix}: <{namespace}> ." for prefix, namespace in prefixes.items()]
    for head, said in groupby(_statements(triples, names, short), key=itemgetter(0)):
        lines.append("")
        lines.append(f"{head} " + " ;\n    ".join(f"{relation} {thing}" for _, relation, thing in said) + " .")
    return ("\n".join(lines) + "\n").encode()


def _statements(
    triples: Triples, names: Names, show: Callable[[str], str] = "<{}>".format
) -> Iterator[tuple[str, str, str]]:
    """Subject, predicate and object as Turtle writes them."""
    shown: dict[str, str] = {}

    def iri(name: str) -> str:
        if name not in shown:
            shown[name] = show(names.iri(name))
        return shown[name]

    def node(name: str) -> str:
        return name if is_blank(name) else iri(name)

    for head, relation, tail in triples:
        yield node(head), iri(relation), node(tail)
    for entity, relation, value, datatype, language in _said(triples, names):
        about = f"@{language}" if language else f"^^{show(datatype)}" if datatype else ""
        yield node(entity), iri(relation), f'"{value.translate(_ESCAPES)}"{about}'


def _said(triples: Triples, names: Names) -> Iterator[tuple[str, str, str, str | None, str | None]]:
    """Entity, property, value, IRI of the datatype, and language of each literal."""
    rows = [] if triples.literals is None else triples.literals.to_pylist()
    for row in rows:
        entity, relation, value, datatype, language, unit = row.values()
        iri = names.datatype(datatype, unit)
        if language is not None and (iri is not None or not re.fullmatch(_LANGUAGE, language)):
            raise DataError(
                f"A literal of RDF has a language, as 'en' or 'pt-BR', and no datatype or unit beside it, got {row}"
            )
        yield entity, relation, value, iri, language


def write_json_ld(triples: Triples, names: Names) -> bytes:
    """Writes expanded JSON-LD: an object a statement."""

    def node(name: str) -> str:
        return name if is_blank(name) else names.iri(name)

    found: list[dict[str, Any]] = []
    for head, relation, tail in triples:
        found.append({"@id": node(head), names.iri(relation): [{"@id": node(tail)}]})
    for entity, relation, value, datatype, language in _said(triples, names):
        if datatype in _COLLAPSED and value != " ".join(value.split(" ")).strip():
            raise DataError(f"JSON-LD changes the spaces of a {datatype}, got {value!r}; write another format")
        about = {"@language": language} if language else {"@type": datatype} if datatype else {}
        found.append({"@id": node(entity), names.iri(relation): [{"@value": value, **about}]})
    return (json.dumps(found, ensure_ascii=False, indent=1) + "\n").encode()
