"""A model, its objective and its task as a Lightning module, and what keeps a killed fit resumable."""

from __future__ import annotations

import copy
import hashlib
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lightning.pytorch as pl
import numpy as np
import torch
from lightning.fabric.plugins.io import TorchCheckpointIO
from torch import Tensor, nn

from mmgraph.errors import ArtifactError, DataError
from mmgraph.files import write_bytes
from mmgraph.functional.distributed import sum_over
from mmgraph.objectives import Objective
from mmgraph.tasks import Task
from mmgraph.train.batched import alone, asked, dealt, in_order, spreads
from mmgraph.train.processes import ALONE, Place, averaged, gathered

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch_geometric.data import HeteroData

    from mmgraph.train.fit import FitConfig

    Transform = Callable[[HeteroData, torch.Generator], HeteroData]

MAGIC = b"mmgraph1"
OPTIMIZERS: dict[str, Any] = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW, "adagrad": torch.optim.Adagrad}
DRAWN = 1  # what the model draws, beside what the transform draws
WARM_UP = 0.2  # share of the steps of one cycle


class Module(pl.LightningModule):
    """One step of training a model on one graph.

    Args:
        model: What is trained.
        objective: What training makes small.
        task: What is asked, and how validation is judged.
        graph: The whole graph; training and validation see views of it.
        config: How to train.
        transform: Changes what a training step sees, by a generator that is seeded by seed, epoch and batch.
        place: Which of the processes that share each step this is; in several, all that one draws depends on seed,
            epoch, batch and its rank alone.
    """

    def __init__(
        self,
        model: nn.Module,
        objective: Objective,
        task: Task,
        graph: HeteroData,
        config: FitConfig,
        transform: Transform | None = None,
        place: Place = ALONE,
    ) -> None:
        super().__init__()
        self.model, self.objective = model, objective
        self.task, self.graph, self.config, self.transform = task, graph, config, transform
        self.place = place
        self._answers: list[Tensor] = []
        self._rows: list[Tensor] = []  # of the answers, where they come in batches

    def training_step(self, view: HeteroData, batch_idx: int) -> Tensor:
        """Gives the total of the objective's terms, for the training view or a batch of it."""
        shared = self.place.world > 1
        key = (self.config.seed, self.current_epoch, batch_idx, *((self.place.rank,) if shared else ()))
        if shared:
            torch.manual_seed(chance(*key, DRAWN).initial_seed())
        if self.transform is not None:
            view = self.transform(view, chance(*key))
        terms = self.objective(self.model, view)
        said = averaged(terms) if shared else {name: term.detach() for name, term in terms.items()}
        if not said["total"].isfinite():
            found = {name: float(term) for name, term in said.items()}
            raise DataError(
                f"The objective must be finite, got {found} in epoch {self.current_epoch}; "
                "lower the learning rate, or look for the part that has nothing to learn from"
            )
        logged = {f"train_{name}": term for name, term in said.items()}
        if self.config.batch_size is None:
            self.log_dict(logged, batch_size=1)
        else:  # the mean over the seeds of an epoch
            seeds = int(sum_over(view[self.task.node].train_mask.sum()))
            self.log_dict(logged, batch_size=seeds, on_step=False, on_epoch=True)
        return terms["total"]

    def validation_step(self, view: HeteroData, _: int) -> None:
        """Answers for the validation part, or a batch of it; before answers spread."""
        ask = self.model.answer if spreads(self.model) else self.model
        self._answers.append(self.task.answers(ask(view), view, "val"))
        if self.config.batch_size is not None and not alone(self.task):
            self._rows.append(asked(self.task, view, "val"))

    def on_validation_epoch_end(self) -> None:
        """Judges the answers for the validation part."""
        if self.place.world > 1 and dealt(self.task):
            self._answers, self._rows = gathered(self._answers), gathered(self._rows)
        answers = in_order(self._answers, self._rows) if self._rows else self._answers[0]
        self._answers, self._rows = [], []
        scores = self.task.evaluate(answers, self.graph, "val", metrics=[self.config.monitor])
        self.log_dict({f"val_{name}": score for name, score in scores.items()}, batch_size=1)

    def configure_optimizers(self) -> Any:
        """Gives the optimizer, whose weight decay acts on matrices, not on biases; and its learning rate's schedule."""
        optimizer = self._optimizer()
        if self.config.schedule == "constant":
            return optimizer
        if self.config.schedule == "cosine":
            return [optimizer], [torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=self.config.epochs)]
        cycle = torch.optim.lr_scheduler.OneCycleLR(
            optimizer,
            self.config.learning_rate,
            total_steps=int(self.trainer.estimated_stepping_batches),
            pct_start=WARM_UP,
        )
        return [optimizer], [{"scheduler": cycle, "interval": "step"}]

    def _optimizer(self) -> torch.optim.Optimizer:
        parameters = [p for p in self.parameters() if p.requires_grad]  # of the model, then of the objective
        return OPTIMIZERS[self.config.optimizer](
            [
                {"params": [p for p in parameters if p.dim() > 1], "weight_decay": self.config.weight_decay},
                {"params": [p for p in parameters if p.dim() <= 1], "weight_decay": 0.0},
            ],
            lr=self.config.learning_rate,
        )


