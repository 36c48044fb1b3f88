import json
from collections import Counter

import pytest

from mmgraph.data import load_dataset

HEAD = "emoji,hexcode,group,subgroups,annotation,skintone,skintone_base_hexcode"
ROWS = [
    "😀,1F600,smileys,face,grinning face,,",
    "👋,1F44B,people,hand,waving hand,,1F44B",
    "👋🏻,1F44B-1F3FB,people,hand,waving hand: light,1,1F44B",
    "🏳️,1F3F3-FE0F,flags,flag,white flag,,",
    "🏳️,1F3F3,extras-openmoji,flags,white flag,,",
    "🇦🇩,1F1E6-1F1E9,flags,country-flag,flag: Andorra,,",
]
PICTURES = ("emoji_u1f600.png", "emoji_u1f44b.png", "emoji_u1f44b_1f3fb.png", "emoji_u1f3f3.png")


@pytest.fixture
def files(tmp_path):
    """Four pictures (names alone), a table, and annotations in which the selector of the flag is left out."""
    (tmp_path / "openmoji.csv").write_text("\n".join([HEAD, *ROWS]), encoding="utf-8")
    said = {
        "annotations/en": {"😀": {"default": ["face", "grin"], "tts": ["grinning"]}, "🏳": {"default": ["waving"]}},
        "annotationsDerived/en": {"👋🏻": {"default": ["hand", "light skin"]}},
        "annotations/de": {"😀": {"default": ["Gesicht"], "tts": ["grinsendes Gesicht"]}},
        "annotations/fr": {},
    }
    found = {"table": tmp_path / "openmoji.csv"}
    for folder, notes in said.items():
        path = tmp_path / folder / "annotations.json"
        path.parent.mkdir(parents=True)
        kind = folder.split("/")[0]
        path.write_text(json.dumps({kind: {"identity": {}, "annotations": notes}}), encoding="utf-8")
        found[folder] = path
    return found | {name: tmp_path / "png" / name for name in PICTURES}


def rows(source):
    return {row["code"]: row for row in source.tables["emoji"].to_pylist()}


def test_tables_are_joined_by_code_points(builder, files, tmp_path):
    source = builder("emoji").build(files, languages=("en", "de"))
    table = rows(source)
    assert list(table) == ["1F600", "1F44B", "1F3F3-FE0F"]  # no variant, no second white flag, no country flag
    assert source.root == tmp_path / "png"
    first, flag = table["1F600"], table["1F3F3-FE0F"]
    assert (first["picture"], first["name_en"], first["name_de"]) == (
        "emoji_u1f600.png",
        "grinning face",
        "grinsendes Gesicht",
    )
    assert (first["keywords_en"], first["keywords_de"]) == (["face", "grin"], ["Gesicht"])
    assert (flag["picture"], flag["keywords_en"], flag["name_de"], flag["keywords_de"]) == (
        "emoji_u1f3f3.png",
        ["waving"],
        None,
        [],
    )


def test_variants_point_to_their_base_and_stay_with_it(builder, files):
    source = builder("emoji").build(files, base_only=False)
    table = rows(source)
    assert {code: (row["variant_of"], row["base"]) for code, row in table.items()} == {
        "1F600": (None, "1F600"),
        "1F44B": (None, "1F44B"),
        "1F44B-1F3FB": ("1F44B", "1F44B"),
        "1F3F3-FE0F": (None, "1F3F3-FE0F"),
    }
    assert table["1F44B-1F3FB"]["keywords_en"] == ["hand", "light skin"]
    assert (source.config.split.by, source.config.split.column) == ("group", "base")
    assert [(edge.type, edge.column, edge.inverse) for edge in source.config.edges] == [
        (("emoji", "variant_of", "emoji"), "variant_of", "has_variant")
    ]


def test_groups_are_a_target_or_nodes_but_never_both(builder, files):
    for base_only in (True, False):
        plain = builder("emoji").build(files, base_only=base_only).config
        joined = builder("emoji").build(files, base_only=base_only, relations=True)
        assert list(plain.targets) == ["group"]
        assert {node for edge in plain.edges for node in edge.type[::2]} <= {"emoji"}
        assert set(plain.nodes) == {"emoji"}
        assert joined.config.targets == {}
        types = [edge.type for edge in joined.config.edges]
        assert types[-2:] == [("emoji", "in_subgroup", "subgroup"), ("subgroup", "in_group", "group")]
        assert joined.tables["subgroups"].to_pylist() == [
            {"subgroup": "face", "group": "smileys"},
            {"subgroup": "flag", "group": "flags"},
            {"subgroup": "hand", "group": "people"},
        ]


@pytest.mark.parametrize(("languages", "got"), [(("en", "it"), "it"), ("en", "e")])
def test_a_language_that_is_not_there_is_named(builder, files, languages, got):
    with pytest.raises(ValueError, match=f"languages must be among de, en and fr, got '{got}'"):
        builder("emoji").build(files, languages=languages)


@pytest.mark.data
def test_emoji(load_or_skip):
    base = load_or_skip("emoji")
    table = rows(base)
    assert len(table) == 1644
    assert Counter(row["group"] for row in table.values())["people-body"] == 363
    assert sum(len(row["keywords_en"]) for row in table.values()) == 9842
    assert sum(bool(row["keywords_en"]) for row in table.values()) == 1618
    assert {row["group"] for row in table.values() if not row["keywords_en"]} == {"extras-unicode"}
    everything = load_dataset("emoji", base_only=False, relations=True, languages=("en", "de", "fr"))
    table = rows(everything)
    assert len(table) == 3429
    assert len({row["picture"] for row in table.values()}) == 3429
    assert all((everything.root / row["picture"]).is_file() for row in table.values())
    assert len({row["group"] for row in table.values()}) == 11
    assert everything.tables["subgroups"].num_rows == len({row["subgroup"] for row in table.values()}) == 100
    variants = [row for row in table.values() if row["variant_of"]]
    assert len(variants) == 1785
    assert all(table[row["variant_of"]]["variant_of"] is None for row in variants)
    for language in ("de", "fr"):
        assert sum(row[f"name_{language}"] is not None for row in table.values()) == 1562
    assert table["1F600"]["name_fr"] == "visage rieur"
