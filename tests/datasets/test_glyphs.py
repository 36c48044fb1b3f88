"""Glyphs: what is in it, that it is the same everywhere, and that its script task does not give the script away."""

import hashlib
import io
import subprocess
import sys
import unicodedata
import wave
from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, features

from mmgraph.data import load_dataset

FOLDER = Path(__file__).parents[2] / "datasets" / "glyphs"
SCRIPTS = [
    "Arabic",
    "Armenian",
    "Braille",
    "Canadian_Aboriginal",
    "Cyrillic",
    "Georgian",
    "Greek",
    "Hebrew",
    "Lao",
    "Latin",
    "Lisu",
    "Nko",
    "Old_Italic",
    "Tifinagh",
]
FREETYPE = "2.14.3"
FACES = {  # start of the file's sha256, pictures, start of the pixels' sha256
    "DejaVuSans": ("3fdf69cabf06049e", 5747, "b5a4ad9a00a4dd50"),
    "DejaVuSans-Bold": ("b184b89e3c1075f2", 5731, "2950bbe289560eda"),
    "DejaVuSerif": ("107244956e9962b9", 3342, "1e615fdc640b658a"),
    "DejaVuSansMono": ("602ec86b8948cfcd", 3292, "eadfa14e05fb10b4"),
    "STIXGeneral": ("167378031e2dddc6", 3286, "e8b06e05c29c4f14"),
    "STIXGeneralBol": ("e8533dc7083fa346", 1706, "175e2bce2d48f0c0"),
    "STIXGeneralItalic": ("6cfcb333d22b7c3c", 1057, "34ff4c917353b221"),
    "cmr10": ("4dd9761b058c009d", 62, "0115fc324293fc9c"),
    "cmss10": ("7df91a83d05b2e47", 62, "182c7b083ae728b8"),
    "cmtt10": ("6211f09ae9359999", 62, "a8000e2da4e17839"),
}
TABLES = {  # rows, start of the sha256 of the values, without pictures and sounds
    "characters": (7352, "2e37f9c73c249846"),
    "decomposes_to": (3630, "d2ab69b8e6fc80d5"),
    "lower": (834, "57ec36da12e93f51"),
    "upper": (816, "9bf8608bb482a2bf"),
    "next_to": (7083, "8525ea5a56fa4dfc"),
    "blocks": (72, "c58f185d5472161c"),
}
SOUNDS = "85a6af771dd33825"
WITHOUT_SCRIPT_IN_THE_NAME = {  # official script → first words of names that don't say it
    "Arabic": {"extended"},
    "Canadian_Aboriginal": {"canadian"},
    "Cyrillic": {"combining", "modifier"},
    "Georgian": {"modifier"},
    "Greek": {"modifier", "ohm"},
    "Latin": {"modifier", "roman", "small", "superscript", "turned", "feminine", "masculine", "kelvin", "angstrom"},
}


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]


def _char(code: str) -> str:
    return chr(int(code.removeprefix("U+"), 16))


def _edges(source, relation: str) -> set[tuple[str, str]]:
    return {(_char(row["source"]), _char(row["target"])) for row in source.tables[relation].to_pylist()}


@pytest.fixture(scope="module")
def everything():
    return load_dataset("glyphs", task="all", split="block")


@pytest.fixture(scope="module")
def rows(everything):
    return {row["character"]: row for row in everything.tables["characters"].to_pylist()}


@pytest.fixture(scope="module")
def modules(everything):
    """The builder, with the modules that it loads."""
    return sys.modules["mmgraph_dataset_glyphs"]


def _known_here() -> None:
    from matplotlib import get_data_path

    if unicodedata.unidata_version != "14.0.0":
        pytest.skip(f"the counts are those of Unicode 14.0.0, this Python has {unicodedata.unidata_version}")
    for face, (known, _, _) in FACES.items():
        if _digest((Path(get_data_path()) / "fonts" / "ttf" / f"{face}.ttf").read_bytes()) != known:
            pytest.skip(f"the counts are those of another file of {face}")


