"""A causal language model from a folder: what it says of the next piece, from vectors put before or between its own."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mmgraph.blueprint import Recorded
from mmgraph.errors import ArtifactError, ConfigError, DataError
from mmgraph.files import check_seal
from mmgraph.optional import no_bars, require

CLOSED = -1e4
"""The logit of a number that is never next: its probability is 0 exactly, and 0 times its logarithm is 0, not NaN."""
_BLOCKS = ("transformer.h", "model.layers", "gpt_neox.layers", "model.decoder.layers")
_FIRST = 2  # number of the LM's piece 0


@dataclass(frozen=True)
class LanguageShape:
    """What a language model is made like, without its weights: what a blueprint says of one.

    Args:
        config: The config of transformers.
        pieces: How many pieces the tokenizer has.
    """

    config: Mapping[str, Any]
    pieces: int


class LanguageModel(Recorded):
    r"""A causal language model of transformers from a local folder, as a part of decoders: nothing is downloaded.

    Our numbers are its own: 0 (begin) is read as its first piece (``bos``, or the end where it has none), 1 is its end
    (``eos``), and number n is its piece n - 2, as :class:`~mmgraph.encoders.Subwords` makes them from the same folder.
    It has a logit for every number; those of 0 and of the end's second number are closed. So the probabilities of the
    others are exactly the model's.

    Frozen it stays as it is: no gradient, and no dropout while its parent trains; gradients flow through it. Its
    weights are in the state dict, as all others: a saved decoder is whole.

    Args:
        folder: With ``config.json``, weights in safetensors and ``tokenizer.json``; see :func:`train_language_model`.
            A :class:`LanguageShape` makes one with weights drawn at random, to restore others into.
        frozen: Whether it is left as it is.

    Attributes:
        channels: Width of its embeddings.
        vocabulary: How many numbers there are, 0 and 1 among them.
        context: Positions that it has, or ``None`` where it has no bound.

    Raises:
        ConfigError: The folder is not one of a causal language model, or holds weights as pickles alone, which are not
            read: to unpickle is to run code.
        ArtifactError: The weights are damaged or incomplete.
        MissingPackageError: transformers is not installed.

    Example:
        >>> from mmgraph.decoders import train_language_model
        >>> folder = train_language_model(["a cat", "a dog"], getfixture("tmp_path") / "lm", channels=8, epochs=1)
        >>> model = LanguageModel(folder)
        >>> logits, _ = model(model.embed(torch.tensor([[0, 70, 1]])))  # [rows, length, vocabulary]
        >>> logits.shape[:2], any(weight.requires_grad for weight in model.parameters())
        (torch.Size([1, 3]), False)
    """

    def __init__(self, folder: str | Path | LanguageShape, *, frozen: bool = True) -> None:
        super().__init__()
        self.frozen = frozen
        self.model, pieces = _shaped(folder) if isinstance(folder, LanguageShape) else _load(Path(folder))
        folder = "shape" if isinstance(folder, LanguageShape) else folder
        config = self.model.config
        end = config.eos_token_id[0] if isinstance(config.eos_token_id, list) else config.eos_token_id
        if end is None or not 0 <= end < pieces:
            raise ConfigError(
                f"The config of {str(folder)!r} must name the piece that ends a text, eos_token_id from 0 to "
                f"{pieces - 1}, got {end}; set it and save the model again"
            )
        begin = config.bos_token_id
        self.channels = int(self.model.get_input_embeddings().weight.shape[1])
        self.vocabulary = _FIRST + pieces
        self.context: int | None = getattr(config, "max_position_embeddings", None)
        self._begin, self._end = (begin if begin is not None and 0 <= begin < pieces else end), end
        self.requires_grad_(not frozen).eval()
        self._check_causal(folder)

    def train(self, mode: bool = True) -> LanguageModel:
        """Sets the mode; a frozen model stays in that of evaluation."""
        return super().train(mode and not self.frozen)

    def _described(self) -> dict[str, Any]:
        config = self.model.config.to_dict()
        config.pop("_name_or_path", None)  # where it was
        return {"folder": LanguageShape(config, self.vocabulary - _FIRST)}

    @property
    def blocks(self) -> nn.ModuleList:
        """Its blocks, first to last.

        Raises:
            ConfigError: They are not where models that are known have theirs.
        """
        for place in _BLOCKS:
            try:
                found = self.model.get_submodule(place)
            except AttributeError:
                continue
            if isinstance(found, nn.ModuleList):
                return found
        raise ConfigError(
            f"The language model must have its blocks at one of {list(_BLOCKS)}, as GPT-2 and Llama do, "
            f"got a {type(self.model).__name__}"
        )

    def embed(self, tokens: Tensor) -> Tensor:
        """The vectors of numbers, ``[..., channels]``: what :meth:`forward` reads."""
        pieces = torch.where(tokens == 0, self._begin, torch.where(tokens == 1, self._end, tokens - _FIRST))
        embedded: Tensor = self.model.get_input_embeddings()(pieces)
        return embedded

    def forward(
        self, vectors: Tensor, *, seen: Tensor | None = None, cache: Any = None, keep: bool = False
    ) -> tuple[Tensor, Any]:
        """The logits of every next number, and the keys and values that a further call goes on from.

        Args:
            vectors: What stands at each position, ``[rows, positions, channels]``.
            seen: Which positions are there, ``[rows, cached + positions]``, those in the cache first; all by default.
                The others are as if they had never been.
            cache: What an earlier call has kept; it is left as it was.
            keep: Whether to keep keys and values.

        Returns:
            ``[rows, positions, vocabulary]``, and the cache (``None`` without ``keep``).

        Raises:
            DataError: There are more positions than the model has.
        """
        rows, positions, _ = vectors.shape
        if rows == 0:  # which models of transformers do not take
            return vectors.new_zeros(0, positions, self.vocabulary), None
        before = 0 if cache is None else int(cache.get_seq_length())
        seen = vectors.new_ones(rows, before + positions, dtype=torch.bool) if seen is None else seen
        places = (seen.long().cumsum(dim=1) - 1).clamp_min(0)[:, before:]  # [rows, positions]
        if self.context is not None and places.numel() and int(places.max()) >= self.context:
            raise DataError(
                f"What a language model reads must fit in its {self.context} positions, got {int(places.max()) + 1}; "
                "shorten the texts (length of Subwords), or what is put before them"
            )
        said = self.model(
            inputs_embeds=vectors,
            attention_mask=seen.long(),
            position_ids=places,
            past_key_values=_copied(cache),
            use_cache=keep,
        )
        return self._in_numbers(said.logits), said.past_key_values if keep else None

    @staticmethod
    def reorder(cache: Any, rows: Tensor) -> Any:
        """The cache of some rows, each as often as it is named; the one given is left as it was."""
        copied = _copied(cache)
        if copied is not None:
            copied.reorder_cache(rows)
        return copied

    def _in_numbers(self, logits: Tensor) -> Tensor:
        """Logits of the model's pieces → of our numbers."""
        logits = logits[..., : self.vocabulary - _FIRST]
        closed = torch.full_like(logits[..., :1], CLOSED)
        end = logits[..., self._end : self._end + 1]
        return torch.cat([closed, end, logits[..., : self._end], closed, logits[..., self._end + 1 :]], dim=-1)

    @torch.no_grad()
    def _check_causal(self, folder: str | Path) -> None:
        """Checks that no position sees a later one, and that a cache changes nothing."""
        first, other = torch.tensor([[0, 2]]), torch.tensor([[0, 3]])
        try:
            whole, _ = self(self.embed(first))
            changed, _ = self(self.embed(other))
            _, cache = self(self.embed(first[:, :1]), keep=True)
            last, _ = self(self.embed(first[:, 1:]), cache=cache)
            good = torch.allclose(whole[:, :1], changed[:, :1], atol=1e-4) and torch.allclose(
                whole[:, 1:], last, rtol=1e-3, atol=1e-3
            )
        except (TypeError, AttributeError, ValueError) as error:
            raise ConfigError(
                f"{str(folder)!r} must hold a causal language model that reads vectors: {error}"
            ) from None
        if not good:
            raise ConfigError(
                f"{str(folder)!r} must hold a causal language model with a cache of keys and values, got a "
                f"{type(self.model).__name__} that sees later pieces, or says other things with a cache; take one like "
                "GPT-2 or Llama"
            )


