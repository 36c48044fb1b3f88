"""Training a small language model on texts of one's own, where none can be downloaded."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from mmgraph.data.manifest import data_roots
from mmgraph.errors import ConfigError, DataError
from mmgraph.files import check_seal, new_folder, read_json, seal, write_json
from mmgraph.optional import no_bars, require

END = "<|endoftext|>"
_IGNORED = -100
_SPREAD = 0.05  # deviation of fresh weights of a model that looks up


def train_language_model(
    texts: Iterable[str],
    folder: str | Path | None = None,
    *,
    vocabulary: int = 1000,
    channels: int = 128,
    depth: int = 2,
    heads: int = 4,
    length: int = 64,
    epochs: int = 4,
    batch_size: int = 16,
    learning_rate: float = 3e-3,
    warm_up: float = 0.1,
    dropout: float = 0.1,
    seed: int = 0,
    looks_up: bool = False,
) -> Path:
    r"""Trains a language model of GPT-2's kind on some texts, and writes it as a folder of transformers.

    Its pieces are made by byte-level pair encoding of the same texts, so that every text can be written. Texts are read
    one after the other, in an order that is new in each epoch, with an end between them, as many as go into ``length``
    positions: so all positions are learned, and what came before an end tells nothing. The loss is
    :math:`-\frac1N \sum_t \log p(w_t \mid w_{<t})` over all pieces and ends; AdamW with a learning rate that rises, and
    falls by a cosine.

    **Looking up.** A small model that reads ``7dax3mop7`` learns soon that one of the two words follows, and late which
    one. With ``looks_up`` it starts from what the attention of trained models is like: positions are sines; what asks
    and what is asked have like weights, so that like looks at like, and neighbours at each other; and what is read is
    passed on half as loud. Take three blocks of one head each.

    The folder is written whole or not at all. Where it is there already, made from the same texts with the same
    options, nothing is trained. torch's own state of chance is left as it was.

    Source: Radford et al. 2019, Language models are unsupervised multitask learners (GPT-2). ``looks_up`` is after
    Trockman and Kolter 2023, Mimetic initialization of self-attention layers, arXiv:2305.09828; what it is for: Olsson
    et al. 2022, In-context learning and induction heads, arXiv:2209.11895.

    Args:
        texts: What to learn from: those of training samples alone, if it is to be judged on others.
        folder: Where to write it; by default in the user's cache, under a name made of the texts and options.
        vocabulary: Pieces at most, 256 bytes and the end among them.
        channels: Width of the states.
        depth: Blocks.
        heads: Of attention; they divide ``channels``.
        length: Positions: pieces of a text at most, its end among them; longer ones are cut.
        epochs: Passes over the texts.
        batch_size: Rows of so many positions in a step.
        learning_rate: The highest.
        warm_up: Share of the steps in which it rises to there.
        dropout: Share of the states zeroed while training.
        seed: Of weights, order and dropout.
        looks_up: Whether it starts so that it soon looks up what it has read.

    Returns:
        The folder.

    Raises:
        ConfigError: An option is out of its range, or the folder holds something else.
        DataError: There is no text, or something else among them.
        ArtifactError: The folder holds this model, but it is damaged.
        MissingPackageError: transformers is not installed.

    Example:
        >>> folder = train_language_model(["red cat", "red dog"], getfixture("tmp_path") / "lm", channels=8, epochs=1)
        >>> sorted(path.name for path in folder.iterdir() if path.suffix == ".safetensors")
        ['model.safetensors']
    """
    if not 0 <= warm_up <= 1:
        raise ConfigError(f"warm_up must be from 0 to 1, got {warm_up}")
    if vocabulary < 257 or min(channels, depth, heads, epochs, batch_size) < 1 or length < 2 or channels % heads:
        raise ConfigError(
            "A language model needs a vocabulary of at least 257 (256 bytes and the end), a length of at least 2, the "
            "other counts of at least 1, and heads that divide channels; got "
            f"{vocabulary}, {length}, {[channels, depth, heads, epochs, batch_size]}"
        )
    known = _checked(texts)
    options = {
        "vocabulary": vocabulary,
        "channels": channels,
        "depth": depth,
        "heads": heads,
        "length": length,
        "epochs": epochs,
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "warm_up": warm_up,
        "dropout": dropout,
        "seed": seed,
    }
    if looks_up:  # left out otherwise: folders that are there keep their names
        options["looks_up"] = True
    made = {"texts": hashlib.sha256("\0".join(known).encode()).hexdigest(), "options": options}
    folder = _own_place(made) if folder is None else Path(folder)
    if folder.exists():
        _check_same(folder, made)
        return folder
    tokenizer = _pieces(known, vocabulary)
    with _own_chance(seed):
        model = _model(tokenizer.get_vocab_size(), tokenizer.token_to_id(END), options)
        _fit(model, [said.ids for said in tokenizer.encode_batch(known)], tokenizer.token_to_id(END), options)
    with new_folder(folder) as draft:
        with no_bars():
            model.save_pretrained(draft)
        tokenizer.save(str(draft / "tokenizer.json"))
        write_json(draft / "made.json", made)
        seal(draft)
    return folder


def _checked(texts: Iterable[str]) -> list[str]:
    if isinstance(texts, str):
        raise DataError("texts must be a sequence of texts, got one str; wrap it in []")
    known: list[Any] = list(texts)
    if wrong := [text for text in known if not isinstance(text, str) or not text]:
        raise DataError(f"texts must be non-empty str, got {wrong[0]!r}; leave a missing text out")
    if not known:
        raise DataError("There must be at least 1 text to learn from, got 0")
    return known


def _own_place(made: dict[str, Any]) -> Path:
    """Where a model is that nobody has named."""
    name = hashlib.sha256(json.dumps(made, sort_keys=True).encode()).hexdigest()
    return data_roots()[-1] / "language_models" / name[:16]


def _check_same(folder: Path, made: dict[str, Any]) -> None:
    """Checks that a folder holds what would be made."""
    if not (folder / "made.json").is_file():
        raise ConfigError(f"folder must be new, or hold a model that train_language_model made, got {str(folder)!r}")
    check_seal(folder)
    if (found := read_json(folder / "made.json")) != made:
        differing = [key for key, value in made["options"].items() if found["options"].get(key) != value]
        raise ConfigError(
            f"{str(folder)!r} holds a language model made with other {differing[0] if differing else 'texts'}; "
            "give another folder, or remove this one"
        )


def _pieces(texts: list[str], vocabulary: int) -> Any:
    """A byte-level tokenizer, trained."""
    tokenizers = require("tokenizers", extra="text")
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[END],
        initial_alphabet=sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(sorted(set(texts)), trainer=trainer)
    return tokenizer


def _model(pieces: int, end: int, options: dict[str, Any]) -> Any:
    """A model of GPT-2's kind, with fresh weights."""
    transformers = require("transformers", extra="text")
    config = transformers.GPT2Config(
        vocab_size=pieces,
        n_positions=options["length"],
        n_embd=options["channels"],
        n_layer=options["depth"],
        n_head=options["heads"],
        resid_pdrop=options["dropout"],
        embd_pdrop=options["dropout"],
        attn_pdrop=options["dropout"],
        bos_token_id=end,
        eos_token_id=end,
        pad_token_id=end,
        **({"initializer_range": _SPREAD} if "looks_up" in options else {}),
    )
    model = transformers.GPT2LMHeadModel(config)
    if "looks_up" in options:
        _look_up(model)
    return model


