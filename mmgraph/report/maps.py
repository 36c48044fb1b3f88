"""The subjects on a plane, and one of them among its neighbours: drawn by hand, for every mark says what it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from markupsafe import Markup

from mmgraph.report.story import PARTS
from mmgraph.report.svg import Key, Panel, mark, plain, swatch

if TYPE_CHECKING:
    from mmgraph.report.story import Neighbourhood, Story

MOST_POINTS = 3000
FEW_POINTS = 50  # below it, principal components say as much as t-SNE
MOST_NAMED = 24  # nodes of a neighbourhood that have room for their ids
WIDTH, HEIGHT, RADIUS = 440, 380, 140  # of a neighbourhood, in pixels
RELATIONS = 6  # colours and dashes of edges


def subjects(story: Story) -> Panel:
    """The embeddings on a plane: a mark a subject, coloured by its label."""
    title = "Map of the subjects"
    if story.points is None or not len(story.points):
        return Panel(title, "No map: the story was given no embeddings of the subjects.")
    rows = sample(len(story.points))
    flat, how = plane(story.points[rows])
    names = list(dict.fromkeys(sorted(story.point_labels)))
    numbers = {name: number for number, name in enumerate(names)}
    spots, height = fit_box(flat, 640, 440, margin=10)
    parts = [story.point_parts[row] if story.point_parts else "" for row in rows]
    order = sorted(range(len(rows)), key=lambda place: ["", *PARTS].index(parts[place]))  # test rows on top
    marks = []
    for place in order:
        row = rows[place]
        label = story.point_labels[row] if story.point_labels else ""
        said = [story.point_ids[row] if story.point_ids else f"row {row}", label, PARTS[parts[place]] if parts[place] else ""]
        hover = " · ".join(part for part in said if part)
        marks.append(mark(numbers.get(label, 0), *spots[place], 4, hover, parts[place]))
    note = f"{len(story.points):,} subjects by their embeddings, {how}; nearness means likeness, the axes mean nothing."
    if len(rows) < len(story.points):
        note += f" A sample of {len(rows):,} is drawn."
    legend = [Key(swatch(mark(numbers[name], 8, 8, 5, "")), str(name)) for name in names]
    legend += [Key(swatch(mark(0, 8, 8, 5, "", f"{part} bare")), PARTS[part]) for part in PARTS if part and part in parts]
    label = f"Scatter map of {len(rows)} subjects coloured by {len(names)} labels"
    return Panel(title, note, _svg(640, height, label, marks), legend, wide=True)


def neighbours(around: Neighbourhood | None) -> Panel:
    """One subject in the middle, and those it is joined to around it, the more alike the nearer."""
    title = "One neighbourhood"
    if around is None:
        return Panel(title, "No neighbourhood: the story was given none.")
    spots = ring(around) * RADIUS + (WIDTH / 2, HEIGHT / 2)  # [ids, 2]
    labels = list(dict.fromkeys(sorted(around.labels)))
    relations = list(dict.fromkeys(edge[2] for edge in around.edges))
    drawn = [_edge(spots, edge, relations, around.ids) for edge in _once(around.edges)]
    for place, name in enumerate(around.ids):
        label = around.labels[place] if around.labels else ""
        drawn.append(_node(around, place, spots[place], labels.index(label) if label else 0, label))
        if len(around.ids) <= MOST_NAMED:
            drawn.append(_name(str(name), spots[place], spots[around.position], place == around.position))
    nearer = " The nearer, the more similar." if around.similarity else ""
    note = f"{around.centre} and the {len(around.ids) - 1} around it, {len(drawn) and len(around.edges)} edges.{nearer}"
    legend = [Key(swatch(mark(number, 8, 8, 5, "")), str(name)) for number, name in enumerate(labels)]
    for number, name in enumerate(relations):
        line = Markup('<path class="edge e{}" d="M1 8h26"/>').format(number % RELATIONS)
        legend.append(Key(swatch(line, 28), name))
    label = f"Graph of {around.centre} and its {len(around.ids) - 1} neighbours, joined by {', '.join(relations) or 'nothing'}"
    return Panel(title, note, _svg(WIDTH, HEIGHT, label, drawn), legend)


def sample(rows: int) -> np.ndarray:
    """The rows to draw, ascending: all, or as many as a page carries, by a fixed draw."""
    if rows <= MOST_POINTS:
        return np.arange(rows)
    return np.sort(np.random.default_rng(0).choice(rows, MOST_POINTS, replace=False))


def plane(points: np.ndarray) -> tuple[np.ndarray, str]:
    """Points ``[rows, channels]`` on a plane ``[rows, 2]``, and how they came there; always the same way.

    Few points, or points that are all alike, are laid out by principal components, others by t-SNE (van der
    Maaten and Hinton 2008, Visualizing data using t-SNE, JMLR 9).

    Example:
        >>> plane(np.array([[0.0, 0.0], [3.0, 4.0]]))[0].tolist(), plane(np.zeros((1, 1)))[1]
        ([[-2.5, 0.0], [2.5, 0.0]], 'by principal components')
    """
    components = principal(points, 50)
    flat = np.zeros((len(points), 2))
    flat[:, : min(2, components.shape[1])] = components[:, :2]
    spread = flat[:, 0].std() if len(points) else 0.0
    if len(points) < FEW_POINTS or spread == 0:
        return flat, "by principal components"
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    start = (flat / spread * 1e-4).astype(np.float32)
    with threadpool_limits(limits=1):  # sums of several threads depend on their order
        placed = TSNE(init=start, perplexity=min(30.0, len(points) / 4), random_state=0).fit_transform(components)
    return np.asarray(placed, dtype=float), "by t-SNE"


def principal(points: np.ndarray, most: int) -> np.ndarray:
    """Principal components ``[rows, at most most]``, each with its largest loading positive."""
    centred = np.asarray(points, dtype=float) - np.mean(points, axis=0)
    _, values, axes = np.linalg.svd(centred, full_matrices=False)
    axes = axes[:most][values[:most] > 1e-12 * max(1.0, values.max(initial=0.0))]  # [components, channels]
    if not len(axes):
        return np.zeros((len(points), 1))
    signs = np.sign(axes[np.arange(len(axes)), np.abs(axes).argmax(axis=1)])
    return centred @ (axes * signs[:, None]).T


def fit_box(flat: np.ndarray, width: int, most: int, *, margin: int) -> tuple[np.ndarray, int]:
    """Places ``[rows, 2]`` in a box of pixels, both axes stretched alike, and the height that it takes."""
    low, high = flat.min(axis=0), flat.max(axis=0)
    room, span = np.array([width, most]) - 2 * margin, high - low
    scale = min((room[axis] / span[axis] for axis in (0, 1) if span[axis] > 0), default=1.0)
    height = max(160, round(span[1] * scale + 2 * margin))
    return (flat - (low + high) / 2) * scale * (1, -1) + np.array([width, height]) / 2, height


def ring(around: Neighbourhood) -> np.ndarray:
    """Places ``[ids, 2]`` around a centre at the origin: by label, then by likeness, at their distances."""
    far = around.distances
    others = [place for place in range(len(around.ids)) if place != around.position]
    others.sort(key=lambda place: (around.labels[place] if around.labels else "", far[place], place))
    spots = np.zeros((len(around.ids), 2))
    for turn, place in enumerate(others):
        angle = 2 * np.pi * (turn + 0.5) / len(others) - np.pi / 2
        spots[place] = far[place] * np.cos(angle), far[place] * np.sin(angle)
    return spots


def _once(edges: Sequence[tuple[int, int, str]]) -> list[tuple[int, int, str]]:
    """An edge and its way back are one line; a loop is none."""
    return list(dict.fromkeys((min(a, b), max(a, b), relation) for a, b, relation in edges if a != b))


def _edge(spots: np.ndarray, edge: tuple[int, int, str], relations: Sequence[str], ids: Sequence[str]) -> Markup:
    """A line, bent a little by its relation, so that several between the same two are seen."""
    start, end, number = spots[edge[0]], spots[edge[1]], relations.index(edge[2])
    along = end - start
    side = np.array([-along[1], along[0]]) / max(float(np.hypot(*along)), 1e-9)
    bend = (start + end) / 2 + side * (number - (len(relations) - 1) / 2) * 14
    path = "M{:.1f} {:.1f}Q{:.1f} {:.1f} {:.1f} {:.1f}".format(*start, *bend, *end)
    said = f"{ids[edge[0]]} — {ids[edge[1]]}: {edge[2]}"
    return Markup('<path class="edge e{}" d="{}"><title>{}</title></path>').format(number % RELATIONS, path, said)


def _node(around: Neighbourhood, place: int, spot: np.ndarray, number: int, label: str) -> Markup:
    central = place == around.position
    said = [around.ids[place], label]
    if around.similarity and not central:
        said.append(f"similarity {around.similarity[place]:.3f}")
    hover = " · ".join(part for part in said if part)
    x, y = spot.tolist()
    halo = Markup('<circle class="halo" cx="{:.1f}" cy="{:.1f}" r="17"/>').format(x, y) if central else Markup("")
    return halo + mark(number, x, y, 11 if central else 7, hover, "node")


def _name(name: str, spot: np.ndarray, centre: np.ndarray, central: bool) -> Markup:
    x, y = spot.tolist()
    side = 0.0 if central else (x - centre[0]) / RADIUS
    anchor = "middle" if abs(side) < 0.12 else "start" if side > 0 else "end"
    below = 30 if central else 4 if anchor != "middle" else 22 if y > centre[1] else -13
    aside = {"middle": 0, "start": 12, "end": -12}[anchor]
    text = Markup('<text class="name{}" x="{:.1f}" y="{:.1f}" text-anchor="{}">{}</text>')
    return text.format(" centre" if central else "", x + aside, y + below, anchor, plain(name, 12))


def _svg(width: int, height: int, label: str, inside: Sequence[Markup]) -> Markup:
    frame = Markup('<svg viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>')
    return frame.format(width, height, label, Markup("\n").join(inside))
