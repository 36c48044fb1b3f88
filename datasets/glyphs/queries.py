"""Writes what no part of the dataset holds, to search it with: ``python datasets/glyphs/queries.py OUT``.

``letter.png`` is a letter in a face that is not in the dataset, turned; ``letter.wav`` the same letter keyed faster,
higher and in more noise than any recording of the dataset.
"""

import argparse
from pathlib import Path

from morse import PITCH_HZ, SNR_DB, WPM, morse
from pictures import draw, font_files, png_bytes
from PIL import Image

LETTER, FACE, TURN_DEG = "R", "cmti10", 8


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, help="folder for letter.png and letter.wav")
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    picture = draw(LETTER, font_files()[FACE]).rotate(TURN_DEG, Image.Resampling.BILINEAR, fillcolor=255)
    (out / "letter.png").write_bytes(png_bytes(picture))
    sound = morse(LETTER, seed=0, wpm=WPM[1] + 3, pitch_hz=PITCH_HZ[1] + 50, snr_db=SNR_DB[0] - 2)
    (out / "letter.wav").write_bytes(sound)


if __name__ == "__main__":
    main()
