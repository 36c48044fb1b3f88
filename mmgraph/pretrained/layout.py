"""The files of a model's folder, and whether they are all there and whole."""

from __future__ import annotations

import shutil
from pathlib import Path

from mmgraph.errors import ArtifactError, ConfigError
from mmgraph.files import new_folder, read_json, sha256

HUB = "hub:"
"""What the name of a model on the hub begins with, so that it is never mistaken for a folder."""
CONFIG, WEIGHTS, SCHEMA, SEAL, README = "config.json", "model.safetensors", "schema.json", "sha256.json", "README.md"
SEALED = (CONFIG, WEIGHTS, SCHEMA)  # the card may be written on
FILES = (*SEALED, SEAL, README)


def check_folder(folder: Path) -> None:
    """Checks that a folder holds a whole model, byte for byte as it was saved.

    Raises:
        ArtifactError: A file is missing or damaged; the message names it.
    """
    if not folder.is_dir():
        raise ArtifactError(
            f"Folder {str(folder)!r} must hold a model, it does not exist; one on the hub is named {HUB}owner/name"
        )
    if missing := [name for name in (*SEALED, SEAL) if not (folder / name).is_file()]:
        raise ArtifactError(
            f"Folder {str(folder)!r} must hold {', '.join((*SEALED, SEAL))}, {missing[0]} is missing: it is half-"
            "written or no model of mmgraph; save it again, or take the whole folder anew"
        )
    digests = read_json(folder / SEAL)
    if not isinstance(digests, dict) or sorted(digests) != sorted(SEALED):
        raise ArtifactError(
            f"File {str(folder / SEAL)!r} must hold the digests of {list(SEALED)}; save the model again"
        )
    for name in SEALED:
        if (got := sha256(folder / name)) != digests[name]:
            raise ArtifactError(
                f"File {str(folder / name)!r} is damaged: sha256 must be {str(digests[name])[:12]}…, got {got[:12]}…; "
                "save the model again, or take the whole folder anew"
            )


def check_place(folder: Path) -> None:
    """Checks that nothing is lost where a model is written.

    Raises:
        ConfigError: There is something else.
    """
    if folder.is_file():
        raise ConfigError(f"folder must be one, got the file {str(folder)!r}; name another")
    if not folder.is_dir():
        return
    if others := sorted(path.name for path in folder.iterdir() if path.name not in FILES):
        raise ConfigError(
            f"Folder {str(folder)!r} must be new, empty or a model's, it holds {others[0]!r}; name another"
        )


def copy_folder(source: Path, target: Path) -> Path:
    """Copies a model's files, all or none.

    Raises:
        ArtifactError: The source is no whole model.
        ConfigError: There is something else at the target.
    """
    check_folder(source)
    check_place(target)
    with new_folder(target) as draft:
        for name in FILES:
            if (source / name).is_file():
                shutil.copyfile(source / name, draft / name)
    return target
