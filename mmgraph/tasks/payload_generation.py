"""Pictures, sound and numbers of a hidden node, judged against those it had and by what a judge makes of them."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import torch
from torch import Tensor

from mmgraph.decoders.translation import Translation
from mmgraph.errors import DataError, SchemaError
from mmgraph.files import write_bytes
from mmgraph.functional.frechet import frechet
from mmgraph.functional.ranking import in_blocks, ranks
from mmgraph.media.sheet import contact_sheet
from mmgraph.schema import Schema
from mmgraph.tasks.base import Part
from mmgraph.tasks.generation import Generation

if TYPE_CHECKING:
    from torch_geometric.data import HeteroData

Reading: TypeAlias = Callable[[Tensor], Tensor]
BLOCK = 256  # rows that a judge reads at once
EACH, WIDE = 10, 12  # what a sheet shows of a class, and columns of one without classes


class PayloadGeneration(Generation):
    r"""A payload of fixed shape for each anchor whose own is hidden: a picture, a spectrogram, a row of numbers.

    - ``log_loss``: the decoder's loss of a value of the references, in its own unit; payloads that are made already
      have none.
    - ``error``: the squared error over that of the training payloads' mean,
      :math:`\sum (\hat x - x)^2 / \sum (\bar x - x)^2`: 1 is no better than the mean; values that are not finite do
      not count. What is drawn at random is further off than a blurred mean: this is no measure of a generator's looks.
    - ``retrieval@k``, without a ``label``: the share of rows whose own payload is among the k that are nearest to what
      was made for it, of all that the part has.
    - ``accepted``, with a ``classifier``: the share for which it gives the anchor's own class.
    - ``diversity``, with a ``label``: how far apart any two of a class are on average, beside the references of that
      class; 1 is as diverse as the data, and what is more diverse scores below it as what is less:
      :math:`\min(r, 1 / r)`, the mean over classes.
    - ``frechet``, with ``features``: the distance of two Gaussians (:func:`~mmgraph.functional.frechet.frechet`).

    Args:
        schema: What the graph means.
        target: The node type whose payload is made; its nodes are ``of`` the anchor.
        attribute: The tensor that holds it.
        render: ``render(payload) -> values``: turns codes into pixels, if it is codes that are made.
        classifier: ``classifier(values) -> class numbers [rows]``: a judge that was trained on real ones and is frozen.
        label: Name of the target, of the anchor and with classes, that says which class a row is of.
        features: ``features(values) -> [rows, channels]``: the space for ``frechet`` and ``retrieval@k``; the values
            themselves for the latter, if left out.

    Raises:
        SchemaError: There is no such modality, tensor or label, or a classifier comes without a label.

    Example:
        >>> from mmgraph.testing import fake_graph
        >>> graph, schema = fake_graph()
        >>> task = PayloadGeneration(schema, "text", attribute="x")
        >>> payload, row = task.references(graph, "test")
        >>> made = torch.zeros(int(graph["subject"].test_mask.sum()), 5).index_copy(0, row, payload)
        >>> task.evaluate(made, graph, "test", metrics=["retrieval@1"])
        {'retrieval@1': 1.0}
    """

    def __init__(
        self,
        schema: Schema,
        target: str,
        *,
        attribute: str = "pixels",
        render: Reading | None = None,
        classifier: Reading | None = None,
        label: str | None = None,
        features: Reading | None = None,
    ) -> None:
        super().__init__(schema, target, attribute=attribute)
        self.label = None if label is None else schema.target(label)
        if self.label is not None and (self.label.node != self.node or not self.label.classes):
            raise SchemaError(f"Label {label!r} must have classes and be of the anchor {self.node!r}, got {self.label}")
        if classifier is not None and self.label is None:
            raise SchemaError("A classifier needs the label that it is to give, got none; name a target of the schema")
        self.render, self.classifier, self.features = render, classifier, features

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metrics that apply, by what the task was given."""
        found = ["log_loss", "error", *(["retrieval@1", "retrieval@10"] if self.label is None else [])]
        given = {"accepted": self.classifier, "diversity": self.label, "frechet": self.features}
        return (*found, *(name for name, needed in given.items() if needed is not None))

    def evaluate(
        self,
        predictions: Translation | Tensor,
        graph: HeteroData,
        part: Part = "test",
        *,
        metrics: Collection[str] | None = None,
    ) -> dict[str, float]:
        """Judges what was made; where ``log_loss`` alone is asked for, nothing is made.

        Args:
            predictions: What is said of each row of the part, or payloads ``[rows, *shape]``.
            graph: The whole graph, with its payloads.
            part: Which part of the split they are for.
            metrics: Which metrics; by default all, of payloads those that need no likelihood.

        Raises:
            DataError: Another number of rows than the part has, payloads of another shape, nothing to be judged, or the
                likelihood of payloads.
            SchemaError: An unknown metric.
        """
        wanted = self._wanted(predictions, graph, part, metrics)
        found = {"log_loss": self._losses(predictions, graph, part)} if "log_loss" in wanted else {}
        if set(wanted) - {"log_loss"}:
            found |= self._judged(self._payloads(predictions), graph, part, wanted)
        return {name: found[name] for name in wanted}

    def sheet(self, predictions: Translation | Tensor, graph: HeteroData, part: Part, folder: Path) -> list[Path]:
        """Writes a PNG of what was made beside what there is: a line a class, or above each other.

        Arrays are drawn in grey, from the least to the greatest value that the references have.

        Raises:
            DataError: No row has a reference.
        """
        made, real, row = self._values(self._payloads(predictions), graph, part)
        low, high = (0.0, 255.0) if real.dtype == torch.uint8 else _range(real)
        first = torch.cat([row.new_ones(1, dtype=torch.bool), row[1:] != row[:-1]])  # a reference a row
        pairs = [[_drawn(x, low, high) for x in some] for some in (real[first], made[row[first]])]
        lines: list[list[np.ndarray | None]] = []
        names, columns = [], []
        if self.label is None:
            for start in range(0, min(len(pairs[0]), 5 * WIDE), WIDE):
                lines += [[*one[start : start + WIDE]] for one in pairs]
                names += ["data", "made"]
        else:
            labels = graph[self.node][self.label.attribute][graph[self.node][f"{part}_mask"]][row[first]].tolist()
            columns = ["data"] * 2 + ["made"] * EACH
            for number, name in enumerate(self.label.classes):
                here = [place for place, label in enumerate(labels) if label == number]
                if here:
                    shown = [[one[place] for place in here] for one in pairs]
                    left, right = (_filled(some[:size], size) for some, size in zip(shown, (2, EACH), strict=True))
                    lines.append(left + right)
                    names.append(name)
        path = folder / f"{self.made}-{part}.png"
        write_bytes(path, contact_sheet(lines, names=names, columns=columns))
        return [path]

    def _judged(self, made: Tensor, graph: HeteroData, part: Part, wanted: Collection[str]) -> dict[str, float]:
        values, real, row = self._values(made, graph, part)
        asked = row.unique()  # rows with a reference
        labels = torch.full((len(values),), -1)
        if self.label is not None:
            labels = graph[self.node][self.label.attribute][graph[self.node][f"{part}_mask"]].cpu()
        found: dict[str, float] = {}
        if "accepted" in wanted:
            told = asked[labels[asked] >= 0]
            assert self.classifier is not None
            found["accepted"] = float((_read(self.classifier, values[told]) == labels[told]).double().mean())
        if "frechet" in wanted:
            assert self.features is not None
            if len(asked) < 2:
                raise DataError(f"frechet needs at least 2 rows with a payload, got {len(asked)}")
            found["frechet"] = float(frechet(_read(self.features, values[asked]), _read(self.features, real)))
        if {"error", "diversity", "retrieval@1", "retrieval@10"} & set(wanted):
            middle = _mean(self._rendered(self.references(graph, "train")[0]), like=real)
            if "error" in wanted:
                found["error"] = _share(values[row], real, middle)
            complete = real if not real.is_floating_point() else real.where(real.isfinite(), middle.to(real.dtype))
            if "diversity" in wanted:
                found["diversity"] = _diversity(values[asked], labels[asked], complete, labels[row])
            if {"retrieval@1", "retrieval@10"} & set(wanted):
                place = self._places(values[asked], complete, torch.searchsorted(asked, row))
                found |= {f"retrieval@{k}": float((place <= k).double().mean()) for k in (1, 10)}
        return found

    def _values(self, made: Tensor, graph: HeteroData, part: Part) -> tuple[Tensor, Tensor, Tensor]:
        """What was made, the references, and the row of each; rendered."""
        payload, row = self.references(graph, part)
        if not len(row):
            raise DataError(f"At least 1 {self.node!r} of {part} must have a {self.made!r} to judge by, got none")
        if made.shape[1:] != payload.shape[1:]:
            raise DataError(
                f"What is made must be [rows, {', '.join(map(str, payload.shape[1:]))}], as {self.attribute!r} of "
                f"{self.made!r} is, got {list(made.shape)}"
            )
        return self._rendered(made.cpu()), self._rendered(payload.cpu()), row.cpu()

    def _rendered(self, payload: Tensor) -> Tensor:
        return payload if self.render is None else _read(self.render, payload)

    def _places(self, made: Tensor, real: Tensor, owner: Tensor) -> Tensor:
        """The place of each row's own payload among those of all rows, by distance; 1 is best, ties share theirs."""
        reading = self.features or _flat
        x, y = _read(reading, made).double(), _read(reading, real).double()

        def place(rows: slice) -> Tensor:
            gaps = torch.cdist(x[rows], y, compute_mode="donot_use_mm_for_euclid_dist")  # [block, references]
            nearest = gaps.new_full((len(gaps), len(made)), torch.inf)
            nearest = nearest.scatter_reduce(1, owner.expand(len(gaps), -1), gaps, "amin")
            return ranks(-nearest, torch.arange(len(made))[rows]).double()

        return in_blocks(len(made), len(real), place)