def _load(folder: Path) -> tuple[Any, int]:
    """The model of a folder, and how many pieces its tokenizer has."""
    transformers, tokenizers = require("transformers", extra="text"), require("tokenizers", extra="text")
    _check_folder(folder)
    if (folder / "sha256.json").is_file():
        check_seal(folder)
    try:
        pieces = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json")).get_vocab_size(with_added_tokens=True)
    except Exception as error:  # tokenizers raises nothing narrower
        raise ArtifactError(f"tokenizer.json in {str(folder)!r} must be one of tokenizers: {error}") from None
    safetensors = require("safetensors", extra="text")
    with no_bars():
        try:
            model, found = transformers.AutoModelForCausalLM.from_pretrained(
                str(folder),
                local_files_only=True,
                use_safetensors=True,
                trust_remote_code=False,
                dtype=torch.float32,
                output_loading_info=True,
            )
        except (safetensors.SafetensorError, RuntimeError) as error:
            raise ArtifactError(f"The weights in {str(folder)!r} are damaged: {error}; restore a copy") from None
        except Exception as error:  # transformers raises nothing narrower
            raise ConfigError(
                f"folder must hold a causal language model that transformers knows without code of the folder's own, "
                f"got {str(folder)!r}: {error}"
            ) from None
    lacking = sorted(found["missing_keys"]) + sorted(str(key) for key in found["mismatched_keys"])
    if lacking:
        raise ArtifactError(
            f"The weights in {str(folder)!r} must be whole, {lacking[0]!r} is not there; restore a copy"
        )
    size = model.get_output_embeddings().weight.shape[0]
    if not 0 < pieces <= size:
        raise ConfigError(
            f"The tokenizer in {str(folder)!r} must have at most as many pieces as the model, {size}, got {pieces}"
        )
    return model, pieces


