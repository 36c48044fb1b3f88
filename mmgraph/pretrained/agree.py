"""Whether a model and some data mean the same."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from mmgraph.errors import ConfigError, SchemaError
from mmgraph.schema import Schema


def schema_difference(one: Schema, other: Schema) -> str | None:
    """The first thing in which two schemas differ, where it is and what it is in both; ``None`` if they are equal.

    Example:
        >>> from mmgraph.schema import NodeSpec
        >>> schemas = [Schema(nodes={"scan": NodeSpec(channels=channels)}) for channels in (3, 5)]
        >>> schema_difference(*schemas)
        'nodes.scan.channels is 3 and 5'
    """
    return _difference(_plain(one), _plain(other), "")


def check_schema(model: nn.Module, schema: Schema) -> None:
    """Checks that data mean what a model was made for.

    Args:
        model: With a ``schema``.
        schema: That of the data.

    Raises:
        SchemaError: They do not; the message names the first difference.
    """
    if (found := schema_difference(schema_of(model), schema)) is not None:
        raise SchemaError(
            f"The data must have the schema that the model was made for, but {found} (the model's, the data's); build "
            "them as the model's were built, or train a model on these"
        )


def schema_of(model: nn.Module) -> Schema:
    """The schema of a model.

    Raises:
        ConfigError: It has none.
    """
    schema = getattr(model, "schema", None)
    if not isinstance(schema, Schema):
        raise ConfigError(
            f"A model must have the schema of its graphs, as Model, Aligner, Linker and Translator do, got a "
            f"{type(model).__name__} without; make one around it"
        )
    return schema


def _plain(schema: Schema) -> dict[str, Any]:
    fields = schema.model_dump(mode="json")
    fields["edges"] = {str(tuple(edge.pop("type"))): edge for edge in fields["edges"]}
    return fields


def _difference(one: Any, other: Any, where: str) -> str | None:
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        for key in dict.fromkeys([*one, *other]):
            inside = f"{where}.{key}" if where else str(key)
            if key not in one or key not in other:
                return (
                    f"{inside} is {'there' if key in one else 'missing'} and {'there' if key in other else 'missing'}"
                )
            if (found := _difference(one[key], other[key], inside)) is not None:
                return found
        if list(one) != list(other):
            return f"the order of {where} is {list(one)} and {list(other)}"
        return None
    if isinstance(one, list) and isinstance(other, list):
        for place, (mine, theirs) in enumerate(zip(one, other, strict=False)):
            if mine != theirs:
                return _difference(mine, theirs, f"{where}[{place}]")
        return None if len(one) == len(other) else f"the length of {where} is {len(one)} and {len(other)}"
    return None if one == other else f"{where} is {one!r} and {other!r}"
