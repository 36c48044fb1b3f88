"""What a store is on disk: sealed segments, a list of what is deleted, and the manifest that names them.

| file | is written | holds |
|---|---|---|
| `store.json` | anew by every write, in one step | the manifest |
| `segments/<generation>/` | once | items written together: an `Index`, as `Index.save` writes it |
| `dead-<generation>.safetensors` | once | which places of the segments are deleted |

A write first removes what the manifest that it starts from does not name: what a killed writer has left, and what the
write before it has made superfluous. So a reader that is opening a store has a whole write's time to read its files; if
they are gone all the same, it starts over from the manifest that is there by then. One that has opened the store needs
no file any more.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from mmgraph.data.format import sync_folder
from mmgraph.errors import ArtifactError
from mmgraph.files import read_json, sha256, write_bytes, write_json
from mmgraph.index.base import Index
from mmgraph.index.saved import check_format
from mmgraph.index.saved import load as load_index
from mmgraph.index.snapshot import Segment

FORMAT, VERSION = "mmgraph.store", 1


@dataclass(frozen=True)
class Manifest:
    """What a store holds and how; see `Store.create`.

    Attributes:
        generation: How many writes there were.
        columns: The names of all metadata columns that items ever had.
        segments: Name and digest of each segment, in order.
        dead: Name and digest of the file that says what is deleted; empty where nothing is.
    """

    channels: int
    metric: str
    fingerprint: str
    model: str
    large: str
    exact_below: int
    generation: int = 0
    columns: tuple[str, ...] = ()
    segments: tuple[tuple[str, str], ...] = ()
    dead: tuple[str, str] = ("", "")


class Journal:
    """The files of a store; who commits must hold the lock."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._path = folder / "store.json"

    def create(self, manifest: Manifest) -> None:
        """Writes the manifest of an empty store.

        Raises:
            ArtifactError: There is a store already.
        """
        if self._path.exists():
            raise ArtifactError(f"Folder {str(self.folder)!r} must hold no store yet, got one; open it with Store")
        (self.folder / "segments").mkdir(parents=True, exist_ok=True)
        self._write(manifest)

    def manifest(self) -> Manifest:
        """Reads what the store holds by now.

        Raises:
            ArtifactError: The folder is no store, damaged, or of a newer format.
        """
        if not self.folder.is_dir():
            raise ArtifactError(f"Folder {str(self.folder)!r} must exist; it does not: make it with Store.create")
        meta = read_json(self._path)
        check_format(self.folder, meta, FORMAT, VERSION)
        held = meta.get("holds")
        try:
            if _digest(held) != meta.get("sha256"):
                raise ValueError("its sha256 is another one")
            found = {one.name: held[one.name] for one in fields(Manifest)}
            found["segments"] = tuple((str(name), str(digest)) for name, digest in found["segments"])
            found["dead"] = (str(found["dead"][0]), str(found["dead"][1]))
            return Manifest(**{**found, "columns": tuple(found["columns"])})
        except (KeyError, TypeError, ValueError) as error:
            raise ArtifactError(
                f"File {str(self._path)!r} must be as it was written, but {type(error).__name__}: {error}; "
                "restore a copy of the whole store"
            ) from error

    def read(self, known: Sequence[Segment] = ()) -> tuple[Manifest, list[Segment]]:
        """Reads what the store holds now.

        Args:
            known: Segments read before, which need not be read again.

        Raises:
            ArtifactError: The folder is no store, damaged, or of a newer format.
        """
        while True:
            manifest = self.manifest()
            try:
                return manifest, self._segments(manifest, {one.name: one for one in known})
            except (ArtifactError, OSError) as error:
                if self.manifest() != manifest:
                    continue  # a writer has removed what this one named
                if isinstance(error, ArtifactError):
                    raise
                raise ArtifactError(
                    f"Store {str(self.folder)!r} must be as it was written, but {error}; restore a copy"
                ) from error

    def commit(
        self, manifest: Manifest, kept: Sequence[Segment], new: Index | None, columns: Sequence[str]
    ) -> tuple[Manifest, list[Segment]]:
        """Seals the new items, and replaces the manifest; what it returns is what `read` would.

        Args:
            manifest: What the store holds now.
            kept: Its segments that stay, with what is deleted from them now.
            new: The items that come after them.
            columns: All metadata columns.
        """
        self._sweep(manifest)
        generation = manifest.generation + 1
        segments = [one for one in kept if len(one)]
        if new is not None:
            segments.append(self._seal(f"{generation:09d}", new))
        dead = {one.name: np.array(sorted(one.dead)) for one in segments if one.dead}
        manifest = replace(
            manifest,
            generation=generation,
            columns=tuple(columns),
            segments=tuple((one.name, one.digest) for one in segments),
            dead=self._bury(f"dead-{generation:09d}.safetensors", dead) if dead else ("", ""),
        )
        self._write(manifest)
        return manifest, segments

    def _seal(self, name: str, index: Index) -> Segment:
        folder = self.folder / "segments" / name
        index.save(folder)
        for file in folder.iterdir():
            with file.open("rb") as handle:
                os.fsync(handle.fileno())
        sync_folder(folder)
        sync_folder(folder.parent)
        return Segment(name, sha256(folder / "sha256.json"), index)

    def _bury(self, name: str, dead: Mapping[str, np.ndarray]) -> tuple[str, str]:
        data = save(dict(dead))
        write_bytes(self.folder / name, data)
        return name, hashlib.sha256(data).hexdigest()

    def _sweep(self, manifest: Manifest) -> None:
        named = {name for name, _ in manifest.segments}
        for path in (self.folder / "segments").iterdir():
            if path.name not in named:
                shutil.rmtree(path, ignore_errors=True)
        for path in self.folder.glob("dead-*"):
            if path.name != manifest.dead[0]:
                path.unlink(missing_ok=True)

    def _segments(self, manifest: Manifest, known: Mapping[str, Segment]) -> list[Segment]:
        dead = self._dead(manifest)
        found = []
        for name, digest in manifest.segments:
            one = known.get(name)
            if one is None or one.digest != digest:
                one = self._segment(name, digest)
            found.append(replace(one, dead=frozenset(dead.get(name, np.empty(0)).tolist())))
        return found

    def _segment(self, name: str, digest: str) -> Segment:
        folder = self.folder / "segments" / name
        index = load_index(folder)
        if (got := sha256(folder / "sha256.json")) != digest:
            raise ArtifactError(
                f"Segment {str(folder)!r} must be the one that the store names: sha256 must be {digest[:12]}…, "
                f"got {got[:12]}…; restore a copy of the whole store"
            )
        return Segment(name, digest, index)

    def _dead(self, manifest: Manifest) -> dict[str, np.ndarray]:
        name, digest = manifest.dead
        if not name:
            return {}
        data = (self.folder / name).read_bytes()
        if hashlib.sha256(data).hexdigest() != digest:
            raise ArtifactError(f"File {str(self.folder / name)!r} is damaged; restore a copy of the whole store")
        try:
            return load(data)
        except SafetensorError as error:
            raise ArtifactError(f"File {str(self.folder / name)!r} is damaged: {error}; restore a copy") from error

    def _write(self, manifest: Manifest) -> None:
        held = asdict(manifest)
        write_json(self._path, {"format": FORMAT, "version": VERSION, "sha256": _digest(held), "holds": held})
        sync_folder(self.folder)


def _digest(held: Any) -> str:
    text = json.dumps(held, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()
