"""Handwritten digits from their picture alone, each a graph of two nodes: a digit, and the picture that hangs on it.

A small convolutional network is trained as the encoder of the picture's node, in batches of graphs. The linear control
reads the same pixels.

Source: LeCun, Bottou, Bengio and Haffner 1998, Gradient-based learning applied to document recognition, Proceedings of
the IEEE 86.
Command: mmgraph run lecun1998_cnn_mnist20k
Cost: four minutes on one core.
Expected: accuracy .99 over three seeds, on 9,000 training pictures (the paper has 60,000); a linear model .91.
Differs from the paper: three blocks of convolutions with group normalisation in place of LeNet-5, pictures moved by up
to two pixels while training, a sixth of the training pictures, softmax and cross entropy.
"""

from dataclasses import dataclass

from torch import nn

import mmgraph as mg
from mmgraph import encoders, fusion

DATA, METRIC = "mnist20k", "accuracy"
PUBLISHED = ({"source": "LeCun et al. 1998, LeNet-5, trained on 60,000", "metric": "accuracy", "value": 0.9905},)
EXPECT = {"accuracy": (0.990, 0.003)}


@dataclass(frozen=True)
class Config:
    """How to run.

    Args:
        runs: Seeds; the split is fixed.
        channels: Width of the features.
        shift: Pixels by which a picture is moved while training, at most.
        dropout: Share of the values zeroed while training.
        fit: How to train.
    """

    runs: int = 3
    channels: int = 64
    shift: int = 2
    dropout: float = 0.3
    fit: mg.FitConfig = mg.FitConfig(
        epochs=12, learning_rate=2e-3, schedule="cosine", weight_decay=1e-4, patience=None, batch_size=64
    )


def build(config: Config, run: int, fold: int) -> mg.Built:
    pixels = {"kind": "pixels", "size": 28, "colours": 1}
    return mg.build_graph(mg.load_dataset(DATA).with_encoders(image=pixels))


def make_model(config: Config, schema: mg.Schema) -> mg.Model:
    encoder = encoders.ImageConv({"image": 1}, config.channels, dropout=config.dropout, shift=config.shift)
    head = nn.Linear(config.channels, len(schema.targets["digit"].classes))
    return mg.Model(schema=schema, encoder=encoder, fusion=fusion.Sum(), head=head)
