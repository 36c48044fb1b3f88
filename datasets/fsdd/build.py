"""FSDD: spoken digits as recordings, with the official split or one speaker left out."""

from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa

from mmgraph import GraphConfig, Source

DIGITS = tuple("0123456789")


def build(
    files: Mapping[str, Path], *, split: str = "official", val: str | int | None = None, relations: bool = False
) -> Source:
    """The recordings.

    Args:
        files: The recordings, named digit_speaker_number.wav.
        split: ``official``: of each speaker and digit, numbers 0 to 4 are the test and 5 to 9 validation.
            ``speaker:<name>``: that speaker is the test, ``val`` validation.
        val: The speaker for validation, by default the next one by name; or a digit: of the other speakers, the
            recordings whose number ends in it.
        relations: Join utterances to their speaker; not for a split by speakers.
    """
    names = sorted(path.stem for path in files.values())
    digits, speakers, numbers = zip(*(name.split("_") for name in names), strict=True)
    known = sorted(set(speakers))
    kind, _, held_out = split.partition(":")
    if kind == "speaker" and held_out in known:
        val = known[(known.index(held_out) + 1) % len(known)] if val is None else val
        if val == held_out or (val not in known and val not in range(10)):
            raise ValueError(f"val must be another speaker of {known} than {held_out!r}, or a digit, got {val!r}")
        chosen = [val in (speaker, int(number) % 10) for speaker, number in zip(speakers, numbers, strict=True)]
        parts = [
            "test" if speaker == held_out else "val" if one else "train"
            for speaker, one in zip(speakers, chosen, strict=True)
        ]
    elif split == "official":
        parts = ["test" if number < 5 else "val" if number < 10 else "train" for number in map(int, numbers)]
    else:
        raise ValueError(f"split must be 'official' or 'speaker:<name>' with one of {known}, got {split!r}")
    if relations and split != "official":
        raise ValueError(
            "relations must be False where speakers are held out (a speaker's node would tell test utterances that "
            f"they are of one speaker), got True with split={split!r}"
        )
    spoken = {"type": ("utterance", "spoken_by", "speaker"), "column": "speaker", "inverse": "speaks"}
    config = GraphConfig(
        name="fsdd",
        nodes={
            "utterance": {
                "table": "utterances",
                "key": "name",
                "columns": {"recording": "audio", "speaker": "keep"},
            }
        },
        edges=[spoken] if relations else [],
        targets={"digit": {"column": "digit", "kind": "multiclass", "classes": DIGITS}},
        split={"by": "column", "column": "part"},
    )
    table = {
        "name": names,
        "recording": [f"{name}.wav" for name in names],
        "speaker": speakers,
        "digit": digits,
        "part": parts,
    }
    return Source(config, tables={"utterances": pa.table(table)}, root=next(iter(files.values())).parent)
