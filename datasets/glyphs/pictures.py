"""Pictures of characters, from the faces that come with matplotlib."""

import io
import unicodedata
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import matplotlib
from matplotlib.ft2font import FT2Font
from PIL import Image, ImageChops, ImageDraw, ImageFont

SIZE, EM, BASELINE = 32, 22, 24  # in pixels
CANVAS, ORIGIN = (160, 96), (48, 56)
FACES = (
    "DejaVuSans",
    "DejaVuSans-Bold",
    "DejaVuSerif",
    "DejaVuSansMono",
    "STIXGeneral",
    "STIXGeneralBol",
    "STIXGeneralItalic",
    "cmr10",
    "cmss10",
    "cmtt10",
)


def font_files() -> dict[str, Path]:
    """Name of a face → its file. LastResort draws a box for every code point and is no face."""
    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    return {path.stem: path for path in sorted(folder.glob("*.ttf")) if not path.stem.startswith("LastResort")}


def covered(file: Path) -> set[str]:
    """The letters, marks, numbers, punctuation and symbols that a face has a glyph for.

    Computer Modern faces (cm…) put Greek and accents at other characters' code points: of them only the letters and
    digits of ASCII are taken, and none at all of those without an upright digit at each digit's place.
    """
    font = FT2Font(str(file))
    glyphs = font.get_charmap()
    found = {chr(code) for code, glyph in glyphs.items() if glyph and unicodedata.category(chr(code))[0] in "LMNPS"}
    if not file.stem.startswith("cm"):
        return found
    if font.get_glyph_name(glyphs[ord("0")]) != "zero":
        return set()
    return {character for character in found if character.isascii() and character.isalnum()}


@cache
def _font(file: Path, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(str(file), size, layout_engine=ImageFont.Layout.BASIC)


def draw(character: str, file: Path) -> Image.Image | None:
    """Draws a character, black on white, 32 × 32 pixels; ``None`` where the face leaves no ink.

    An em is 22 pixels and the baseline is the same for all, so that a full stop is small and low; the ink is centred
    from left to right. Ink beyond the upper or lower edge is moved inside; what is larger than the picture is drawn
    at the largest size that fits.
    """
    for size in range(EM, 0, -1):
        canvas = Image.new("L", CANVAS)
        ImageDraw.Draw(canvas).text(ORIGIN, character, font=_font(file, size), fill=255, anchor="ls")
        ink = canvas.getbbox()
        if ink is None:
            return None
        left, top, right, bottom = ink
        if right - left <= SIZE and bottom - top <= SIZE:
            x = left - (SIZE - right + left) // 2
            y = max(min(ORIGIN[1] - BASELINE, top), bottom - SIZE)
            return ImageChops.invert(canvas.crop((x, y, x + SIZE, y + SIZE)))
    return None


def png_bytes(image: Image.Image) -> bytes:
    """A picture as PNG."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def pictures(characters: list[str], faces: tuple[str, ...]) -> Iterator[list[bytes]]:
    """The pictures of each character, face by face; fewer where faces lack it."""
    files = font_files()
    having = [(files[face], covered(files[face])) for face in faces]
    for character in characters:
        drawn = [draw(character, file) for file, known in having if character in known]
        yield [png_bytes(image) for image in drawn if image is not None]
