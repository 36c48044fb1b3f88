import numpy as np
import torch

from mmgraph.builders.assemble import append, codes, nodes
from mmgraph.schema import Schema


def scaled(records):
    return {name: values[records.present(name)] for name, values in records.modalities.items()}


def test_a_subject_without_a_modality_has_no_node_of_it(records, split):
    graph = nodes(records, split, scaled(records), "subject")
    assert graph["subject"].x.shape == (40, 0)
    assert graph["blood"].x.shape == (40, 5)
    assert graph["scan"].x.shape == (36, 3)
    owner = [row for row in range(40) if row not in (3, 17, 25, 33)]
    assert graph["scan", "of", "subject"].edge_index.tolist() == [[*range(36)], owner]
    np.testing.assert_array_equal(graph["scan"].x, records.modalities["scan"][owner])
    for part in ("train", "val", "test"):
        assert graph["subject"][f"{part}_mask"].nonzero().flatten().tolist() == getattr(split, part).tolist()
    assert graph["subject"].y.tolist() == records.labels.tolist()


def test_without_split_and_labels_nobody_is_marked(records):
    graph = nodes(records.take([0, 3]), None, scaled(records.take([0, 3])), "subject")
    assert not graph["subject"].train_mask.any()
    assert graph["scan"].x.shape == (1, 3)


def test_appended_nodes_stand_behind_and_the_old_graph_stays(records, split):
    old = nodes(records.take(range(30)), None, scaled(records.take(range(30))), "subject")
    rest = records.take(range(30, 40))
    before = old.clone()
    for new_records, labels in ((rest, rest.labels.tolist()), (rest.without_labels(), [-1] * 10)):
        larger = append(old, nodes(new_records, None, scaled(new_records), "subject"), Schema.infer(old))
        whole = nodes(records, None, scaled(records), "subject")
        for node in ("blood", "scan"):
            assert torch.equal(larger[node].x, whole[node].x)
            assert torch.equal(larger[node, "of", "subject"].edge_index, whole[node, "of", "subject"].edge_index)
        assert larger["subject"].y.tolist() == records.labels[:30].tolist() + labels
        assert larger["subject"].x.shape == (40, 0)
    for store, same in zip(old.stores, before.stores, strict=True):
        assert list(store) == list(same)
        assert all(torch.equal(store[key], same[key]) for key in store)


def test_codes_number_categories_and_keep_what_is_unknown():
    got = codes(
        {
            "site": np.array(["b", None, "a", float("nan"), "b"], dtype=object),
            "age": np.array([60, None, 61.5, float("nan"), 70], dtype=object),
            "count": np.array([3, 1, 2, 3, 1]),
            "flag": np.array([True, False, None, True, False], dtype=object),
            "mixed": np.array([1, "1", 2, None, "x"], dtype=object),
            "nobody": np.array([None] * 5, dtype=object),
        }
    )
    nan = float("nan")
    expected = [
        [1, nan, 0, nan, 1],
        [60, nan, 61.5, nan, 70],
        [3, 1, 2, 3, 1],
        [1, 0, nan, 1, 0],
        [0, 0, 1, nan, 2],
        [nan] * 5,
    ]
    for values, numbers in zip(got, expected, strict=True):
        assert values.dtype == torch.float64
        np.testing.assert_array_equal(values, numbers)
