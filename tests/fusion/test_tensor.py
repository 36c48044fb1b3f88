import itertools

import pytest
import torch

from mmgraph.errors import ConfigError
from mmgraph.fusion import Concat, Tensor
from mmgraph.fusion.base import MOST_WEIGHTS


def slow_outer(values, present, anchor, *, append_one):
    """One row of the outer product, entry by entry, over the parts in the order of their names."""
    factors = []
    for name in sorted(values):
        row = values[name][anchor].tolist()
        if append_one:
            factors.append([*(row if present[name][anchor] else [0.0] * len(row)), 1.0])
        else:
            factors.append(row if present[name][anchor] else [1.0] * len(row))
    entries = []
    for chosen in itertools.product(*factors):
        entry = 1.0
        for value in chosen:
            entry *= value
        entries.append(entry)
    return torch.tensor(entries, dtype=torch.float64)


@pytest.mark.parametrize("append_one", [True, False])
def test_equals_a_slow_loop(parts, widths, append_one):
    torch.manual_seed(0)
    fusion = Tensor(widths, 5, append_one=append_one).double()
    values, present = parts
    out = fusion(values, present)
    for anchor in range(15):
        some = any(bool(mask[anchor]) for mask in present.values())
        row = fusion.linear(slow_outer(values, present, anchor, append_one=append_one)) * some
        torch.testing.assert_close(out[anchor], row, rtol=1e-12, atol=1e-12)


def test_unimodal_slices_are_concat(parts, widths):
    """A head that reads the terms of one part alone is concatenation and a linear map."""
    torch.manual_seed(0)
    fusion, concat = Tensor(widths, 5).double(), Concat(widths, 5).double()
    shape = [width + 1 for width in fusion.widths.values()]
    weight, start = torch.zeros(5, *shape, dtype=torch.float64), 0
    for axis, width in enumerate(fusion.widths.values()):
        place = [slice(None), *[-1] * len(shape)]
        place[axis + 1] = slice(0, width)
        weight[tuple(place)] = concat.linear.weight[:, start : start + width].detach()
        start += width
    fusion.linear.weight.data, fusion.linear.bias.data = weight.flatten(1), concat.linear.bias.data
    torch.testing.assert_close(fusion(*parts), concat(*parts), rtol=1e-12, atol=1e-12)


def test_an_absent_part_leaves_the_tensor_of_the_others(parts, widths):
    torch.manual_seed(0)
    values, present = parts
    fusion = Tensor(widths, 5).double()
    nobody = {**present, "text": torch.zeros(15, dtype=torch.bool)}
    fewer = Tensor({name: widths[name] for name in ("audio", "image")}, 5).double()
    kept = fusion.linear.weight.data.view(5, 3, 4, 5)[:, :, :, -1]  # the slice where text is the appended 1
    fewer.linear.weight.data, fewer.linear.bias.data = kept.reshape(5, -1), fusion.linear.bias.data
    expected = fewer({name: values[name] for name in fewer.widths}, {name: present[name] for name in fewer.widths})
    torch.testing.assert_close(fusion(values, nobody), expected, rtol=1e-12, atol=1e-12)


def test_what_does_not_fit_is_refused_with_its_size():
    message = (
        r"needs 8,120,601 × 64 weights \(2.1 GB\), more than 100,000,000; "
        r"use LowRank, which needs 603 × 64 a rank, or make the parts narrower"
    )
    with pytest.raises(ConfigError, match=message):
        Tensor({"audio": 200, "image": 200, "text": 200}, 64)
    assert MOST_WEIGHTS == 100_000_000
    assert Tensor({"audio": 9, "image": 9}, 64).linear.weight.shape == (64, 100)


def test_a_batch_whose_products_do_not_fit_is_refused_before_they_are_made():
    fusion, anchors = Tensor({"audio": 999, "image": 999}, 1), 1_001  # 10⁶ products of 4 bytes an anchor
    parts = dict.fromkeys(fusion.widths, torch.zeros(1, 1).expand(anchors, 999))
    message = r"of 1,001 anchors makes 1,001 × 1,000,000 products \(4.0 GB\), more than 4.0 GB; use smaller batches"
    with pytest.raises(ConfigError, match=message):
        fusion(parts, dict.fromkeys(parts, torch.ones(anchors, dtype=torch.bool)))


def test_interactions_of_three_need_the_tensor():
    """The lecture's example: text in {sick, fair}, face -1 or 1, loud 0 or 1; y = sick·face·(1 + loud) + fair/2."""
    rows = list(itertools.product((0.0, 1.0), (-1.0, 1.0), (0.0, 1.0)))
    sick, face, loud = (torch.tensor(column, dtype=torch.float64)[:, None] for column in zip(*rows, strict=True))
    y = sick * face * (1 + loud) + 0.5 * (1 - sick)
    values = {"face": face, "loud": loud, "text": torch.cat([sick, 1 - sick], dim=1)}
    present = dict.fromkeys(values, torch.ones(8, dtype=torch.bool))
    explained = []
    for fusion in (Concat({"face": 1, "loud": 1, "text": 2}, 1), Tensor({"face": 1, "loud": 1, "text": 2}, 1)):
        caught = []
        fusion.double().linear.register_forward_hook(lambda module, given, out, caught=caught: caught.append(given[0]))
        fusion(values, present)
        columns = torch.cat([caught[0], torch.ones(8, 1, dtype=torch.float64)], dim=1)
        rest = y - columns @ (torch.linalg.pinv(columns) @ y)
        explained.append(1 - float(rest.square().sum() / (y - y.mean()).square().sum()))
    assert explained == pytest.approx([0.476, 1.0], abs=1e-3)
