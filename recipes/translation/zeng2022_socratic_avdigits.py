"""One agent sees a digit, one hears it, and a third reads what the two say of it: all that they share is words.

Pictures and recordings are brought into one space with the names of the digits, and either is called by the name that
is nearest. The agent that sees says so, as sure as it is: "probably seven, perhaps one"; so does the one that hears.
The third meets no picture, no recording and no vector: it reads both sentences, multiplies the certainties that their
words stand for, and answers with a name. It is a rule, not a language model. The pictures are noisy, so hearing helps.

Source: Zeng et al. 2022, Socratic models: composing zero-shot multimodal reasoning with language, arXiv:2204.00598.
Command: mmgraph run zeng2022_socratic_avdigits
Cost: ten seconds a model on one core.
Expected: accuracy .95 over three seeds; the vectors fused .96, without the picture .81, without the recording .79.
Rivals: the mean of both vectors in place of words ("vectors"). The controls ``without:…`` leave one agent silent.
Differs from the paper: agents that know ten names, which they have learned from 2000 named samples; no language model.
"""

import math
import re
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch_geometric.data import HeteroData

import mmgraph as mg
from mmgraph import encoders, objectives, socratic

DATA, METRIC = "avdigits", "accuracy"
EXPECT = {"accuracy": (0.952, 0.03)}
CONTROLS = ("without:image", "without:audio", "late_linear", "majority")
NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
CERTAINTY = {"surely": 0.95, "probably": 0.7, "perhaps": 0.3, "hardly": 0.05}
UNSAID = 0.01  # certainty of a name that is not said
WIDTH = 10  # of a name's vector, which is made of its letters, and so of the space


@dataclass(frozen=True)
class Config:
    """How to run.

    Args:
        runs: Seeds, each with another speaker as the test and other pairs.
        noise: On the pictures, in deviations of each.
        temperature: Of the cosines.
        fit: How to train.
    """

    runs: int = 3
    noise: float = 2.0
    temperature: float = 0.1
    fit: mg.FitConfig = mg.FitConfig(
        epochs=12, optimizer="adamw", learning_rate=4e-3, schedule="one_cycle", monitor="accuracy", batch_size=100
    )


def build(config: Config, run: int, fold: int) -> mg.Built:
    source = mg.load_dataset(DATA, seed=run, noise=config.noise, names=1.0)
    pixels, mel = {"kind": "pixels", "size": 14, "colours": 1}, {"kind": "log_mel", "rate_hz": 8000, "dtype": "float32"}
    words = {"kind": "hashed_text", "channels": WIDTH}
    return mg.build_graph(source.with_encoders(image=pixels, audio=mel, text=words))


class Conversation(mg.Aligner):
    """An aligner that answers by what its agents say to each other, or by the mean of their vectors."""

    def __init__(self, temperature: float, *, words: bool, **parts: Any) -> None:
        super().__init__(**parts)
        self.register_buffer("names", encoders.HashedText.fit(NAMES, channels=WIDTH)(NAMES))
        self.temperature, self.words = temperature, words
        question = "Seen: {sees}. Heard: {hears}. Which digit is it?"
        agents = [
            socratic.Agent("sees", self.say, reads=["picture"]),
            socratic.Agent("hears", self.say, reads=["sound"]),
            socratic.Agent("answers", conclude, reads=["sees", "hears"], prompt=question),
        ]
        self.agents = socratic.Socratic(agents, inputs=["picture", "sound"])

    def forward(self, graph: HeteroData) -> Tensor:
        """Scores the names, ``[samples, names]``."""
        found = super().forward(graph)
        seen, heard = found["image"].detach(), found["audio"].detach()
        if not self.words:
            return torch.stack([seen, heard]).nanmean(dim=0).nan_to_num() @ self.names.T / self.temperature
        asked = {str(row): {"picture": seen[row], "sound": heard[row]} for row in range(len(seen))}
        traces = self.agents.run_many(asked).traces
        said = torch.tensor([NAMES.index(traces[key].answers["answers"]) for key in asked])
        return 9 * F.one_hot(said, len(NAMES)).float()

    def say(self, vector: Tensor) -> str:
        """The names that a vector is near to, each with a word for how sure that is."""
        if vector.isnan().any():
            return "nothing"
        shares, best = (self.names @ vector / self.temperature).softmax(dim=0).topk(4)
        words = [min(CERTAINTY, key=lambda word: abs(math.log(CERTAINTY[word] / share))) for share in shares.tolist()]
        return ", ".join(f"{word} {NAMES[name]}" for word, name in zip(words, best.tolist(), strict=True))


def conclude(question: str) -> str:
    """Reads what was said of each name, and answers with the one that all are the surest of."""
    told = [re.findall(r"(\w+) (\w+)(?:,|$)", sentence) for sentence in question.split(".")]
    said = [{name: CERTAINTY[word] for word, name in one if word in CERTAINTY} for one in told]
    return max(NAMES, key=lambda name: math.prod(one.get(name, UNSAID) for one in said if one))


def make_objective(config: Config, schema: mg.Schema) -> objectives.Contrast:
    return objectives.Contrast(schema, temperature=config.temperature, pairs=[("image", "text"), ("audio", "text")])


def make_model(config: Config, schema: mg.Schema, *, words: bool = True) -> Conversation:
    features = encoders.Joined(
        encoders.ImageConv({"image": 1}, 32, widths=(8, 16, 32), dropout=0.1, shift=1),
        encoders.AudioConv(["audio"], 32, steps=24, widths=(8, 16, 32), dropout=0.2, augment=0.6),
        encoders.Raw(["text"]),
    )
    maps = {"image": nn.Linear(32, WIDTH), "audio": nn.Linear(32, WIDTH), "text": nn.Identity()}
    return Conversation(config.temperature, words=words, schema=schema, encoder=features, spaces={"joint": maps})


RIVALS = {"vectors": lambda config, schema: make_model(config, schema, words=False)}
