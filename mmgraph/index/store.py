"""Saved indexes, read back."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError
from safetensors.numpy import load_file

from mmgraph.errors import ArtifactError, ConfigError, DataError
from mmgraph.files import check_seal, read_json
from mmgraph.index.base import FORMAT, VERSION, Index
from mmgraph.index.exact import Exact
from mmgraph.index.faiss import Faiss
from mmgraph.optional import require

if TYPE_CHECKING:
    from torch_geometric.data import HeteroData


def load(
    folder: str | Path,
    *,
    fingerprint: str | None = None,
    subgraph: "Callable[[int], HeteroData] | None" = None,
) -> Index:
    """Reads an index that `Index.save` wrote, of the kind that it was.

    Args:
        folder: The folder that was written.
        fingerprint: The fingerprint of the schema that queries will be made under; None trusts the caller.
        subgraph: Gives the graph of the item at a position; fills ``Hit.subgraph``.

    Returns:
        An index that gives the answers of the one that was saved.

    Raises:
        ArtifactError: The folder is missing, damaged, no index, of a newer format, or was made under a
            schema with another fingerprint.
        MissingPackageError: The index was made with faiss, which is not installed.

    Example:
        >>> folder = getfixture("tmp_path") / "index"
        >>> Exact([[1, 0], [0, 1]], ["cat", "dog"], fingerprint="5eed").save(folder)
        >>> [hit.id for hit in load(folder, fingerprint="5eed").search([0, 1], k=1)]
        ['dog']
    """
    folder = Path(folder)
    check_seal(folder)
    meta = read_json(folder / "meta.json")
    _check_format(folder, meta)
    try:
        _check_schema(folder, meta["fingerprint"], fingerprint)
        return _read(folder, meta, subgraph)
    except (
        AttributeError,
        KeyError,
        TypeError,
        OSError,
        RuntimeError,
        SafetensorError,
        DataError,
        ConfigError,
    ) as error:
        raise ArtifactError(
            f"Index {str(folder)!r} must be as it was saved, but {type(error).__name__}: {error}; "
            "build it again, or restore a copy"
        ) from error


def _check_format(folder: Path, meta: Any) -> None:
    if not isinstance(meta, dict) or meta.get("format") != FORMAT:
        got = meta.get("format") if isinstance(meta, dict) else meta
        raise ArtifactError(
            f"Folder {str(folder)!r} must hold the format {FORMAT!r}, got {got!r}; give the folder of an index"
        )
    version = meta.get("version")
    if not isinstance(version, int) or version > VERSION:
        raise ArtifactError(
            f"Index {str(folder)!r} must have format version {VERSION} or older, got {version!r}; "
            "upgrade mmgraph, or build the index again"
        )


def _check_schema(folder: Path, made: str, wanted: str | None) -> None:
    if wanted is not None and made != wanted:
        raise ArtifactError(
            f"Index of another schema: {str(folder)!r} must have fingerprint {wanted[:12]!r}, "
            f"got {made[:12]!r}; build it again from vectors made under the present schema, "
            "or use the schema that it was made under"
        )


def _read(folder: Path, meta: dict[str, Any], subgraph: "Callable[[int], HeteroData] | None") -> Index:
    vectors = load_file(folder / "vectors.safetensors")["vectors"]
    if list(vectors.shape) != meta["shape"]:
        raise DataError(f"vectors must have shape {meta['shape']}, got {list(vectors.shape)}")
    known = {name: meta[name] for name in ("metadata", "metric", "fingerprint")}
    if meta["kind"] == Exact.kind:
        return Exact(vectors, meta["ids"], subgraph=subgraph, **known)
    built = require("faiss", extra="index").read_index(str(folder / "index.faiss"))
    return Faiss(vectors, meta["ids"], subgraph=subgraph, kind=meta["kind"], built=built, **known, **meta["options"])
