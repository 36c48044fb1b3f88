"""A run as a model that others can load, without its recipe."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mmgraph.errors import ConfigError
from mmgraph.pretrained.card import Card
from mmgraph.pretrained.folder import save_pretrained
from mmgraph.pretrained.hub import push
from mmgraph.pretrained.layout import CONFIG, HUB, copy_folder
from mmgraph.run import Run


def share(source: str | Path, target: str, *, revision: str | None = None, private: bool = False) -> str:
    """Puts the model of a run, or one that is saved already, into a folder or on the hub.

    Args:
        source: Folder of a finished run, or of a saved model.
        target: A folder, or ``hub:owner/name``.
        revision: The branch on the hub.
        private: Whether a repository that is made is seen by you alone.

    Returns:
        Where it is: the folder, or ``hub:owner/name@commit``.

    Raises:
        ArtifactError: The source is neither, or damaged.
        ConfigError: A target that can't be.
    """
    source = Path(source)
    saved = (source / CONFIG).is_file()
    if not target.startswith(HUB):
        if revision is not None or private:
            raise ConfigError(f"revision and private are of repositories on the hub, {HUB}owner/name, got {target!r}")
        return str(copy_folder(source, Path(target)) if saved else save_run(Run.open(source), target))
    with tempfile.TemporaryDirectory() as folder:
        made = source if saved else save_run(Run.open(source), Path(folder) / "model")
        return f"{target}@{push(made, target, revision=revision, private=private)}"


def save_run(run: Run, folder: str | Path) -> Path:
    """Saves the full model of a run's first run, with its scores beside its controls.

    Args:
        run: The run.
        folder: Where to.

    Returns:
        The folder.
    """
    return save_pretrained(run.model, folder, card=run_card(run))


def run_card(run: Run) -> Card:
    """What a run says of its model."""
    recipe = run.recipe
    lead = recipe.description.split("\n\n")[0].strip()
    versions: Mapping[str, Any] = run.facts.get("versions", {})
    made = f"Made by the recipe `{recipe.name}` with mmgraph {versions.get('mmgraph')}, torch {versions.get('torch')}."
    return Card(
        title=recipe.title.rstrip("."),
        description=f"{lead}\n\n{made}".strip(),
        results=run.results,
        data=str(recipe.module.DATA),
        settings=asdict(run.config),
        tags=[recipe.name.replace("_", "-")],
    )
