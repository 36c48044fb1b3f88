"""Payloads as a person would want to see them: said in a few words, or drawn and played on a page.

No byte of a file reaches a page: pictures and recordings are decoded, made smaller and encoded anew.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup

from mmgraph.errors import DataError, MMGraphError
from mmgraph.media.audio import Sound, decode_audio, wav_bytes
from mmgraph.media.files import describe, kind_of, sniff
from mmgraph.media.image import FORMATS, decode_image
from mmgraph.media.text import decode_text
from mmgraph.media.video import decode_video
from mmgraph.report.cards import Item
from mmgraph.schema import Modality

if TYPE_CHECKING:
    from PIL.Image import Image

TEXT, CELLS, CELL, FRAMES, POINTS, STEPS = 600, 40, 120, 4, 300, 240  # what is shown at most
SIDES = (256, 128, 64)  # pixels
CLIPS = ((16_000, 6.0), (8_000, 4.0), (8_000, 1.5))  # hertz, seconds
_COLUMNS = 160  # of a waveform
_WIDE, _HIGH = 240, 64

WORDS: Mapping[Modality | None, str] = {
    Modality.IMAGE: "picture",
    Modality.AUDIO: "recording",
    Modality.TEXT: "text",
    Modality.VIDEO: "video",
    Modality.TABULAR: "values",
    Modality.SERIES: "series",
    Modality.POINTS: "points",
    Modality.SYMBOL: "symbol",
    None: "node",
}
"""What a payload of each modality is called: ``no recording``."""


@dataclass
class Budget:
    """How large the pictures and recordings of a page may be.

    Args:
        cap: Characters that each may take.
        sizes: How many each would take if it might, ``[items]``.
        smaller: How many were made smaller than they would be otherwise.
        dropped: How many were left out.
    """

    cap: float = math.inf
    sizes: list[int] = field(default_factory=list)
    smaller: int = 0
    dropped: int = 0

    def take(self, versions: Sequence[Callable[[], bytes]], kind: str) -> tuple[str, int] | None:
        """The data URI of the first version that fits, and its number; none if none does."""
        for number, version in enumerate(versions):
            uri = f"data:{kind};base64,{base64.b64encode(version()).decode()}"
            if number == 0:
                self.sizes.append(len(uri))
            if len(uri) <= self.cap:
                self.smaller += number > 0
                return uri, number
        self.dropped += 1
        return None

    def within(self, total: int) -> Budget:
        """Another one, whose cap lets all take no more than a total: small ones stay, large ones share the rest.

        Example:
            >>> Budget(sizes=[10, 100, 100]).within(70).cap
            30
        """
        left = total
        for place, size in enumerate(ordered := sorted(self.sizes)):
            share = left // (len(ordered) - place)
            if size > share:
                return Budget(share)
            left -= size
        return Budget()


def said(item: Item, limit: int = 80) -> str:
    """A payload in a few words: the beginning of a text, the size of a picture, the seconds of a recording.

    Example:
        >>> said(Item(Modality.TEXT, "A dog runs in the rain."), limit=12)
        'A dog runs …'
        >>> said(Item(Modality.SERIES, "[1, 2, 3]")), said(Item(Modality.AUDIO, b"fLaC"), limit=40)
        ('3 steps', "can't be read: a recording must be a wh…")
    """
    try:
        text = _say(decode(item), item)
    except MMGraphError as error:
        text = f"can't be read: {error}"
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _say(value: Any, item: Item) -> str:
    if isinstance(value, str):
        return " ".join(value.split())
    if isinstance(value, Sound):
        return f"{value.duration_s:.1f} s at {value.rate_hz} Hz"
    if isinstance(value, dict):
        return ", ".join(f"{name} {_cell(one)}" for name, one in value.items())
    if isinstance(value, list):
        size = "{} × {} pixels".format(*value[0].size)
        return size if len(value) == 1 else f"{len(value)} frames, {size}"
    if item.payload is not None and item.modality is Modality.POINTS:
        return f"{len(value)} points in {value.shape[1]} dimensions"
    if item.payload is not None:
        return f"{len(value)} steps" + (f" of {value.shape[1]} columns" if value.shape[1] > 1 else "")
    return f"features {list(value.shape)}"


def _cell(value: Any) -> str:
    return "—" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


def decode(item: Item) -> Any:
    """What a node stands for.

    Returns:
        A string; pictures; a ``Sound``; a mapping of cells; or an array: of a series ``[steps, columns]``, of points
        ``[points, dimensions]``, of a node without payload its features.

    Raises:
        DataError: It can't be read.
        MissingPackageError: A package that reads it is not installed.
    """
    value, modality = item.payload, item.modality
    if value is None:
        if item.features is None:
            raise DataError("nothing is kept of it")
        array = item.features
        return dict(zip(item.names, array.tolist(), strict=True)) if item.names and array.ndim == 1 else array
    if isinstance(value, bytes) and modality is None:
        modality = sniff(value)
        if modality is None:
            raise DataError(f"its kind can't be told, {describe(value)}")
    if isinstance(value, str) and modality in (Modality.TABULAR, Modality.SERIES, Modality.POINTS):
        return _numbers(value, modality)
    if isinstance(value, str):
        return value
    if modality is Modality.AUDIO:
        return decode_audio(value, rate_hz=None)
    if modality is Modality.IMAGE:
        return [decode_image(value)]
    if modality is Modality.VIDEO:
        return [decode_image(value)] if kind_of(value) in FORMATS else decode_video(value, max_frames=FRAMES)
    return decode_text(value)


def _numbers(text: str, modality: Modality) -> Any:
    try:
        value = json.loads(text)
        if modality is Modality.TABULAR:
            return dict(value) if isinstance(value, dict) else {str(n): one for n, one in enumerate(value)}
        array = np.array(value, dtype=np.float64)
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise DataError(f"it must be numbers in JSON, but {error}") from None
    if not array.ndim or not array.size:
        raise DataError(f"it must be a list of numbers or of lists of numbers, got {text[:40]!r}")
    return array.reshape(len(array), -1)


def shown(item: Item, budget: Budget) -> Markup:
    """A payload as HTML; what can't be read says why."""
    try:
        return _html(decode(item), item, budget)
    except MMGraphError as error:
        return Markup('<p class="broken">This {} can’t be read: {}</p>').format(
            WORDS[item.modality], clean(str(error))[:TEXT]
        )


