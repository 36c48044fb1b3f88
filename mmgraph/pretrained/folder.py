"""A model → a folder, and back."""

from __future__ import annotations

import platform
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from mmgraph.blueprint import blueprint, first_difference, rebuild
from mmgraph.errors import ArtifactError, ConfigError, SchemaError
from mmgraph.files import new_folder, read_json, seal, write_bytes, write_json
from mmgraph.pretrained.agree import check_schema, schema_difference, schema_of
from mmgraph.pretrained.card import Card, check_card
from mmgraph.pretrained.hub import pull
from mmgraph.pretrained.layout import CONFIG, HUB, README, SCHEMA, WEIGHTS, check_folder, check_place
from mmgraph.schema import Schema

FORMAT = "mmgraph.model/1"
PACKAGES = ("mmgraph", "torch", "torch-geometric", "safetensors")


def save_pretrained(model: nn.Module, folder: str | Path, *, card: Card | None = None) -> Path:
    """Saves a model as a folder that :func:`from_pretrained` loads; written whole or not at all.

    The model is made anew from what is written, and compared with the one that was given: one that was changed by hand
    after it was made, so that a loaded one would be another, is refused.

    Args:
        model: A :class:`~mmgraph.Model`, :class:`~mmgraph.Aligner`, :class:`~mmgraph.Linker`,
            :class:`~mmgraph.Translator`, or another with a schema.
        folder: Where to; a model that is there is replaced.
        card: What to say of it.

    Returns:
        The folder.

    Raises:
        ConfigError: A class or an argument that no file may name, a model that was changed, weights that no state dict
            holds, or a folder with other files in it.

    Example:
        >>> from mmgraph.model import classifier
        >>> from mmgraph.testing import fake_graph
        >>> graph, schema = fake_graph()
        >>> model = classifier(schema).eval()
        >>> folder = save_pretrained(model, getfixture("tmp_path") / "mine")
        >>> torch.equal(from_pretrained(folder)(graph), model(graph))
        True
    """
    folder, schema = Path(folder), schema_of(model)
    check_place(folder)
    tree, state = blueprint(model), _state(model)
    tensors, shared = _apart(state)
    _check_twin(model, tree, state)
    config = {
        "format": FORMAT,
        "versions": {**{name: metadata.version(name) for name in PACKAGES}, "python": platform.python_version()},
        "shared": shared,
        "blueprint": tree,
    }
    with new_folder(folder) as draft:
        save_file(tensors, draft / WEIGHTS)
        write_json(draft / CONFIG, config)
        write_bytes(draft / SCHEMA, schema.to_json().encode())
        seal(draft)
        write_bytes(draft / README, (card or Card()).text(schema, type(model).__name__).encode())
    return folder


def from_pretrained(
    source: str | Path,
    *,
    schema: Schema | None = None,
    revision: str | None = None,
    local_files_only: bool = False,
    cache: str | Path | None = None,
    endpoint: str | None = None,
) -> Any:
    """Loads a model, in evaluation mode.

    Args:
        source: A folder that :func:`save_pretrained` has written, or ``hub:owner/name``.
        schema: That of the data that the model is for; it must be the model's.
        revision: Commit, tag or branch on the hub; a commit is the only one that stays what it is.
        local_files_only: Take what the hub's cache holds, and ask no one.
        cache: Folder of the hub's cache; by default the hub's own.
        endpoint: Address of the hub; by default the hub's own.

    Raises:
        ArtifactError: The folder is none of ours, half-written, damaged, or of classes that are not known here.
        SchemaError: Config, card and schema disagree, or ``schema`` is another.
        ConfigError: A revision of a folder.
        MissingPackageError: huggingface_hub is not installed, for a model on the hub.
    """
    if str(source).startswith(HUB):
        folder = pull(str(source), revision=revision, local_files_only=local_files_only, cache=cache, endpoint=endpoint)
    else:
        folder = Path(source)
        if revision is not None:
            raise ConfigError(f"revision is of a model on the hub, 'hub:owner/name', got {revision!r} for {folder}")
    config, saved = _read(folder)
    try:
        model = rebuild(config.get("blueprint"))
        model = _restored(model, _whole(_load(folder), config.get("shared", {})))
    except ArtifactError as error:
        raise ArtifactError(f"{str(folder)!r} can't be loaded: {error} ({_versions(config)})") from None
    if (found := schema_difference(schema_of(model), saved)) is not None:
        raise SchemaError(
            f"{CONFIG} and {SCHEMA} in {str(folder)!r} must say the same, but {found}; one is of another model: "
            "save it again, or take the whole folder anew"
        )
    if schema is not None:
        check_schema(model, schema)
    return model.eval()


