"""Queries: payloads of any modality, read, checked and encoded as those of the graph were."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from mmgraph.errors import ConfigError, DataError
from mmgraph.media import decode_text, decode_video, sniff
from mmgraph.media.files import read_file
from mmgraph.schema import Modality

if TYPE_CHECKING:
    from torch import Tensor

    from mmgraph.assembly import Built
    from mmgraph.encoders import FeatureCache

MOST_PAYLOADS = 64
MOST_BYTES = 1 << 28  # of one file
_FILES = (Modality.IMAGE, Modality.AUDIO, Modality.VIDEO)


@dataclass(frozen=True)
class QueryNode:
    """One node of the small graph that a query is.

    Args:
        name: Its type, with a number behind where there are several.
        node: Its type.
        weight: Its share of the score; those of a query sum to 1.
        vectors: Field → the vector that its items are compared with, ``[channels]``.
        text: What it says, if it is a text.
    """

    name: str
    node: str
    weight: float
    vectors: Mapping[str, np.ndarray]
    text: str | None = None


def payloads_of(built: Built, payloads: Mapping[str, Any], searchable: Collection[str]) -> dict[str, list[Any]]:
    """Node type → payloads as their encoder takes them.

    Args:
        built: The graph.
        payloads: Node type or name of a modality → a payload, or a list of them.
        searchable: The node types that can be searched by.

    Raises:
        ConfigError: There is none, too many, or one of no modality that can be searched by.
        DataError: One can't be read.
    """
    if not payloads:
        raise ConfigError(f"A query must have a payload of at least one of {sorted(searchable)}, got none")
    found: dict[str, list[Any]] = {}
    for name, given in payloads.items():
        node = node_of(built, name, searchable)
        found.setdefault(node, []).extend(read_payload(given, built, node, whose=f"The query's {node!r}"))
    if (count := sum(map(len, found.values()))) > MOST_PAYLOADS:
        raise ConfigError(f"A query must have at most {MOST_PAYLOADS} payloads, got {count}; ask in parts")
    return found


def node_of(built: Built, name: str, searchable: Collection[str]) -> str:
    """The node type that a name means: its own, or the one of a modality, at the anchor if there is one there.

    Raises:
        ConfigError: There is none, or several.
    """
    if name in searchable:
        return name
    nodes = [node for node in searchable if built.schema.nodes[node].modality == name]
    nearest = [node for node in nodes if (node, "of", built.anchor) in built.schema.edges] or nodes
    if len(nearest) == 1:
        return nearest[0]
    if name in built.payloads:
        raise ConfigError(f"{name!r} can't be searched by: it must have x, and hang on what is searched, {searchable}")
    kinds = sorted({str(built.schema.nodes[node].modality) for node in searchable})
    raise ConfigError(
        f"A query's modality must be one of {sorted(searchable)}, or of {kinds} where one node type has it, got "
        f"{str(name)!r}" + (f", which {nearest} have; name one" if nodes else "")
    )


def encode(
    built: Built, payloads: Mapping[str, list[Any]], cache: FeatureCache | None = None, *, whose: str = "The query's"
) -> dict[str, Tensor]:
    """Node type → features of its payloads, ``[payloads, channels]``, by the encoders of the graph.

    Raises:
        DataError: A payload can't be encoded, or there is nothing in it to search by: its features are zeros.
        ArtifactError: The encoder is gone, or has changed.
    """
    found = {}
    for node, given in payloads.items():
        encoder = built.encoder(node)
        try:
            found[node] = encoder(given, cache=cache)
        except DataError as error:
            raise DataError(f"{whose} {node!r} can't be read: {_plain(str(error))}") from None
        blank = (found[node] == 0).flatten(1).all(dim=1)
        if whose == "The query's" and found[node].is_floating_point() and bool(blank.any()):
            raise DataError(
                f"The query's {node!r} says nothing to search by: its features are all zero, as those of silence or of "
                "words that the encoder does not know; give another"
            )
    return found


def weights(counts: Mapping[str, int]) -> dict[str, float]:
    """What a payload of each node type weighs: each type the same, and each of its payloads the same.

    Example:
        >>> weights({"image": 2, "text": 1})
        {'image': 0.25, 'text': 0.5}
    """
    return {node: 1 / (len(counts) * count) for node, count in counts.items()}


def query_nodes(
    features: Mapping[str, Tensor], fields: Mapping[str, Any], payloads: Mapping[str, Sequence[Any]]
) -> list[QueryNode]:
    """The nodes of a query that are compared with nodes of their own type."""
    share = weights({node: len(rows) for node, rows in features.items()})
    nodes = []
    for node, rows in features.items():
        centre = torch.from_numpy(fields[node].centre)
        for number, vector in enumerate((rows - centre).numpy()):
            given = payloads.get(node, ())
            text = given[number] if number < len(given) and isinstance(given[number], str) else None
            name = node if len(rows) == 1 else f"{node} {number}"
            nodes.append(QueryNode(name, node, share[node], {node: vector}, text))
    return nodes


def read_payload(given: Any, built: Built, node: str, *, whose: str) -> list[Any]:
    """A payload, or a list of several texts, pictures or sounds, as the encoder takes them; a video is its frames.

    Raises:
        ConfigError: The list is empty.
        DataError: One can't be read.
    """
    modality = built.schema.nodes[node].modality
    several = isinstance(given, list) and modality in (*_FILES, Modality.TEXT)
    if several and not given:
        raise ConfigError(f"{whose} must be at least 1 payload, got an empty list; leave it out")
    try:
        return [one for payload in (given if several else [given]) for one in _read(payload, modality, built, node)]
    except DataError as error:
        raise DataError(f"{whose} can't be read: {error}") from None


def _read(payload: Any, modality: Modality | None, built: Built, node: str) -> list[Any]:
    if isinstance(payload, Path):
        payload = read_file(payload, max_bytes=MOST_BYTES)
    if isinstance(payload, bytes) and not 0 < len(payload) <= MOST_BYTES:
        raise DataError(f"a file must have 1 to {MOST_BYTES} bytes, got {len(payload)}")
    if modality is Modality.TEXT and isinstance(payload, str | bytes):
        return [decode_text(payload)]
    if modality is Modality.VIDEO and isinstance(payload, bytes) and sniff(payload) is not Modality.IMAGE:
        return list(decode_video(payload))
    if modality is Modality.TABULAR:
        return [_row(payload, built.config.modality_nodes[node][1])]
    if modality in (Modality.SERIES, Modality.POINTS) and isinstance(payload, str | bytes):
        return [_json(payload, modality)]
    return [payload]


def _row(payload: Any, columns: Sequence[str]) -> Any:
    row = _json(payload, Modality.TABULAR) if isinstance(payload, str | bytes) else payload
    if not isinstance(row, Mapping):
        return row
    if unknown := sorted(set(row) - set(columns)):
        raise DataError(f"a row's columns must be among {list(columns)}, got {unknown[0]!r}")
    return {**dict.fromkeys(columns), **row}  # what is not given is unknown


def _json(payload: str | bytes, modality: Modality) -> Any:
    try:
        return json.loads(payload)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{modality} must be JSON, such as '{{\"column\": 1}}' or '[1, 2]', but {error}") from None


def _plain(message: str) -> str:
    """The reason alone: which payload of how many is no matter where there is one."""
    return message.partition(": ")[2] if message.startswith("Payload ") else message