def _html(value: Any, item: Item, budget: Budget) -> Markup:
    if isinstance(value, str):
        cut = clean(value[:TEXT])
        more = Markup(" <small>… {:,} characters in all</small>").format(len(value)) if len(value) > TEXT else ""
        return Markup('<p class="text" dir="auto">{}{}</p>').format(cut, more)
    if isinstance(value, Sound):
        return _player(value, budget)
    if isinstance(value, dict):
        return _cells(value)
    if isinstance(value, list):
        return Markup("").join(_picture(one, budget, said(item)) for one in value)
    what, drawn = said(item), item.payload is not None
    if item.modality is Modality.POINTS and value.ndim == 2 and value.shape[1] > 1:
        return scatter(value, what)
    if item.modality in (Modality.IMAGE, Modality.VIDEO) and value.ndim == 3 and value.shape[0] in (1, 3):
        return _picture(_levels(np.moveaxis(value, 0, 2)), budget, what)
    if value.ndim == 2 and item.modality is Modality.AUDIO:
        return _picture(_levels(value.T[::-1, :, None]), budget, what)
    if value.ndim == 2:
        return line(value, what)
    if value.ndim == 1 and not drawn and value.dtype.kind in "fiu":
        return line(value[:, None], what)
    return Markup('<p class="note">{}</p>').format(what)


def _picture(picture: Image, budget: Budget, what: str) -> Markup:
    def version(side: int) -> bytes:
        small, file = picture.copy(), BytesIO()
        small.thumbnail((side, side))
        small.save(file, "PNG")
        return file.getvalue()

    taken = budget.take([partial(version, side) for side in SIDES], "image/png")
    if taken is None:
        return Markup('<p class="note">{}, left out: the page is full</p>').format(what)
    return Markup('<img src="{}" alt="{}" title="{}">').format(taken[0], f"picture, {what}", what)


def _levels(array: np.ndarray) -> Image:
    """Numbers ``[height, width, 1 | 3]`` as a picture from the least to the greatest; what is not finite is white."""
    levels = np.where(np.isfinite(array), _from_0_to_1(array) * 255, 255).round().astype(np.uint8)
    return decode_image(levels[:, :, 0] if levels.shape[2] == 1 else levels)


def _from_0_to_1(values: np.ndarray) -> np.ndarray:
    """Numbers from their least to their greatest; 0 for those that are not finite."""
    finite = np.isfinite(values)
    values = np.where(finite, values, 0.0)
    values = values / (np.abs(values).max(initial=0.0) or 1.0)  # first, so that no difference is too large
    low, high = (values[finite].min(), values[finite].max()) if finite.any() else (0.0, 0.0)
    return np.where(finite, (values - low) / ((high - low) or 1.0), 0.0)


