"""The nodes of a population graph: anchors, modality nodes, masks and labels."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from mmgraph.data.records import Records
from mmgraph.data.split import Split
from mmgraph.errors import DataError

if TYPE_CHECKING:
    from mmgraph.schema import Schema

PARTS = ("train", "val", "test")


def nodes(records: Records, split: Split | None, x: Mapping[str, np.ndarray], anchor: str) -> HeteroData:
    """A graph of the subjects and their modality nodes, without relations between subjects.

    Args:
        records: The subjects.
        split: Which are for training, validation and test.
        x: Modality -> ``[present subjects, channels]``.
        anchor: Name of the subjects' node type.
    """
    graph = HeteroData()
    graph[anchor].x = torch.empty(len(records), 0)
    for part in PARTS:
        mask = torch.zeros(len(records), dtype=torch.bool)
        if split is not None:
            mask[torch.from_numpy(getattr(split, part))] = True
        graph[anchor][f"{part}_mask"] = mask
    if records.labels is not None:
        graph[anchor].y = torch.from_numpy(records.labels)
    for name, values in x.items():
        graph[name].x = torch.from_numpy(values)
        owner = torch.from_numpy(np.flatnonzero(records.present(name)))
        graph[name, "of", anchor].edge_index = torch.stack([torch.arange(len(owner)), owner])
    return graph


def append(graph: HeteroData, new: HeteroData, schema: Schema) -> HeteroData:
    """A graph with further nodes behind its own, and no edge between old and new."""
    larger = copy.copy(graph)
    for node in schema.nodes:
        for key, value in graph[node].items():
            larger[node][key] = torch.cat([value, _like(new, node, key, value)])
    for source, relation, target in schema.edges:
        if relation == "of":
            shift = torch.tensor([[graph[source].num_nodes], [graph[target].num_nodes]])
            index = new[source, relation, target].edge_index + shift
            larger[source, relation, target].edge_index = torch.cat(
                [graph[source, relation, target].edge_index, index], 1
            )
    return larger


def check_phenotypes(records: Records, thresholds: Mapping[str, float | None]) -> None:
    """Checks that the phenotypes are there, and that those with a threshold are numbers.

    Raises:
        DataError: A phenotype is missing, or a value is text where a threshold is to hold.
    """
    if missing := [name for name in thresholds if name not in records.phenotypes]:
        raise DataError(f"Phenotypes must be among the records' {sorted(records.phenotypes)}, got {missing}")
    for name, threshold in thresholds.items():
        for one, value in zip(records.ids, records.phenotypes[name].tolist(), strict=True):
            if threshold is not None and isinstance(value, str):
                raise DataError(
                    f"Phenotype {name!r} must be numbers to agree within {threshold}, got {value!r} for subject "
                    f"{one!r}; convert it, or give it the threshold None of a category"
                )


def codes(phenotypes: Mapping[str, np.ndarray]) -> list[Tensor]:
    """Phenotypes as numbers: numbers stay, categories are numbered, what is unknown is NaN.

    Example:
        >>> codes({"site": np.array(["b", "a", None], dtype=object), "age": np.array([60, 61.5, 70])})
        [tensor([1., 0., nan], dtype=torch.float64), tensor([60.0000, 61.5000, 70.0000], dtype=torch.float64)]
    """
    return [torch.from_numpy(_numbers(values)) for values in phenotypes.values()]


def _numbers(values: np.ndarray) -> np.ndarray:
    known = np.array([value is not None and value == value for value in values.tolist()])
    numbers = np.full(len(values), np.nan)
    kept = values[known]
    if all(isinstance(value, (int, float, np.number)) for value in kept.tolist()):
        numbers[known] = kept.astype(float)
    else:
        numbers[known] = np.unique(kept.astype(str), return_inverse=True)[1]
    return numbers


def _like(new: HeteroData, node: str, key: str, value: Tensor) -> Tensor:
    """The new rows of an attribute; class -1 where the new subjects have no labels."""
    found = new[node].get(key)
    if found is not None:
        return found
    return value.new_full((new[node].num_nodes, *value.shape[1:]), -1)
