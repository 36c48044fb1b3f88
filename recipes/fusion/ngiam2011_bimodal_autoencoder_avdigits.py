"""Digits that were only ever heard with their name told, known by sight: a bimodal autoencoder.

Half of the training samples are recordings with their digit; the other half are pictures with recordings and no digit.
The autoencoder learns from all of them without a label: one modality of each pair is hidden, and the code of the other
must give both. A linear probe learns the digits from the codes of the labelled recordings. It is tested on pictures
alone, by hands that are in no other part.

Source: Ngiam, Khosla, Kim, Nam, Lee and Ng 2011, Multimodal deep learning, ICML: shared representation learning.
Command: mmgraph run ngiam2011_bimodal_autoencoder_avdigits
Cost: five minutes on one core.
Expected: accuracy .905 over five seeds, chance .10; .855 where nothing is hidden in training.
Rivals: nothing hidden in training; the paper's hidden layer over both codes, .907, and that with nothing hidden, .700:
it is never shown what one modality looks like alone.
Differs from the paper: digits in place of the letters of AVLetters and CUAVE; no pre-training by restricted Boltzmann
machines; the code is the mean of the present modalities' codes; pairs share their digit, not their moment. Widths,
dropout and epochs were chosen on pictures of the validation part.
"""

from dataclasses import dataclass

from torch_geometric.data import HeteroData

import mmgraph as mg
from mmgraph import decoders, encoders, fusion, objectives

DATA, METRIC = "avdigits", "accuracy"
EXPECT = {"accuracy": (0.905, 0.03)}


@dataclass(frozen=True)
class Config:
    """How to run.

    Args:
        runs: Seeds, each with another test speaker and other pairs.
        channels: Width of the code.
        hidden: Width of the encoders' hidden layer.
        dropout: Share of the values that an encoder does not see while training.
        unlabelled: Share of the training samples that have both modalities and no label.
        fit: How to train.
    """

    runs: int = 5
    channels: int = 32
    hidden: int = 128
    dropout: float = 0.2
    unlabelled: float = 0.5
    fit: mg.FitConfig = mg.FitConfig(
        epochs=60, learning_rate=3e-3, schedule="cosine", weight_decay=1e-5, patience=None, batch_size=250
    )


def build(config: Config, run: int, fold: int) -> tuple[HeteroData, mg.Schema]:
    seen = {"train": ("audio",), "unlabelled": ("image", "audio"), "val": ("audio",), "test": ("image",)}
    source = mg.load_dataset(DATA, seed=run, names=0, unlabelled=config.unlabelled, modalities=seen)
    frozen = {"image": {"kind": "gradients"}, "audio": {"kind": "spectra", "rate_hz": 8000}}
    built = mg.build_graph(source.with_encoders(**frozen))
    for name in frozen:
        _centre(built.graph, name)
    return built.graph, built.schema


def _centre(graph: HeteroData, name: str) -> None:
    """Takes the mean of the training rows away, and divides by their deviation in all columns together."""
    row, sample = graph[name, "of", "sample"].edge_index
    known = row[graph["sample"].train_mask[sample]]
    centred = graph[name].x - graph[name].x[known].mean(dim=0)
    graph[name].x = centred / centred[known].std()


def make_model(config: Config, schema: mg.Schema) -> mg.Model:
    widths = {name: schema.nodes[name].channels for name in schema.modalities}
    return mg.Model(
        schema=schema,
        encoder=encoders.Table(widths, config.channels, hidden=[config.hidden], dropout=config.dropout),
        fusion=fusion.Sum(mean=True),
        head=decoders.Probe(config.channels, len(schema.targets["digit"].classes)),
    )


def make_objective(config: Config, schema: mg.Schema) -> objectives.Weighted:
    half = {("image",): 0.5, ("audio",): 0.5}  # who has but one modality keeps it
    return _objective(config, schema, mg.ModalityDropout(schema, patterns=half))


def nothing_hidden(config: Config, schema: mg.Schema) -> objectives.Weighted:
    return _objective(config, schema, None)


def _objective(config: Config, schema: mg.Schema, hide: mg.ModalityDropout | None) -> objectives.Weighted:
    decoded = {name: decoders.Dense(config.channels, (schema.nodes[name].channels,)) for name in schema.modalities}
    return objectives.Weighted(
        {
            "labels": objectives.Supervised(schema.targets["digit"]),
            "payloads": objectives.Reconstruct(schema, decoded, hide=hide),
        }
    )


def make_joint(config: Config, schema: mg.Schema) -> mg.Model:
    """As in the paper: a hidden layer over all codes side by side."""
    model = make_model(config, schema)
    model.fusion = fusion.MLP(dict.fromkeys(schema.modalities, config.channels), config.channels)
    return model


RIVALS = {"joint_layer": make_joint, "joint_layer_without_dropout": make_joint}
RIVAL_OBJECTIVES = {"without_dropout": nothing_hidden, "joint_layer_without_dropout": nothing_hidden}
