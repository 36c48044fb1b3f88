"""Triples as tables and RDF: what is written is read back, what is broken is said by its line."""

import codecs

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from mmgraph.data import Triples, read_triples, write_triples
from mmgraph.data.triples import LITERAL_COLUMNS
from mmgraph.errors import ConfigError, DataError

ENDS = ["tsv", "csv", "parquet", "nt", "ttl", "jsonld"]
ODD = [
    "a:b",
    "http://x.y/z",
    "_:b0",
    "_:a.b",
    "urn:mmgraph:a%20b",
    "ex:q",
    "http://e.x/q",
    "http://a/../b",
    "..",
    "@id",
]
NAMES = st.one_of(
    st.text(min_size=1, max_size=6),
    st.text("ab:_/#%. \"\\\t\n\r'<>é", min_size=1, max_size=8),
    st.sampled_from([*ODD, "head", "\ufeffx", "a,b", 'a"b']),
)
LITERALS = st.fixed_dictionaries(
    {
        "entity": NAMES,
        "property": NAMES,
        "value": st.text(max_size=6),
        "datatype": st.one_of(st.none(), st.sampled_from(["xsd:double", "xsd:token", "xsd:gYear", "km"]), NAMES),
        "language": st.sampled_from([None, None, "en", "pt-BR"]),
        "unit": st.one_of(st.none(), NAMES),
    }
)


def triples(facts, literals=()):
    table = {name: [one[name] for one in literals] for name in LITERAL_COLUMNS} if literals else None
    return Triples(*([fact[place] for fact in facts] for place in range(3)), table)


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("end", ENDS)
@settings(max_examples=60, suppress_health_check=list(HealthCheck))
@given(
    facts=st.lists(st.tuples(NAMES, NAMES, NAMES), max_size=3),
    literals=st.lists(LITERALS, max_size=2),
    namespaces=st.sampled_from([{}, {"ex": "http://e.x/"}]),
)
def test_what_is_written_is_read_back_or_refused(end, tmp_path, facts, literals, namespaces):
    try:
        given = triples(facts, literals)
    except DataError:
        return
    path = tmp_path / f"facts.{end}"
    path.unlink(missing_ok=True)
    try:
        write_triples(given, path, namespaces=namespaces)
    except DataError:
        assert not path.exists()
        return
    assert read_triples(path, namespaces=namespaces, rejected=0) == given


@pytest.mark.parametrize("end", ENDS)
def test_no_format_refuses_what_is_common(end, tmp_path):
    facts = [("Ann", "lives in", "New York"), ('"B"', "isa", "Zürich/Höngg"), ("Ann", "lives in", "New York")]
    said = {"entity": "Ann", "property": "height", "value": "1.80", "datatype": None, "language": None, "unit": "m"}
    told = {**said, "property": "label", "value": 'Ann "the\\" ünknown', "language": "en", "unit": None}
    given = triples(facts, [said, told])
    write_triples(given, tmp_path / f"a.{end}")
    assert read_triples(tmp_path / f"a.{end}") == given


@pytest.mark.parametrize("end", ENDS)
def test_no_facts_are_a_file_too(end, tmp_path):
    write_triples(triples([]), tmp_path / f"a.{end}")
    assert len(read_triples(tmp_path / f"a.{end}")) == 0


@pytest.mark.parametrize(
    ("end", "facts", "message"),
    [
        ("tsv", [("a", "r", "b"), ("a\tb", "r", "c")], r"no tabs and no line breaks, got 'a\\tb' in row 1; use CSV"),
        ("tsv", [("a", "r", "b\rc")], r"got 'b\\rc' in row 0"),
        ("tsv", [("head", "relation", "tail")], "must not look like a header"),
        ("tsv", [("Object", "predicate", "subject")], "must not look like a header, got .*; use CSV"),
        ("tsv", [("\ufeffa", "r", "b")], "must not look like a header"),
        ("nt", [("a", "_:r", "b")], "RDF can't hold the name '_:r' here"),
        *((end, [("a", "\ud800", "b")], r"characters that a file can hold, got '\\ud800'") for end in ENDS),
    ],
)
def test_what_a_format_cannot_hold_is_refused(tmp_path, end, facts, message):
    path = tmp_path / f"a.{end}"
    path.write_text("old")
    with pytest.raises(DataError, match=message):
        write_triples(triples(facts), path)
    assert path.read_text() == "old"


