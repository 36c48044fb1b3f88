"""RDF against rdflib, and what is broken in it."""

import json
import re

import pytest
import rdflib
from rdflib.compare import isomorphic

from mmgraph.data import Triples, read_triples, write_triples
from mmgraph.errors import DataError

TURTLE = """\
@base <http://e.x/> .
@prefix ex: <http://e.x/> .
# people
ex:ann ex:knows ex:bob , [ ex:name "Nobody"@en ] ;
    ex:height "1.80"^^<http://www.w3.org/2001/XMLSchema#decimal> ; ex:age 42 ; ex:tall true .
_:x ex:note \"\"\"two
lines\"\"\" ; ex:knows <bob> .
ex:bob ex:list ( 1 _:x ) .
"""


def as_rdflib(triples):
    """Facts and literals as rdflib's, by the library's own class of terms."""

    def node(name):
        return rdflib.BNode(name[2:]) if name.startswith("_:") else rdflib.URIRef(name)

    graph = rdflib.Graph()
    for head, relation, tail in triples:
        graph.add((node(head), node(relation), node(tail)))
    for row in [] if triples.literals is None else triples.literals.to_pylist():
        datatype = row["datatype"] and row["datatype"].replace("xsd:", "http://www.w3.org/2001/XMLSchema#")
        literal = rdflib.Literal(row["value"], lang=row["language"], datatype=datatype)
        graph.add((node(row["entity"]), node(row["property"]), literal))
    return graph


@pytest.mark.filterwarnings("ignore:ConjunctiveGraph:DeprecationWarning")
@pytest.mark.parametrize(("end", "form"), [("ttl", "turtle"), ("nt", "nt"), ("jsonld", "json-ld")])
def test_what_is_read_is_what_rdflib_reads(tmp_path, end, form):
    theirs = rdflib.Graph().parse(data=TURTLE, format="turtle")
    path = tmp_path / f"a.{end}"
    path.write_text(TURTLE if end == "ttl" else theirs.serialize(format=form), encoding="utf-8")
    ours = as_rdflib(read_triples(path))
    assert isomorphic(ours, theirs)
    assert len(ours) == 13


@pytest.mark.filterwarnings("ignore:ConjunctiveGraph:DeprecationWarning")
@pytest.mark.parametrize(("end", "form"), [("ttl", "turtle"), ("nt", "nt"), ("jsonld", "json-ld")])
def test_rdflib_reads_what_is_written(tmp_path, end, form):
    given = Triples(
        ["http://e.x/ann", "_:b", "http://e.x/ann"],
        ["http://e.x/knows", "http://e.x/r", "http://e.x/knows"],
        ["_:b", "http://e.x/ann", "http://e.x/y z".replace(" ", "_")],
        {
            "entity": ["http://e.x/ann"] * 3,
            "property": ["http://e.x/p"] * 3,
            "value": ['tab\t "quoted" \\ line\n\r \x07', "1.50", "hé"],
            "datatype": [None, "xsd:decimal", None],
            "language": [None, None, "fr"],
        },
    )
    write_triples(given, tmp_path / f"a.{end}", namespaces={})
    theirs = rdflib.Graph().parse(tmp_path / f"a.{end}", format=form)
    assert isomorphic(as_rdflib(given), theirs)


def test_turtle_is_short_where_it_can_be(tmp_path):
    given = Triples(["ex:ann", "ex:ann", "b c"], ["knows", "ex:is-a", "knows"], ["b c", "ex:x.y", "_:n"])
    write_triples(given, tmp_path / "a.ttl", namespaces={"ex": "http://e.x/"})
    assert (tmp_path / "a.ttl").read_text().splitlines()[3:] == [
        "",
        "ex:ann :knows <urn:mmgraph:b%20c> ;",
        "    ex:is-a <http://e.x/x.y> .",
        "",
        "<urn:mmgraph:b%20c> :knows _:n .",
    ]


def test_blank_nodes_without_a_label_are_numbered_by_appearance(tmp_path):
    path = tmp_path / "a.ttl"
    path.write_text("@prefix : <http://e.x/> .\n:a :r [ :r [] ] .\n_:anon1 :r :a .\n_:x :r [] .\n")
    found = list(read_triples(path, namespaces={"e": "http://e.x/"}))
    assert found == list(read_triples(path, namespaces={"e": "http://e.x/"}))
    assert found == [
        ("_:anon0", "e:r", "_:anon2"),
        ("e:a", "e:r", "_:anon0"),
        ("_:anon1", "e:r", "e:a"),
        ("_:x", "e:r", "_:anon3"),
    ]


