r"""How much each modality learns in a joint model, and slowing down the one that runs ahead.

A joint model lowers its loss by whichever modality is easiest; as the loss falls, so do the gradients of all, and the
others stay untrained (Wang, Tran & Feiszli 2020, What makes training multi-modal classification networks hard?,
arXiv:1905.12681; Peng et al. 2022, Balanced Multimodal Learning via On-the-fly Gradient Modulation, arXiv:2203.15332).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import lightning.pytorch as pl
import torch
from torch import Tensor, nn

from mmgraph.data import drop_modalities
from mmgraph.errors import ConfigError
from mmgraph.functional.balance import discrepancy, slowdown
from mmgraph.functional.distributed import processes, share_mean, sum_over
from mmgraph.keys import weight_key
from mmgraph.schema import Schema
from mmgraph.tasks import Task
from mmgraph.train.batched import known, target_of

if TYPE_CHECKING:
    from torch_geometric.data import HeteroData

ALONE = "alone_"  # in the history
STARVES = 2.0  # times as likely is the true class by one modality alone as by the others, on average


class Balance(pl.Callback):
    r"""Measures in each training step how much each modality learns, and shortens the step of the one that leads.

    The history gets, for each modality and epoch (a mean over its steps),

    * ``gradient_<modality>``: the norm of the gradient of its encoder's weights;
    * ``alone_<modality>``: :math:`s_m`, the mean probability of the true class over the labelled anchors that have the
      modality, where it alone is there (targets with classes);
    * ``step_<modality>``: :math:`k_m`, where ``alpha`` is above 0.

    The paper multiplies the gradient of the modality's encoder by :math:`k_m = 1 - \tanh(\alpha \rho_m)`, if
    :math:`\rho_m > 1`, before a step of plain gradient descent; Adam would divide such a factor out again. So the step
    itself is multiplied: for gradient descent it is the same. The noise that the paper adds (GE) is left out, and
    :math:`s_m` is asked of the whole model with the other modalities taken away, which needs no fusion of a certain
    form.

    Nothing is kept from one epoch to the next, and nothing drawn: a resumed fit goes on as it would have, and
    ``alpha`` 0 changes no weight.

    Args:
        task: What is asked; its schema says what the modalities are.
        alpha: How strongly; 0 measures alone.

    Raises:
        ConfigError: ``alpha`` is negative, or above 0 for a target without classes; the task has no schema with two
            modalities or more.
    """

    def __init__(self, task: Task, alpha: float) -> None:
        schema, target = getattr(task, "schema", None), target_of(task)
        if not isinstance(schema, Schema) or len(schema.modalities) < 2:
            got = list(schema.modalities) if isinstance(schema, Schema) else "no schema"
            raise ConfigError(f"balance needs a task with 2 modalities or more, got {got}")
        if alpha < 0 or (alpha and not target.classes):
            raise ConfigError(f"balance must be at least 0, and 0 for a {target.kind}, got {alpha}; 0 measures alone")
        self.task, self.schema, self.target, self.alpha = task, schema, target, alpha
        self._alone: dict[str, float] = {}
        self._steps: dict[str, float] = {}
        self._norms: dict[str, Tensor] = {}
        self._before: dict[str, list[Tensor]] = {}

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: HeteroData, batch_idx: int
    ) -> None:
        """Asks the model what each modality says alone, of the step's own view."""
        if self.target.classes:
            self._alone = alone(_model(pl_module), self.task, self.schema, batch)
        self._steps = slowdown(discrepancy(self._alone), self.alpha) if self.alpha else {}

    def on_before_optimizer_step(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        """Measures the gradients, and remembers the weights whose step is to be shortened."""
        for name in self.schema.modalities:
            weights = encoder_weights(_model(pl_module), name)
            gradients = [weight.grad.flatten() for weight in weights if weight.grad is not None]
            self._norms[name] = torch.cat(gradients).norm() if gradients else torch.zeros(())
            if self._steps.get(name, 1.0) < 1:
                self._before[name] = [weight.detach().clone() for weight in weights]

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: HeteroData, batch_idx: int
    ) -> None:
        """Shortens the steps, and writes down what was measured."""
        for name, before in self._before.items():
            with torch.no_grad():
                for weight, old in zip(encoder_weights(_model(pl_module), name), before, strict=True):
                    weight.copy_(old + self._steps[name] * (weight - old))
        logged: dict[str, Any] = {f"gradient_{name}": norm for name, norm in self._norms.items()}
        logged |= {f"{ALONE}{name}": value for name, value in self._alone.items()}
        logged |= {f"step_{name}": value for name, value in self._steps.items()}
        seeds = int(sum_over(batch[self.target.node].train_mask.sum()))
        pl_module.log_dict(logged, batch_size=seeds, on_step=False, on_epoch=True)
        self._before, self._norms = {}, {}