def test_a_literal_of_rdf_has_a_language_or_a_datatype(tmp_path):
    said = dict.fromkeys(LITERAL_COLUMNS, "x")
    for wrong in (
        {**said, "language": "en", "unit": None},
        {**said, "language": "e n", "unit": None, "datatype": None},
    ):
        for end in ENDS[3:]:
            with pytest.raises(
                DataError, match="has a language, as 'en' or 'pt-BR', and no datatype or unit beside it"
            ):
                write_triples(triples([], [wrong]), tmp_path / f"a.{end}")


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("a\tr\tb\n\nb\tr\tc\n", {}),
        ("a\tr\tb\r\nb\tr\tc", {}),
        ("head\trelation\ttail\na\tr\tb\nb\tr\tc\n", {}),
        ("subject\tpredicate\tobject\na\tr\tb\nb\tr\tc\n", {}),
        ("Object\tSubject\tRelation\tWeight\nb\ta\tr\t1\nc\tb\tr\t1\n", {}),
        ("SOURCE\tRELATION\tTARGET\na\tr\tb\nb\tr\tc\n", {"header": True}),
        ("tail\thead\tnote\trelation\nb\ta\t\tr\nc\tb\t9\tr\n", {}),
        ("s\tp\to\na\tr\tb\nb\tr\tc\n", {"columns": ("s", "p", "o")}),
        ("s\tp\to\na\tr\tb\nb\tr\tc\n", {"header": True}),
        ("r\ta\tb\nr\tb\tc\n", {"columns": (1, 0, 2)}),
        ("p\ts\to\tw\nr\ta\tb\t1\nr\tb\tc\t1\n", {"columns": (1, 0, 2), "header": True}),
    ],
)
@pytest.mark.parametrize("end", ["tsv", "csv"])
def test_where_the_columns_are(tmp_path, text, options, end):
    path = tmp_path / f"facts.{end}"
    path.write_bytes(codecs.BOM_UTF8 + text.replace("\t", "," if end == "csv" else "\t").encode())
    assert list(read_triples(path, **options)) == [("a", "r", "b"), ("b", "r", "c")]


def test_a_header_may_be_a_fact(tmp_path):
    path = tmp_path / "facts.tsv"
    path.write_text("head\trelation\ttail\n")
    assert list(read_triples(path, header=False)) == [("head", "relation", "tail")]
    path.write_text("subject\tpredicate\tobject\n")
    assert list(read_triples(path, header=False)) == [("subject", "predicate", "object")]


def test_quotation_marks_of_tsv_are_characters(tmp_path):
    path = tmp_path / "facts.tsv"
    path.write_text('"a\tr\tb" c\n')
    assert list(read_triples(path)) == [('"a', "r", 'b" c')]


@pytest.mark.parametrize(
    "names",
    [
        ("head", "relation", "tail"),
        ("0", "1", "2"),
        ("note", "tail", "head", "relation"),
        ("Predicate", "Subject", "Object"),
    ],
)
def test_columns_of_parquet(tmp_path, names):
    cells = {"head": [1, 2], "relation": ["r", "r"], "tail": ["b", "c"], "note": [None, 1.5]}
    by_place = dict(
        zip(("0", "1", "2", "Subject", "Predicate", "Object"), ("head", "relation", "tail") * 2, strict=True)
    )
    table = pa.table([pa.array(cells[by_place.get(name, name)]) for name in names], names=list(names))
    parquet.write_table(table, tmp_path / "facts.parquet")
    assert list(read_triples(tmp_path / "facts.parquet")) == [("1", "r", "b"), ("2", "r", "c")]


def test_broken_rows_of_parquet(tmp_path):
    table = pa.table({"head": ["a", None, "c"], "relation": ["r", "r", ""], "tail": ["b", "b", "d"]})
    parquet.write_table(table, tmp_path / "facts.parquet")
    found = read_triples(tmp_path / "facts.parquet", rejected=0.7)
    assert list(found) == [("a", "r", "b")]
    assert [(line.line, line.text, line.reason) for line in found.broken] == [
        (2, "\tr\tb", "names must not be empty"),
        (3, "c\t\td", "names must not be empty"),
    ]


