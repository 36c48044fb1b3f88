import itertools
import math
import random

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mmgraph.functional.captions import (
    CiderReferences,
    bleu,
    cider,
    cider_between,
    cider_d,
    exact_match,
    meteor,
    rouge_l,
    words,
)

PER_TEXT = [exact_match, rouge_l, meteor, cider, cider_d]
TEXT = st.lists(st.sampled_from("abcde"), max_size=9)
PAIRS = st.lists(st.tuples(TEXT, st.lists(TEXT.filter(bool), min_size=1, max_size=3)), min_size=1, max_size=6)
# of COCO's kind: two samples of two references
MADE = ["a man rides a brown horse", "two cats sleep on a sofa sofa"]
MEANT = [
    ["a man riding a brown horse in a field", "a person rides a horse"],
    ["two cats sleeping on a red sofa", "a pair of cats asleep on the couch"],
]


def split(pairs):
    candidates, references = zip(*pairs, strict=True)
    return list(candidates), list(references)


def fixed():
    return [text.split() for text in MADE], [[one.split() for one in known] for known in MEANT]


def test_words_are_lower_case_without_punctuation():
    assert words("  A Dog's T-shirt -- “red” (5.5 m)…\n") == ["a", "dog's", "t-shirt", "red", "5", "5", "m"]
    assert words("keycap: #") == ["keycap", "#"]
    assert words("Ärger_1 🐈‍⬛!")[:2] == ["ärger_1", "🐈"]
    assert words(" .,;:!?'\"`()[]{}-") == []
    assert words("rock-'n'-roll don’t") == ["rock", "n", "roll", "don’t"]


@pytest.mark.parametrize("order", [1, 2, 4])
@given(PAIRS)
def test_bleu_is_that_of_sacrebleu(order, pairs):
    metrics = pytest.importorskip("sacrebleu.metrics")
    candidates, references = split(pairs)
    if max(len(one) for known in references for one in known) < order:
        return
    most = max(map(len, references))
    streams = [[" ".join(known[min(k, len(known) - 1)]) for known in references] for k in range(most)]
    other = metrics.BLEU(tokenize="none", smooth_method="none", max_ngram_order=order, force=True)
    said = other.corpus_score([" ".join(text) for text in candidates], streams).score / 100
    assert bleu(candidates, references, order=order) == pytest.approx(said, abs=1e-9)


@pytest.mark.parametrize("order", [1, 2, 4])
def test_bleu_is_that_of_torchmetrics(order):
    from torchmetrics.functional.text import bleu_score

    said = float(bleu_score(MADE, MEANT, n_gram=order))
    assert bleu(*fixed(), order=order) == pytest.approx(said, abs=1e-6)
    assert said > 0 or order == 4


def test_bleu_of_the_paper():
    """Papineni et al. 2002, example 2 and 3: a word counts as often as a reference has it."""
    references = [[["the", "cat", "is", "on", "the", "mat"], ["there", "is", "a", "cat", "on", "the", "mat"]]]
    assert bleu([["the"] * 7], references, order=1) == pytest.approx(2 / 7)
    # candidates of 12 words, references of 12, 15 and 17: no penalty; of 14, the nearest is 15
    known = [[list(range(100, 100 + size)) for size in (12, 15, 17)]]
    assert bleu([list(range(100, 112))], known, order=1) == 1
    assert bleu([list(range(100, 114))], known, order=1) == pytest.approx(math.exp(1 - 15 / 14))


def test_bleu_knows_no_longer_runs_than_references_have():
    assert bleu([["a", "cat"]], [[["a", "cat"]]]) == 1
    assert bleu([["a", "cat", "sat", "here"]], [[["a", "cat"]]]) == pytest.approx(math.sqrt(2 / 4 * 1 / 3))
    assert bleu([["a"]], [[["a", "cat"]]]) == 0
    assert bleu([[]], [[["a"]]]) == 0
    assert bleu([[]], [[[]]]) == 0


def test_bleu_is_of_all_texts_together():
    one, two = ["a", "b"], ["c"]
    assert bleu([one, two], [[one], [["d", "e"]]], order=1) == pytest.approx(2 / 3 * math.exp(1 - 4 / 3))


def slow_common(a, b):
    if not a or not b:
        return 0
    table = [[0] * (len(b) + 1) for _ in range(len(a) + 1)]
    for i, j in itertools.product(range(len(a)), range(len(b))):
        table[i + 1][j + 1] = table[i][j] + 1 if a[i] == b[j] else max(table[i][j + 1], table[i + 1][j])
    return table[-1][-1]


@given(PAIRS, st.sampled_from([1.0, 1.2, 3.0]))
def test_rouge_is_that_of_a_slow_table(pairs, beta):
    candidates, references = split(pairs)
    for text, known, found in zip(candidates, references, rouge_l(candidates, references, beta=beta), strict=True):
        p = max(slow_common(text, one) / max(1, len(text)) for one in known)
        r = max(slow_common(text, one) / len(one) for one in known)
        wanted = (1 + beta**2) * p * r / (r + beta**2 * p) if p else 0.0
        assert float(found) == pytest.approx(wanted)


