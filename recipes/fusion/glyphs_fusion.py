"""Glyphs: the script of a character from its pictures, its properties and its sound, joined in nine ways.

No modality gives the script away: A is Latin, Greek and Cyrillic to the eye, an uppercase letter in all of them, and
sounds the same in Morse code. Names, blocks and neighbours in the code chart, which do give it away, are hidden, and
so are the relations between characters (hamilton2017_sage_glyphs reads those). One character in fourteen has a sound,
some have no picture; what a character lacks is a node that is not there.

Source: the fusions of mmgraph.fusion, each with its own source; data of the Unicode Consortium and the faces that come
with matplotlib: no download.
Command: mmgraph run glyphs_fusion
Cost: four minutes on one core; three to four seconds a fit.
Expected: accuracy .82 over three splits by gates, .74 without the properties, .69 without the pictures; the few sounds
add nothing. A linear model on all features does as well: the modalities add up. Shares a part ("attention", "experts")
stay at what the properties say alone.
Differs from the papers: pictures by their oriented gradients and sounds by their spectra, which are not trained.
"""

from dataclasses import dataclass

from torch import nn

import mmgraph as mg
from mmgraph import encoders, fusion

DATA, METRIC = "glyphs", "accuracy"
CONTROLS = ("without:picture", "without:properties", "without:sound", "flat_linear", "majority")
EXPECT = {"accuracy": (0.82, 0.02)}


@dataclass(frozen=True)
class Config:
    """How to run.

    Args:
        runs: Splits, 70 / 10 / 20 % of the characters, stratified by script.
        channels: Width of the states.
        dropout: Share of the values zeroed while training.
        fit: How to train.
    """

    runs: int = 3
    channels: int = 64
    dropout: float = 0.1
    fit: mg.FitConfig = mg.FitConfig(
        epochs=15, learning_rate=0.01, schedule="cosine", weight_decay=1e-5, patience=None, batch_size=128
    )


FUSIONS = {
    "attention": fusion.Attention,
    "concat": fusion.Concat,
    "experts": fusion.Experts,
    "gated": fusion.Gated,
    "late": fusion.Late,
    "low_rank": fusion.LowRank,
    "mlp": fusion.MLP,
    "product": lambda *_: fusion.Product(),
    "sum": lambda *_: fusion.Sum(),
}


def build(config: Config, run: int, fold: int) -> mg.Built:
    return mg.build_graph(mg.load_dataset(DATA).with_split(seed=run))


def joined_by(name: str):
    """How a model is made whose fusion has this name."""

    def make(config: Config, schema: mg.Schema) -> mg.Model:
        widths, width = {one: schema.nodes[one].channels for one in schema.modalities}, config.channels
        return mg.Model(
            schema=schema,
            encoder=encoders.Table(widths, width, dropout=config.dropout, final=True, norm=True),
            fusion=FUSIONS[name](dict.fromkeys(widths, width), width),
            head=nn.Linear(width, len(schema.targets["script"].classes)),
        )

    return make


make_model = joined_by("gated")
RIVALS = {name: joined_by(name) for name in FUSIONS if name != "gated"}
