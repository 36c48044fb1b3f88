"""Files written whole or not at all, and read only if their bytes are the ones written."""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mmgraph.errors import ArtifactError, ConfigError


def sha256(path: Path) -> str:
    """Returns the hex digest of a file's bytes, read in blocks of one mebibyte."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def write_bytes(path: Path, data: bytes) -> None:
    """Writes a file atomically: a reader sees the old bytes or the new ones, never a part.

    Example:
        >>> folder = getfixture("tmp_path")
        >>> write_bytes(folder / "a.txt", b"whole")
        >>> (folder / "a.txt").read_bytes()
        b'whole'
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(0o666 & ~_umask())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def write_json(path: Path, value: Any) -> None:
    """Writes JSON atomically, indented, keys in the order given; NaN is refused."""
    write_bytes(path, (json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode())


def read_json(path: Path) -> Any:
    """Reads JSON.

    Raises:
        ArtifactError: The file is missing or is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ArtifactError(f"File {str(path)!r} must exist; it does not: was the run finished?") from None
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ArtifactError(
            f"File {str(path)!r} must hold JSON, but {error}; make it again, or restore a copy"
        ) from None


def claim(path: Path, meta: Mapping[str, Any], what: str, advice: str, **more: Any) -> None:
    """Writes what a folder is for, or checks that it is for the same.

    Args:
        path: The file in the folder that says so.
        meta: What it says; all of it must be the same.
        what: What is in the folder, e.g. ``"a run"``.
        advice: What to do where it is for something else.
        **more: What is written beside it, and may differ.

    Raises:
        ConfigError: The folder is for something else.
        ArtifactError: The file can't be read.

    Example:
        >>> path = getfixture("tmp_path") / "run.json"
        >>> claim(path, {"seed": 0}, "a run", "choose another")
        >>> claim(path, {"seed": 0}, "a run", "choose another")
    """
    meta = json.loads(json.dumps(meta))
    if not path.exists():
        write_json(path, {**meta, **more})
        return
    written = read_json(path)
    found = written if isinstance(written, dict) else {}
    if odd := [key for key in meta if found.get(key) != meta[key]]:
        raise ConfigError(
            f"Folder {str(path.parent)!r} holds {what} with other settings (it has another {', '.join(odd)}); {advice}"
        )


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Gives an empty folder that becomes ``path`` when the block ends well, and vanishes otherwise.

    An older folder at ``path`` stays readable until the new one is complete.

    Example:
        >>> folder = getfixture("tmp_path") / "index"
        >>> with new_folder(folder) as draft:
        ...     _ = (draft / "ids.json").write_text("[]")
        >>> sorted(p.name for p in folder.iterdir())
        ['ids.json']
    """
    path = path.absolute()
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
    draft.chmod(0o777 & ~_umask())
    try:
        yield draft
        if path.exists():
            old = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}.old."))
            path.replace(old / path.name)
            draft.replace(path)
            shutil.rmtree(old)
        else:
            draft.replace(path)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise


def seal(folder: Path) -> None:
    """Writes ``sha256.json``, the digests of all files below a folder."""
    digests = {
        str(file.relative_to(folder)): sha256(file)
        for file in sorted(folder.rglob("*"))
        if file.is_file() and file != folder / "sha256.json"
    }
    write_json(folder / "sha256.json", digests)


def check_seal(folder: Path) -> None:
    """Checks that the files below a folder are the ones that were sealed.

    Raises:
        ArtifactError: A file is missing or its bytes have changed; the message names it.
    """
    if not folder.is_dir():
        raise ArtifactError(f"Folder {str(folder)!r} must exist; it does not")
    digests = read_json(folder / "sha256.json")
    if not isinstance(digests, dict):
        raise ArtifactError(f"File {str(folder / 'sha256.json')!r} must hold a JSON object; make it again")
    found = {str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()} - {"sha256.json"}
    if unsealed := sorted(found - set(digests)):
        raise ArtifactError(f"File {str(folder / unsealed[0])!r} is not among the sealed ones; make the artifact again")
    for name, expected in digests.items():
        file = folder / name
        if ".." in Path(name).parts or Path(name).is_absolute():
            raise ArtifactError(f"{str(folder / 'sha256.json')!r} names {name!r}, outside its folder")
        if not file.is_file():
            raise ArtifactError(f"File {str(file)!r} is missing; make the artifact again")
        if (got := sha256(file)) != expected:
            raise ArtifactError(
                f"File {str(file)!r} is damaged: sha256 must be {expected[:12]}…, got {got[:12]}…; "
                "make the artifact again, or restore a copy"
            )


def _umask() -> int:
    """What the user keeps from others; temporary files are made for the user alone, finished ones are not."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