def _read(folder: Path) -> tuple[dict[str, Any], Schema]:
    check_folder(folder)
    config = read_json(folder / CONFIG)
    if not isinstance(config, dict) or config.get("format") != FORMAT:
        got = config.get("format") if isinstance(config, dict) else config
        raise ArtifactError(f"{str(folder / CONFIG)!r} must be of format {FORMAT!r}, got {got!r}")
    schema = Schema.from_json((folder / SCHEMA).read_text(encoding="utf-8"))
    if (folder / README).is_file():
        check_card((folder / README).read_text(encoding="utf-8"), schema, str(folder / README))
    return config, schema


def _state(model: nn.Module) -> dict[str, Tensor]:
    state = model.state_dict()
    if odd := [name for name, value in state.items() if not isinstance(value, Tensor)]:
        raise ConfigError(f"All of a state dict must be tensors to be saved, {odd[0]!r} is none; keep it as a buffer")
    return {name: tensor.detach().cpu() for name, tensor in state.items()}


def _apart(state: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors that share no memory, and the names of those that are another's: tied weights are written once."""
    first: dict[tuple[object, ...], str] = {}
    tensors, shared = {}, {}
    for name, tensor in state.items():
        key = (tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype)
        if tensor.numel() and key in first:
            shared[name] = first[key]
            continue
        first[key] = name
        tensors[name] = tensor.clone(memory_format=torch.contiguous_format)
    return tensors, shared


def _check_twin(model: nn.Module, tree: Any, state: dict[str, Tensor]) -> None:
    """Checks that what is written makes the same model."""
    try:
        twin = rebuild(tree)
    except ArtifactError as error:
        raise ConfigError(f"The model can't be made from its arguments: {error}") from None
    if twin.state_dict().keys() == state.keys():
        _take_dtypes(twin, state)
    if (found := first_difference(model, twin)) is not None:
        raise ConfigError(
            f"The model must be as its arguments made it, but {found} (as it is, as it was made); a loaded one would "
            "be another: make it anew with what you want, and load its weights into that"
        )


def _take_dtypes(model: nn.Module, state: dict[str, Tensor]) -> None:
    for name, tensor in model.state_dict(keep_vars=True).items():
        if tensor.dtype != state[name].dtype:
            tensor.data = tensor.data.to(state[name].dtype)


def _load(folder: Path) -> dict[str, Tensor]:
    try:
        loaded: dict[str, Tensor] = load_file(folder / WEIGHTS)
    except (OSError, SafetensorError) as error:
        raise ArtifactError(f"{WEIGHTS} must hold tensors: {error}; save the model again") from None
    return loaded


def _whole(tensors: dict[str, Tensor], shared: Any) -> dict[str, Tensor]:
    if not isinstance(shared, dict) or any(name not in tensors for name in shared.values()):
        raise ArtifactError(f"{CONFIG} must say which weights are shared, got {shared!r}; save the model again")
    return {**tensors, **{name: tensors[first] for name, first in shared.items()}}


def _restored(model: Any, state: dict[str, Tensor]) -> nn.Module:
    if not isinstance(model, nn.Module):
        raise ArtifactError(f"a blueprint must be of a module, got a {type(model).__name__}")
    wanted = {name: tensor.shape for name, tensor in model.state_dict().items()}
    for name in dict.fromkeys([*wanted, *state]):
        need, got = wanted.get(name), state[name].shape if name in state else None
        if need != got:
            raise ArtifactError(
                f"weights must fit the model, {name!r} is {_shape(need)} in the model and {_shape(got)} in the file"
            )
    _take_dtypes(model, state)
    model.load_state_dict(state)
    return model


def _shape(shape: torch.Size | None) -> str:
    return "missing" if shape is None else str(list(shape))


def _versions(config: dict[str, Any]) -> str:
    theirs = config.get("versions")
    made = theirs.get("mmgraph") if isinstance(theirs, dict) else None
    return f"it was saved by mmgraph {made}, this is {metadata.version('mmgraph')}"
