"""How a digit sounds, told from how it is written: the recording is hidden and made from the picture.

A sample is a digit that was written and spoken. The node of its sound is hidden, and its mel bands are made from the
node of its picture. Voices and hands of the test are in no other part, so all that a picture tells is which digit it
is: what is left of the error are the voices. A network that was trained on real recordings, and has no part in this,
judges which digit is heard in what was made.

Source: Ngiam, Khosla, Kim, Nam, Lee and Ng 2011, Multimodal deep learning, ICML: cross modality learning.
Command: mmgraph run ngiam2011_audio_from_image_avdigits
Cost: five minutes on one core.
Expected: error .79 of predicting the mean over six runs (.74 to .85: voices differ); .91 are heard as their digit,
chance .10. The nearest training sample is at 1.45 and .87. On validation it is .77, where who knows the digit and says
the mean of its training recordings is at .76.
Differs from the paper: digits in place of the letters of AVLetters and CUAVE; one modality is read and the other made,
by a network without pre-training; pairs share their digit, not their moment. A recording is its mel bands from where it
is first to where it is last loud, its peak at 0 and what is 40 dB below it as silence, stretched to 32 steps. That, the
pictures' features and the epochs were chosen on the validation parts.
"""

from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor, nn
from torch_geometric.data import HeteroData

import mmgraph as mg
from mmgraph import decoders, encoders, functional, fusion, objectives, tasks

DATA, METRIC = "avdigits", "error"
BANDS, STEPS, SILENCE = 40, 32, -9.21  # 40 dB below the peak
EXPECT = {"error": (0.791, 0.02), "accepted": (0.909, 0.03)}


@dataclass(frozen=True)
class Config:
    """How to run.

    Args:
        runs: Seeds, each with other pairs and another test speaker; six make each speaker the test once.
        channels: Width of what is known of a picture.
        hidden: Widths of the hidden layers, of the encoder and of the decoder.
        dropout: Share of the values that the encoder does not see while training.
        judge: Epochs of the network that judges.
        fit: How to train.
    """

    runs: int = 6
    channels: int = 64
    hidden: tuple[int, int] = (256, 128)
    dropout: float = 0.3
    judge: int = 20
    fit: mg.FitConfig = mg.FitConfig(
        epochs=40, learning_rate=2e-3, schedule="cosine", weight_decay=1e-4, patience=None, batch_size=100
    )


def build(config: Config, run: int, fold: int) -> mg.Built:
    image = {"kind": "gradients"}
    audio = {"kind": "log_mel", "rate_hz": 8000, "seconds": 2.0, "dtype": "float32"}
    built = mg.build_graph(mg.load_dataset(DATA, seed=run, names=0).with_encoders(image=image, audio=audio))
    built.graph["audio"].mel = torch.stack([spoken(mel) for mel in built.graph["audio"].mel])
    return built


def spoken(mel: Tensor) -> Tensor:
    """The loud part of mel bands, its peak at 0, stretched: ``[bands, steps] -> [BANDS, STEPS]``."""
    mel = mel[:, mel.isfinite().all(dim=0)]
    loudness = mel.exp().sum(dim=0).sqrt()
    heard = (loudness >= 0.1 * loudness.max()).nonzero()[:, 0]
    part = mel[:, int(heard[0]) : int(heard[-1]) + 1] - mel.max()
    return functional.stretch(part.clamp_min(SILENCE), STEPS)


def make_model(config: Config, schema: mg.Schema) -> mg.Translator:
    reads, makes = config.hidden
    widths = {"image": schema.nodes["image"].channels}
    encoder = encoders.Table(widths, config.channels, hidden=[reads], dropout=config.dropout, norm=True)
    bands = decoders.Dense(config.channels, (BANDS, STEPS), attribute="mel", hidden=[makes], centre=-5.0, scale=3.0)
    return mg.Translator(schema=schema, target="audio", encoder=encoder, decoder=decoders.Regression(bands))


def make_objective(config: Config, schema: mg.Schema) -> objectives.Translate:
    return objectives.Translate(schema, "audio")


def make_task(config: Config, schema: mg.Schema) -> tasks.PayloadGeneration:
    def classifier(mel: Tensor) -> Tensor:
        graph = HeteroData()
        graph["audio"].mel = mel
        judge = trained_judge(config)
        return judge.head(judge.encoder(graph)["audio"]).argmax(dim=1)

    return tasks.PayloadGeneration(schema, "audio", attribute="mel", label="digit", classifier=classifier)


@cache
def trained_judge(config: Config) -> mg.Model:
    """The network that hears digits, trained on the real recordings of the first run's training speakers."""
    built = build(config, 0, 0)
    model = mg.Model(
        schema=built.schema,
        encoder=encoders.AudioConv({"audio": BANDS}, 64, dropout=0.3),
        fusion=fusion.Sum(),
        head=nn.Linear(64, 10),
    )
    fit = mg.FitConfig(
        epochs=config.judge, learning_rate=2e-3, schedule="cosine", weight_decay=1e-4, patience=None, batch_size=64
    )
    task = mg.NodeClassification(built.schema)
    return mg.fit(model, objectives.Supervised(task.target), task, built.graph, fit).model