def test_it_is_some_thousands_of_characters_whatever_the_versions(everything, rows):
    assert 6500 < len(rows) < 9000
    assert 20_000 < sum(len(row["pictures"]) for row in rows.values()) < 30_000
    assert 500 < sum(len(row["sounds"] or []) for row in rows.values()) < 600
    assert [row["code"] for row in rows.values()] == [f"U+{ord(one):04X}" for one in sorted(rows)]
    assert {unicodedata.category(one)[0] for one in rows} == set("LMNPS")
    assert len(everything.tables["blocks"]) == len({row["block"] for row in rows.values()})


def test_counts_and_tables_are_those_of_the_card(everything, rows):
    _known_here()
    for name, (number, known) in TABLES.items():
        table = everything.tables[name]
        values = table.drop_columns(["pictures", "sounds"]) if name == "characters" else table
        assert (name, len(table), _digest(repr(values.to_pydict()).encode())) == (name, number, known)
    pictures = Counter(len(row["pictures"]) for row in rows.values())
    sounds = Counter(len(row["sounds"] or []) for row in rows.values())
    assert sum(number * times for number, times in pictures.items()) == 24_347
    assert sounds == {0: 7079, 1: 80, 2: 110, 3: 83}
    said = " ".join((FOLDER / "card.md").read_text(encoding="utf-8").split())
    labelled = Counter(row["script"] for row in rows.values() if row["script"] in SCRIPTS)
    parts = Counter(row["part"] for row in rows.values())
    for fact in (
        "7,352 characters",
        "24,347 pictures",
        f"{pictures[0]} characters have none",
        "549 recordings of 273 characters",
        "3,630 pairs",
        "834 pairs",
        "816 pairs",
        "7,083 pairs",
        "72 blocks",
        f"{labelled.total():,} characters in {len(labelled)} scripts",
        *(f"{name.replace('_', ' ')} {number:,}" for name, number in labelled.items()),
        f"{parts['train']:,} / {parts['val']} / {parts['test']}",
    ):
        assert fact in said, fact


@pytest.mark.parametrize("face", FACES)
def test_pictures_are_the_same_to_the_bit(face, modules):
    file = modules.PICTURES.font_files()[face]
    known_file, number, known = FACES[face]
    if _digest(file.read_bytes()) != known_file:
        pytest.skip(f"another file of {face} than the one whose pictures are known")
    if features.version("freetype2") != FREETYPE:
        pytest.skip(f"the pictures are those of FreeType {FREETYPE}, this is {features.version('freetype2')}")
    if unicodedata.unidata_version != "14.0.0":
        pytest.skip(f"the characters are those of Unicode 14.0.0, this Python has {unicodedata.unidata_version}")
    drawn = [modules.PICTURES.draw(one, file) for one in sorted(modules.PICTURES.covered(file))]
    inked = [picture.tobytes() for picture in drawn if picture is not None]
    assert (len(inked), _digest(b"".join(inked))) == (number, known)


def test_recordings_are_the_same_to_the_bit(rows):
    assert _digest(b"".join(sound for row in rows.values() for sound in row["sounds"] or [])) == SOUNDS


def test_two_processes_give_equal_bytes():
    call = (
        "from mmgraph import load_dataset; import hashlib, pickle; s = load_dataset('glyphs', task='all', limit=150);"
    )
    call += (
        "print(hashlib.sha256(repr({n: t.to_pydict() for n, t in s.tables.items()}).encode()).hexdigest(), s.config)"
    )
    outputs = [subprocess.run([sys.executable, "-c", call], capture_output=True, check=True) for _ in range(2)]
    assert outputs[0].stdout == outputs[1].stdout != b""


# Pictures


