r"""How near made texts are to those that were meant; a text is a sequence of words (or of anything hashable).

| function | of one text | says |
|---|---|---|
| :func:`exact_match` | 0 or 1 | whether it is one of its references |
| :func:`bleu` | (of all together) | which of its runs of 1 to 4 words are in a reference |
| :func:`rouge_l` | 0 to 1 | how long a reference's longest subsequence in it is |
| :func:`meteor` | 0 to 1 | which words are in a reference, and in how few pieces |
| :func:`cider` | 0 to 10 | the same runs, each counted by how rare it is among the references of all |
| :func:`cider_d` | 0 to 10 | the same, that repeating words or another length does not raise |

The words of a text are those of :func:`words`, or the numbers of its pieces. Each candidate has one reference or more.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from typing import TypeAlias

import torch
from torch import Tensor

Text: TypeAlias = Sequence[Hashable]
ORDERS = 4  # of runs: 1 to 4 words
BLOCK_ELEMENTS = 1 << 22  # numbers held at once

_WORD = re.compile(r"\w+(?:['’-]\w+)*|[^\w\s.,:;!?'\"`´‘’“”()\[\]{}…–—-]")


def words(text: str) -> list[str]:
    """The words of a text, lower-cased and without punctuation, as the evaluation of captions wants them.

    A word is a run of letters and digits, with hyphens and apostrophes inside, or any one sign that is no punctuation
    (``#``, ``&``, an emoji). The customary evaluation (Chen et al. 2015, Microsoft COCO captions, arXiv:1504.00325)
    takes the words of the Penn treebank, which differ in splitting ``don't`` into ``do n't``.

    Example:
        >>> words("A T-shirt, and (it's) 5 &\N{CAT}!")
        ['a', 't-shirt', 'and', "it's", '5', '&', '🐈']
    """
    return _WORD.findall(text.lower())


def exact_match(candidates: Sequence[Text], references: Sequence[Sequence[Text]]) -> Tensor:
    """1 where a candidate equals one of its references, else 0; ``[candidates]``.

    Example:
        >>> exact_match([["red", "cat"], ["red"]], [[["cat"], ["red", "cat"]], [["cat"]]])
        tensor([1., 0.], dtype=torch.float64)
    """
    _check(candidates, references)
    found = [any(list(text) == list(one) for one in known) for text, known in zip(candidates, references, strict=True)]
    return torch.tensor(found, dtype=torch.float64)


def bleu(candidates: Sequence[Text], references: Sequence[Sequence[Text]], *, order: int = ORDERS) -> float:
    r"""Precision of all candidates' runs of 1 to ``order`` words, with a penalty where they are too short.

    .. math:: \min\big(1, e^{1 - r/c}\big) \Big(\prod_{n=1}^{N} p_n\Big)^{1/N}, \qquad
        p_n = \frac{\sum_i \sum_g \min\big(h_i(g), \max_j h_{ij}(g)\big)}{\sum_i \sum_g h_i(g)}

    over the runs :math:`g` of :math:`n` words; :math:`h_i` counts them in candidate :math:`i` and :math:`h_{ij}` in
    its reference :math:`j`; :math:`c` is the length of all candidates and :math:`r` that of the references nearest in
    length to each (of two, the shorter). Nothing is smoothed: without one run of N words in common it is 0. Where no
    reference has N words, N is the length of the longest.

    Source: Papineni et al. 2002, BLEU: a method for automatic evaluation of machine translation, DOI
    10.3115/1073083.1073135. Equal to sacrebleu's (without smoothing, over 100) where a reference has N words.

    Args:
        candidates: The texts that were made.
        references: Of each candidate, at least one.
        order: N.

    Raises:
        ValueError: Another number of references than candidates, a candidate without any, or an order below 1.

    Example:
        >>> made, meant = ["the", "red", "cat", "sat"], ["the", "red", "cat", "sat", "down"]
        >>> round(bleu([made], [[meant]]), 4)  # all is right, and one word is missing: exp(1 - 5/4)
        0.7788
    """
    _check(candidates, references)
    if order < 1:
        raise ValueError(f"order must be at least 1, got {order}")
    order = max(1, min(order, max((len(one) for known in references for one in known), default=1)))
    right, all_runs, length, wanted = [0] * order, [0] * order, 0, 0
    for text, known in zip(candidates, references, strict=True):
        length += len(text)
        wanted += min((abs(len(one) - len(text)), len(one)) for one in known)[1]
        for n in range(1, order + 1):
            runs, most = _runs(text, n), Counter[Text]()
            for one in known:
                most |= _runs(one, n)
            right[n - 1] += (runs & most).total()
            all_runs[n - 1] += runs.total()
    if min(right) == 0:
        return 0.0
    mean = sum(math.log(a / b) for a, b in zip(right, all_runs, strict=True)) / order
    return math.exp(mean + min(0.0, 1 - wanted / length))


def rouge_l(candidates: Sequence[Text], references: Sequence[Sequence[Text]], *, beta: float = 1.2) -> Tensor:
    r"""The longest common subsequence with a reference, as a share of either length, ``[candidates]``.

    .. math:: F_\beta = \frac{(1 + \beta^2) P R}{R + \beta^2 P}, \qquad
        P = \max_j \frac{\mathrm{LCS}(c, s_j)}{|c|}, \quad R = \max_j \frac{\mathrm{LCS}(c, s_j)}{|s_j|}

    Source: Lin 2004, ROUGE: a package for automatic evaluation of summaries, aclanthology.org/W04-1013; β of 1.2 and
    the maxima are those of the evaluation of captions on COCO. ``beta=1`` is torchmetrics' ``rougeL_fmeasure``.

    Args:
        candidates: The texts that were made.
        references: Of each candidate, at least one.
        beta: How much more recall weighs than precision.

    Raises:
        ValueError: Another number of references than candidates, or a candidate without any.

    Example:
        >>> rouge_l([["a", "red", "cat"]], [[["red", "old", "cat"]]])  # "red cat": two of three on either side
        tensor([0.6667], dtype=torch.float64)
    """
    _check(candidates, references)
    found = []
    for text, known in zip(candidates, references, strict=True):
        common = [_common_subsequence(text, one) for one in known]
        precision = max(common) / max(1, len(text))
        recall = max(both / max(1, len(one)) for both, one in zip(common, known, strict=True))
        below = recall + beta**2 * precision
        found.append((1 + beta**2) * precision * recall / below if below else 0.0)
    return torch.tensor(found, dtype=torch.float64)


def meteor(candidates: Sequence[Text], references: Sequence[Sequence[Text]]) -> Tensor:
    r"""METEOR's score of words that are exactly equal, the best over the references, ``[candidates]``.

    .. math:: \frac{10 P R}{R + 9 P} \Big(1 - \tfrac12 \big(k / m\big)^3\Big)

    :math:`m` words are aligned one to one, as many as can be; :math:`P` and :math:`R` are their shares of the candidate
    and the reference; :math:`k` is the number of chunks, runs that are side by side in both. Of equal words those in
    the longest common run are aligned first. One right word alone is a chunk, and scores a half.

    There are no stems, synonyms or paraphrases here, as METEOR has with WordNet: the score is below METEOR's where
    another word says the same, and is for comparison with itself alone.

    Source: Banerjee & Lavie 2005, METEOR: an automatic metric for MT evaluation, aclanthology.org/W05-0909.

    Args:
        candidates: The texts that were made.
        references: Of each candidate, at least one.

    Raises:
        ValueError: Another number of references than candidates, or a candidate without any.

    Example:
        >>> meteor([["the", "cat", "sat"]], [[["the", "cat", "sat"], ["a", "dog"]]])  # 1 - (1 / 3)³ / 2
        tensor([0.9815], dtype=torch.float64)
    """
    _check(candidates, references)
    found = [max(_meteor(text, one) for one in known) for text, known in zip(candidates, references, strict=True)]
    return torch.tensor(found, dtype=torch.float64)


class CiderReferences:
    r"""How rare each run of words is: :math:`\log(N / \mathrm{df}(g))`, from the references of N samples.

    :math:`\mathrm{df}(g)` counts the samples with a reference that has the run :math:`g`; at least 1.

    Args:
        references: Those of each sample.
        orders: Runs of 1 to so many words.

    Raises:
        ValueError: No sample, or no order.

    Example:
        >>> known = CiderReferences([[["a", "cat"], ["a", "kitten"]], [["a", "dog"]]])
        >>> [round(known.rarity((word,)), 3) for word in ("a", "cat", "bird")]
        [0.0, 0.693, 0.693]
    """

    def __init__(self, references: Iterable[Sequence[Text]], *, orders: int = ORDERS) -> None:
        self.orders, self.samples = orders, 0
        self.frequency: Counter[Text] = Counter()
        for known in references:
            self.add(known)
        if not self.samples or orders < 1:
            raise ValueError(f"There must be references of at least 1 sample and orders, got {self.samples}, {orders}")

    def add(self, references: Sequence[Text]) -> None:
        """Counts one more sample, with its references."""
        self.samples += 1
        self.frequency.update({run for one in references for n in range(1, self.orders + 1) for run in _runs(one, n)})

    def rarity(self, run: Text) -> float:
        """The weight of a run of words."""
        return math.log(self.samples / max(1, self.frequency.get(run, 0)))

    def weigh(self, text: Text) -> list[tuple[dict[Text, float], float]]:
        """The weights of a text's runs and their norm, order by order."""
        found = []
        for n in range(1, self.orders + 1):
            weights = {run: count * self.rarity(run) for run, count in _runs(text, n).items()}
            found.append((weights, math.sqrt(sum(weight**2 for weight in weights.values()))))
        return found


def cider(
    candidates: Sequence[Text], references: Sequence[Sequence[Text]], known: CiderReferences | None = None
) -> Tensor:
    r"""Cosine of the runs of a candidate and of its references, the rarer counting more, ``[candidates]``, 0 to 10.

    .. math:: \frac{10}{4} \sum_{n=1}^{4} \frac{1}{m} \sum_{j=1}^{m}
        \frac{g^n(c) \cdot g^n(s_j)}{\lVert g^n(c) \rVert \lVert g^n(s_j) \rVert}

    where :math:`g^n` has, for each run of n words, how often it is there times its rarity
    (:class:`CiderReferences`). A text of fewer than four words has no runs of four: its best score is below 10. Words
    are not stemmed, and the factor 10 is there, as in the authors' code.

    Source: Vedantam, Zitnick & Parikh 2015, CIDEr: consensus-based image description evaluation, arXiv:1411.5726.

    Args:
        candidates: The texts that were made.
        references: Of each candidate, at least one.
        known: How rare each run is; by default in these references.

    Raises:
        ValueError: Another number of references than candidates, or a candidate without any.

    Example:
        >>> texts = [["red", "cat", "on", "mat"], ["blue", "dog", "in", "fog"]]
        >>> cider([texts[0], ["blue", "cat"]], [[text] for text in texts])
        tensor([10.0000,  0.8839], dtype=torch.float64)
    """
    return _cider(candidates, references, known, None)


def cider_d(
    candidates: Sequence[Text],
    references: Sequence[Sequence[Text]],
    known: CiderReferences | None = None,
    *,
    sigma: float = 6.0,
) -> Tensor:
    r"""CIDEr that repeating words or another length does not raise: what texts are trained for, ``[candidates]``.

    .. math:: \frac{10}{4} \sum_{n=1}^{4} \frac{1}{m} \sum_{j=1}^{m} e^{-(|c| - |s_j|)^2 / 2\sigma^2}
        \frac{\min\big(g^n(c), g^n(s_j)\big) \cdot g^n(s_j)}{\lVert g^n(c) \rVert \lVert g^n(s_j) \rVert}

    Source: Vedantam, Zitnick & Parikh 2015, arXiv:1411.5726, section 7; what COCO's evaluation calls CIDEr.

    Args:
        candidates: The texts that were made.
        references: Of each candidate, at least one.
        known: How rare each run is; by default in these references.
        sigma: Deviation of the penalty, in words.

    Raises:
        ValueError: Another number of references than candidates, or a candidate without any.

    Example:
        >>> texts = [["red", "cat", "on", "mat"], ["blue", "dog", "in", "fog"]]
        >>> cider_d([texts[0], ["blue", "blue"]], [[text] for text in texts])
        tensor([10.0000,  0.5912], dtype=torch.float64)
    """
    return _cider(candidates, references, known, sigma)


def cider_between(candidates: Sequence[Text], texts: Sequence[Text], known: CiderReferences) -> Tensor:
    """The CIDEr of each candidate to each text as its only reference, ``[candidates, texts]``.

    Example:
        >>> texts = [["red", "cat"], ["blue", "dog"]]
        >>> cider_between([["red", "cat"], ["red", "dog"]], texts, CiderReferences([[text] for text in texts]))
        tensor([[5.0000, 0.0000],
                [1.2500, 1.2500]], dtype=torch.float64)
    """
    column: dict[Text, int] = {}
    cells: list[tuple[int, int, float]] = []
    for row, text in enumerate(texts):
        for run, weight in _units(text, known).items():
            cells.append((row, column.setdefault(run, len(column)), weight))
    found = torch.zeros(len(candidates), len(texts), dtype=torch.float64)
    if not cells:
        return found
    rows, columns, weights = zip(*cells, strict=True)
    shape = (len(texts), len(column))
    values = torch.tensor(weights, dtype=torch.float64)
    matrix = torch.sparse_coo_tensor(torch.tensor([rows, columns]), values, shape, check_invariants=True)
    block = max(1, BLOCK_ELEMENTS // len(column))
    for start in range(0, len(candidates), block):
        dense = torch.zeros(len(column), len(candidates[start : start + block]), dtype=torch.float64)
        for place, text in enumerate(candidates[start : start + block]):
            for run, weight in _units(text, known).items():
                if run in column:
                    dense[column[run], place] = weight
        found[start : start + block] = torch.sparse.mm(matrix, dense).T
    return found * 10 / known.orders


def _units(text: Text, known: CiderReferences) -> dict[Text, float]:
    """The weights of a text's runs, those of each order with norm 1."""
    return {run: weight / norm for weights, norm in known.weigh(text) if norm for run, weight in weights.items()}


def _cider(
    candidates: Sequence[Text],
    references: Sequence[Sequence[Text]],
    known: CiderReferences | None,
    sigma: float | None,
) -> Tensor:
    _check(candidates, references)
    if not candidates:
        return torch.zeros(0, dtype=torch.float64)
    rare = CiderReferences(references) if known is None else known
    found = []
    for text, meant in zip(candidates, references, strict=True):
        made, total = rare.weigh(text), 0.0
        for one in meant:
            penalty = 1.0 if sigma is None else math.exp(-((len(text) - len(one)) ** 2) / (2 * sigma**2))
            for (a, norm_a), (b, norm_b) in zip(made, rare.weigh(one), strict=True):
                if norm_a and norm_b:
                    clip = {run: a[run] if sigma is None else min(a[run], b[run]) for run in a.keys() & b.keys()}
                    total += penalty * sum(clip[run] * b[run] for run in clip) / (norm_a * norm_b)
        found.append(10 * total / (rare.orders * len(meant)))
    return torch.tensor(found, dtype=torch.float64)


def _runs(text: Text, n: int) -> Counter[Text]:
    """How often each run of n words is in a text."""
    return Counter(tuple(text[start : start + n]) for start in range(len(text) - n + 1))


def _common_subsequence(a: Text, b: Text) -> int:
    """Length of the longest common subsequence: Hyyrö 2004, a bit for each word of ``a``."""
    places: dict[Hashable, int] = {}
    for place, word in enumerate(a):
        places[word] = places.get(word, 0) | 1 << place
    full = (1 << len(a)) - 1
    free = full
    for word in b:
        hit = free & places.get(word, 0)
        free = ((free + hit) | (free - hit)) & full
    return len(a) - free.bit_count()


def _meteor(text: Text, reference: Text) -> float:
    """The score of a candidate and one reference."""
    runs = _aligned_runs(text, reference)
    matches = sum(runs)
    if not matches:
        return 0.0
    precision, recall = matches / len(text), matches / len(reference)
    mean = 10 * precision * recall / (recall + 9 * precision)
    return mean * (1 - 0.5 * (len(runs) / matches) ** 3)


def _aligned_runs(a: Text, b: Text) -> list[int]:
    """Lengths of the runs that are aligned: again and again the longest that is in both, until no word is left."""
    free_a, free_b = [True] * len(a), [True] * len(b)
    found: list[int] = []
    while True:
        best, before = (0, 0, 0), [0] * (len(b) + 1)  # length, end in a, end in b
        for i, word in enumerate(a):
            row = [0] * (len(b) + 1)
            for j, other in enumerate(b):
                if free_a[i] and free_b[j] and word == other:
                    row[j + 1] = before[j] + 1
                    if row[j + 1] > best[0]:
                        best = (row[j + 1], i + 1, j + 1)
            before = row
        length, end_a, end_b = best
        if not length:
            return found
        free_a[end_a - length : end_a] = [False] * length
        free_b[end_b - length : end_b] = [False] * length
        found.append(length)


def _check(candidates: Sequence[Text], references: Sequence[Sequence[Text]]) -> None:
    if len(candidates) != len(references):
        raise ValueError(f"Each of {len(candidates)} candidates must have references, got {len(references)}")
    for row, known in enumerate(references):
        if not known:
            raise ValueError(f"Candidate {row} must have at least 1 reference, got none; leave it out")
