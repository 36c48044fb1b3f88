"""One fit: a model trained on a graph, stopped early on validation, resumable after a kill."""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import Callback, EarlyStopping, ModelCheckpoint, RichProgressBar
from torch import Tensor, nn
from torch.utils.data import DataLoader

from mmgraph.data import Loader
from mmgraph.errors import ArtifactError, ConfigError
from mmgraph.objectives import Objective
from mmgraph.tasks import Part, Task
from mmgraph.tasks.metrics import higher_is_better
from mmgraph.train.balance import Balance, starved
from mmgraph.train.batched import alone, check_batched, check_drawn, dealt, part_batches, predict, training_batches
from mmgraph.train.module import OPTIMIZERS, AtomicCheckpointIO, Best, Module
from mmgraph.train.processes import ALONE, Place, check_shared, devices, join, watched
from mmgraph.train.threads import limited

if TYPE_CHECKING:
    from lightning.pytorch.loggers import Logger
    from torch_geometric.data import HeteroData

    from mmgraph.train.module import Transform

CHECKPOINT = "checkpoint.ckpt"


@dataclass(frozen=True, kw_only=True)
class FitConfig:
    """How to train.

    Args:
        epochs: At most so many.
        optimizer: ``adam``, where weight decay is a penalty in the loss, or ``adamw``, where weights shrink by it at
            each step (Loshchilov & Hutter 2019, arXiv:1711.05101); or ``adagrad``, whose steps are smaller for what is
            often met (Duchi et al. 2011).
        learning_rate: Of the optimizer, at the start.
        schedule: ``constant``; ``cosine``: down to 0 along half a cosine, a step an epoch; or
            ``one_cycle``: it rises during the first fifth of all steps and falls to nothing in the rest, while momentum
            falls and rises (Smith & Topin 2019, Super-Convergence, arXiv:1708.07120).
        weight_decay: Of weight matrices (not of biases).
        patience: Stop after so many epochs without a better score on validation; ``None`` never stops early.
        monitor: The score on validation by which the best epoch is chosen: ``log_loss``, ``accuracy``,
            ``auroc``, ``f1_macro``, …
        keep: Which weights the model ends with: those of the ``best`` epoch on validation, or of the ``last`` one,
            where validation is too small, or too unlike the rest, to choose among epochs.
        checkpoint_every: Epochs between two checkpoints, where a folder for them is given.
        batch_size: Labelled nodes in a batch, at most (all training nodes, if the objective learns from those without a
            label too); ``None`` trains on the whole view at once. A batch holds them, their modality nodes and all
            that is joined to them within ``hops``; the loss counts them alone. An epoch is one pass. Prediction and
            validation go in batches of the same size, with the same numbers. Rows that are joined to nothing (the
            questions about a knowledge graph) are read beside the whole graph, those of one question together, which
            counts as one; and all are answered at once. So answers a model whose answers spread (``after``), once it is
            trained.
        batch_by: In batches: a node type that one edge type joins to the labelled nodes, e.g. the picture that
            questions are about. ``batch_size`` then counts its nodes, and each comes with all its labelled nodes, so
            that what they share is encoded once an epoch and not once for each of them.
        hops: In batches: the rounds of messages of the model (with fewer, it would not see all it reads).
        fan_out: In batches of questions about a knowledge graph: neighbours that are drawn around each entity, along
            each type of edges, hop by hop, e.g. ``(10, 5)`` (-1 takes all); at least as many hops as the model has
            rounds of messages over facts. A batch then is a small graph without the facts that it asks for, see
            :class:`mmgraph.data.FactLoader`. ``None`` trains beside the whole graph; so answers every model.
        candidates: With ``fan_out``: entities drawn for each batch, besides its own, that answers are sought among.
        balance: Measure how much each modality learns, see :class:`~mmgraph.train.balance.Balance`, and warn if one
            may starve the others; above 0 it is the strength by which the one that leads is slowed down (Peng et al.
            2022, arXiv:2203.15332: α, there 0.1 to 1). ``None`` does neither.
        seed: Of dropout, of the order of batches, and of what a transform draws.
        timeout_s: In several processes: how long one waits for another before it gives up.
        threads: Of the processor; one is the fastest for graphs of some thousand nodes, ``None`` leaves torch's own
            setting.

    Raises:
        ConfigError: An option out of its range.

    Example:
        >>> FitConfig(epochs=0)
        Traceback (most recent call last):
        ...
        mmgraph.errors.ConfigError: epochs must be at least 1, got 0
    """

    epochs: int = 200
    optimizer: Literal["adam", "adamw", "adagrad"] = "adam"
    learning_rate: float = 0.01
    schedule: Literal["constant", "cosine", "one_cycle"] = "constant"
    weight_decay: float = 5e-4
    patience: int | None = 20
    monitor: str = "log_loss"
    keep: Literal["best", "last"] = "best"
    checkpoint_every: int = 20
    batch_size: int | None = None
    batch_by: str | None = None
    hops: int = 0
    fan_out: tuple[int, ...] | None = None
    candidates: int = 256
    balance: float | None = None
    seed: int = 0
    timeout_s: float = 300.0
    threads: int | None = 1

    def __post_init__(self) -> None:
        for name in ("epochs", "patience", "checkpoint_every", "batch_size", "hops", "candidates", "threads"):
            value, least = getattr(self, name), 0 if name in ("hops", "candidates") else 1
            if value is not None and value < least:
                raise ConfigError(f"{name} must be at least {least}, got {value}")
        if self.batch_by is not None and self.batch_size is None:
            raise ConfigError(f"batch_by needs a batch_size, got batch_by={self.batch_by!r} without one")
        if self.fan_out is not None:
            object.__setattr__(self, "fan_out", tuple(self.fan_out))
            if self.batch_size is None:
                raise ConfigError(f"fan_out needs a batch_size, got fan_out={self.fan_out} without one")
            if not self.fan_out or any(number < 1 and number != -1 for number in self.fan_out):
                raise ConfigError(f"fan_out must be counts of at least 1, or -1 for all, a hop, got {self.fan_out}")
        if self.optimizer not in OPTIMIZERS:
            raise ConfigError(f"optimizer must be one of {list(OPTIMIZERS)}, got {self.optimizer!r}")
        if self.keep not in ("best", "last"):
            raise ConfigError(f"keep must be 'best' or 'last', got {self.keep!r}")
        if self.schedule not in ("constant", "cosine", "one_cycle"):
            raise ConfigError(f"schedule must be 'constant', 'cosine' or 'one_cycle', got {self.schedule!r}")
        if self.learning_rate <= 0 or self.weight_decay < 0:
            raise ConfigError(
                "learning_rate must be above 0 and weight_decay at least 0, "
                f"got {self.learning_rate} and {self.weight_decay}"
            )
        if not 0 < self.timeout_s < float("inf"):
            raise ConfigError(f"timeout_s must be above 0 and finite, got {self.timeout_s}")
        if self.balance is not None and self.balance < 0:
            raise ConfigError(f"balance must be at least 0, or None, got {self.balance}")
        higher_is_better(self.monitor)


