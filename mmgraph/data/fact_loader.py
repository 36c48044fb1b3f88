"""Minibatches of questions about a knowledge graph that is too large to be read whole for each of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from mmgraph.data.loader import Loader
from mmgraph.data.row_loader import Groups, row_attributes
from mmgraph.data.sampler import NeighbourSampler
from mmgraph.errors import ConfigError, DataError
from mmgraph.schema import Schema
from mmgraph.schema.facts import Numbering

if TYPE_CHECKING:
    from torch_geometric.data import HeteroData


class FactLoader(Loader):
    """Reads questions in batches, each beside what is around the entities that it is about, drawn hop by hop.

    A batch has the sources and the answers of its questions, ``candidates`` further entities drawn from all, and what
    the sampler draws around these. ``query.candidates`` says which entities of the batch the answers are sought among:
    all but those that were only drawn as neighbours, whose own neighbours are not there. ``source``, ``answer`` and
    ``candidates`` are numbers of the batch; ``n_id`` on each node type says which rows of the graph they were, and by
    it :class:`mmgraph.Linker` finds their vectors. ``named`` on the types of entities says which of them some fact of
    training names, be it in the batch or not. Payloads come with their entities, and what is joined to these.

    The facts that are asked for are taken out of the edges. Otherwise a model would read its answer off them.
    :class:`mmgraph.FitConfig` makes it: ``FitConfig(batch_size=512, fan_out=(10, 5))``.

    Args:
        graph: The view of training; its questions are the node type ``query``.
        schema: What it means.
        fan_out: Neighbours a node and edge type in each hop, e.g. ``[10, 5]``; as many hops as the model has rounds.
        candidates: Entities drawn besides those of the questions.
        batch_size: Questions in a batch, at most; all facts that answer a question are in its batch.
        shuffle: Read in another order each epoch.
        seed: Of the order and of all draws.
        rank: Which part of each step is read here, below ``world``.
        world: Number of processes that share the questions.
        idle: Let the batch of some ranks in the last step ask nothing, see :class:`Loader`.
        prefetch: Batches that are made ahead, see :class:`Loader`.

    Raises:
        DataError: The graph has no questions with known answers.
        ConfigError: ``candidates`` is negative.

    Example:
        >>> from mmgraph.testing import fake_knowledge
        >>> graph, schema = fake_knowledge(100, facts=300)
        >>> batch = next(iter(FactLoader(graph, schema, fan_out=[2], candidates=4, batch_size=3)))
        >>> batch["entity"].num_nodes < 100, bool((batch["query"].answer < batch["entity"].num_nodes).all())
        (True, True)
    """

    def __init__(
        self,
        graph: HeteroData,
        schema: Schema,
        *,
        fan_out: Sequence[int],
        candidates: int = 256,
        batch_size: int,
        shuffle: bool = False,
        seed: int = 0,
        rank: int = 0,
        world: int = 1,
        idle: bool = False,
        prefetch: int = 2,
    ) -> None:
        if candidates < 0:
            raise ConfigError(f"candidates must be at least 0, got {candidates}")
        if "query" not in graph.node_types:
            raise DataError(f"The graph must have questions, nodes of type 'query', got types {graph.node_types}")
        store = graph["query"]
        rows = (store.answer >= 0) & store.get("train_mask", torch.ones(len(store.answer), dtype=torch.bool))
        if not rows.any():
            raise DataError("The graph must have at least 1 question with a known answer, got none; is it a view?")
        groups = Groups(rows, store.source * (int(store.relation.max()) + 1) + store.relation)
        around = _Around(graph, schema, groups, fan_out, candidates)
        super().__init__(
            _Numbers(groups),
            batch_size=batch_size,
            shuffle=shuffle,
            seed=seed,
            rank=rank,
            world=world,
            idle=idle,
            prefetch=prefetch,
            transform=around,
        )


class _Numbers:
    """Questions as samples: what is read of them is their number, and the rest is drawn."""

    def __init__(self, groups: Groups) -> None:
        self._groups = groups

    def __len__(self) -> int:
        return len(self._groups)

    @property
    def sizes(self) -> np.ndarray:
        return self._groups.sizes

    def batch(self, indices: np.ndarray) -> np.ndarray:
        return indices


class _Around:
    """Turns numbers of questions into the batch around them."""

    def __init__(
        self, graph: HeteroData, schema: Schema, groups: Groups, fan_out: Sequence[int], candidates: int
    ) -> None:
        self._query, self._groups, self._candidates = graph["query"], groups, candidates
        self._names = row_attributes(self._query, len(self._query.answer))
        numbering = Numbering(schema)
        self._types = numbering.entities
        counts = [int(graph[node].num_nodes) for node in self._types]
        self._ends = np.cumsum(counts)
        self._numbers = {edge: numbering.number(edge[1]) for edge in numbering.joins}
        self._half = len(numbering.relations)
        named = torch.zeros(int(self._ends[-1]), dtype=torch.bool)
        asked = groups.rows(np.arange(len(groups)))
        named[self._query.source[asked]] = named[self._query.answer[asked]] = True
        self._named = dict(zip(self._types, named.split(counts), strict=True))
        rest = graph.node_type_subgraph([node for node in graph.node_types if node != "query"])
        others = [edge for edge in rest.edge_types if edge not in self._numbers]  # payloads, and what joins them
        deep = max((len(path) for node in self._types for path in schema.paths_to(node).values()), default=0)
        further = deep + any(edge[1] != "of" for edge in others)
        facts = {edge: [*fan_out, *[0] * further] for edge in self._numbers}
        self._sampler = NeighbourSampler(rest, facts | {edge: [-1] * (len(fan_out) + further) for edge in others})

    def __call__(self, numbers: np.ndarray, generator: torch.Generator) -> HeteroData:
        rows = self._groups.rows(numbers)
        source, relation, answer = (self._query[name][rows] for name in ("source", "relation", "answer"))
        drawn = torch.randint(int(self._ends[-1]), (self._candidates,), generator=generator)
        entities = torch.cat([source, answer, drawn]).unique().numpy()
        kind = np.searchsorted(self._ends, entities, side="right")
        first = np.concatenate([[0], self._ends[:-1]])
        seeds = {node: entities[kind == number] - first[number] for number, node in enumerate(self._types)}
        hidden = self._asked(source, relation, answer)
        batch = self._sampler.gather(self._sampler.sample(seeds, seed=generator.initial_seed(), hidden=hidden))
        starts = np.cumsum([0, *(batch[node].num_nodes for node in self._types)])[:-1]
        place = np.empty(len(entities), dtype=np.int64)
        for number in range(len(self._types)):
            mine = kind == number
            place[mine] = starts[number] + np.arange(mine.sum())  # seeds stand first, in their order
        for node, named in self._named.items():
            batch[node].named = named[batch[node].n_id]
        for one in batch.stores:
            for name in ("num_sampled_nodes", "num_sampled_edges", "e_id"):
                one.pop(name, None)
        query = batch["query"]
        query.update({name: self._query[name][rows] for name in self._names})
        query.num_nodes = len(rows)
        for name, values in (("source", source), ("answer", answer)):
            query[name] = torch.from_numpy(place[np.searchsorted(entities, values.numpy())])
        query.candidates = torch.from_numpy(np.sort(place))
        return batch

    def _asked(self, source: Tensor, relation: Tensor, answer: Tensor) -> dict[tuple[str, str, str], Tensor]:
        """The facts that are asked for, as pairs to hide of each edge type that holds them."""
        found = {}
        first = dict(zip(self._types, np.concatenate([[0], self._ends[:-1]]), strict=True))
        count = dict(zip(self._types, np.diff(np.concatenate([[0], self._ends])), strict=True))
        for edge, number in self._numbers.items():
            other = (number + self._half) % (2 * self._half)
            pairs = torch.cat(
                [
                    torch.stack([source, answer])[:, relation == number],
                    torch.stack([answer, source])[:, relation == other],
                ],
                dim=1,
            )
            here = pairs - torch.tensor([[int(first[edge[0]])], [int(first[edge[2]])]])
            bounds = torch.tensor([[int(count[edge[0]])], [int(count[edge[2]])]])
            inside = ((here >= 0) & (here < bounds)).all(dim=0)
            if inside.any():
                found[edge] = here[:, inside]
        return found