@torch.no_grad()
def alone(model: nn.Module, task: Task, schema: Schema, view: HeteroData) -> dict[str, float]:
    """The mean probability of the true class by each modality alone, over the labelled anchors that have it.

    The model is asked in evaluation mode and left in the one it was in. A modality that no labelled anchor has is not
    in the answer. Several processes answer together for all of their anchors.

    Args:
        model: What is trained.
        task: A task with classes.
        schema: What the view's types mean.
        view: A view with labels.

    Example:
        >>> import torch
        >>> from mmgraph import NodeClassification
        >>> from mmgraph.model import classifier
        >>> from mmgraph.testing import fake_graph
        >>> graph, schema = fake_graph()
        >>> task = NodeClassification(schema)
        >>> sorted(alone(classifier(schema), task, schema, task.view(graph, "train")))
        ['scan', 'text']
    """
    target, found = target_of(task), {}
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    for name in schema.modalities:
        store = view[target.node]
        everyone = torch.ones(store.num_nodes, dtype=torch.bool, device=store.train_mask.device)
        left = drop_modalities(view, schema, dict.fromkeys(set(schema.modalities) - {name}, everyone))
        has = torch.zeros_like(everyone).index_fill(0, view[name, "of", target.node].edge_index[1], value=True)
        labels, has = (value[store.train_mask].cpu() for value in (store[target.attribute], has))
        rows = known(labels) & has
        count, mean = rows.sum(), torch.zeros(())
        if count > 0:
            probabilities = task.answers(model(left), left, "train")
            mean = probabilities[rows, labels[rows]].mean()
        mean = sum_over(share_mean(mean, count)) / processes()
        if sum_over(count) > 0:
            found[name] = float(mean)
    for module, training in modes:
        module.training = training
    return found


def encoder_weights(model: nn.Module, modality: str) -> list[nn.Parameter]:
    """The weights of a model's encoder (or of those of its models) that belong to one modality alone.

    Example:
        >>> from mmgraph.model import classifier
        >>> from mmgraph.testing import fake_graph
        >>> [list(weight.shape) for weight in encoder_weights(classifier(fake_graph()[1]), "scan")]
        [[16, 3], [16]]
    """
    named = [(name.split("."), weight) for name, weight in model.named_parameters()]
    return [weight for path, weight in named if "encoder" in path and weight_key(modality) in path]


def starved(scores: Mapping[str, float]) -> str:
    """One sentence, if one modality starves the others: if its ratio of :func:`discrepancy` is 2 or more.

    Whether the others could do better, only a model that is trained on them alone can tell.

    Args:
        scores: An epoch of the history.

    Returns:
        The sentence, or nothing.

    Example:
        >>> scores = {"alone_audio": 0.9, "alone_image": 0.2, "gradient_audio": 0.1, "gradient_image": 0.02}
        >>> starved(scores)[:59]
        "'audio' may starve the other modalities: alone it gives the"
        >>> starved(scores | {"alone_image": 0.6})
        ''
    """
    seen = {name.removeprefix(ALONE): value for name, value in scores.items() if name.startswith(ALONE)}
    ratios = discrepancy(seen)
    leader = max(ratios, key=lambda name: ratios[name], default=None)
    if leader is None or ratios[leader] < STARVES:
        return ""
    others = {name: round(value, 3) for name, value in seen.items() if name != leader}
    norms = {name: float(f"{scores[f'gradient_{name}']:.2g}") for name in seen}
    return (
        f"{leader!r} may starve the other modalities: alone it gives the true class a probability of "
        f"{seen[leader]:.3f} in training, {ratios[leader]:.1f} times that of the others, {others} "
        f"(this is said from {STARVES:g} times on; norms of the gradients: {norms}). "
        "Compare with a model of the others alone; raise balance, or train with ModalityDropout"
    )


def _model(module: pl.LightningModule) -> nn.Module:
    model = module.model
    assert isinstance(model, nn.Module)
    return model
