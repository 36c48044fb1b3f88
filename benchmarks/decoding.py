"""Texts by beam search beside transformers' generate: the same blocks, the same weights, the same texts; and the cache.

The peer is a GPT-2 with cross-attention, whose blocks are ours: it is given our weights, and must write what we write.
Its end is suppressed in both, so that all texts have the same number of pieces.

Command: OMP_NUM_THREADS=1 python benchmarks/decoding.py. One question alone: python benchmarks/decoding.py cache.
"""

import sys
from typing import Any

import torch
from measure import main, measure
from torch import Tensor

from mmgraph.decoders import TransformerDecoder
from mmgraph.functional import beam, greedy
from mmgraph.typing import Sources

VOCABULARY, NODES, WIDTH = 4_000, 8, 4
SIZES = {"small": (128, 2, 32, 16), "middle": (256, 4, 16, 32)}  # channels, depth, rows, pieces
AT_LEAST = 1.0


def model(channels: int, depth: int, length: int) -> TransformerDecoder:
    torch.manual_seed(0)
    decoder = TransformerDecoder(channels, vocabulary=VOCABULARY, length=length, depth=depth, heads=4).eval()
    with torch.no_grad():  # so that the texts differ from row to row
        for block in decoder.blocks:
            block.hear.weight.mul_(8)
    return decoder


def peer(ours: TransformerDecoder) -> Any:
    """A GPT-2 with our weights."""
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(
        vocab_size=VOCABULARY,
        n_positions=ours.length,
        n_embd=ours.channels,
        n_layer=len(ours.blocks),
        n_head=ours.blocks[0].heads,
        activation_function="gelu",
        add_cross_attention=True,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=1,
    )
    theirs = GPT2LMHeadModel(config).eval()
    names = {"wte": ours.pieces, "wpe": ours.places, "ln_f": ours.norm}
    for number, block in enumerate(ours.blocks):
        parts = {
            "ln_1": block.norm1,
            "attn.c_attn": block.mix,
            "attn.c_proj": block.out,
            "ln_cross_attn": block.norm2,
            "crossattention.q_attn": block.ask,
            "crossattention.c_attn": block.tell,
            "crossattention.c_proj": block.hear,
            "ln_2": block.norm3,
            "mlp.c_fc": block.linear1,
            "mlp.c_proj": block.linear2,
        }
        names |= {f"h.{number}.{name}": part for name, part in parts.items()}
    with torch.no_grad():
        for name, part in names.items():
            there = theirs.transformer.get_submodule(name)
            for key, weight in part.named_parameters():
                turned = ".c_" in name or ".q_" in name  # theirs is [in, out]
                there.get_parameter(key).copy_(weight.T if turned and key == "weight" else weight)
    return theirs


class Endless:
    """Our decoder, whose texts never end."""

    def __init__(self, decoder: TransformerDecoder, sources: Sources) -> None:
        self.decoder, self.sources = decoder, sources
        self.options = {"rows": len(sources.states), "length": decoder.length}

    def step(self, state: Any, tokens: Tensor) -> tuple[Tensor, Any]:
        """The decoder's step, without the end."""
        logits, state = self.decoder.step(state, tokens)
        logits[:, 1] = -torch.inf
        return logits, state

    @torch.no_grad()
    def beam(self) -> Tensor:
        """Texts by beam search."""
        start = self.decoder.begin(self.sources)
        return beam(self.step, start, self.decoder.reorder, width=WIDTH, **self.options)

    @torch.no_grad()
    def greedy(self) -> Tensor:
        """The likeliest next piece, with cached keys and values."""
        return greedy(self.step, self.decoder.begin(self.sources), **self.options)

    @torch.no_grad()
    def uncached(self) -> Tensor:
        """Reads the text from its begin at every step."""

        def step(text: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
            text = torch.cat([text, tokens[:, None]], dim=1)
            logits = self.decoder(self.sources, torch.nn.functional.pad(text[:, 1:], (0, 1)))[:, -1]
            logits[:, 1] = -torch.inf
            return logits, text

        return greedy(step, torch.empty(len(self.sources.states), 0, dtype=torch.int64), **self.options)


def setting(size: str) -> tuple[Endless, str]:
    channels, depth, rows, length = SIZES[size]
    decoder = model(channels, depth, length)
    sources = Sources(torch.randn(rows, NODES, channels), torch.ones(rows, NODES, dtype=torch.bool))
    return Endless(decoder, sources), f"{rows} texts of {length} pieces, {channels} channels, depth {depth}"


def beside(size: str) -> list[dict[str, Any]]:
    ours, what = setting(size)
    theirs = peer(ours.decoder)
    states = ours.sources.states
    begin = torch.zeros(len(states), 1, dtype=torch.int64)

    @torch.no_grad()
    def generate() -> Tensor:
        return theirs.generate(
            begin,
            attention_mask=torch.ones_like(begin),
            encoder_hidden_states=states,
            num_beams=WIDTH,
            do_sample=False,
            max_new_tokens=ours.decoder.length,
            min_new_tokens=ours.decoder.length,
            suppress_tokens=[0],
        )[:, 1:]

    same = (generate() == ours.beam()).all(dim=1)
    if not bool(same.all()):
        raise SystemExit(f"Both must write the same texts, {int((~same).sum())} of {len(same)} differ")
    pieces = len(states) * ours.decoder.length
    rows = measure(
        f"beam search of {WIDTH}, {what}, {VOCABULARY} pieces known, {NODES} sources",
        ours.beam,
        {"transformers generate": (generate, AT_LEAST)},
        rounds=5,
        note="the same weights and the same texts",
    )
    return [{**row, "note": f"{row['note']}; {pieces / row['ours']:.0f} pieces a second"} for row in rows]


def cache(size: str) -> list[dict[str, Any]]:
    ours, what = setting(size)
    if not torch.equal(ours.greedy(), ours.uncached()):
        raise SystemExit("The cache must change no text")
    return measure(
        f"greedy with cached keys and values, {what}",
        ours.greedy,
        {"without the cache": (ours.uncached, AT_LEAST)},
        rounds=5,
        note="the same texts",
    )


def rows() -> list[dict[str, Any]]:
    questions = {"beam": beside, "cache": cache}
    names = sys.argv[1:] or list(questions)
    return [row for name in names for size in SIZES for row in questions[name](size)]


if __name__ == "__main__":
    main(rows)
