"""Names of entities and relations as IRIs, and back."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import quote, unquote

from mmgraph.data.triples import XSD
from mmgraph.errors import ConfigError, DataError

BASE = "urn:mmgraph:"
_UNIT = "urn:mmgraph:unit:"
_IRI = re.compile(r'[A-Za-z][A-Za-z0-9+.-]*:[^\x00-\x20<>"{}|^`\\\ud800-\udfff]+')
_PREFIX = re.compile(r"[A-Za-z][A-Za-z0-9-]*")
_BLANK = re.compile(r"_:[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_-])?")


@dataclass(frozen=True)
class Names:
    """A reversible map between names and IRIs.

    A name that is an IRI stands for itself, ``ex:ann`` for a name in the namespace of ``ex``, and any other is
    percent-encoded below the base. ``name(iri(x)) == x`` and ``iri(name(x)) == x``, or it is refused.

    Args:
        base: Namespace of plain names.
        namespaces: Prefix → namespace.

    Raises:
        ConfigError: A prefix that is no word, ``xsd``, or a namespace that is no IRI.

    Example:
        >>> names = Names("urn:mmgraph:", {"ex": "http://example.org/"})
        >>> names.iri("New York"), names.iri("ex:ann")
        ('urn:mmgraph:New%20York', 'http://example.org/ann')
        >>> names.name("urn:mmgraph:New%20York"), names.name("http://example.org/ann")
        ('New York', 'ex:ann')
    """

    base: str
    namespaces: Mapping[str, str]
    _found: dict[str, str] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for prefix, namespace in {"base": self.base, **self.namespaces}.items():
            if not _PREFIX.fullmatch(prefix) or prefix == "xsd" or not _IRI.fullmatch(namespace):
                raise ConfigError(
                    f"namespaces must be words (not xsd, which is known) and IRIs, got {prefix!r}: {namespace!r}"
                )

    def iri(self, name: str) -> str:
        """The IRI of a name.

        Raises:
            DataError: The name is that of a blank node, or another name has the IRI.
        """
        iri = self._form(name)
        if is_blank(name) or self._form_of(iri) != name:
            raise DataError(f"RDF can't hold the name {name!r} here: as {iri!r} it would be another; rename it")
        return iri

    def name(self, iri: str) -> str:
        """The name of an IRI.

        Raises:
            DataError: It is not absolute, or its name would be that of another.
        """
        if (found := self._found.get(iri)) is not None:
            return found
        if not _IRI.fullmatch(iri):
            raise DataError(f"an IRI must be absolute and have no spaces or brackets, got <{iri}>")
        name = self._form_of(iri)
        if self._form(name) != iri:
            raise DataError(f"<{iri}> can't be told from the name {name!r} in a namespace; choose another prefix")
        self._found[iri] = name
        return name

    def _form(self, name: str) -> str:
        prefix, _, local = name.partition(":")
        if prefix in self.namespaces and _IRI.fullmatch(self.namespaces[prefix] + local):
            return self.namespaces[prefix] + local
        if _IRI.fullmatch(name) and self._plain(name) is None and not self._prefixed(name):
            return name
        return self.base + quote(name, safe="")

    def _form_of(self, iri: str) -> str:
        return self._plain(iri) or self._prefixed(iri) or iri

    def _plain(self, iri: str) -> str | None:
        """The name below the base, if the IRI is as that name is encoded."""
        if not iri.startswith(self.base):
            return None
        name = unquote(iri[len(self.base) :], errors="replace")
        return name if name and not is_blank(name) and self._form(name) == iri else None

    def _prefixed(self, iri: str) -> str | None:
        owners = [prefix for prefix, namespace in self.namespaces.items() if iri.startswith(namespace)]
        if not owners:
            return None
        prefix = max(owners, key=lambda one: len(self.namespaces[one]))
        return f"{prefix}:{iri[len(self.namespaces[prefix]) :]}"

    def datatype(self, datatype: str | None, unit: str | None) -> str | None:
        """The IRI of a literal's datatype and unit."""
        if unit is not None:
            return _UNIT + quote(unit, safe="") + ("" if datatype is None else ":" + quote(datatype, safe=""))
        if datatype is None:
            return None
        known = datatype.startswith("xsd:") and _IRI.fullmatch(datatype)
        iri = XSD + datatype[4:] if known else self.iri(datatype)
        if self.datatype_of(iri) != (datatype, None):
            raise DataError(f"RDF can't hold the datatype {datatype!r}: as {iri!r} it would be another; rename it")
        return iri

    def datatype_of(self, iri: str | None) -> tuple[str | None, str | None]:
        """Datatype and unit of an IRI."""
        if iri is None:
            return None, None
        if iri.startswith(_UNIT):
            unit, _, datatype = iri[len(_UNIT) :].partition(":")
            return unquote(datatype) or None, unquote(unit)
        return ("xsd:" + iri[len(XSD) :] if iri.startswith(XSD) else self.name(iri)), None


def is_blank(name: str) -> bool:
    """Whether a name is that of a blank node."""
    return _BLANK.fullmatch(name) is not None
