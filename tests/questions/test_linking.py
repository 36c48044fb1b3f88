import pytest
import torch

from mmgraph.errors import ConfigError, DataError
from mmgraph.questions import Mention, Names

NAMES = ["new_york", "york", "Zoë-Ann O'Hara", "york_minster", "the duke of york", "york", "?"]


def spoken(text, **options):
    names = Names(NAMES, **options)
    return [(mention.entity, text[mention.start : mention.end]) for mention in names.link(text, guesses=0)]


def test_the_longest_name_counts_and_equal_names_are_all_meant():
    assert spoken("from New  York to york.") == [(0, "New  York"), (1, "york"), (5, "york")]
    assert spoken("The Duke of York Minster") == [(4, "The Duke of York")]
    assert spoken("YORK_MINSTER's roof") == [(3, "YORK_MINSTER")]


def test_case_accents_and_signs_make_no_difference():
    assert spoken("what of zoe ann o’hara ?") == [(2, "zoe ann o’hara")]


def test_a_part_of_a_word_is_no_name():
    assert spoken("yorkshire new yorker") == []


def test_names_can_be_hidden():
    names = Names(NAMES)
    assert names.hide("is New York near york ?") == "is # near # ?"
    assert names.hide("is New York near york ?", "<e>") == "is <e> near <e> ?"
    assert names.hide("nothing") == "nothing"


def test_without_a_name_it_guesses_by_rare_words():
    names = Names(["the old lighthouse", "the old harbour", "harbour lights"])
    assert names.link("is there a lighthouse keeper ?") == [Mention(0, 0, 0)]
    assert [mention.entity for mention in names.link("an old harbour lamp", guesses=2)] == [1, 2]
    assert names.link("an old harbour lamp", guesses=0) == []
    assert names.link("none of it") == []


def test_an_encoder_guesses_by_meaning():
    def encode(texts):
        return torch.tensor([[float("cat" in text or "feline" in text), 1.0] for text in texts])

    names = Names(["a big cat", "a dog", "a fish"], encode=encode)
    assert [mention.entity for mention in names.link("feline", guesses=1)] == [0]
    assert [mention.entity for mention in names.link("a big cat", guesses=1)] == [0]
    assert len(names.link("feline dog", guesses=3)) == 3


def test_no_names_link_nothing():
    assert Names([]).link("anything") == []


def test_wrong_names_are_named():
    with pytest.raises(DataError, match="must be strings, got 3 for entity 1"):
        Names(["a", 3])
    with pytest.raises(ConfigError, match="at least 0, got -1"):
        Names(["a"]).link("b", guesses=-1)
