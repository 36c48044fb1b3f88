"""What a graph is built from: its declaration, and the tables and files that it speaks of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from mmgraph.assembly.config import EncoderConfig, GraphConfig, read_config
from mmgraph.errors import ConfigError
from mmgraph.schema import Modality

if TYPE_CHECKING:
    from mmgraph.assembly.built import Built


@dataclass(frozen=True)
class Source:
    """A declared graph with its tables: what :func:`build_graph` reads, and many datasets give.

    Args:
        config: The declaration.
        tables: Name → a table in memory, of Arrow or what becomes one (a data frame, a mapping of lists); a name that
            is not here is a file below the root.
        root: Folder below which files are looked for; ``None`` if there are none.

    Example:
        >>> import pyarrow as pa
        >>> source = Source(
        ...     GraphConfig(nodes={"film": {"table": "films", "key": "id", "columns": {"plot": "text"}}}),
        ...     tables={"films": pa.table({"id": ["a", "b"], "plot": ["A dog runs.", None]})},
        ... )
        >>> source.config.modality_nodes
        {'plot': ('film', ('plot',))}
    """

    config: GraphConfig
    tables: Mapping[str, Any] = field(default_factory=dict)
    root: Path | None = None

    @classmethod
    def read(cls, path: str | Path) -> Self:
        """Reads a declaration; its root is taken from the folder that it lies in.

        Raises:
            DataError: The file is missing, or is not TOML.
            ConfigError: It declares no graph.
        """
        path = Path(path)
        config = read_config(path)
        return cls(config, root=path.parent / config.root)

    def finish(self, built: Built) -> Built:
        """What a kind of source adds to the graph that was built from it; here nothing."""
        return built

    def with_split(self, **split: Any) -> Self:
        """The same with another split, or some of its settings changed (another ``seed``).

        Raises:
            ConfigError: A setting that can't be.

        Example:
            >>> nodes = {"film": {"table": "films"}}
            >>> source = Source(GraphConfig(nodes=nodes, split={"by": "random"}))
            >>> source.with_split(seed=3).config.split.seed
            3
        """
        before = self.config.split.model_dump() if self.config.split is not None else {}
        return replace(self, config=GraphConfig(**{**self.config.model_dump(), "split": {**before, **split}}))

    def with_encoders(self, **encoders: str | Mapping[str, Any]) -> Self:
        """The same with other encoders: modality node type → a kind, or a kind and its options.

        Raises:
            ConfigError: There is no such modality node type, it is tabular, or an encoder has no kind.

        Example:
            >>> config = GraphConfig(nodes={"film": {"table": "films", "columns": {"plot": "text"}}})
            >>> Source(config).with_encoders(plot="tokens").config.nodes["film"].columns["plot"].encoder
            'plot'
        """
        config = self.config
        for node, encoder in encoders.items():
            if node not in config.modality_nodes:
                raise ConfigError(f"encoders must be of {sorted(config.modality_nodes)}, got {node!r}")
            owner, columns = config.modality_nodes[node]
            if config.modality(node) is Modality.TABULAR:
                raise ConfigError(f"{node!r} is tabular: its encoder is 'columns', got {encoder!r}")
            options = {"kind": encoder} if isinstance(encoder, str) else dict(encoder)
            if not isinstance(options.get("kind"), str):
                raise ConfigError(f"The encoder of {node!r} must have a kind, got {options}")
            name = node
            while name in config.encoders and name != config.nodes[owner].columns[columns[0]].encoder:
                name += "_"
            changed = {
                column: one.model_copy(update={"encoder": name}) if column in columns else one
                for column, one in config.nodes[owner].columns.items()
            }
            table = config.nodes[owner].model_copy(update={"columns": changed})
            made = EncoderConfig(kind=options.pop("kind"), options=options)
            config = config.model_copy(
                update={"nodes": {**config.nodes, owner: table}, "encoders": {**config.encoders, name: made}}
            )
        return replace(self, config=config)
