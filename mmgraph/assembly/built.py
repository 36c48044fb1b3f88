"""A built graph: in memory, in a folder, and found again by its payloads."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import quote

from mmgraph.assembly.config import GraphConfig
from mmgraph.assembly.rejected import Rejection, read_rejected, write_rejected
from mmgraph.data import Collection, CollectionWriter, PayloadKey, Stream
from mmgraph.encoders import Frozen
from mmgraph.encoders.registry import load_frozen, save_frozen
from mmgraph.errors import ArtifactError, ConfigError, DataError
from mmgraph.files import check_seal, new_folder, read_json, seal, write_json
from mmgraph.index import Hit
from mmgraph.schema import Schema

if TYPE_CHECKING:
    from torch_geometric.data import HeteroData

FORMAT = "mmgraph.graph/1"
PAYLOAD, KEY = "payload", "key"
BESIDE = "about"  # the folder with what stands beside the collection


@dataclass(frozen=True)
class Built:
    """A graph with what its nodes stand for, how it was encoded, and what was set aside.

    Made by :func:`build_graph`, or opened from the folder that :meth:`write` wrote.

    Args:
        config: The declaration.
        graph: All nodes and relations, with targets and the masks of the split.
        schema: What they mean, and which encoder made which features.
        keys: Node type with a table (or of the values of a column) → the key of each node.
        notes: (node type, column) → what was kept beside each node, or ``None``.
        encoders: Modality node type → gives its encoder.
        kinds: Modality node type → the kind and the options that its encoder was made of.
        payloads: Modality node type → gives its payloads in order: texts, bytes of files, JSON of the rest.
        rejected: What was set aside.

    Example:
        >>> import pyarrow as pa
        >>> from mmgraph.assembly import GraphConfig, Source, build_graph
        >>> films = pa.table({"id": ["a", "b"], "plot": ["A dog runs in the rain.", "Two thieves meet."]})
        >>> config = GraphConfig(nodes={"film": {"table": "films", "key": "id", "columns": {"plot": "text"}}})
        >>> built = build_graph(Source(config, {"films": films}))
        >>> built.search({"plot": "the dog"}, k=1)[0].id
        'a'
        >>> collection = built.write(getfixture("tmp_path") / "films")
        >>> collection.payload("plot", "payload").to_pylist()
        ['A dog runs in the rain.', 'Two thieves meet.']
        >>> Built.open(getfixture("tmp_path") / "films").keys["film"]
        ['a', 'b']
    """

    config: GraphConfig
    graph: HeteroData
    schema: Schema
    keys: Mapping[str, Sequence[str]]
    notes: Mapping[tuple[str, str], Sequence[str | None]]
    encoders: Mapping[str, Callable[[], Frozen]] = field(repr=False)
    kinds: Mapping[str, tuple[str, Mapping[str, Any]]] = field(repr=False)
    payloads: Mapping[str, Callable[[], Iterable[str | bytes]]] = field(repr=False)
    rejected: Sequence[Rejection] = ()

    @property
    def anchor(self) -> str:
        """The node type that the modalities speak about."""
        return self.config.anchor

    @property
    def ids(self) -> Sequence[str]:
        """The keys of the anchors."""
        return self.keys[self.anchor]

    def encoder(self, node: str) -> Frozen:
        """The encoder that made the features of a modality node type.

        Raises:
            ConfigError: There is no such node type.
            ArtifactError: It was given as an object when the graph was built, or has changed since.
        """
        if node not in self.encoders:
            raise ConfigError(f"A modality node type must be one of {sorted(self.encoders)}, got {node!r}")
        encoder = self.encoders[node]()
        if encoder.identity != self.schema.nodes[node].encoder:
            raise ArtifactError(
                f"The encoder of {node!r} must be {self.schema.nodes[node].encoder}, by which its features were made, "
                f"got {encoder.identity}; build again"
            )
        return encoder

    def payload(self, node: str, row: int) -> str | bytes:
        """What one modality node stands for: a text, the bytes of a file, JSON of the rest.

        Raises:
            ConfigError: There is no such node type.
            DataError: It has no such row.
        """
        if node not in self.payloads:
            raise ConfigError(f"A modality node type must be one of {sorted(self.payloads)}, got {node!r}")
        rows = self.graph[node].num_nodes
        if not 0 <= row < rows:
            raise DataError(f"A row of {node!r} must be between 0 and {rows - 1}, got {row}")
        return next(islice(self.payloads[node](), row, None))

    def search(self, payloads: Mapping[str, Any], *, k: int = 10, hops: int = 1) -> list[Hit]:
        """Finds the anchors whose subgraphs are most like some payloads.

        See :func:`mmgraph.assembly.search.search`.
        """
        from mmgraph.assembly.search import search

        return search(self, payloads, k=k, hops=hops)

    def write(self, folder: str | Path) -> Collection:
        """Writes the graph, its payloads and its encoders as a collection of one sample; all of it or nothing.

        Args:
            folder: A new folder, an empty one, or that of a graph, which stays until the new one is complete.

        Raises:
            ConfigError: The folder holds something else.
            DataError: A payload file has changed since the graph was built.
            ArtifactError: The disk refuses.
        """
        folder = Path(folder)
        check_folder(folder)
        with new_folder(folder) as draft:
            with CollectionWriter(draft, self.schema) as writer:
                writer.add(self.graph, payloads=self._written())
            with new_folder(draft / BESIDE) as beside:
                write_json(beside / "graph.json", self._facts())
                write_rejected(self.rejected, beside / "rejected.parquet")
                for node, (kind, options) in self.kinds.items():
                    save_frozen(kind, options, self.encoder(node), beside / "encoders" / quote(node, safe=""))
                seal(beside)
        return Collection(folder)

    @classmethod
    def open(cls, folder: str | Path) -> Self:
        """Opens a graph that was written.

        Raises:
            ArtifactError: A file is missing or damaged, or the folder holds something else.
        """
        beside = Path(folder) / BESIDE
        check_seal(beside)
        facts = read_json(beside / "graph.json")
        if facts.get("format") != FORMAT:
            raise ArtifactError(f"Folder {str(folder)!r} must hold a graph, {FORMAT}, got {facts.get('format')!r}")
        collection = Collection(folder)
        if collection.schema is None:
            raise ArtifactError(f"Folder {str(folder)!r} must hold a schema; build the graph again")
        return cls(
            config=GraphConfig(**facts["config"]),
            graph=collection[0],
            schema=collection.schema,
            keys={node: collection.payload(node, KEY).to_pylist() for node in facts["keys"]},
            notes={(node, name): collection.payload(node, name).to_pylist() for node, name in facts["notes"]},
            encoders={node: _Encoder(beside, node, known=node in facts["kinds"]) for node in facts["payloads"]},
            kinds={node: (kind, options) for node, (kind, options) in facts["kinds"].items()},
            payloads={node: _Stored(collection, node) for node in facts["payloads"]},
            rejected=read_rejected(beside / "rejected.parquet"),
        )

    def _written(self) -> dict[PayloadKey, Sequence[str | None] | Stream]:
        if KEY in {column for _, column in self.notes}:
            raise DataError(f"A column that is kept must not be called {KEY!r}; rename it")
        written: dict[PayloadKey, Sequence[str | None] | Stream] = {(node, KEY): one for node, one in self.keys.items()}
        written.update(self.notes)
        for node, read in self.payloads.items():
            written[node, PAYLOAD] = Stream(self.graph[node].num_nodes, read())
        return written

    def _facts(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "config": self.config.model_dump(mode="json", exclude_defaults=True),
            "keys": list(self.keys),
            "notes": [list(note) for note in self.notes],
            "payloads": list(self.payloads),
            "kinds": {node: [kind, dict(options)] for node, (kind, options) in self.kinds.items()},
            "rejected": len(self.rejected),
            "versions": {name: version(name) for name in ("mmgraph", "torch", "torch-geometric", "numpy", "pyarrow")},
        }


def check_folder(folder: Path) -> None:
    """Checks that a graph may be written to a folder: there is nothing yet, or a graph.

    Raises:
        ConfigError: There is something else.
    """
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    facts = read_json(folder / BESIDE / "graph.json") if (folder / BESIDE / "graph.json").is_file() else None
    if not isinstance(facts, dict) or facts.get("format") != FORMAT:
        raise ConfigError(
            f"{str(folder)!r} must be a new folder, or that of a graph, got something else; choose another"
        )


@dataclass
class _Encoder:
    """An encoder that is loaded when it is first asked for."""

    folder: Path
    node: str
    known: bool
    found: Frozen | None = None

    def __call__(self) -> Frozen:
        if not self.known:
            raise ArtifactError(
                f"The encoder of {self.node!r} was given as an object when the graph was built, and is not kept; "
                "declare it in [encoders], or build again"
            )
        if self.found is None:
            self.found = load_frozen(self.folder / "encoders" / quote(self.node, safe=""))
        return self.found


@dataclass(frozen=True)
class _Stored:
    """The payloads of a node type in a collection, one by one."""

    collection: Collection
    node: str

    def __call__(self) -> Iterable[str | bytes]:
        for chunk in self.collection.payload(self.node, PAYLOAD).chunks:
            for value in chunk:
                yield value.as_py()