def test_rouge_is_that_of_torchmetrics():
    from torchmetrics.functional.text import rouge_score

    candidates, references = fixed()
    for text, known, made, meant in zip(candidates, references, MADE, MEANT, strict=True):
        for one, whole in zip(known, meant, strict=True):
            said = rouge_score(made, whole, rouge_keys="rougeL")["rougeL_fmeasure"]
            assert float(rouge_l([text], [[one]], beta=1)) == pytest.approx(float(said), abs=1e-6)


def slow_cider(candidates, references, *, documents=None, sigma=None):
    """The formula of the paper, run by run."""
    documents = references if documents is None else documents

    def runs(text, n):
        return [" ".join(map(str, text[k : k + n])) for k in range(len(text)) if k + n <= len(text)]

    found = []
    for text, known in zip(candidates, references, strict=True):
        whole = 0.0
        for n in (1, 2, 3, 4):
            having = [{run for one in refs for run in runs(one, n)} for refs in documents]
            every = sorted({run for one in [text, *known] for run in runs(one, n)})
            idf = [math.log(len(documents) / max(1, sum(run in some for some in having))) for run in every]
            for one in known:
                c = [runs(text, n).count(run) * weight for run, weight in zip(every, idf, strict=True)]
                s = [runs(one, n).count(run) * weight for run, weight in zip(every, idf, strict=True)]
                norm = math.hypot(*c) * math.hypot(*s)
                if norm == 0:
                    continue
                if sigma is None:
                    whole += sum(x * y for x, y in zip(c, s, strict=True)) / norm / len(known)
                else:
                    near = math.exp(-((len(text) - len(one)) ** 2) / (2 * sigma**2))
                    whole += near * sum(min(x, y) * y for x, y in zip(c, s, strict=True)) / norm / len(known)
        found.append(10 * whole / 4)
    return found


@given(PAIRS, st.none() | PAIRS)
def test_cider_is_that_of_the_slow_formula(pairs, others):
    candidates, references = split(pairs)
    documents = None if others is None else split(others)[1]
    known = None if documents is None else CiderReferences(documents)
    assert cider(candidates, references, known).tolist() == pytest.approx(
        slow_cider(candidates, references, documents=documents), abs=1e-9
    )
    for sigma in (6.0, 2.0):
        assert cider_d(candidates, references, known, sigma=sigma).tolist() == pytest.approx(
            slow_cider(candidates, references, documents=documents, sigma=sigma), abs=1e-9
        )


def test_cider_by_hand():
    """Two samples; "a" is in both and counts for nothing, every other run has rarity log 2."""
    references = [[["a", "cat", "sits"], ["a", "cat"]], [["a", "dog"]]]
    (found, other) = cider([["a", "cat"], ["a", "cat"]], references)
    # to "a cat sits": words {cat} and {cat, sits}: 1/√2; pairs {a cat} and {a cat, cat sits}: 1/√2; to "a cat": 1 and 1
    assert float(found) == pytest.approx(10 / 4 * ((1 / math.sqrt(2) + 1) / 2 * 2))
    assert float(other) == 0
    (found, _) = cider_d([["cat", "cat", "cat"], ["x"]], references)
    # words only, 3 against 1: to the first min(3, 1) · 1 / (3 · √2), of equal length; to the second 1 / 3, one shorter
    near = math.exp(-1 / 72)
    assert float(found) == pytest.approx(10 / 4 * (1 / (3 * math.sqrt(2)) + near / 3) / 2)
    assert float(cider([["cat", "cat", "cat"], ["x"]], references)[0]) > float(found)


def test_cider_of_a_perfect_text_is_ten_and_of_one_sample_nothing():
    text = ["one", "two", "three", "four"]
    assert cider([text, ["x"]], [[text], [["y"]]])[0] == pytest.approx(10)
    assert cider_d([text], [[text]]).tolist() == [0]  # one sample alone: nothing is rare


@given(PAIRS)
def test_cider_between_all_is_cider_of_each(pairs):
    candidates, references = split(pairs)
    known, texts = CiderReferences(references), [one for refs in references for one in refs]
    found = cider_between(candidates, texts, known)
    assert found.shape == (len(candidates), len(texts))
    for row, text in enumerate(candidates):
        assert found[row].tolist() == pytest.approx(
            cider([text] * len(texts), [[one] for one in texts], known).tolist()
        )


def test_cider_between_in_blocks(monkeypatch):
    candidates, references = fixed()
    known, texts = CiderReferences(references), [one for refs in references for one in refs]
    whole = cider_between(candidates, texts, known)
    monkeypatch.setattr("mmgraph.functional.captions.BLOCK_ELEMENTS", 1)
    assert torch.equal(cider_between(candidates, texts, known), whole)
    assert cider_between(candidates, [], known).shape == (2, 0)
    assert cider_between([], texts, known).shape == (0, 4)