HEAD = "@prefix : <http://e.x/> .\n\n:a :r :b .\n"


@pytest.mark.parametrize(
    ("text", "line", "why"),
    [
        (HEAD + ":a :r .\n", 4, "expected"),
        (HEAD + ":a :r :b ;\n\n  :s ] .\n:c :r :d .\n", 6, "this is no Turtle"),
        (HEAD + ":a :r :b ;\n\n  :s ?x .\n:c :r :d .\n", 4, "this is no Turtle"),
        (HEAD + ':a :r "open .\n', 4, "newline found in string literal"),
        (HEAD + ":a other:r :b .\n", 4, 'Prefix "other:" not bound'),
        (HEAD + ":a :r :b .\n:c :r\n", 5, "this is no Turtle"),
        (HEAD + "\n:a :r <x:b c> .", 5, r"an IRI must be absolute and have no spaces or brackets, got <x:b c>"),
        (HEAD + "\n\n:a :r <bob> .", 6, r"<bob> is relative; give its @base"),
        (HEAD + ':a "r" :b .\n', 4, "a subject must be a node and a predicate an IRI"),
        (HEAD + ":a :r { :a :r :b } .\n", 4, "this is no Turtle"),
        (HEAD + ":a :b", 4, "the file ends before the statement does; mend it$"),
        (HEAD + ':a :r "x', 4, "a string is not closed; mend it$"),
        (HEAD + ':a :r """x\n\ny .\n:c :r :d .', 4, "a string is not closed; mend it$"),
        (HEAD + ':a :r """x\n\ny .\n:c :r "d" .\n', 7, "unterminated string literal; mend the line$"),
    ],
)
def test_broken_turtle_is_said_by_its_line(tmp_path, text, line, why):
    path = tmp_path / "a.ttl"
    path.write_text(text)
    with pytest.raises(DataError, match=rf"a.ttl', (in the statement from )?line {line}\b.*{why}"):
        read_triples(path)


NUMBERS = ["1e3", "007", "1E400", "-.5", "+4.10", "1.E-2", "0.1234567890123456789012345678901234567890", "-0", "-0.0"]


@pytest.mark.parametrize("end", ["ttl", "nt", "jsonld"])
def test_numbers_stay_as_they_are_written(tmp_path, end):
    path = tmp_path / "a.ttl"
    path.write_text(f"@prefix : <http://e.x/> .\n:a :p {', '.join(NUMBERS)} ; :q (1e3 # 2\n7), true .\n:a :p 1.")
    found = read_triples(path, base="http://e.x/")
    values = {tuple(row.values())[2:4] for row in found.literals.to_pylist() if row["property"] == "p"}
    kinds = ["double", "integer", "double", "decimal", "decimal", "double", "decimal", "integer", "decimal"]
    assert values == {*zip(NUMBERS, [f"xsd:{kind}" for kind in kinds], strict=True), ("1", "xsd:integer")}
    assert {"1e3", "7", "true"} <= set(found.literals.column("value").to_pylist())
    write_triples(found, tmp_path / f"b.{end}", base="http://e.x/")
    assert read_triples(tmp_path / f"b.{end}", base="http://e.x/") == found


def test_turtle_that_is_no_text_is_said_by_its_line(tmp_path):
    path = tmp_path / "a.ttl"
    path.write_bytes(HEAD.encode() + b":\xff :r :b .")
    with pytest.raises(DataError, match=r"a.ttl', line 4: Turtle must be UTF-8"):
        read_triples(path)


@pytest.mark.parametrize("cut", range(0, len(TURTLE), 7))
def test_cut_turtle_is_an_error_or_fewer_statements(tmp_path, cut):
    path = tmp_path / "a.ttl"
    path.write_text(TURTLE[:cut])
    found = outcome(path)
    assert found < 9 if isinstance(found, int) else re.search(r"a.ttl', (in the statement from )?line \d", found)


def outcome(path):
    try:
        return len(read_triples(path))
    except DataError as error:
        return str(error)