@torch.no_grad()
def _read(reading: Reading, values: Tensor) -> Tensor:
    """What a judge says of some values, a block at a time."""
    return torch.cat([reading(some).cpu() for some in values.split(BLOCK)])


def _flat(values: Tensor) -> Tensor:
    return values.flatten(1)


def _mean(values: Tensor, *, like: Tensor) -> Tensor:
    """The mean of the values that are finite, ``[*shape]``; 0 where there is none."""
    total, count = (torch.zeros(like.shape[1:], dtype=torch.float64) for _ in range(2))
    for some in values.split(BLOCK):
        known = some.cpu().double()
        total += known.where(known.isfinite(), 0).sum(dim=0)
        count += known.isfinite().sum(dim=0)
    return total / count.clamp_min(1)


def _share(made: Tensor, real: Tensor, middle: Tensor) -> float:
    """The squared error of what was made over that of the mean."""
    ours = theirs = 0.0
    for some, there in zip(made.split(BLOCK), real.split(BLOCK), strict=True):
        sought = there.double()
        known = sought.isfinite()
        ours += float((some.double() - sought)[known].square().sum())
        theirs += float((middle - sought)[known].square().sum())
    return ours / theirs if theirs > 0 else float("nan")


def _diversity(made: Tensor, labels: Tensor, real: Tensor, real_labels: Tensor) -> float:
    shares = []
    for label in labels[labels >= 0].unique().tolist():
        ours, theirs = made[labels == label], real[real_labels == label]
        if min(len(ours), len(theirs)) > 1 and (wide := _apart(theirs)) > 0:
            share = _apart(ours) / wide
            shares.append(min(share, 1 / share) if share > 0 else 0.0)
    return float(np.mean(shares)) if shares else float("nan")


def _apart(values: Tensor) -> float:
    """The mean distance of two rows."""
    return float(torch.pdist(values.flatten(1).double()).mean())


def _range(values: Tensor) -> tuple[float, float]:
    known = values[values.isfinite()]
    return (float(known.min()), float(known.max())) if len(known) else (0.0, 1.0)


def _filled(some: list[np.ndarray], size: int) -> list[np.ndarray | None]:
    return [*some, *[None] * (size - len(some))]


def _drawn(values: Tensor, low: float, high: float) -> np.ndarray:
    """Values as a picture: colours of ``[3, height, width]``, else grey, layers side by side and numbers as stripes."""
    levels = ((values.double() - low) / max(high - low, 1e-12) * 255).nan_to_num(128).clamp(0, 255).round()
    picture = levels.to(torch.uint8)
    if picture.dim() == 3 and len(picture) == 3:
        return picture.permute(1, 2, 0).contiguous().numpy()
    if picture.dim() >= 3:
        return torch.cat(list(picture.flatten(0, -3)), dim=1).numpy()
    return (picture if picture.dim() == 2 else picture.reshape(1, -1).expand(8, -1)).contiguous().numpy()