def test_pictures_are_grey_and_of_one_size(rows):
    for row in list(rows.values())[::50]:
        for data in row["pictures"]:
            picture = Image.open(io.BytesIO(data))
            assert (picture.format, picture.mode, picture.size) == ("PNG", "L", (32, 32))
            pixels = np.asarray(picture)
            assert pixels.min() < 128 < pixels.max() == 255


def test_a_character_has_a_picture_from_each_face_that_has_it_in_order(rows, modules):
    files, draw = modules.PICTURES.font_files(), modules.PICTURES.draw
    for character in "Aé∑ش𝐀":
        faces = [face for face in FACES if character in modules.PICTURES.covered(files[face])]
        assert rows[character]["pictures"] == [
            modules.PICTURES.png_bytes(draw(character, files[face])) for face in faces
        ]
    assert len(rows["A"]["pictures"]) == len(FACES) > len(rows["é"]["pictures"]) > len(rows["ش"]["pictures"]) > 0


def test_size_and_height_are_kept_and_wide_ones_fit(modules):
    draw, file = modules.PICTURES.draw, modules.PICTURES.font_files()["DejaVuSans"]

    def ink(character: str) -> tuple[int, int, int, int]:
        found = np.argwhere(np.asarray(draw(character, file)) < 255)
        (top, left), (bottom, right) = found.min(axis=0), found.max(axis=0) + 1
        return left, top, right, bottom

    for character in "aM.'|⸻⟺🂡":
        left, top, right, bottom = ink(character)
        assert abs(left - (32 - right)) <= 1, character  # centred
        assert top >= 0, character
        assert bottom <= 32, character
    assert ink("M")[3] == ink(".")[3] == ink("A")[3] == 24  # the baseline
    assert ink(".")[3] - ink(".")[1] <= 4
    assert ink("'")[3] < 16 < ink(",")[1]
    assert ink("\u0301")[3] < 16 < ink("\u0323")[1]  # marks above and below keep their places
    assert ink("⟺")[2] - ink("⟺")[0] >= 30  # as large as fits


def test_what_leaves_no_ink_has_no_picture(rows):
    assert {one for one, row in rows.items() if not row["pictures"]} >= {"\u2800", "\u034f", "\ufe0f"}
    assert not {" ", "\u00a0", "\u2003", "\u00ad"} & rows.keys()


def test_computer_modern_is_believed_for_letters_and_digits_alone(modules):
    files, covered = modules.PICTURES.font_files(), modules.PICTURES.covered
    alphanumeric = {chr(code) for code in range(128) if chr(code).isalnum()}
    assert all(covered(files[face]) == alphanumeric for face in ("cmr10", "cmss10", "cmtt10", "cmb10", "cmti10"))
    assert covered(files["cmsy10"]) == covered(files["cmex10"]) == covered(files["cmmi10"]) == set()
    assert not any(name.startswith("LastResort") for name in files)


# Morse code


def _samples(data: bytes) -> np.ndarray:
    with wave.open(io.BytesIO(data)) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (16_000, 1, 2)
        return np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(float)


def _pitch(samples: np.ndarray) -> float:
    spectrum = np.abs(np.fft.rfft(samples, 1 << 18))
    return float(spectrum.argmax() * 16_000 / (1 << 18))


def _heard(data: bytes, wpm: int) -> str:
    """Dots and dashes of a recording, by its envelope at the pitch that is loudest."""
    samples = _samples(data)
    carrier = np.exp(-2j * np.pi * _pitch(samples) * np.arange(len(samples)) / 16_000)
    dot = 1.2 / wpm * 16_000
    width = int(dot / 3)
    envelope = np.abs(np.convolve(samples * carrier, np.ones(width) / width, "same"))
    on = np.flatnonzero(envelope > envelope.max() / 2)
    middles = np.arange(on[0] + dot / 2, on[-1], dot).astype(int)
    units = "".join("x" if envelope[one] > envelope.max() / 2 else " " for one in middles)
    words = [[letter.split(" ") for letter in word.split("   ")] for word in units.split(" " * 7)]
    return " / ".join(
        " ".join("".join({"x": ".", "xxx": "-"}.get(sign, "?") for sign in one) for one in word) for word in words
    )