@dataclass(frozen=True)
class Fitted:
    """A trained model, at its best epoch on validation, or at its last, as :attr:`FitConfig.keep` says.

    Args:
        model: The model, in evaluation mode.
        task: What it was trained for.
        graph: The whole graph.
        best_epoch: The epoch whose weights these are.
        best_score: The monitored score of that epoch on validation.
        history: What was logged, an entry an epoch.
        seconds: How long it took (since the last resume).
        config: How it was trained; predictions go in batches of its size.
    """

    model: nn.Module
    task: Task
    graph: HeteroData
    best_epoch: int
    best_score: float
    history: tuple[dict[str, float], ...]
    seconds: float
    config: FitConfig = field(default_factory=FitConfig)

    def predict(self, part: Part = "test") -> Tensor:
        """Gives the answers for one part of the split, each made on the view of that part."""
        return predict(self.model, self.task, self.task.view(self.graph, part), part, self.config)

    def evaluate(self, part: Part = "test") -> dict[str, float]:
        """Gives the scores for one part of the split."""
        return self.task.evaluate(self.predict(part), self.graph, part)


def fit(
    model: nn.Module,
    objective: Objective,
    task: Task,
    graph: HeteroData,
    config: FitConfig | None = None,
    *,
    transform: Transform | None = None,
    folder: Path | None = None,
    loggers: Sequence[Logger] = (),
    progress: bool = False,
) -> Fitted:
    """Trains a model on one graph.

    Training sees the view of the training part, early stopping the view and the labels of the validation part;
    nothing here reads a label of the test part. With a folder, a checkpoint is written now and then; called
    again after a kill it goes on from there, and ends with the same weights as if it had not been killed.

    In several processes (started by ``torchrun`` or :func:`~mmgraph.train.launch`) each reads its part of every batch,
    and all end with the weights that one process ends with: ``batch_size`` is that of the whole step.

    Args:
        model: What to train, from the weights that it has.
        objective: What training makes small; parameters of its own are trained too, and end at the best epoch's.
        task: What is asked.
        graph: The whole graph, with its labels and masks.
        config: How to train.
        transform: Called in each training step with what it sees, the view of the training part or a batch of it,
            and a generator that is seeded by seed, epoch and batch; returns what the model gets. E.g.
            :class:`mmgraph.data.ModalityDropout`. Validation and prediction go without.
        folder: Where checkpoints go.
        loggers: Lightning's loggers, e.g. ``TensorBoardLogger``; they get what the history gets.
        progress: Show a bar.

    Raises:
        ArtifactError: The checkpoint in the folder is damaged, or of another model.
        ConfigError: Batches of a task that is not about nodes, or fewer ``hops`` (or hops of ``fan_out``) than the
            model's rounds of messages; ``fan_out`` for a task that is not about facts; in several processes, nothing
            that they can share: no batches, a ``batch_size`` that is no multiple of their number, or an objective that
            each would learn from in its own way.
        ProcessError: Another process has ended, or did not answer in time.

    Example:
        >>> from mmgraph import NodeClassification
        >>> from mmgraph.encoders import Table
        >>> from mmgraph.model import Model
        >>> from mmgraph.objectives import Supervised
        >>> from mmgraph.schema import Schema
        >>> from torch_geometric.data import HeteroData
        >>> graph = HeteroData()
        >>> graph["a"].x = torch.eye(6).repeat(3, 1)
        >>> graph["a"].y = torch.tensor([0, 0, 0, 1, 1, 1]).repeat(3)
        >>> for number, part in enumerate(["train", "val", "test"]):
        ...     graph["a"][f"{part}_mask"] = torch.arange(18) // 6 == number
        >>> schema = Schema.infer(graph, anchor="a")
        >>> model = Model(schema=schema, encoder=Table({"a": 6}, 2), head=nn.Identity())
        >>> task = NodeClassification(schema)
        >>> fitted = fit(model, Supervised(task.target), task, graph, FitConfig(epochs=50, weight_decay=0.0))
        >>> fitted.evaluate("test")["accuracy"]
        1.0
    """
    config = config or FitConfig()
    best = Best(config.monitor, higher_is_better=higher_is_better(config.monitor), last=config.keep == "last")
    place = join(config.timeout_s)
    check_shared(objective, config, place)
    module = Module(model, objective, task, graph, config, transform, place)
    train, val = _loaders(model, objective, task, graph, config, place)
    checkpoint = None if folder is None else folder / CHECKPOINT
    resume = checkpoint is not None and checkpoint.exists()
    if resume:
        assert checkpoint is not None
        _check_checkpoint(checkpoint, module)
    callbacks = [best] if config.balance is None else [Balance(task, config.balance), best]
    started = time.perf_counter()
    with _quiet(), limited(config.threads), watched(place, config.timeout_s), torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        trainer = _trainer(config, callbacks, folder, loggers, progress=progress, place=place)
        try:
            trainer.fit(
                module,
                train_dataloaders=train,
                val_dataloaders=val,
                ckpt_path=checkpoint if resume else None,
                weights_only=True,
            )
        except SystemExit:  # what Lightning makes of an interrupt
            raise KeyboardInterrupt from None
    for learner, name in ((model, "model"), (objective, "objective")):
        learner.cpu().load_state_dict(best.weights[name])
    seconds = time.perf_counter() - started
    if config.balance is not None and (said := starved(best.history[best.epoch])):
        warnings.warn(said, stacklevel=2)
    return Fitted(model.eval(), task, graph, best.epoch, best.score, tuple(best.history), seconds, config)


