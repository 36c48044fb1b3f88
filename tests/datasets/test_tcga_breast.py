import struct

import numpy as np
import pytest

from mmgraph.data import Split


def integers(*values):
    return struct.pack(f">{len(values)}i", *values)


def text(word):
    return integers(9, len(word)) + word.encode()


def symbol(word):
    return integers(1) + text(word)


def saved(*body, magic=b"RDX2\nX\n"):
    return magic + integers(2, 0, 0) + b"".join(body)


def named(name, value, rest):
    return integers(2 | 1024) + name + value + rest


NOTHING = integers(254)


def test_what_r_saved_is_read(builder):
    """By hand, after the serialisation format of R Internals, section 1.8."""
    names = integers(16, 2) + text("b") + text("c")
    levels = named(symbol("levels"), integers(16, 2) + text("no") + text("yes"), NOTHING)
    factor = integers(13 | 512, 3, 2, 1, 2) + levels
    second = integers(1 << 8 | 255)  # the symbol that was the first
    numbers = integers(14, 2) + struct.pack(">2d", 0.5, -2.0)
    listed = integers(19 | 512, 2) + factor + numbers + named(symbol("names"), names, NOTHING)
    data = saved(named(symbol("a"), listed, named(second, integers(16, 1) + text("x"), NOTHING)))
    read = builder("tcga_breast")._RData(data).read()
    assert list(read) == ["a"]  # both entries have one name: the last counts
    assert read["a"] == ["x"]
    data = saved(named(symbol("a"), listed, NOTHING))
    found = builder("tcga_breast")._RData(data).read()["a"]
    assert found["b"] == ["yes", "no", "yes"]
    assert found["c"].tolist() == [0.5, -2.0]


def test_a_matrix_is_read_column_by_column(builder):
    sides = integers(19, 2) + integers(16, 2) + text("r") + text("s") + integers(16, 1) + text("c")
    attributes = named(symbol("dim"), integers(13, 2, 2, 3), named(symbol("dimnames"), sides, NOTHING))
    data = saved(integers(14 | 512, 6) + struct.pack(">6d", *range(6)) + attributes)
    names, values = builder("tcga_breast")._RData(data).read()
    assert names == [["r", "s"], ["c"]]
    assert values.tolist() == [[0, 2, 4], [1, 3, 5]]


def test_other_data_is_refused(builder):
    with pytest.raises(ValueError, match="must be of version 2 or 3 in XDR, got b'RDA2"):
        builder("tcga_breast")._RData(saved(magic=b"RDA2\nA\n"))
    with pytest.raises(ValueError, match="lists, strings and numbers, got kind 6"):  # a call
        builder("tcga_breast")._RData(saved(integers(6, 0))).read()


@pytest.mark.data
def test_tcga_breast(load_or_skip):
    records = load_or_skip("tcga_breast")
    assert len(records) == 220
    assert {name: values.shape[1] for name, values in records.modalities.items()} == {
        "mrna": 200,
        "mirna": 184,
        "protein": 142,
    }
    assert records.classes == ("Basal", "Her2", "LumA")
    assert np.bincount(records.labels[:150]).tolist() == [45, 30, 75]
    assert np.bincount(records.labels[150:]).tolist() == [21, 14, 35]
    part = records.phenotypes["part"]
    assert part.tolist() == ["train"] * 150 + ["test"] * 70
    for name in records.modalities:
        assert len(set(records.names[name])) == records.modalities[name].shape[1]
        assert records.present(name).tolist() == [True] * 150 + [name != "protein"] * 70
    assert (records.ids[0], records.ids[150]) == ("A0FJ", "A54N")
    assert (records.names["mrna"][0], records.names["protein"][0]) == ("RTN2", "14-3-3_epsilon")
    train = np.flatnonzero(part == "train")
    Split(train[::2], train[1::2], np.flatnonzero(part == "test")).check(220)


@pytest.mark.data
def test_the_parts_have_the_same_channels_in_one_order(load_or_skip):
    records = load_or_skip("tcga_breast")
    means = {
        part: records.modalities["mrna"][records.phenotypes["part"] == part].mean(axis=0) for part in ("train", "test")
    }
    assert np.corrcoef(means["train"], means["test"])[0, 1] > 0.95