@pytest.mark.parametrize(
    ("end", "lines", "broken"),
    [
        ("tsv", [b"a\tr\tb", b"a\tr", b"", b"a\t\tb", b"a\tr\tb\tc"], {2: "3 cells, got 2", 4: "empty", 5: "got 4"}),
        ("tsv", [b"a\tr\tb", b"a\xff\tr\tb"], {2: "a line must be UTF-8"}),
        ("tsv", [b"a", b"a\tr\tb"], {1: "3 cells, got 1"}),
        ("csv", [b"a,r,b", b'"x', b'y",r', b"a,r,\xff", b"c,r,d"], {2: "3 cells, got 2", 4: "UTF-8"}),
        ("csv", [b"a,r,b", b'a,"r"x,b', b"c,r,d"], {2: "a line must be well quoted, but"}),
        (
            "nt",
            [b"<a:a> <a:r> <a:b> .", b"# no", b"<a:a> <a:r> .", b"<a> <a:r> <a:b> ."],
            {3: "full stop", 4: "absolute"},
        ),
        ("nt", [b'<a:a> <a:r> "\\q" .', b"_:a <a:r> _:b. # yes", b'<a:a> <a:r> "\\uD800" .'], {1: r"\q", 3: r"\uD800"}),
        ("nt", [b"<a:a> <a:r> <a:b> .", b"<a:\xff> <a:r> <a:b> ."], {2: "a line must be UTF-8"}),
    ],
)
def test_a_broken_line_is_set_aside_with_its_number(tmp_path, end, lines, broken):
    path = tmp_path / f"facts.{end}"
    path.write_bytes(b"\n".join(lines))
    found = read_triples(path, rejected=0.99)
    assert [line.line for line in found.broken] == list(broken)
    assert {line.file for line in found.broken} == {str(path)}
    for line, reason in zip(found.broken, broken.values(), strict=True):
        assert reason in line.reason
    assert len(found) >= 1


def test_more_broken_lines_than_allowed_are_an_error(tmp_path):
    path = tmp_path / "facts.tsv"
    path.write_text("a\tr\tb\n" * 18 + "a\n" * 2)
    message = (
        r"At most 5.0% of the lines of '.*facts.tsv' may be set aside, got 2 of 20: a line must have 3 cells, got 1 "
        r"\(2 times; line 19 is the first that is broken\); mend them, or raise rejected"
    )
    with pytest.raises(DataError, match=message):
        read_triples(path)
    assert len(read_triples(path, rejected=0.1)) == 18


def test_a_quotation_mark_that_is_not_closed_breaks_all_lines_after_it(tmp_path):
    path = tmp_path / "facts.csv"
    path.write_text('a,r,b\n"a,r,b\n' + "a,r,b\n" * 8)
    with pytest.raises(DataError, match="got 9 of 10: a line must be well quoted"):
        read_triples(path)


@pytest.mark.parametrize(
    ("name", "options", "error", "message"),
    [
        ("a.doc", {}, ConfigError, r"'a.doc' must end in one of \['.csv', .*\], or format must be one of \['csv', "),
        ("a.tsv", {"format": "n3"}, ConfigError, "format must be one of .*, got 'n3'"),
        (
            "a.tsv",
            {"columns": "srt"},
            ConfigError,
            "columns must be 3 names, or 3 positions from 0, each once, got 'srt'",
        ),
        ("a.tsv", {"columns": (0, 1, 1)}, ConfigError, r"got \(0, 1, 1\)"),
        ("a.tsv", {"columns": (0, 1, -1)}, ConfigError, r"got \(0, 1, -1\)"),
        ("a.tsv", {"columns": (0, 1, "c")}, ConfigError, r"got \(0, 1, 'c'\)"),
        (
            "a.tsv",
            {"columns": ("s", "p", "o")},
            DataError,
            r"must name the columns \['s', 'p', 'o'\], got \['a', 'r', 'b'\]",
        ),
        ("a.tsv", {"columns": ("subject", "predicate", "object")}, DataError, r"'object'\], got \['a', 'r', 'b'\]"),
        ("b.tsv", {}, DataError, "File '.*b.tsv' must be readable: .*No such file"),
        ("a.parquet", {}, DataError, "'.*a.parquet' must be a Parquet file with columns of names, but"),
    ],
)
def test_what_cannot_be_read_is_said(tmp_path, name, options, error, message):
    for one in ("a.tsv", "a.doc", "a.parquet"):
        (tmp_path / one).write_text("a\tr\tb\n")
    with pytest.raises(error, match=message):
        read_triples(tmp_path / name, **options)


def test_a_format_may_be_given(tmp_path):
    write_triples(triples([("a", "r", "b")]), tmp_path / "a.dump", format="nt")
    assert list(read_triples(tmp_path / "a.dump", format="nt")) == [("a", "r", "b")]


def test_a_row_of_a_table_with_literals_has_a_kind(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("head,relation,tail,kind,datatype,language,unit\na,p,,literal,,en,\na,r,b,fact,,,\na,r,b,x,,,\n")
    found = read_triples(path, rejected=0.5)
    assert list(found) == [("a", "r", "b")]
    assert found.literals.to_pylist() == [
        {"entity": "a", "property": "p", "value": "", "datatype": None, "language": "en", "unit": None}
    ]
    assert [(line.line, line.reason) for line in found.broken] == [(4, "kind must be 'fact' or 'literal', got 'x'")]


def test_equal_names_are_one_string(tmp_path):
    path = tmp_path / "a.tsv"
    path.write_text("entity-a\tr\tentity-b\nentity-b\tr\tentity-a\n")
    found = read_triples(path)
    assert found.heads[0] is found.tails[1]
