"""Many small pictures on one sheet, for a person to look at."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO

import numpy as np

from mmgraph.errors import DataError

GAP, INK, PAPER, EMPTY = 4, 40, 255, 236  # pixels; grey levels
LETTER, LETTERS = 6, 24  # pixels of a letter, about, and letters of a name, at most


def contact_sheet(
    rows: Sequence[Sequence[np.ndarray | None]],
    *,
    names: Sequence[str] = (),
    columns: Sequence[str] = (),
    side: int = 56,
) -> bytes:
    r"""Rows of pictures as one PNG; small ones are enlarged by whole numbers, so that their pixels can be seen.

    Args:
        rows: Pictures ``[height, width]`` or ``[height, width, 3]`` of uint8; ``None`` leaves an empty place.
        names: Of the rows, written to their left; as many as there are rows, or none.
        columns: Of the columns, written above them; likewise, as many as the longest row has.
        side: The longer side of a picture is enlarged to at most this many pixels; a larger one stays as it is.

    Raises:
        DataError: There is no picture, one is of another shape or type, or names are too many or too few.

    Example:
        >>> contact_sheet([[np.zeros((8, 8), dtype=np.uint8), None]], names=["zero"])[:4]
        b'\x89PNG'
    """
    from PIL import Image, ImageDraw

    pictures = [one for row in rows for one in row if one is not None]
    for one in pictures:
        if one.dtype != np.uint8 or one.ndim not in (2, 3) or one.shape[2:] not in ((), (3,)) or 0 in one.shape:
            raise DataError(
                "Pictures of a sheet must be [height, width] or [height, width, 3] of uint8, "
                f"got {list(one.shape)} of {one.dtype}"
            )
    most = max((len(row) for row in rows), default=0)
    if not pictures or (names and len(names) != len(rows)) or (columns and len(columns) != most):
        raise DataError(
            "A sheet needs a picture, and as many names as it has rows and columns, or none, "
            f"got {len(pictures)} pictures in {len(rows)} rows and {most} columns, with {len(names)} and {len(columns)}"
        )
    times = max(1, side // max(max(one.shape[:2]) for one in pictures))
    height, width = (times * max(one.shape[axis] for one in pictures) + GAP for axis in (0, 1))
    names, columns = [_short(name, LETTERS) for name in names], [_short(name, width // LETTER) for name in columns]
    left, top = max((LETTER * (len(name) + 1) for name in names), default=0) + GAP, (14 if columns else 0) + GAP
    sheet = Image.new("RGB", (left + most * width, top + len(rows) * height), (PAPER,) * 3)
    pen = ImageDraw.Draw(sheet)
    for column, name in enumerate(columns):
        pen.text((left + column * width, GAP // 2), name, fill=(INK,) * 3)
    for number, row in enumerate(rows):
        y = top + number * height
        if names:
            pen.text((GAP, y + height // 2 - 8), names[number], fill=(INK,) * 3)
        for column, picture in enumerate(row):
            x = left + column * width
            if picture is None:
                pen.rectangle((x, y, x + width - GAP - 1, y + height - GAP - 1), fill=(EMPTY,) * 3)
            else:
                large = picture.repeat(times, axis=0).repeat(times, axis=1)
                sheet.paste(Image.fromarray(large).convert("RGB"), (x, y))
    file = BytesIO()
    sheet.save(file, "PNG")
    return file.getvalue()


def _short(name: str, most: int) -> str:
    """A name on one line, of letters that can be drawn."""
    line = " ".join("".join(letter if letter.isprintable() else " " for letter in name).split())
    return line if len(line) <= most else line[: max(0, most - 1)] + "…"
