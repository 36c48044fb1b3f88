"""Names and IRIs: each from the other."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from mmgraph.data.triple_names import BASE, Names, is_blank
from mmgraph.errors import ConfigError, DataError

SPACES = {"ex": "http://e.x/", "exy": "http://e.x/y/"}
PIECES = st.lists(
    st.sampled_from(["http://e.x/", "y/", "ex:", "exy:", BASE, "a", "%20", "%", " ", "_:", "é", ":", "\x00", "."]),
    min_size=1,
    max_size=5,
).map("".join)


@pytest.mark.parametrize(
    ("name", "iri"),
    [
        ("New York", "urn:mmgraph:New%20York"),
        ("/film/genre", "urn:mmgraph:%2Ffilm%2Fgenre"),
        ("Zürich", "urn:mmgraph:Z%C3%BCrich"),
        ("12:30", "urn:mmgraph:12%3A30"),
        ("_:not a label", "urn:mmgraph:_%3Anot%20a%20label"),
        ("ex:ann", "http://e.x/ann"),
        ("exy:b", "http://e.x/y/b"),
        ("ex:张", "http://e.x/张"),
        ("ex:a b", "urn:mmgraph:ex%3Aa%20b"),
        ("http://e.x/ann", "urn:mmgraph:http%3A%2F%2Fe.x%2Fann"),
        ("http://o.o/ann", "http://o.o/ann"),
        ("urn:mmgraph:a%2fb", "urn:mmgraph:a%2fb"),
        ("urn:mmgraph:_%3Ab0", "urn:mmgraph:_%3Ab0"),
        ("urn:mmgraph:ann", "urn:mmgraph:urn%3Ammgraph%3Aann"),
    ],
)
def test_a_name_and_its_iri(name, iri):
    names = Names(BASE, SPACES)
    assert names.iri(name) == iri
    assert names.name(iri) == name
    assert names.name(iri) == name  # again, as it was remembered


@given(st.one_of(st.text(min_size=1), PIECES), st.sampled_from([{}, SPACES]))
def test_each_name_comes_back_or_is_refused(name, namespaces):
    names = Names(BASE, namespaces)
    try:
        iri = names.iri(name)
    except (DataError, UnicodeEncodeError):
        return
    assert names.name(iri) == name


@given(PIECES, st.sampled_from([{}, SPACES]))
def test_each_iri_comes_back_or_is_refused(text, namespaces):
    names = Names(BASE, namespaces)
    try:
        name = names.name("http://e.x/" + text)
    except DataError:
        assume(False)
    assert names.iri(name) == "http://e.x/" + text


@pytest.mark.parametrize(
    ("iri", "message"),
    [
        ("ann", r"an IRI must be absolute and have no spaces or brackets, got <ann>"),
        ("http://e.x/a b", "must be absolute"),
        ("ex:ann", r"<ex:ann> can't be told from the name 'ex:ann' in a namespace; choose another prefix"),
    ],
)
def test_what_is_no_iri_is_refused(iri, message):
    with pytest.raises(DataError, match=message):
        Names(BASE, SPACES).name(iri)


@pytest.mark.parametrize("name", ["_:b0", "x:y"])
def test_what_would_be_another_is_refused(name):
    names = Names("http://e.x/", {"x": "http://e.x/x"})
    with pytest.raises(DataError, match=f"RDF can't hold the name '{name}' here"):
        names.iri(name)


@pytest.mark.parametrize(
    "namespaces", [{"": "http://e.x/"}, {"xsd": "http://e.x/"}, {"a b": "http://e.x/"}, {"e": "x"}]
)
def test_what_is_no_namespace_is_refused(namespaces):
    (item,) = namespaces.items()
    with pytest.raises(ConfigError, match=f"namespaces must be words .* got '{item[0]}': '{item[1]}'"):
        Names(BASE, namespaces)


@pytest.mark.parametrize(
    ("datatype", "unit", "iri"),
    [
        (None, None, None),
        ("xsd:date", None, "http://www.w3.org/2001/XMLSchema#date"),
        ("ex:kind", None, "http://e.x/kind"),
        ("my kind", None, "urn:mmgraph:my%20kind"),
        (None, "km/h", "urn:mmgraph:unit:km%2Fh"),
        ("xsd:double", "°C", "urn:mmgraph:unit:%C2%B0C:xsd%3Adouble"),
    ],
)
def test_a_datatype_and_a_unit_are_one_iri(datatype, unit, iri):
    names = Names(BASE, SPACES)
    assert names.datatype(datatype, unit) == iri
    assert names.datatype_of(iri) == (datatype, unit)


@pytest.mark.parametrize("datatype", ["urn:mmgraph:unit:km", "x:date"])
def test_a_datatype_that_would_be_another_is_refused(datatype):
    names = Names(BASE, {"x": "http://www.w3.org/2001/XMLSchema#"})
    with pytest.raises(DataError, match=f"RDF can't hold the datatype '{datatype}'"):
        names.datatype(datatype, None)


@pytest.mark.parametrize(
    ("name", "blank"), [("_:a", True), ("_:a.b-c", True), ("_:a.", False), ("a", False), ("_:", False)]
)
def test_blank_nodes(name, blank):
    assert is_blank(name) == blank
