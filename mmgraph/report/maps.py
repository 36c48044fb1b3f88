"""The subjects on a plane, and one of them among its neighbours: drawn by hand, for every mark says what it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
UNLABELLED = 7  # number of the grey mark
RELATIONS = 6  # colours and dashes of edges


def subjects(story: Story) -> Panel:
    """The embeddings on a plane: a mark a subject, coloured by its label."""
    title = "Map of the subjects"
    if story.points is None or not len(story.points):
        return Panel(title, "No map: the story was given no embeddings of the subjects.")
    rows, numbers = sample(len(story.points)), label_numbers(story)
    flat, how = plane(story.points[rows])
    spots, height = fit_box(flat, 640, 440, margin=10)
    layer = {part: number for number, part in enumerate(["", "train", "val", "test"])}
    drawn = sorted(enumerate(rows.tolist()), key=lambda one: layer[_at(story.point_parts, one[1])])  # test rows on top
    marks = [_subject(story, row, spots[place], numbers) for place, row in drawn]
    note = f"{len(story.points):,} subjects by their embeddings, {how}; nearness means likeness, the axes mean nothing."
    if len(rows) < len(story.points):
        note += f" A sample of {len(rows):,} is drawn."
    legend = _label_keys(story.point_labels, numbers)
    for part, said in PARTS.items():
        if part and part in story.point_parts:
            legend.append(Key(swatch(mark(0, 8, 8, 5, "", f"{part} bare")), said))
    label = f"Scatter map of {len(rows)} subjects, coloured by {len(set(story.point_labels))} labels"
    return Panel(title, note, _svg(640, height, label, marks), legend, wide=True)


def neighbours(story: Story) -> Panel:
    """One subject in the middle, and those it is joined to around it, the more alike the nearer."""
    title, around = "One neighbourhood", story.neighbourhood
    if around is None:
        return Panel(title, "No neighbourhood: the story was given none.")
    spots = ring(around) * RADIUS + (WIDTH / 2, HEIGHT / 2)  # [ids, 2]
    numbers, edges = label_numbers(story), _once(around.edges)
    relations = list(dict.fromkeys(relation for _, _, relation in around.edges))
    drawn = [_edge(around, spots, edge, relations) for edge in edges]
    drawn += [_node(around, place, spot, numbers) for place, spot in enumerate(spots)]
    if len(around.ids) <= MOST_NAMED:
        drawn += [_name(around, place, spot) for place, spot in enumerate(spots)]
    legend = _label_keys(around.labels, numbers)
    for number, relation in enumerate(relations):
        line = Markup('<path class="edge e{}" d="M1 8h26"/>').format(number % RELATIONS)
        legend.append(Key(swatch(line, 28), relation))
    near = " The nearer, the more similar." if len(around.similarity) else ""
    note = f"{around.centre} with {len(around.ids) - 1} others, joined by {len(edges)} edges.{near}"
    label = f"Graph of {around.centre} with {len(around.ids) - 1} others, joined by {', '.join(relations) or 'nothing'}"
    return Panel(title, note, _svg(WIDTH, HEIGHT, label, drawn), legend)


def label_numbers(story: Story) -> dict[str, int]:
    """Label → number of its colour and shape, the same in both drawings: classes in their order, then others."""
    around = story.neighbourhood
    found = {*story.point_labels, *(around.labels if around else ())} - {""}
    classes = [name for name in story.results.classes if name in found]
    return {name: number for number, name in enumerate([*classes, *sorted(found.difference(classes))])}


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
    others.sort(key=lambda place: (_at(around.labels, place), far[place], place))
    spots = np.zeros((len(around.ids), 2))
    for turn, place in enumerate(others):
        angle = 2 * np.pi * (turn + 0.5) / len(others) - np.pi / 2
        spots[place] = far[place] * np.cos(angle), far[place] * np.sin(angle)
    return spots


def _once(edges: Sequence[tuple[int, int, str]]) -> list[tuple[int, int, str]]:
    """An edge and its way back are one line; a loop is none."""
    return list(dict.fromkeys((min(a, b), max(a, b), relation) for a, b, relation in edges if a != b))


def _edge(around: Neighbourhood, spots: np.ndarray, edge: tuple[int, int, str], relations: Sequence[str]) -> Markup:
    """A line, bent a little by its relation, so that several between the same two are seen; faint off the centre."""
    start, end, number = spots[edge[0]], spots[edge[1]], relations.index(edge[2])
    along = end - start
    side = np.array([-along[1], along[0]]) / max(float(np.hypot(*along)), 1e-9)
    bend = (start + end) / 2 + side * (number - (len(relations) - 1) / 2) * 14
    path = "M{:.1f} {:.1f}Q{:.1f} {:.1f} {:.1f} {:.1f}".format(*start, *bend, *end)
    said = f"{around.ids[edge[0]]} — {around.ids[edge[1]]}: {edge[2]}"
    kind = f"edge e{number % RELATIONS}" + ("" if around.position in edge[:2] else " aside")
    return Markup('<path class="{}" d="{}"><title>{}</title></path>').format(kind, path, said)


def _label_keys(labels: Sequence[str], numbers: Mapping[str, int]) -> list[Key]:
    present = set(labels)
    return [Key(swatch(mark(number, 8, 8, 5, "")), name) for name, number in numbers.items() if name in present]


def _at(values: Sequence[str], place: int) -> str:
    return values[place] if len(values) else ""


def _subject(story: Story, row: int, spot: np.ndarray, numbers: Mapping[str, int]) -> Markup:
    label, part = _at(story.point_labels, row), _at(story.point_parts, row)
    words = (_at(story.point_ids, row) or f"row {row}", label, PARTS[part] if part else "")
    x, y = spot.tolist()
    return mark(_number(numbers, label), x, y, 4, " · ".join(word for word in words if word), part)


def _number(numbers: Mapping[str, int], label: str) -> int:
    return numbers.get(label, UNLABELLED if numbers else 0)


def _node(around: Neighbourhood, place: int, spot: np.ndarray, numbers: Mapping[str, int]) -> Markup:
    central = place == around.position
    label = _at(around.labels, place)
    alike = f"similarity {around.similarity[place]:.3f}" if len(around.similarity) and not central else ""
    hover = " · ".join(word for word in (around.ids[place], label, alike) if word)
    x, y = spot.tolist()
    halo = Markup('<circle class="halo" cx="{:.1f}" cy="{:.1f}" r="17"/>').format(x, y) if central else Markup("")
    return halo + mark(_number(numbers, label), x, y, 11 if central else 7, hover, "node")


def _name(around: Neighbourhood, place: int, spot: np.ndarray) -> Markup:
    """An id, on the side of its mark that looks away from the centre."""
    x, y = spot.tolist()
    aside, down = (x - WIDTH / 2) / RADIUS, y - HEIGHT / 2
    if place == around.position:
        kind, anchor, shift = "name centre", "middle", (0, 31)
    elif abs(aside) < 0.12:
        kind, anchor, shift = "name", "middle", (0, 22 if down > 0 else -13)
    else:
        kind, anchor, shift = "name", "start" if aside > 0 else "end", (12 if aside > 0 else -12, 4)
    text = Markup('<text class="{}" x="{:.1f}" y="{:.1f}" text-anchor="{}">{}</text>')
    return text.format(kind, x + shift[0], y + shift[1], anchor, plain(around.ids[place], 12))


def _svg(width: int, height: int, label: str, inside: Sequence[Markup]) -> Markup:
    frame = Markup('<svg viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>')
    return frame.format(width, height, label, Markup("\n").join(inside))
