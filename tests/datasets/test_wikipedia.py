import numpy as np
import pytest

from mmgraph.data import Split


@pytest.mark.data
def test_wikipedia(load_or_skip):
    records = load_or_skip("wikipedia")
    assert len(records) == 2866
    assert {name: values.shape for name, values in records.modalities.items()} == {
        "image": (2866, 128),
        "text": (2866, 10),
    }
    for name, values in records.modalities.items():
        assert records.present(name).all()
        np.testing.assert_allclose(values.sum(axis=1), 1, atol=1e-4)
    assert records.classes[0] == "art"
    assert records.classes[-1] == "warfare"
    assert np.bincount(records.labels).tolist() == [172, 360, 340, 333, 267, 236, 237, 185, 285, 451]
    part = records.phenotypes["part"]
    train, test = (np.flatnonzero(part == name) for name in ("train", "test"))
    assert (len(train), len(test), train.max()) == (2173, 693, 2172)
    Split(train[:-200], train[-200:], test).check(len(records))
    assert records.ids[0] == "b3150b0c281960b6a6d33407824fd40a-3"
    assert records.classes[records.labels[0]] == "media"  # the first line of the list says 6, from 1