@pytest.mark.parametrize(("wpm", "snr_db"), [(12, 25), (25, 25), (18, 5), (28, 3)])
def test_a_listener_hears_the_code(modules, wpm, snr_db):
    codes = modules.MORSE.read_codes()
    for number, (character, code) in enumerate(codes.items()):
        sound = modules.MORSE.morse(character, seed=number, wpm=wpm, snr_db=snr_db, pitch_hz=450 + number % 450)
        assert _heard(sound, wpm) == code, character
        assert abs(_pitch(_samples(sound)) - 450 - number % 450) < 8


def test_words_have_gaps(modules):
    sound = modules.MORSE.morse("sos  ok", seed=0, wpm=20, snr_db=20)
    assert _heard(sound, 20) == "... --- ... / --- -.-"
    with pytest.raises(ValueError, match=r"must have a Morse code, got '#'"):
        modules.MORSE.morse("a#", seed=0)
    with pytest.raises(ValueError, match=r"must hold a character with a Morse code, got '  '"):
        modules.MORSE.morse("  ", seed=0)


def test_noise_is_as_loud_as_asked(modules):
    for snr_db in (5, 15, 25):
        clean, noisy = (
            _samples(modules.MORSE.morse("0", seed=1, wpm=12, snr_db=one, pitch_hz=600)) for one in (200, snr_db)
        )
        tone = 8000**2 / 2
        assert abs(clean).max() <= 8000
        assert 10 * np.log10(tone / np.mean((noisy - clean) ** 2)) == pytest.approx(snr_db, abs=0.2)


def test_edges_rise_smoothly(modules):
    clean = _samples(modules.MORSE.morse("e", seed=1, wpm=12, snr_db=200, pitch_hz=800))
    on = np.flatnonzero(clean)
    assert abs(on[-1] - on[0] - 1600) <= 6  # a dot at 12 words a minute is 0.1 s, 1,600 frames
    loud = np.abs(clean[on[0] : on[-1] + 1])
    assert loud[:10].max() < 600 < 7000 < loud[80:100].max()
    assert loud[-10:].max() < 600 < 7000 < loud[-100:-80].max()