def _player(sound: Sound, budget: Budget) -> Markup:
    def version(rate_hz: int, longest_s: float) -> bytes:
        start = Sound(sound.samples[: max(1, round(longest_s * sound.rate_hz))], sound.rate_hz)
        return wav_bytes(decode_audio(start, rate_hz=rate_hz) if sound.rate_hz > rate_hz else start)

    what = f"{sound.duration_s:.1f} s at {sound.rate_hz} Hz"
    taken = budget.take([partial(version, *clip) for clip in CLIPS], "audio/wav")
    if taken is None:
        return Markup('{}<p class="note">{}, left out: the page is full</p>').format(wave(sound, what), what)
    uri, number = taken
    longest_s = CLIPS[number][1]
    short = f", the first {longest_s:g} s of it here" if sound.duration_s > longest_s else ""
    return Markup('{}<audio controls preload="none" src="{}" aria-label="{}"></audio><p class="note">{}</p>').format(
        wave(sound, what), uri, f"recording, {what}", what + short
    )


def wave(sound: Sound, what: str) -> Markup:
    """The outline of a recording: the least and the greatest sample of each of some columns."""
    edges = np.linspace(0, len(sound.samples), min(_COLUMNS, len(sound.samples)) + 1).astype(int)[:-1]
    low, high = (one.reduceat(sound.samples, edges) for one in (np.minimum, np.maximum))
    half, step = _HIGH / 2, _WIDE / len(edges)
    path = "".join(
        f"M{(place + 0.5) * step:.1f} {half - half * top:.1f}V{half - half * bottom + 0.5:.1f}"
        for place, (bottom, top) in enumerate(zip(low.tolist(), high.tolist(), strict=True))
    )
    return _drawing(Markup('<path class="wave" d="{}"/>').format(path), f"waveform, {what}")


def line(values: np.ndarray, what: str) -> Markup:
    """Up to four columns of ``[steps, columns]`` as lines, each from its least to its greatest; gaps if unknown."""
    parts = []
    for column in range(min(values.shape[1], 4)):
        run = values[:, column].astype(np.float64)
        place = np.unique(np.linspace(0, len(run) - 1, min(STEPS, len(run))).round().astype(int))
        finite = np.isfinite(run)
        if not finite.any():
            continue
        height = _from_0_to_1(run)
        x = 2 + (_WIDE - 4) * place / max(len(run) - 1, 1)
        path, pen = [], False
        for at, across in zip(place.tolist(), x.tolist(), strict=True):
            if finite[at]:
                path.append(f"{'L' if pen else 'M'}{across:.1f} {_HIGH - 3 - (_HIGH - 6) * height[at]:.1f}")
            pen = bool(finite[at])
        parts.append(Markup('<path class="run c{}" d="{}"/>').format(column, "".join(path)))
    return _drawing(Markup("").join(parts), what)


def scatter(points: np.ndarray, what: str) -> Markup:
    """The first two dimensions of ``[points, dimensions]``, to one scale."""
    rows = np.unique(np.linspace(0, len(points) - 1, min(POINTS, len(points))).round().astype(int))
    flat = points[rows, :2]
    flat = flat[np.isfinite(flat).all(axis=1)]
    if not len(flat):
        return Markup('<p class="note">{}, none of them finite</p>').format(what)
    flat = flat / (np.abs(flat).max() or 1.0)
    flat = flat - flat.min(axis=0)
    flat = flat / (flat.max() or 1.0)  # not times one over it, which may be too large
    path = "".join(f"M{4 + 92 * x:.1f} {96 - 92 * y:.1f}h0" for x, y in flat.tolist())
    inside = Markup('<path class="points" d="{}"/>').format(path)
    return _drawing(inside, f"{what}, the first two drawn", width=100, height=100)


def _drawing(inside: Markup, what: str, *, width: int = _WIDE, height: int = _HIGH) -> Markup:
    return Markup('<svg class="drawing" viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>').format(
        width, height, clean(what), inside
    )


def _cells(values: Mapping[str, Any]) -> Markup:
    rows = list(values.items())
    body = Markup("").join(
        Markup('<tr><th scope="row" dir="auto">{}</th><td dir="auto">{}</td></tr>').format(
            clean(str(name)[:CELL]), clean(_cell(value)[:CELL])
        )
        for name, value in rows[:CELLS]
    )
    more = Markup('<p class="note">and {:,} more</p>').format(len(rows) - CELLS) if len(rows) > CELLS else ""
    return Markup('<table class="cells">{}</table>{}').format(body, more)


def clean(text: str) -> str:
    r"""A text without what no page can hold: halves of characters, and control characters but line ends.

    Example:
        >>> clean("a\x00b\x1b[31m\ud800")
        'a�b�[31m�'
    """
    return "".join("�" if (ord(one) < 32 and one not in "\n\t") or _is_odd(ord(one)) else one for one in text)


def _is_odd(code: int) -> bool:
    return 127 <= code < 160 or 0xD800 <= code < 0xE000 or code & 0xFFFE == 0xFFFE