@pytest.mark.parametrize(
    "found",
    [
        {"@context": "https://schema.org/", "@id": "a:b"},
        {"@context": [{"p": "a:p"}, "context.jsonld"], "@id": "a:b"},
        {"@graph": [{"@context": "http://169.254.169.254/", "@id": "a:b"}]},
        {"@context": {"p": {"@id": "a:p", "@context": "http://e.x/c"}}, "p": {"@id": "a:b"}},
        {"@context": {"@import": "http://e.x/c"}, "@id": "a:b"},
    ],
)
def test_no_context_is_fetched(tmp_path, found, monkeypatch):
    def fetch(*_, **__):
        raise AssertionError("fetched")

    monkeypatch.setattr("urllib.request.OpenerDirector.open", fetch)
    path = tmp_path / "a.jsonld"
    path.write_text(json.dumps(found))
    with pytest.raises(
        DataError, match="a context must be in the file, got '.*', which is not fetched; put what it says"
    ):
        read_triples(path)


def test_json_ld_with_its_context(tmp_path):
    context = {"@vocab": "http://e.x/", "knows": {"@type": "@id"}, "born": {"@type": "xsd:date"}}
    context["xsd"] = "http://www.w3.org/2001/XMLSchema#"
    ann = {"@id": "http://e.x/ann", "knows": ["_:b", "http://e.x/cid"], "born": "1999-01-02", "age": 7, "size": 1.5}
    path = tmp_path / "a.jsonld"
    path.write_text(json.dumps({"@context": context, "@graph": [ann, {"name": "x", "knows": "_:anon0"}]}))
    found = read_triples(path, base="http://e.x/")
    assert list(found) == [("ann", "knows", "_:b"), ("ann", "knows", "cid"), ("_:anon1", "knows", "_:anon0")]
    assert [tuple(row.values())[:4] for row in found.literals.to_pylist()] == [
        ("ann", "born", "1999-01-02", "xsd:date"),
        ("ann", "age", "7", "xsd:integer"),
        ("ann", "size", "1.5", "xsd:double"),
        ("_:anon1", "name", "x", None),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[\n{"@id": "a:b",\n}]', r"a.jsonld', line 3: this is no JSON: .*; mend the line"),
        (
            '{"@id": "a:b", "knows": {"@id": "a:c"}}',
            "a.jsonld': JSON-LD must say something, got no statement; give the IR",
        ),
        ('{"@id": "a:b", "a:r": {"@id": "z"}}', r"a.jsonld': <z> is relative; give its @base"),
        ('{"@context": 5, "@id": "a:b"}', r"a.jsonld': this is no JSON-LD: "),
        (b'{"@id": "\xff"}', "a.jsonld': JSON-LD must be UTF-8"),
        ('{"a:r":' * 5000 + "1" + "}" * 5000, "a.jsonld': this is no JSON-LD: "),
    ],
)
def test_broken_json_ld_is_said(tmp_path, text, message):
    path = tmp_path / "a.jsonld"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(DataError, match=message):
        read_triples(path)


@pytest.mark.parametrize("text", ["[]", "{}"])
def test_json_ld_of_nothing_is_nothing(tmp_path, text):
    (tmp_path / "a.jsonld").write_text(text)
    assert len(read_triples(tmp_path / "a.jsonld")) == 0


def test_the_setting_of_rdflib_is_put_back(tmp_path):
    path = tmp_path / "a.jsonld"
    path.write_text('{"@id": "a:b", "a:r": {"@value": "01", "@type": "http://www.w3.org/2001/XMLSchema#integer"}}')
    assert read_triples(path).literals.column("value").to_pylist() == ["01"]
    assert rdflib.NORMALIZE_LITERALS is True


def test_json_ld_refuses_spaces_that_it_would_change(tmp_path):
    said = {"entity": ["a"], "property": ["p"], "value": [" x"], "datatype": ["xsd:token"]}
    with pytest.raises(DataError, match="JSON-LD changes the spaces of a .*token, got ' x'; write another format"):
        write_triples(Triples([], [], [], said), tmp_path / "a.jsonld")
    write_triples(Triples([], [], [], said), tmp_path / "a.ttl")
    assert read_triples(tmp_path / "a.ttl").literals.column("value").to_pylist() == [" x"]
