import io
import wave
from collections import Counter
from pathlib import Path

import pytest

from mmgraph.data import load_dataset

SPEAKERS = ("george", "jackson", "lucas", "nicolas", "theo", "yweweler")
FILES = {
    f"raw/{digit}_{speaker}_{number}.wav": Path(f"/data/raw/{digit}_{speaker}_{number}.wav")
    for digit in range(10)
    for speaker in SPEAKERS
    for number in range(50)
}


def rows(source):
    return source.tables["utterances"].to_pylist()


def test_the_official_split_goes_by_the_number(builder):
    source = builder("fsdd").build(FILES)
    assert source.root == Path("/data/raw")
    assert source.config.edges == ()
    assert source.config.modality_nodes == {"recording": ("utterance", ("recording",))}
    assert source.config.targets["digit"].classes == tuple("0123456789")
    assert Counter(row["part"] for row in rows(source)) == {"train": 2400, "val": 300, "test": 300}
    for row in rows(source):
        digit, speaker, number = row["name"].split("_")
        assert row["part"] == ("test" if int(number) <= 4 else "val" if int(number) <= 9 else "train")
        assert (row["digit"], row["speaker"], row["recording"]) == (digit, speaker, f"{row['name']}.wav")


@pytest.mark.parametrize(("speaker", "val"), [("george", "jackson"), ("yweweler", "george")])
def test_a_speaker_is_left_out_and_the_next_is_for_validation(builder, speaker, val):
    source = builder("fsdd").build(FILES, split=f"speaker:{speaker}")
    parts = {(row["speaker"], row["part"]) for row in rows(source)}
    train = {(one, "train") for one in SPEAKERS if one not in (speaker, val)}
    assert parts == {(speaker, "test"), (val, "val")} | train


def test_another_speaker_or_a_digit_is_for_validation(builder):
    build = builder("fsdd").build
    parts = {(row["speaker"], row["part"]) for row in rows(build(FILES, split="speaker:theo", val="jackson"))}
    assert parts == {("theo", "test"), ("jackson", "val")} | {
        (one, "train") for one in SPEAKERS[:1] + SPEAKERS[2:4]
    } | {("yweweler", "train")}
    for row in rows(build(FILES, split="speaker:theo", val=3)):
        _, speaker, number = row["name"].split("_")
        assert row["part"] == ("test" if speaker == "theo" else "val" if number.endswith("3") else "train")


@pytest.mark.parametrize("val", ["theo", "nobody", 10])
def test_who_is_for_validation_must_be_another_speaker_or_a_digit(builder, val):
    with pytest.raises(ValueError, match=f"val must be another speaker .* than 'theo', or a digit, got {val!r}"):
        builder("fsdd").build(FILES, split="speaker:theo", val=val)


@pytest.mark.parametrize("split", ["speaker:nobody", "speaker:", "speaker", "random", "theo"])
def test_a_split_that_is_none_is_named(builder, split):
    with pytest.raises(ValueError, match=rf"'speaker:<name>' with one of \['george'.*got '{split}'"):
        builder("fsdd").build(FILES, split=split)


def test_speakers_are_nodes_with_the_official_split_alone(builder):
    build = builder("fsdd").build
    (edge,) = build(FILES, relations=True).config.edges
    assert (edge.type, edge.column, edge.inverse) == (("utterance", "spoken_by", "speaker"), "speaker", "speaks")
    with pytest.raises(ValueError, match="relations must be False where speakers are held out.*split='speaker:theo'"):
        build(FILES, split="speaker:theo", relations=True)


@pytest.mark.data
def test_fsdd(load_or_skip):
    source = load_or_skip("fsdd")
    table = rows(source)
    assert len(table) == 3000
    assert Counter((row["digit"], row["speaker"]) for row in table) == dict.fromkeys(
        ((digit, speaker) for digit in "0123456789" for speaker in SPEAKERS), 50
    )
    assert Counter(row["part"] for row in table) == {"train": 2400, "val": 300, "test": 300}
    held_out = Counter(row["part"] for row in rows(load_dataset("fsdd", split="speaker:theo")))
    assert held_out == {"train": 2000, "val": 500, "test": 500}
    seconds = []
    for row in table[::50]:
        with wave.open(io.BytesIO((source.root / row["recording"]).read_bytes())) as sound:
            assert (sound.getframerate(), sound.getnchannels(), sound.getsampwidth()) == (8000, 1, 2)
            seconds.append(sound.getnframes() / 8000)
    assert sorted(seconds)[len(seconds) // 2] < 1
