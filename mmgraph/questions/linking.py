"""Which entities a text speaks of: by their names, else by words and meanings like them."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from mmgraph.errors import ConfigError, DataError
from mmgraph.index import BM25, fuse_ranks
from mmgraph.index.bm25 import tokens

if TYPE_CHECKING:
    from torch import Tensor

_WORDS = re.compile(r"[^\W_]+")


class Mention(NamedTuple):
    """Where a text speaks of an entity."""

    entity: int
    start: int  # of the characters; 0 and 0 where no name was found, and the entity was guessed
    end: int


class Names:
    """Links texts to entities.

    A name is found where its words stand in the text one after the other, whatever case, accents and signs between
    them (``frederica_of_mecklenburg-strelitz`` and ``Frederica of Mecklenburg Strelitz`` are the same name). Of names
    that overlap the longest counts, of equal ones the first; entities with one name are all meant. Where no name is
    found, the entities are guessed whose names share rare words with the text (:class:`~mmgraph.index.BM25`), and
    whose names mean the like if there is an encoder, both rankings joined by
    :func:`~mmgraph.index.fuse_ranks`.

    Args:
        names: One an entity; a name may hold no word, and is never found then.
        encode: Texts to vectors ``[texts, channels]``, e.g. :class:`mmgraph.encoders.Sentences`; ``None`` guesses by
            words alone.

    Raises:
        DataError: A name is no string.

    Example:
        >>> names = Names(["london", "new_york", "york"])
        >>> text = "is it far from New York to London ?"
        >>> [(names.names[one.entity], text[one.start : one.end]) for one in names.link(text)]
        [('new_york', 'New York'), ('london', 'London')]
        >>> names.hide(text)
        'is it far from # to # ?'
    """

    def __init__(self, names: Sequence[str], *, encode: Callable[[list[str]], Tensor] | None = None) -> None:
        self.names = tuple(names)
        self._encode = encode
        self._by_words: dict[tuple[str, ...], list[int]] = {}
        for number, name in enumerate(self.names):
            if not isinstance(name, str):
                raise DataError(f"Names must be strings, got {name!r} for entity {number}")
            if words := tuple(tokens(name.replace("_", " "))):
                self._by_words.setdefault(words, []).append(number)
        self._longest = max((len(words) for words in self._by_words), default=0)
        self._bm25: BM25 | None = None
        self._vectors: np.ndarray | None = None

    def mentions(self, text: str) -> list[Mention]:
        """The names that stand in a text, in its order."""
        words, places = [], []
        for match in _WORDS.finditer(text):
            for word in tokens(match.group()):
                words.append(word)
                places.append(match.span())
        found: list[Mention] = []
        taken = [False] * len(words)
        for length in range(min(self._longest, len(words)), 0, -1):
            for first in range(len(words) - length + 1):
                last = first + length
                entities = self._by_words.get(tuple(words[first:last]))
                if entities and not any(taken[first:last]):
                    taken[first:last] = [True] * length
                    found += [Mention(one, places[first][0], places[last - 1][1]) for one in entities]
        return sorted(found, key=lambda mention: (mention.start, mention.entity))

    def link(self, text: str, *, guesses: int = 1) -> list[Mention]:
        """The entities a text speaks of: those whose names stand there, else at most so many guesses, best first.

        Raises:
            ConfigError: ``guesses`` is below 0.
        """
        if guesses < 0:
            raise ConfigError(f"guesses must be at least 0, got {guesses}")
        found = self.mentions(text)
        if found or not guesses or not self.names:
            return found
        return [Mention(entity, 0, 0) for entity in self._guess(text, guesses)]

    def hide(self, text: str, sign: str = "#") -> str:
        """The text with a sign for each name, so that only what is asked of the entities is left."""
        spans = sorted({(mention.start, mention.end) for mention in self.mentions(text)}, reverse=True)
        for start, end in spans:
            text = text[:start] + sign + text[end:]
        return text

    def _guess(self, text: str, count: int) -> list[int]:
        if self._bm25 is None:
            spoken = [name.replace("_", " ") for name in self.names]
            self._bm25 = BM25(spoken, [str(number) for number in range(len(spoken))])
            self._vectors = None if self._encode is None else _unit(self._encode(spoken).numpy())
        found, _ = self._bm25.search_arrays(text, max(count, 50))
        if self._vectors is not None and self._encode is not None:
            cosines = self._vectors @ _unit(self._encode([text]).numpy())[0]
            near = np.lexsort((np.arange(len(cosines)), -cosines))[: max(count, 50)]
            found, _ = fuse_ranks([found, near])
        return [int(entity) for entity in found[:count]]


def _unit(vectors: np.ndarray) -> np.ndarray:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.maximum(lengths, 1e-12))
