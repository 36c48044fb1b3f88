"""What one node type, one edge type and one target mean."""

from typing import Literal

from pydantic import Field, model_validator

from mmgraph.schema.identity import Identity
from mmgraph.schema.modality import Modality
from mmgraph.schema.record import Spec

TargetKind = Literal["binary", "multiclass", "regression"]


class NodeSpec(Spec):
    """What the nodes of one type carry.

    Args:
        modality: Kind of payload; ``None`` for nodes that only join others (anchors, classes).
        channels: Width of ``x [rows, channels]``; ``None`` if the type has no ``x``.
        names: Names of the channels, if they have any.
        unit: Unit of the channels, e.g. ``"mm"`` or ``"z-score"``.
        allow_nan: Whether ``x`` may hold NaN or infinite values.
        attributes: Further tensors that a model may read, besides ``x``.
        encoder: Which encoder made the features; ``None`` if none did, or it is not known.
        vocabulary: The piece of text that each number of ``tokens`` stands for; empty if there are none.
        generated: Which model made the payloads, where they are not data; ``None`` for data. Nodes of such a type hang
            on their anchor as others do, but are no modality of it: what reads the modalities does not see them.

    Example:
        >>> NodeSpec(modality="tabular", channels=2, names=("age", "weight")).channels
        2
    """

    modality: Modality | None = None
    channels: int | None = Field(default=None, ge=0)
    names: tuple[str, ...] = ()
    unit: str = ""
    allow_nan: bool = False
    attributes: tuple[str, ...] = ()
    encoder: Identity | None = None
    vocabulary: tuple[str, ...] = ()
    generated: Identity | None = None

    @model_validator(mode="after")
    def _names_match_channels(self) -> "NodeSpec":
        if self.names and len(self.names) != self.channels:
            raise ValueError(f"names must be one a channel ({self.channels}), got {len(self.names)}")
        return self


class EdgeSpec(Spec):
    """What the edges of one type carry.

    Args:
        weighted: Whether each edge has a weight, ``edge_weight [edges]``.
        channels: Width of ``edge_attr [edges, channels]``; ``None`` if there is none.
        multiple: Whether two edges may join the same pair of nodes.
        unit: Unit of the weight or of the attributes.
    """

    weighted: bool = False
    channels: int | None = Field(default=None, ge=0)
    multiple: bool = False
    unit: str = ""


class TargetSpec(Spec):
    """What is asked of a node type.

    Args:
        node: The node type that carries the target.
        attribute: The tensor that holds it: class numbers ``[rows]`` of type int64, where -1 means
            "not known"; for a regression floats ``[rows]``, where NaN means "not known".
        kind: ``binary``, ``multiclass`` or ``regression``.
        classes: Names of the classes, in the order of their numbers.

    Example:
        >>> TargetSpec(node="patient", kind="binary", classes=("healthy", "ill")).attribute
        'y'
    """

    node: str
    attribute: str = "y"
    kind: TargetKind
    classes: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _classes_match_kind(self) -> "TargetSpec":
        if self.kind == "regression" and self.classes:
            raise ValueError(f"a regression has no classes, got {self.classes}")
        if self.kind == "binary" and len(self.classes) != 2:
            raise ValueError(f"a binary target has 2 classes, got {self.classes}")
        if self.kind == "multiclass" and len(self.classes) < 2:
            raise ValueError(f"a multiclass target has at least 2 classes, got {self.classes}")
        return self
