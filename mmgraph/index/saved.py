"""Saved indexes, read back."""

from collections.abc import Callable, Mapping
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
    model: str | None = None,
    subgraph: "Callable[[int], HeteroData] | None" = None,
) -> Index:
    """Reads an index that `Index.save` wrote, of the kind that it was.

    Args:
        folder: The folder that was written.
        fingerprint: The fingerprint of the schema that queries will be made under; None trusts the caller.
        model: The digest of the model that queries will be made by; None trusts the caller.
        subgraph: Gives the graph of the item at a position; fills ``Hit.subgraph``.

    Returns:
        An index that gives the answers of the one that was saved.

    Raises:
        ArtifactError: The folder is missing, damaged, no index, of a newer format, or was made under a
            schema with another fingerprint or by another model.
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
    check_format(folder, meta, FORMAT, VERSION)
    try:
        check_origin(folder, meta, fingerprint=fingerprint, model=model)
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


def check_format(folder: Path, meta: Any, format: str, version: int) -> None:
    """Checks that a folder holds what it should, in a version that is known.

    Raises:
        ArtifactError: It does not.
    """
    got = meta.get("format") if isinstance(meta, dict) else meta
    if got != format:
        raise ArtifactError(
            f"Folder {str(folder)!r} must hold the format {format!r}, got {got!r}; give the folder of one"
        )
    got = meta.get("version")
    if not isinstance(got, int) or got > version:
        raise ArtifactError(
            f"Folder {str(folder)!r} must have format version {version} or older, got {got!r}; "
            "upgrade mmgraph, or make it again"
        )


def check_origin(
    folder: Path, made: Mapping[str, Any], *, fingerprint: str | None = None, model: str | None = None
) -> None:
    """Checks that vectors were made under the schema, and by the model, that queries will be made with.

    Raises:
        ArtifactError: They were not; None is not compared.
    """
    if fingerprint is not None and made["fingerprint"] != fingerprint:
        raise ArtifactError(
            f"Index of another schema: {str(folder)!r} must have fingerprint {fingerprint[:12]!r}, "
            f"got {made['fingerprint'][:12]!r}; build it again from vectors made under the present schema, "
            "or use the schema that it was made under"
        )
    if model is not None and made.get("model", "") != model:
        raise ArtifactError(
            f"Index of another model: {str(folder)!r} must have model {model[:12]!r}, "
            f"got {made.get('model', '')[:12]!r}; build it again from vectors of the present model, "
            "or use the model that made it"
        )


def _read(folder: Path, meta: dict[str, Any], subgraph: "Callable[[int], HeteroData] | None") -> Index:
    vectors = load_file(folder / "vectors.safetensors")["vectors"]
    if list(vectors.shape) != meta["shape"]:
        raise DataError(f"vectors must have shape {meta['shape']}, got {list(vectors.shape)}")
    known = {name: meta[name] for name in ("metadata", "metric", "fingerprint")} | {"model": meta.get("model", "")}
    if meta["kind"] == Exact.kind:
        return Exact(vectors, meta["ids"], subgraph=subgraph, **known)
    built = require("faiss", extra="index").read_index(str(folder / "index.faiss"))
    return Faiss(vectors, meta["ids"], subgraph=subgraph, kind=meta["kind"], built=built, **known, **meta["options"])