def _loaders(
    model: nn.Module, objective: Objective, task: Task, graph: HeteroData, config: FitConfig, place: Place
) -> tuple[DataLoader | Loader, DataLoader | Loader]:
    """What training and validation read: the whole view at once, or batches of it."""
    check_drawn(model, task, config)
    train, val = task.view(graph, "train"), task.view(graph, "val")
    if config.batch_size is None:
        return _one(train), _one(val)
    if alone(task):
        return training_batches(task, train, config, labelled=objective.labelled, place=place), _one(val)
    check_batched(model, train, config)
    return (
        training_batches(task, train, config, labelled=objective.labelled, place=place),
        part_batches(task, val, "val", config, place if dealt(task) else ALONE),
    )


def _one(view: HeteroData) -> DataLoader:
    """A loader of one graph, which draws nothing from the state of chance."""
    return DataLoader([view], batch_size=None, generator=torch.Generator())


def _trainer(
    config: FitConfig,
    first: Sequence[Callback],
    folder: Path | None,
    loggers: Sequence[Logger],
    *,
    progress: bool,
    place: Place,
) -> pl.Trainer:
    mode = "max" if higher_is_better(config.monitor) else "min"
    callbacks = list(first)
    if config.patience is not None:
        callbacks.append(EarlyStopping(f"val_{config.monitor}", mode=mode, patience=config.patience))
    if folder is not None:
        callbacks.append(
            ModelCheckpoint(
                folder,
                filename=Path(CHECKPOINT).stem,
                every_n_epochs=config.checkpoint_every,
                save_on_train_epoch_end=True,
                enable_version_counter=False,
            )
        )
    if progress:
        callbacks.append(RichProgressBar())
    return pl.Trainer(
        max_epochs=config.epochs,
        logger=list(loggers) or False,
        callbacks=callbacks,
        **devices(place, AtomicCheckpointIO()),
        use_distributed_sampler=False,
        enable_checkpointing=folder is not None,
        enable_progress_bar=progress,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        log_every_n_steps=1,
    )


def _check_checkpoint(path: Path, module: Module) -> None:
    state = AtomicCheckpointIO().load_checkpoint(path)
    found = {name: tuple(value.shape) for name, value in state["state_dict"].items()}
    expected = {name: tuple(value.shape) for name, value in module.state_dict().items()}
    if found != expected:
        odd = sorted(set(found.items()) ^ set(expected.items()))[0]
        raise ArtifactError(
            f"Checkpoint {str(path)!r} is of another model (they differ in {odd[0]!r}); "
            "remove it to train from the start, or use another folder"
        )


class _quiet:  # noqa: N801 (a context manager reads as a verb)
    """Keeps Lightning's remarks about devices and workers away; its errors still come."""

    def __enter__(self) -> None:
        self.loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
        self.levels = [logger.level for logger in self.loggers]
        for logger in self.loggers:
            logger.setLevel(logging.ERROR)
        self.catcher = warnings.catch_warnings()
        self.catcher.__enter__()
        warnings.filterwarnings("ignore", module="lightning")

    def __exit__(self, *details: object) -> None:
        self.catcher.__exit__(None, None, None)
        for logger, level in zip(self.loggers, self.levels, strict=True):
            logger.setLevel(level)
