"""Texts found by the words of a query."""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file
from scipy.sparse import csr_array

from mmgraph.errors import ArtifactError, ConfigError, DataError
from mmgraph.files import check_seal, new_folder, read_json, seal, write_json
from mmgraph.index.inputs import as_ids, check_count
from mmgraph.index.saved import check_format
from mmgraph.index.searchable import Searchable

FORMAT, VERSION = "mmgraph.bm25", 1
_WORDS = re.compile(r"[^\W_]+")


def tokens(text: str) -> list[str]:
    """Splits a text into words: runs of letters and digits of any script, without case or accents.

    Compatible forms are one (NFKD: ``ﬁ`` is ``fi``, full width is plain), marks above and below letters are dropped,
    and case is folded (``ß`` is ``ss``), see Unicode Standard Annex 15.

    Example:
        >>> tokens("Crème brûlée, STRASSE & Straße no. 42")
        ['creme', 'brulee', 'strasse', 'strasse', 'no', '42']
    """
    if text.isascii():
        return _WORDS.findall(text.lower())
    apart = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())
    return _WORDS.findall("".join(sign for sign in apart if not unicodedata.combining(sign)))


class BM25:
    r"""Ranks texts by the words they share with a query, rare words first.

    Source: Robertson & Zaragoza, The Probabilistic Relevance Framework: BM25 and Beyond, 2009,
    doi:10.1561/1500000019, equation 3.15, with the words' weights kept positive (one is added within the logarithm):

    .. math:: s(q, d) = \sum_{t \in q} \ln\left(1 + \frac{N - n_t + .5}{n_t + .5}\right)
        \frac{f_{td}}{f_{td} + k_1 (1 - b + b\, l_d / \bar l)}

    with :math:`f_{td}` how often word :math:`t` is in text :math:`d`, :math:`l_d` the words of the text, :math:`\bar l`
    their mean, and :math:`n_t` of the :math:`N` texts that hold the word. A word that stands twice in the query counts
    twice. Texts that share no word with the query are not found.

    Args:
        texts: One a document; "" holds no word.
        ids: One unique string a document.
        k1: How slowly more of the same word stops to count; 0 asks only whether a word is there.
        b: How much long texts are held back, from 0 to 1.

    Raises:
        DataError: Texts and ids do not fit together.
        ConfigError: ``k1`` is negative, or ``b`` not from 0 to 1.

    Example:
        >>> bm25 = BM25(["a red cat", "a dog", "the cat and the cat"], ["r", "d", "c"])
        >>> [(id, round(score, 3)) for id, score in bm25.search("Red CATS and a cat", k=2)]
        [('r', 0.805), ('c', 0.552)]
    """

    def __init__(self, texts: Iterable[str], ids: Iterable[str], *, k1: float = 1.5, b: float = 0.75) -> None:
        words: dict[str, int] = {}
        indptr, indices = [0], list[int]()
        counts = list[int]()
        for text in texts:
            if not isinstance(text, str):
                raise DataError(f"Texts must be strings, got {text!r} at position {len(indptr) - 1}; write ''")
            found = Counter(tokens(text))
            indices += [words.setdefault(word, len(words)) for word in found]
            counts += found.values()
            indptr.append(len(indices))
        names = as_ids(ids, len(indptr) - 1, "texts")
        shape = (len(names), len(words))
        self._fill(csr_array((np.array(counts, dtype=np.float64), indices, indptr), shape=shape), words, names, k1, b)

    def _fill(self, counts: Any, words: dict[str, int], ids: tuple[str, ...], k1: float, b: float) -> None:
        if not k1 >= 0 or not 0 <= b <= 1:
            raise ConfigError(f"Options must be k1 ≥ 0 and 0 ≤ b ≤ 1, got k1={k1} and b={b}; 1.5 and .75 are usual")
        self.ids, self.k1, self.b = ids, float(k1), float(b)
        self._words = words
        self._counts = counts  # [texts, words]
        lengths = counts.sum(axis=1)  # [texts]
        mean = lengths.mean() if lengths.any() else 1.0
        held = np.bincount(counts.indices, minlength=len(words))  # texts that hold each word
        rarity = np.log1p((len(ids) - held + 0.5) / (held + 0.5))
        softness = np.repeat(self.k1 * (1 - self.b + self.b * lengths / mean), np.diff(counts.indptr))
        weights = rarity[counts.indices] * counts.data / (counts.data + softness)
        self._weights = csr_array((weights, counts.indices, counts.indptr), shape=counts.shape).T.tocsr()  # [words, …]

    @classmethod
    def of(cls, index: Searchable, column: str = "text", *, k1: float = 1.5, b: float = 0.75) -> "BM25":
        """Takes the texts from a metadata column of an index or a snapshot; values that are no text hold no word.

        Raises:
            ConfigError: There is no such column.
        """
        texts = (value if isinstance(value, str) else "" for value in index.column(column))
        return cls(texts, index.ids, k1=k1, b=b)

    def __len__(self) -> int:
        return len(self.ids)

    def scores(self, text: str) -> np.ndarray:
        """Scores all texts against a query; float64 ``[texts]``, 0 where no word is shared."""
        if not isinstance(text, str):
            raise DataError(f"A query must be a string, got {text!r}; write ''")
        asked = Counter(word for word in tokens(text) if word in self._words)
        scores = np.zeros(len(self))
        for word, times in asked.items():
            row = slice(*self._weights.indptr[self._words[word] :][:2])
            scores[self._weights.indices[row]] += times * self._weights.data[row]
        return scores

    def search_arrays(
        self, text: str, k: int = 10, *, allowed: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Finds the k best texts, as numbers; ties come in the order of the texts.

        Args:
            text: The query.
            k: How many, at least 1; fewer come back where fewer share a word.
            allowed: Positions that may be found, int64; None allows all.

        Returns:
            Positions int64 and scores float64, both ``[found]``.
        """
        check_count("k", k)
        scores = self.scores(text)
        if allowed is not None:
            keep = np.zeros(len(self), dtype=bool)
            keep[allowed] = True
            scores[~keep] = 0
        found = np.flatnonzero(scores)
        if len(found) > k:  # a bar first: a common word is in most texts
            found = found[scores[found] >= np.partition(scores[found], -k)[-k]]
        found = found[np.lexsort((found, -scores[found]))][:k]
        return found, scores[found]

    def search(self, text: str, k: int = 10) -> list[tuple[str, float]]:
        """Finds the k best texts: their ids and scores; see `search_arrays`."""
        positions, scores = self.search_arrays(text, k)
        return [(self.ids[row], score) for row, score in zip(positions.tolist(), scores.tolist(), strict=True)]

    def save(self, folder: str | Path) -> None:
        """Writes the words and their counts to a folder, whole or not at all. Nothing is pickled."""
        meta = {"format": FORMAT, "version": VERSION, "k1": self.k1, "b": self.b}
        counts = self._counts
        with new_folder(Path(folder)) as draft:
            write_json(draft / "meta.json", {**meta, "ids": self.ids, "words": list(self._words)})
            save_file(
                {
                    "indptr": counts.indptr.astype(np.int64),
                    "indices": counts.indices.astype(np.int64),
                    "counts": counts.data.astype(np.int64),
                },
                draft / "counts.safetensors",
            )
            seal(draft)

    @classmethod
    def load(cls, folder: str | Path) -> "BM25":
        """Reads what `save` wrote.

        Raises:
            ArtifactError: The folder is missing, damaged, none of these, or of a newer format.
        """
        folder = Path(folder)
        check_seal(folder)
        meta = read_json(folder / "meta.json")
        check_format(folder, meta, FORMAT, VERSION)
        try:
            held = load_file(folder / "counts.safetensors")
            words = {str(word): number for number, word in enumerate(meta["words"])}
            ids = as_ids(meta["ids"], len(held["indptr"]) - 1, "texts")
            counts = csr_array(
                (held["counts"].astype(np.float64), held["indices"], held["indptr"]), shape=(len(ids), len(words))
            )
            counts.check_format()
            made = cls.__new__(cls)
            made._fill(counts, words, ids, meta["k1"], meta["b"])
            return made
        except (KeyError, TypeError, ValueError, SafetensorError) as error:
            raise ArtifactError(
                f"Folder {str(folder)!r} must be as it was saved, but {type(error).__name__}: {error}; make it again"
            ) from error
