"""Folders of models to a hub, and from there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mmgraph.errors import ArtifactError, ConfigError
from mmgraph.optional import require
from mmgraph.pretrained.layout import FILES, HUB, check_folder

_NAME = re.compile(r"[\w.-]+/[\w.-]+")


def push(
    folder: str | Path,
    target: str,
    *,
    revision: str | None = None,
    private: bool = False,
    message: str = "A model of mmgraph",
    endpoint: str | None = None,
) -> str:
    """Puts a model's folder on the hub, as one commit of the five files that are ours.

    Who you are is the hub's affair: it reads the token of ``hf auth login``, or ``HF_TOKEN``.

    Args:
        folder: What :func:`save_pretrained` has written; it is checked first.
        target: ``hub:owner/name``; made if it is not there.
        revision: The branch; by default ``main``.
        private: Whether a repository that is made is seen by you alone.
        message: Of the commit.
        endpoint: Address of the hub.

    Returns:
        The commit, by which exactly this state is loaded: ``from_pretrained(target, revision=commit)``.

    Raises:
        ArtifactError: The folder is half-written or damaged, or the hub refuses.
        ConfigError: A target of another form.
        MissingPackageError: huggingface_hub is not installed.
    """
    name, package = _name(target), require("huggingface_hub", extra="hub")
    folder = Path(folder)
    check_folder(folder)
    api = package.HfApi(endpoint=endpoint, library_name="mmgraph")
    there = [file for file in FILES if (folder / file).is_file()]
    adds = [package.CommitOperationAdd(path_in_repo=file, path_or_fileobj=folder / file) for file in there]
    with _told(target):
        api.create_repo(name, private=private, exist_ok=True)
        if revision is not None:
            api.create_branch(name, branch=revision, exist_ok=True)
        done = api.create_commit(name, adds, commit_message=message, revision=revision)
    return str(done.oid)


def pull(
    source: str,
    *,
    revision: str | None = None,
    local_files_only: bool = False,
    cache: str | Path | None = None,
    endpoint: str | None = None,
) -> Path:
    """Fetches a model from the hub, or finds it in the cache; only the files that are ours, checked by their digests.

    Args:
        source: ``hub:owner/name``.
        revision: Commit, tag or branch.
        local_files_only: Whether to ask no one.
        cache: Folder of the cache.
        endpoint: Address of the hub.

    Returns:
        The folder in the cache; its name is the commit.

    Raises:
        ArtifactError: It is not there, can't be reached, or is damaged.
        ConfigError: A source of another form.
        MissingPackageError: huggingface_hub is not installed.
    """
    name, package = _name(source), require("huggingface_hub", extra="hub")
    with _told(f"{source} (revision {revision or 'main'})"):
        found = package.snapshot_download(
            name,
            revision=revision,
            allow_patterns=list(FILES),
            cache_dir=cache,
            local_files_only=local_files_only,
            endpoint=endpoint,
            library_name="mmgraph",
            tqdm_class=_quiet(package),
        )
    folder = Path(found)
    if not folder.is_dir():
        raise ArtifactError(f"{source} must hold a model of mmgraph, revision {folder.name} has none of its files")
    check_folder(folder)
    return folder


def _name(target: str) -> str:
    name = target.removeprefix(HUB)
    if not target.startswith(HUB) or not _NAME.fullmatch(name):
        raise ConfigError(f"A model on the hub must be named {HUB}owner/name, got {target!r}")
    return name


def _quiet(package: Any) -> Any:
    """Bars of progress that are not shown."""

    class Quiet(package.utils.tqdm):
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **{**options, "disable": True})

    return Quiet


@contextmanager
def _told(what: str) -> Iterator[None]:
    """Errors of the hub as ours."""
    errors = require("huggingface_hub.errors", extra="hub")
    try:
        yield
    except errors.RepositoryNotFoundError:
        raise ArtifactError(
            f"{what} must be a repository that you may read, there is none; look at the name, or log in: hf auth login"
        ) from None
    except errors.RevisionNotFoundError:
        raise ArtifactError(f"{what} must be a revision that there is, the hub has none of that name") from None
    except errors.LocalEntryNotFoundError:
        raise ArtifactError(
            f"{what} is not in the cache and the hub can't be asked (no connection, or offline is set); fetch it once "
            "while online, or give the path of a folder"
        ) from None
    except (errors.HfHubHTTPError, errors.OfflineModeIsEnabled, OSError, ValueError) as error:
        raise ArtifactError(f"{what}: the hub did not do what it was asked to: {str(error).strip()}") from None