def _shaped(shape: LanguageShape) -> tuple[Any, int]:
    """A model with weights drawn at random."""
    transformers = require("transformers", extra="text")
    config = dict(shape.config)
    try:
        made = transformers.AutoModelForCausalLM.from_config(
            transformers.AutoConfig.for_model(config.pop("model_type"), **config), dtype=torch.float32
        )
    except Exception as error:  # transformers raises nothing narrower
        raise ConfigError(f"config must be one of a causal language model that transformers knows: {error}") from None
    return made, shape.pieces


def _check_folder(folder: Path) -> None:
    """Checks that the files are there."""
    if not folder.is_dir():
        raise ConfigError(
            f"folder must be one with a language model of transformers, got {str(folder)!r}, which is no folder; "
            "download one beforehand, or make one with train_language_model"
        )
    for name in ("config.json", "tokenizer.json"):
        if not (folder / name).is_file():
            raise ConfigError(
                f"The folder of a language model must hold {name}, {str(folder)!r} does not; write it with "
                "save_pretrained of the model and of its (fast) tokenizer"
            )
    if not any((folder / name).is_file() for name in ("model.safetensors", "model.safetensors.index.json")):
        pickles = sorted(path.name for path in folder.iterdir() if path.suffix in {".bin", ".pt", ".pth", ".ckpt"})
        got = f"pickles alone ({pickles[0]}), which are not read, as to unpickle is to run code" if pickles else "none"
        raise ConfigError(
            f"The folder of a language model must hold its weights as model.safetensors, {str(folder)!r} holds {got}; "
            "write them with save_pretrained"
        )


def _copied(cache: Any) -> Any:
    """A cache that can be added to without changing this one: its tensors are never written into."""
    if cache is None:
        return None
    copied = copy.copy(cache)
    copied.layers = [copy.copy(layer) for layer in cache.layers]
    return copied
