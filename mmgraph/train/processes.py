"""Several processes that share each step of a fit: which one this is, what they share, and losing one.

``torchrun`` starts them, or :func:`~mmgraph.train.launch`. Both tell each process its place by the environment; the
first fit of a process joins it with the others. What is sent between them is sent between the processes of one command.
"""

from __future__ import annotations

import atexit
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from lightning.pytorch.plugins.environments import TorchElasticEnvironment
from lightning.pytorch.strategies import DDPStrategy
from torch import Tensor, distributed

from mmgraph.errors import ConfigError, MMGraphError
from mmgraph.functional.distributed import sum_over
from mmgraph.objectives import Objective

if TYPE_CHECKING:
    from lightning.fabric.plugins.io import CheckpointIO

    from mmgraph.train.fit import FitConfig

MEET = "MMGRAPH_MEET"  # the file by which the processes of a launch find each other
PLACE = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")


class ProcessError(MMGraphError, RuntimeError):
    """Another process of a fit has ended, or has not answered in time."""


class Place(NamedTuple):
    """Which of several processes this one is.

    Attributes:
        rank: Its number, from 0.
        world: How many there are.
        local_rank: Its number on this machine.
        local_world: How many there are on this machine.
    """

    rank: int = 0
    world: int = 1
    local_rank: int = 0
    local_world: int = 1

    @property
    def leads(self) -> bool:
        """Whether this is the process that writes files and prints."""
        return self.rank == 0

    @classmethod
    def here(cls) -> Place:
        """What the environment says, as ``torchrun``, Ray Train or :func:`launch` set it; else one process, alone.

        Raises:
            ConfigError: It says what can't be.

        Example:
            >>> Place.here()
            Place(rank=0, world=1, local_rank=0, local_world=1)
        """
        if not all(name in os.environ for name in PLACE):
            return cls()
        said = [os.environ[name] for name in PLACE]
        if not all(value.isdecimal() for value in said) or int(said[0]) >= int(said[1]) or int(said[2]) >= int(said[3]):
            raise ConfigError(
                f"{', '.join(PLACE)} must say which of how many processes this is, as torchrun does, got "
                f"{', '.join(said)}; unset them to train in one process"
            )
        return cls(*map(int, said))


ALONE = Place()


def join(timeout_s: float) -> Place:
    """Joins this process with the others, if there are any and it has not yet.

    Args:
        timeout_s: How long one process waits for another, now and in every step.

    Returns:
        Which process this is.

    Raises:
        ProcessError: The others do not come.
        ConfigError: There are fewer GPUs than processes on this machine.
    """
    place = Place.here()
    if place.world == 1 or distributed.is_initialized():
        return place
    backend = "gloo"
    if torch.cuda.is_available():
        if (count := torch.cuda.device_count()) < place.local_world:
            raise ConfigError(
                f"{place.local_world} processes on this machine need a GPU each, got {count}; start {count}, or hide "
                "them with CUDA_VISIBLE_DEVICES= to train on the processor"
            )
        torch.cuda.set_device(place.local_rank)
        backend = "cpu:gloo,cuda:nccl"
    with watched(place, timeout_s):
        distributed.init_process_group(
            backend,
            init_method=os.environ.get(MEET, "env://"),
            rank=place.rank,
            world_size=place.world,
            timeout=timedelta(seconds=timeout_s),
        )
    atexit.register(leave)
    return place


def leave() -> None:
    """Leaves the other processes."""
    if distributed.is_initialized():
        with suppress(RuntimeError):  # the others may be gone
            distributed.destroy_process_group()


@contextmanager
def watched(place: Place, timeout_s: float) -> Iterator[None]:
    """Says in one sentence what it means that a process does not answer.

    Raises:
        ProcessError: Another process has ended, or was not there in time.
    """
    try:
        yield
    except RuntimeError as error:
        if place.world == 1 or isinstance(error, MMGraphError) or not _of_network(error):
            raise
        reason = str(error).strip().splitlines()[0][:200]
        raise ProcessError(
            f"All {place.world} processes of a fit must answer within {timeout_s:g} s, but another one than process "
            f"{place.rank} has ended or is stuck ({reason}); look for what it said last, and start all of them again: "
            "with a folder, the fit goes on from its checkpoint"
        ) from error


def _of_network(error: RuntimeError) -> bool:
    words = ("gloo", "nccl", "connection closed", "connection reset", "timed out waiting")
    return isinstance(error, distributed.DistError) or any(word in str(error).lower() for word in words)


def averaged(terms: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The mean over the processes of some scalars, in one message."""
    total = sum_over(torch.stack([term.detach().double() for term in terms.values()]))
    return dict(zip(terms, total / distributed.get_world_size(), strict=True))


def gathered(own: Sequence[Tensor]) -> list[Tensor]:
    """The tensors of all processes, process by process, in memory of the processor."""
    found: list[Any] = [None] * distributed.get_world_size()
    distributed.all_gather_object(found, [x.cpu() for x in own])
    return [x for some in found for x in some]


def check_shared(objective: Objective, config: FitConfig, place: Place) -> None:
    """Checks that the processes of a fit have something to share, and that all together do what one would do.

    Raises:
        ConfigError: They have not, or would not.
    """
    if place.world == 1:
        return
    if config.batch_size is None:
        raise ConfigError(
            f"A step on the whole graph can't be shared by {place.world} processes; set batch_size, or start one"
        )
    if config.batch_size % place.world:
        raise ConfigError(
            f"batch_size must be a multiple of the {place.world} processes that share it, got {config.batch_size}"
        )
    if not objective.shared:
        raise ConfigError(
            f"{type(objective).__name__} as it is can't be shared by {place.world} processes: each would learn in its "
            "own way from its part of a step; start one, or see Objective.shared"
        )


def devices(place: Place, checkpoints: CheckpointIO) -> dict[str, Any]:
    """What a Lightning trainer is told: one process as it is, or several under ``DistributedDataParallel``.

    Gradients are averaged in a group of their own: those of gathered rows go through the default one, and which of the
    two comes first differs between processes where one of them lacks a modality.
    """
    if place.world == 1:
        return {"accelerator": "auto", "devices": 1, "plugins": [checkpoints]}
    strategy = DDPStrategy(find_unused_parameters=True, process_group=distributed.new_group())
    return {
        "accelerator": "cuda" if torch.cuda.is_available() else "cpu",
        "devices": place.local_world,
        "num_nodes": place.world // place.local_world,
        "strategy": strategy,
        "plugins": [checkpoints, TorchElasticEnvironment()],
    }