def test_recordings_vary_within_their_bounds(rows):
    units = {".": 1, "-": 3}
    pitches, speeds = [], []
    for character, code in (
        ("é", "..-.."),
        ("0", "-----"),
        ("Q", "--.-"),
        ("Щ", "--.-"),
        ("@", ".--.-."),
        ("ש", "..."),
    ):
        length = sum(units[sign] for sign in code) + len(code) - 1
        for sound in rows[character]["sounds"]:
            samples = _samples(sound)
            pitches.append(_pitch(samples))
            may_be = [one for one in range(12, 26) if 1280 <= len(samples) - length * (19_200 // one) <= 3200]
            heard = [one for one in may_be if _heard(sound, one) == code]
            assert heard, character
            speeds.append(heard[0])
    assert all(444 < pitch < 858 for pitch in pitches)
    assert len(set(speeds)) > 4
    assert np.ptp(pitches) > 150
    every = [sound for row in rows.values() for sound in row["sounds"] or []]
    assert len(set(every)) == len(every)
    assert max(len(_samples(sound)) for sound in every) < 2.2 * 16_000
    assert max(np.abs(_samples(sound)).max() for sound in every) < 2**15 - 1


def test_codes_are_those_of_the_recommendation(modules):
    codes = modules.MORSE.read_codes()
    itu = (
        "A .- B -... C -.-. D -.. E . F ..-. G --. H .... I .. J .--- K -.- L .-.. M -- N -. O --- P .--. Q --.- R .-."
    )
    itu += " S ... T - U ..- V ...- W .-- X -..- Y -.-- Z --.. É ..-.. 0 ----- 1 .---- 2 ..--- 3 ...-- 4 ....- 5 ....."
    itu += " 6 -.... 7 --... 8 ---.. 9 ----. . .-.-.- , --..-- : ---... ? ..--.. ' .----. - -....- / -..-. ( -.--."
    itu += ' ) -.--.- " .-..-. = -...- + .-.-. × -..- @ .--.-.'
    parts = itu.split()
    assert {one: codes[one] for one in parts[::2]} == dict(zip(parts[::2], parts[1::2], strict=True))
    for alike in ("RrΡρРрר", "Aaא", "QqΨψЩщק", "ÖöÓóØøЧч"):
        assert len({codes[one] for one in alike}) == 1, alike
    for script in (
        "ABCDEFGHIJKLMNOPQRSTUVWXYZÉ0123456789",
        "ΑΒΓΔΕΖΗΘΙΚΛΜΝΞΟΠΡΣΤΥΦΧΨΩ",
        "АБВГДЕЖЗИЙКЛМНОПРСТУФХЦЧШЩЫЬЭЮЯ",
    ):
        assert len({codes[one] for one in script}) == len(script)
    assert not set("ſıµ#%&!;_$ЁЪς") & codes.keys()  # no code, or none that is agreed


# The Unicode database


def test_properties_are_those_of_the_database(rows):
    for character in ("½", "٣", "é", "(", "\u0301", "א", "Ⅷ", "①", "🂡"):
        row = rows[character]
        assert row["name"] == unicodedata.name(character).lower()
        assert row["category"] == unicodedata.category(character)
        assert row["bidirectional"] == unicodedata.bidirectional(character)
        assert row["combining"] == str(unicodedata.combining(character))
        assert row["east_asian_width"] == unicodedata.east_asian_width(character)
        assert row["mirrored"] == str(unicodedata.mirrored(character))
    assert [rows["½"][one] for one in ("numeric", "decimal", "digit")] == [0.5, None, None]
    assert [rows["٣"][one] for one in ("numeric", "decimal", "digit")] == [3, 3, 3]
    assert [rows["①"][one] for one in ("numeric", "decimal", "digit")] == [1, None, 1]
    assert rows["a"]["numeric"] is None


def test_scripts_agree_with_names_but_for_the_known(rows):
    for character, row in rows.items():
        said = row["name"].upper()
        if row["script"] and not said.startswith(row["script"].upper().replace("_", " ")):
            assert said.split()[0].lower() in WITHOUT_SCRIPT_IN_THE_NAME[row["script"]], (character, said)
        if row["script"] is None and unicodedata.category(character) in ("Lu", "Ll", "Lt", "Lo"):
            assert said.split()[0] not in {name.upper() for name in SCRIPTS}, (character, said)
    assert {rows[one]["script"] for one in "1.,+∑\u0301𝐀µ♥←"} == {None}
    known = {
        "a": "Latin",
        "α": "Greek",
        "б": "Cyrillic",
        "ֆ": "Armenian",
        "ש": "Hebrew",
        "ش": "Arabic",
        "ლ": "Georgian",
    }
    known |= {
        "ⴰ": "Tifinagh",
        "ᐁ": "Canadian_Aboriginal",
        "⠿": "Braille",
        "ª": "Latin",
        "\u2126": "Greek",
        "\u212a": "Latin",
    }
    assert {one: rows[one]["script"] for one in known} == known


@pytest.mark.parametrize("name", ["blocks", "scripts"])
def test_ranges_are_sorted_and_apart(name, modules):
    lines = (FOLDER / f"{name}.tsv").read_text(encoding="utf-8").splitlines()
    ranges = [(int(first, 16), int(last, 16), value) for first, last, value in (line.split("\t") for line in lines[2:])]
    assert all(first <= last for first, last, _ in ranges)
    assert all(one[1] < other[0] for one, other in pairwise(ranges))
    value = modules.CHART.ranges(name)
    for first, last, said in ranges:
        assert value(chr(first)) == value(chr(last)) == said
        assert value(chr(last + 1)) == next((other for start, _, other in ranges if start == last + 1), None)
    assert value(chr(ranges[0][0])) is not None
    assert value(chr(0x10FFFF)) is None
    if name == "blocks":
        assert all(first % 16 == 0 and last % 16 == 15 for first, last, _ in ranges)
        assert len({said for _, _, said in ranges}) == len(ranges)


def test_blocks_and_their_titles(everything, rows):
    known = {"a": "Basic Latin", "é": "Latin-1 Supplement", "ж": "Cyrillic", "ﬁ": "Alphabetic Presentation Forms"}
    known |= {"∑": "Mathematical Operators", "⠿": "Braille Patterns", "𝐀": "Mathematical Alphanumeric Symbols"}
    assert {one: rows[one]["block"] for one in known} == known
    assert set(everything.tables["blocks"]["block"].to_pylist()) == {row["block"] for row in rows.values()}
    assert everything.tables["blocks"]["block"] == everything.tables["blocks"]["title"]


def test_decompositions_taken_to_the_end_are_the_normal_form(everything, rows):
    of: dict[str, set[str]] = {}
    for one, other in _edges(everything, "decomposes_to"):
        of.setdefault(one, set()).add(other)

    def to_the_end(character: str) -> set[str]:
        return set().union(*map(to_the_end, of[character])) if character in of else {character}

    checked = 0
    for character in rows:
        whole = set(unicodedata.normalize("NFKD", character))
        if whole <= rows.keys():
            assert to_the_end(character) == whole, character
            checked += character in of
    assert checked > 2000
    assert of["é"] == {"e", "\u0301"}
    assert of["½"] == {"1", "⁄", "2"}


def test_case_partners_and_neighbours(everything, rows):
    lower, upper, near = (_edges(everything, name) for name in ("lower", "upper", "next_to"))
    assert lower == {(one, one.lower()) for one in rows if one.lower() != one and one.lower() in rows}
    assert upper == {(one, one.upper()) for one in rows if one.upper() != one and one.upper() in rows}
    assert {("A", "a"), ("Ж", "ж"), ("Σ", "σ")} <= lower
    assert ("ς", "Σ") in upper
    assert not any(one == "ß" for one, _ in upper)  # its capital is two letters
    assert near == {(one, other) for one, other in pairwise(sorted(rows)) if ord(other) - ord(one) == 1}


# The tasks


def test_the_script_task_leaves_out_what_spells_the_script(everything):
    source = load_dataset("glyphs", limit=1500)
    config, table = source.config, source.tables["characters"]
    assert set(config.modality_nodes) == {"picture", "sound", "properties"}
    assert {edge.type[1] for edge in config.edges} == {"decomposes_to", "lower", "upper"}
    assert set(source.tables) == {"characters", "decomposes_to", "lower", "upper"}
    assert set(config.nodes) == {"character"}
    assert not {"name", "block", "part"} & set(table.column_names)
    assert "script" not in config.nodes["character"].columns
    assert config.targets["script"].classes == tuple(SCRIPTS)
    assert (config.split.by, config.split.test, config.split.val, config.split.seed) == ("stratified", 0.2, 0.1, 0)
    read = [
        column
        for column in config.nodes["character"].columns
        if config.nodes["character"].columns[column].modality != "keep" and column not in ("pictures", "sounds")
    ]
    words = {str(value).lower() for column in read for value in table[column].to_pylist()}
    assert not any(script.lower().split("_")[0] in word for script in SCRIPTS for word in words)
    whole = everything.tables["characters"].slice(0, 1500)
    for column in ("code", "pictures", "sounds", *read):
        assert table[column].combine_chunks() == whole[column].combine_chunks(), column


def test_rare_scripts_have_no_label_and_common_characters_none():
    labels = load_dataset("glyphs", fonts=("DejaVuSans",)).tables["characters"]["script"].to_pylist()
    counts = Counter(labels)
    assert set(counts) - {None} <= set(SCRIPTS)
    assert min(counts.values()) >= 30


def test_neighbours_in_the_chart_are_an_option():
    assert "next_to" in load_dataset("glyphs", limit=20, next_to=True).tables
    assert "next_to" not in load_dataset("glyphs", limit=20, next_to=False, task="all").tables
    edge = load_dataset("glyphs", limit=20, next_to=True).config.edges[-1]
    assert (edge.type, edge.symmetric, edge.inverse) == (("character", "next_to", "character"), True, None)


def test_all_has_everything_and_no_target(everything):
    config = everything.config
    assert set(config.modality_nodes) == {"name", "picture", "sound", "properties", "block_name"}
    assert {edge.type[1:] for edge in config.edges} == {
        *((name, "character") for name in ("decomposes_to", "lower", "upper", "next_to")),
        ("in_block", "block"),
        ("in_script", "script"),
    }
    assert config.targets == {}
    assert load_dataset("glyphs", limit=20, task="all", seed=3).config.split.model_dump(include={"by", "seed"}) == {
        "by": "random",
        "seed": 3,
    }


def test_whole_blocks_are_unseen_but_no_script_is(everything, rows):
    parts: dict[str, set[str]] = {}
    scripts: dict[str, set[str]] = {"train": set(), "val": set(), "test": set()}
    for row in rows.values():
        assert (row["part"] is not None) == (row["script"] in SCRIPTS)
        if row["part"]:
            parts.setdefault(row["block"], set()).add(row["part"])
            scripts[row["part"]].add(row["script"])
    assert all(len(found) == 1 for found in parts.values())
    assert scripts["train"] == set(SCRIPTS) > scripts["test"] > {"Latin", "Greek", "Cyrillic", "Arabic", "Hebrew"}
    assert scripts["val"] <= scripts["train"]
    assert everything.config.split.model_dump(include={"by", "column"}) == {"by": "column", "column": "part"}
    some = load_dataset("glyphs", limit=900, split="block").tables["characters"]
    assert some["part"].to_pylist() == [row["part"] for row in list(rows.values())[:900]]


def test_fewer_are_the_first(rows):
    table = load_dataset("glyphs", limit=100).tables["characters"]
    assert table["character"].to_pylist() == list(rows)[:100]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"task": "names"}, "task must be script or all, got 'names'"),
        ({"split": "random"}, "split must be character or block, got 'random'"),
        ({"limit": 0}, "limit must be at least 1, got 0"),
        ({"fonts": ("DejaVuSans", "Arial")}, r"fonts must be some of \[.*'DejaVuSans'.*\], got \['Arial'\]"),
        ({"fonts": "DejaVuSans"}, "got 'DejaVuSans'"),
        ({"fonts": ()}, r"fonts must be some of .* got \[\]"),
        ({"fonts": ("cmsy10",)}, r"must have glyphs of letters.*got \['cmsy10'\]"),
    ],
)
def test_options_that_can_not_be(options, message):
    with pytest.raises(ValueError, match=message):
        load_dataset("glyphs", **options)


def test_queries_are_not_in_the_dataset(tmp_path, rows):
    command = [sys.executable, str(FOLDER / "queries.py"), str(tmp_path / "out")]
    subprocess.run(command, check=True, capture_output=True)
    picture, sound = ((tmp_path / "out" / name).read_bytes() for name in ("letter.png", "letter.wav"))
    assert picture not in rows["R"]["pictures"]
    assert not any(sound in (row["sounds"] or []) for row in rows.values())
    assert Image.open(io.BytesIO(picture)).size == (32, 32)
    assert _heard(sound, 28) == ".-."
    assert _pitch(_samples(sound)) == pytest.approx(900, abs=4)