def every_alignment(a, b):
    """All ways to align equal words one to one, as sets of pairs of places."""
    if not a:
        return [[]]
    (place, word), *rest = a
    found = list(every_alignment(rest, b))
    for other, same in b:
        if same == word:
            left = [one for one in b if one[0] != other]
            found += [[(place, other), *more] for more in every_alignment(rest, left)]
    return found


def slow_meteor(text, known):
    best = 0.0
    for one in known:
        ways = every_alignment(list(enumerate(text)), list(enumerate(one)))
        m = max(map(len, ways))
        if m:
            chunks = min(sum((x - 1, y - 1) not in way for x, y in way) for way in ways if len(way) == m)
            p, r = m / len(text), m / len(one)
            best = max(best, 10 * p * r / (r + 9 * p) * (1 - 0.5 * (chunks / m) ** 3))
    return best


@given(st.permutations("abcdef"), st.permutations("cdefgh"), st.integers(0, 6), st.integers(1, 6))
def test_meteor_is_that_of_the_best_alignment(a, b, most, least):
    text, one = a[:most], b[:least]
    assert float(meteor([text], [[one, ["z"]]])) == pytest.approx(slow_meteor(text, [one]))


@given(st.lists(st.sampled_from("abc"), max_size=5), st.lists(st.sampled_from("abc"), min_size=1, max_size=5))
def test_meteor_aligns_as_many_words_as_can_be(text, one):
    found, best = float(meteor([text], [[one]])), slow_meteor(text, [one])
    assert found <= best + 1e-12  # of repeated words it may take other chunks, never fewer than the fewest
    assert (found > 0) == (best > 0)
    if text == one:
        assert found == pytest.approx(1 - 0.5 / len(one) ** 3)


def test_meteor_by_hand():
    """Two chunks of four words: P = 4/5, R = 4/6."""
    text, one = ["on", "the", "mat", "the", "cat"], ["the", "cat", "sat", "on", "the", "rug"]
    fmean = 10 * 0.8 * (4 / 6) / (4 / 6 + 9 * 0.8)
    assert float(meteor([text], [[one]])) == pytest.approx(fmean * (1 - 0.5 * (2 / 4) ** 3))


@given(st.lists(st.lists(st.sampled_from("abcdefgh"), min_size=4, max_size=8), min_size=2, max_size=5), st.data())
def test_nothing_is_better_than_the_reference_itself(texts, data):
    other = data.draw(st.lists(st.sampled_from("abcdefgh"), max_size=10))
    references = [[text] for text in texts]
    for score in PER_TEXT:
        best, found = score(texts, references), score([other, *texts[1:]], references)
        assert float(best[0]) >= float(found[0]) - 1e-9, score.__name__
    assert bleu(texts, references) == pytest.approx(1)


def test_whatever_is_hashable_is_a_word():
    made, meant = [[3, 4, 5, 6], [7, 8]], [[[3, 4, 5, 6]], [[7, 9]]]
    text, known = [list(map(str, one)) for one in made], [[list(map(str, one)) for one in refs] for refs in meant]
    for score in PER_TEXT:
        assert torch.equal(score(made, meant), score(text, known))
    assert bleu(made, meant) == bleu(text, known)
    assert exact_match([(3, 4)], [[[3, 4]]]).tolist() == [1]


@pytest.mark.parametrize("score", PER_TEXT)
def test_no_texts_have_no_scores(score):
    assert score([], []).shape == (0,)
    assert score([[]], [[["a"]]]).tolist() == [0]
    assert bleu([], []) == 0


@pytest.mark.parametrize("score", [*PER_TEXT, bleu])
def test_texts_without_references_are_refused(score):
    with pytest.raises(ValueError, match="Each of 2 candidates must have references, got 1"):
        score([["a"], ["b"]], [[["a"]]])
    with pytest.raises(ValueError, match="Candidate 1 must have at least 1 reference, got none"):
        score([["a"], ["b"]], [[["a"]], []])


def test_options_out_of_range_are_refused():
    with pytest.raises(ValueError, match="order must be at least 1, got 0"):
        bleu([["a"]], [[["a"]]], order=0)
    with pytest.raises(ValueError, match="at least 1 sample and orders, got 0, 4"):
        CiderReferences([])
    with pytest.raises(ValueError, match="at least 1 sample and orders, got 1, 0"):
        CiderReferences([[["a"]]], orders=0)


def test_rarity_counts_samples_not_references():
    known = CiderReferences([[["a", "b"], ["a"]], [["a", "a"]], [["c"]]])
    assert known.samples == 3
    assert known.frequency[("a",)] == 2
    assert known.rarity(("a", "b")) == pytest.approx(math.log(3))
    assert known.rarity(("a",)) == pytest.approx(math.log(3 / 2))


def test_a_thousand_captions():
    draw = random.Random(0)
    texts = [[draw.randrange(500) for _ in range(10)] for _ in range(1000)]
    found = cider_d(texts, [[text, texts[row - 1]] for row, text in enumerate(texts)])
    assert float(found.min()) > 4.9