class Best(pl.Callback):
    """Keeps the weights of the best epoch on validation (the objective's too), the history, and the state of chance.

    All of it is in every checkpoint, so that a resumed fit goes on as if it had never stopped.

    Args:
        monitor: The score by which epochs are compared.
        higher_is_better: How they are.
        last: Keep the weights of the last epoch instead.
    """

    def __init__(self, monitor: str, *, higher_is_better: bool, last: bool = False) -> None:
        self.monitor, self.higher_is_better, self.last = monitor, higher_is_better, last
        self.epoch, self.score = -1, float("nan")
        self.weights: dict[str, dict[str, Tensor]] = {}  # of the model and of the objective
        self.history: list[dict[str, float]] = []
        self._chance: list[Tensor] = []

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Compares the epoch with the best one so far."""
        score = float(trainer.callback_metrics[f"val_{self.monitor}"])
        better = score > self.score if self.higher_is_better else score < self.score
        if self.epoch < 0 or better or self.last:
            self.epoch, self.score = trainer.current_epoch, score
            self.weights = {name: copy.deepcopy(module.state_dict()) for name, module in _learners(pl_module).items()}

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Adds the epoch to the history."""
        scores = {name: float(value) for name, value in trainer.callback_metrics.items()}
        self.history.append({"epoch": trainer.current_epoch, **scores})

    def state_dict(self) -> dict[str, Any]:
        """Gives what a resumed fit needs."""
        return {
            "epoch": self.epoch,
            "score": self.score,
            "weights": self.weights,
            "history": list(self.history),
            "chance": [torch.get_rng_state(), *_cuda_chance()],
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes up where a killed fit stopped."""
        self.epoch, self.score = state_dict["epoch"], state_dict["score"]
        self.weights, self.history = state_dict["weights"], list(state_dict["history"])
        self._chance = state_dict["chance"]

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Puts the state of chance back."""
        if self._chance:
            torch.set_rng_state(self._chance[0].cpu())
        for device, state in enumerate(self._chance[1:]):
            torch.cuda.set_rng_state(state.cpu(), device)


class AtomicCheckpointIO(TorchCheckpointIO):
    """Checkpoints written whole or not at all, and read only if their bytes are the ones written."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Writes a checkpoint behind its digest."""
        buffer = io.BytesIO()
        torch.save(checkpoint, buffer)
        data = buffer.getvalue()
        write_bytes(Path(path), MAGIC + hashlib.sha256(data).digest() + data)

    def load_checkpoint(
        self, path: str | Path, map_location: Any = "cpu", weights_only: bool | None = True
    ) -> dict[str, Any]:
        """Reads a checkpoint, without unpickling more than tensors and plain values.

        Raises:
            ArtifactError: The file is damaged.
        """
        head, data = len(MAGIC) + 32, Path(path).read_bytes()
        if data[:head] != MAGIC + hashlib.sha256(data[head:]).digest():
            raise ArtifactError(
                f"Checkpoint {str(path)!r} is damaged (its bytes are not the ones written); "
                "remove it to train from the start"
            )
        checkpoint: dict[str, Any] = torch.load(io.BytesIO(data[head:]), map_location=map_location, weights_only=True)
        return checkpoint


def chance(seed: int, epoch: int, batch: int, *more: int) -> torch.Generator:
    """The generator of one training step, or of one process in it.

    Example:
        >>> chance(0, 3, 1).initial_seed() == chance(0, 3, 1).initial_seed() != chance(0, 4, 1).initial_seed()
        True
    """
    state = np.random.SeedSequence(seed, spawn_key=(epoch, batch, *more)).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(state[0]))


def _cuda_chance() -> list[Tensor]:
    return torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []


def _learners(module: pl.LightningModule) -> dict[str, nn.Module]:
    assert isinstance(module, Module)
    return {"model": module.model, "objective": module.objective}
