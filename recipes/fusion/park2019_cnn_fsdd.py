"""Spoken digits from their recording alone, by speakers who were never heard: each a graph of two nodes.

A convolutional network over the log-mel spectrogram is trained as the encoder of the recording's node. In each run one
of six speakers is the test; five models, each validated on another of the rest and trained on the other four, are
averaged. The linear control reads the same spectrograms.

Source: Park et al. 2019, SpecAugment: A Simple Data Augmentation Method for Automatic Speech Recognition,
arXiv:1904.08779 (bands and times masked at random while training).
Command: mmgraph run park2019_cnn_fsdd
Cost: half an hour on one core; with --official --runs 3 --folds 1 five minutes.
Expected: accuracy .88 over six speakers (MFCC and a support vector machine: .80); .98 on the official split.
Differs from the paper: words instead of sentences, a small network, recordings stretched to one length; ends, pitch,
tempo and spectral slope are changed too. How much, for how long and how wide was chosen by the mean accuracy on
validation speakers, who are test speakers in other runs.
"""

from dataclasses import dataclass

from torch import nn

import mmgraph as mg
from mmgraph import encoders, fusion

DATA, METRIC = "fsdd", "accuracy"
SPEAKERS = ("george", "jackson", "lucas", "nicolas", "theo", "yweweler")
EXPECT = {"accuracy": (0.88, 0.03)}


@dataclass(frozen=True)
class Config:
    """How to run.

    Args:
        runs: Speakers, one held out in each run; with the official split, seeds.
        folds: Models averaged in a run, each validated on another speaker; 1 with the official split.
        official: Use the official split, in which all speakers are known.
        channels: Width of the features.
        fit: How to train.
    """

    runs: int = 6
    folds: int = 5
    official: bool = False
    channels: int = 64
    fit: mg.FitConfig = mg.FitConfig(
        epochs=32,
        optimizer="adamw",
        learning_rate=3e-3,
        schedule="one_cycle",
        weight_decay=0.05,
        patience=None,
        monitor="accuracy",
        batch_size=64,
    )


def build(config: Config, run: int, fold: int) -> mg.Built:
    others = [name for name in SPEAKERS if name != SPEAKERS[run % 6]]
    split = {} if config.official else {"split": f"speaker:{SPEAKERS[run % 6]}", "val": others[fold]}
    mel = {"kind": "log_mel", "rate_hz": 8000, "dtype": "float32"}
    return mg.build_graph(mg.load_dataset(DATA, **split).with_encoders(recording=mel))


def make_objective(config: Config, schema: mg.Schema) -> mg.Supervised:
    return mg.Supervised(schema.targets["digit"], label_smoothing=0.1)


def make_model(config: Config, schema: mg.Schema) -> mg.Model:
    classes = len(schema.targets["digit"].classes)
    head = nn.Sequential(nn.ReLU(), nn.Dropout(0.3), nn.Linear(config.channels, classes))
    encoder = encoders.AudioConv(["recording"], config.channels)
    return mg.Model(schema=schema, encoder=encoder, fusion=fusion.Sum(), head=head)
