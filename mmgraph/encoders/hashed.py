"""Texts to vectors without a language model: hashed n-grams and latent semantic analysis."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from mmgraph.encoders.frozen import Frozen, digest_of_state
from mmgraph.encoders.text import distinct_texts, text_bytes
from mmgraph.errors import ArtifactError, ConfigError
from mmgraph.schema import Identity, Modality

_AT_MOST = 2**20  # buckets; each has a row of the components


class HashedText(Frozen[str, str]):
    r"""Texts to vectors by the n-grams that they share: fitted in seconds, and the same bits each time.

    N-grams of words and n-grams of characters within words are counted in hashed buckets, weighed by TF-IDF, and
    projected onto the first right singular vectors :math:`V` of the training texts (latent semantic analysis):

    .. math::
        w_{tb} = (1 + \ln n_{tb}) \left(1 + \ln \frac{1 + T}{1 + T_b}\right), \qquad
        h_t = \frac{w_t V}{\lVert w_t V \rVert}

    where :math:`n_{tb}` counts bucket :math:`b` in text :math:`t`, and :math:`T_b` of the :math:`T` distinct training
    texts have it; each :math:`w_t` has unit length while fitting.

    Source: Weinberger et al. 2009, Feature hashing for large scale multitask learning, arXiv:0902.2206; Deerwester et
    al. 1990, Indexing by latent semantic analysis, DOI 10.1002/(SICI)1097-4571(199009)41:6<391::AID-ASI1>3.0.CO;2-9.

    Rows have unit length; a text that shares no n-gram with the training texts is a row of zeros. Of few training
    texts fewer directions can be told: the channels beyond are zeros. Texts are lower-cased.

    Args:
        state: What was fitted: use :meth:`fit`, or :meth:`restore` what :meth:`state` gave.
        channels: Width of the vectors.
        words: The least and the most words of an n-gram.
        characters: The least and the most characters of an n-gram.
        buckets: Of each of the two kinds of n-gram.

    Raises:
        ArtifactError: The state is not one of these options.

    Example:
        >>> encoder = HashedText.fit(["a cat", "a kitten", "cats and kittens", "income tax"], channels=8)
        >>> cat, cats, tax = encoder(["cat", "cats", "taxes"])
        >>> bool(cat @ cats > cat @ tax)
        True
    """

    modality = Modality.TEXT
    chunk = 8192

    def __init__(
        self,
        state: Mapping[str, Tensor],
        *,
        channels: int = 128,
        words: Sequence[int] = (1, 2),
        characters: Sequence[int] = (3, 5),
        buckets: int = 2**14,
    ) -> None:
        _check_options(channels, words, characters, buckets)
        if sorted(state) != ["bucket", "components", "idf"] or state["components"].shape != (
            *state["bucket"].shape,
            channels,
        ):
            raise ArtifactError(
                f"The state must be bucket, components [buckets, {channels}] and idf, got "
                f"{ {key: list(value.shape) for key, value in state.items()} }; fit it anew"
            )
        self._state = dict(state)
        self._words, self._characters, self._buckets = tuple(words), tuple(characters), buckets
        self.shape = (channels,)
        self.identity = Identity(
            name="hashed_text",
            revision=digest_of_state(state),
            options={"channels": channels, "words": [*words], "characters": [*characters], "buckets": buckets},
        )

    @classmethod
    def fit(
        cls,
        texts: Iterable[str],
        *,
        channels: int = 128,
        words: Sequence[int] = (1, 2),
        characters: Sequence[int] = (3, 5),
        buckets: int = 2**14,
    ) -> Self:
        """Fits weights and directions on the distinct ones of some texts: those of the training samples alone.

        Raises:
            DataError: There is no text, or something else among them.
            ConfigError: An option is out of range.
        """
        from sklearn.utils.extmath import randomized_svd
        from threadpoolctl import threadpool_limits

        _check_options(channels, words, characters, buckets)
        texts = distinct_texts(texts)
        counts = _counts(texts, words, characters, buckets)  # [texts, 2 * buckets]
        known = np.bincount(counts.indices, minlength=counts.shape[1])  # a bucket stands once in a row
        bucket = np.flatnonzero(known)
        idf = (1 + np.log((1 + len(texts)) / (1 + known[bucket]))).astype(np.float32)
        components = np.zeros((len(bucket), channels), np.float32)
        if len(bucket):
            weighed = _weighed(counts[:, bucket], idf)
            norm = np.sqrt(np.asarray(weighed.multiply(weighed).sum(axis=1)).ravel())
            weighed = weighed.multiply(1 / np.maximum(norm, 1e-12)[:, None]).tocsr().astype(np.float64)
            with threadpool_limits(1):  # more threads would sum in another order
                _, strength, right = randomized_svd(
                    weighed, min(channels, *weighed.shape), n_iter=7, flip_sign=True, random_state=0
                )
            clear = strength > 1e-6 * strength[0]
            components[:, : clear.sum()] = right[clear].T
        state = {"bucket": bucket.astype(np.int64), "idf": idf, "components": components}
        return cls(
            {key: torch.from_numpy(value) for key, value in state.items()},
            channels=channels,
            words=words,
            characters=characters,
            buckets=buckets,
        )

    @classmethod
    def restore(cls, options: Mapping[str, Any], state: Mapping[str, Tensor]) -> Self:
        """The encoder of some options and of what was fitted with them."""
        return cls(state, **options)

    def state(self) -> dict[str, Tensor]:
        """The buckets that are known, their weights, and where each points."""
        return dict(self._state)

    def content(self, payload: str) -> bytes:
        """The text in UTF-8."""
        return text_bytes(payload)

    def encode(self, prepared: list[str]) -> Tensor:
        """Encodes texts that all differ: ``[texts, channels]``."""
        counts = _counts(prepared, self._words, self._characters, self._buckets)
        weighed = _weighed(counts[:, self._state["bucket"].numpy()], self._state["idf"].numpy())
        found = weighed @ self._state["components"].numpy()  # [texts, channels]; row by row, on one thread
        norm = np.sqrt(np.square(found, dtype=np.float64).sum(axis=1, keepdims=True))
        return torch.from_numpy((found / np.maximum(norm, 1e-12)).astype(np.float32))


def _counts(texts: list[str], words: Sequence[int], characters: Sequence[int], buckets: int) -> Any:
    """How often each text has each bucket, a sparse ``[texts, 2 * buckets]``: words first, then characters."""
    from scipy.sparse import hstack
    from sklearn.feature_extraction.text import HashingVectorizer

    options = {"n_features": buckets, "alternate_sign": False, "norm": None, "dtype": np.float32}
    by_word = HashingVectorizer(analyzer="word", ngram_range=tuple(words), token_pattern=r"(?u)\w+", **options)
    by_character = HashingVectorizer(analyzer="char_wb", ngram_range=tuple(characters), **options)
    counts = hstack([by_word.transform(texts), by_character.transform(texts)], format="csr")
    counts.sum_duplicates()
    return counts


def _weighed(counts: Any, idf: np.ndarray) -> Any:
    """TF-IDF of counts, sparse ``[texts, buckets]``."""
    weighed = counts.copy()
    weighed.data = (1 + np.log(counts.data)) * idf[counts.indices]
    return weighed


def _check_options(channels: int, words: Sequence[int], characters: Sequence[int], buckets: int) -> None:
    for name, span in (("words", words), ("characters", characters)):
        if len(span) != 2 or not 1 <= span[0] <= span[1]:
            raise ConfigError(f"{name} must be the least and the most of an n-gram, such as (1, 2), got {span!r}")
    if channels < 1 or not 1 <= buckets <= _AT_MOST:
        raise ConfigError(
            f"channels must be at least 1 and buckets between 1 and {_AT_MOST}, got {channels} and {buckets}"
        )