@torch.no_grad()
def _look_up(model: Any) -> None:
    """Gives positions and attention the start of one that looks up."""
    positions = model.transformer.wpe.weight  # [length, channels]
    width = positions.shape[1]
    pace = 10000.0 ** -(torch.arange(0, width, 2) / width)
    angles = torch.arange(len(positions))[:, None] * pace
    positions.copy_(1.5 * _SPREAD * torch.cat([angles.sin(), angles.cos()], dim=1)[:, :width])
    for block in model.transformer.h:
        asks, passes_on = (torch.linalg.qr(torch.randn(width, width))[0] for _ in range(2))
        loud = math.sqrt(0.5)
        start = torch.cat([asks, asks, loud * passes_on], dim=1)  # [channels, 3 * channels]: query, key, value
        block.attn.c_attn.weight.mul_(0.5).add_(start)
        block.attn.c_proj.weight.mul_(0.5).add_(loud * passes_on.T)


def _fit(model: Any, numbers: list[list[int]], end: int, options: dict[str, Any]) -> None:
    """Trains it."""
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=options["learning_rate"], weight_decay=0.01)
    epochs = [_rows(numbers, end, options["length"]) for _ in range(options["epochs"])]
    size = options["batch_size"]
    batches = [rows[start : start + size] for rows in epochs for start in range(0, len(rows), size)]
    for step, rows in enumerate(batches):
        for group in optimizer.param_groups:
            group["lr"] = options["learning_rate"] * _pace(step, len(batches), options["warm_up"])
        read, asked = _batch(rows, end)
        logits = model(input_ids=read, attention_mask=torch.ones_like(read), use_cache=False).logits
        loss = F.cross_entropy(logits.flatten(0, 1), asked.flatten(), ignore_index=_IGNORED)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    model.eval()


def _pace(step: int, steps: int, warm_up: float) -> float:
    """Share of the highest learning rate: up over a share of the steps, then down by a cosine."""
    warm = max(1, int(steps * warm_up))
    return (step + 1) / warm if step < warm else 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))


def _rows(numbers: list[list[int]], end: int, length: int) -> list[list[int]]:
    """Texts one after the other in a new order, as many as go into each row, between ends."""
    rows = [[end]]
    for which in torch.randperm(len(numbers)).tolist():
        text = [*numbers[which], end][:length]
        if len(rows[-1]) + len(text) > length + 1:
            rows.append([end])
        rows[-1] += text
    return rows


def _batch(rows: list[list[int]], end: int) -> tuple[Tensor, Tensor]:
    """What is read in some rows and what comes next, ``[rows, positions]`` each."""
    width = max(map(len, rows))
    padded = torch.tensor([row + [end] * (width - len(row)) for row in rows])
    there = torch.tensor([[place < len(row) for place in range(width)] for row in rows])
    return padded[:, :-1], padded[:, 1:].masked_fill(~there[:, 1:], _IGNORED)


@contextmanager
def _own_chance(seed: int) -> Iterator[None]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield
