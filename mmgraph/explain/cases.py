"""A few predictions explained in full, for a page: what each part is worth, where it comes from, and the control."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mmgraph.errors import ConfigError
from mmgraph.explain.attribution import Attribution
from mmgraph.explain.gradients import integrated_gradients
from mmgraph.explain.occlusion import MOST_PLAYERS, players, shapley
from mmgraph.explain.question import Question, ask
from mmgraph.explain.sanity import Sanity, sanity

if TYPE_CHECKING:
    from torch_geometric.data import HeteroData

    from mmgraph.model import Model


@dataclass(frozen=True, kw_only=True)
class Case:
    """One prediction, explained.

    Args:
        id: Name of the anchor.
        said: What the model says of it.
        truth: What is true; ``""`` if it is not known.
        shares: What each modality and relation is worth, exactly.
        detail: What each node and edge is worth.
        names: Row of an anchor around it → its name.
    """

    id: str
    said: str
    truth: str
    shares: Attribution
    detail: Attribution
    names: dict[int, str]


@dataclass(frozen=True, kw_only=True)
class Cases:
    """Some predictions of a model, explained.

    Args:
        anchor: Node type of the anchors.
        modalities: Node types that hang on it.
        cases: The predictions.
        sanity: How alike the details are for models of shuffled weights.
    """

    anchor: str
    modalities: tuple[str, ...]
    cases: tuple[Case, ...]
    sanity: Sanity


def explain_cases(
    model: Model,
    graph: HeteroData,
    rows: Sequence[int],
    *,
    ids: Sequence[str],
    labels: Sequence[str | None] = (),
    output: int | str | None = None,
    draws: int = 5,
    most: int | None = None,
) -> Cases:
    """Explains what a model says at some anchors: Shapley values, integrated gradients, and the sanity control.

    Args:
        model: The model.
        graph: What may be seen.
        rows: Rows of the anchors to explain.
        ids: Name of every anchor.
        labels: True class of every anchor, ``None`` where it is not known; or ``()``.
        output: Column, or name of the class; by default the largest output at each anchor.
        draws: How often weights are shuffled for the control.
        most: How many numbers, nodes times channels, a score may rest on; by default any.

    Raises:
        ConfigError: The model can't be explained, or a score rests on more numbers than it may.
        DataError: A row that is none of the anchors.

    Example:
        >>> from mmgraph import classifier
        >>> from mmgraph.testing import fake_graph
        >>> graph, schema = fake_graph()
        >>> found = explain_cases(classifier(schema), graph, [5], ids=[f"s{row}" for row in range(40)], draws=1)
        >>> found.cases[0].id, sorted(found.cases[0].shares.parts)
        ('s5', ['near', 'scan', 'scan next scan', 'text', 'text next text'])
    """
    questions = ask(model, graph, rows, output=output)
    for question in questions:
        size = sum(x.numel() for x in question.features.values())
        if most is not None and size > most:
            raise ConfigError(
                f"What the model says of {ids[question.anchor]} must rest on at most {most:,} numbers to be explained "
                f"here, got {size:,} of {sum(question.counts.values()):,} nodes; call explain_cases without most"
            )
    classes = next((t.classes for t in model.schema.targets.values() if t.node == model.anchor), ())
    cases = []
    for question in questions:
        number = question.output
        cases.append(
            Case(
                id=ids[question.anchor],
                said=classes[number] if number < len(classes) else f"output {number}",
                truth=(labels[question.anchor] or "") if labels else "",
                shares=shapley(question, together=len(players(question)) > MOST_PLAYERS),
                detail=_quietly(question),
                names={row: ids[row] for row in question.n_id[model.anchor].tolist()},
            )
        )
    return Cases(
        anchor=model.anchor,
        modalities=model.schema.modalities,
        cases=tuple(cases),
        sanity=sanity(questions, _quietly, draws=draws),
    )


def _quietly(question: Question) -> Attribution:
    """Integrated gradients; what they leave unexplained is on the page."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Integrated gradients leave")
        return integrated_gradients(question)
