"""How the fusions are one another's special cases, and what the public code of the field computes, number by number."""

import itertools
import math

import pytest
import torch

from mmgraph.functional import (
    Adjacency,
    aggregate,
    bilinear_parts,
    concat_parts,
    low_rank_parts,
    outer_parts,
    sum_parts,
)
from mmgraph.fusion import Bilinear, Concat, Hybrid, Late, LowRank, Sum, Tensor
from mmgraph.keys import weight_key

NAMES = ("audio", "image", "text")


def everywhere(parts):
    return {name: torch.ones(len(part), dtype=torch.bool) for name, part in parts.items()}


def composed(fusion):
    """The weights of a low-rank fusion as those of a tensor fusion: the sum of the outer products of its factors."""
    total = 0
    one, two, three = (fusion.factors[weight_key(name)] for name in NAMES)
    for rank in range(one.shape[1]):
        total = total + torch.einsum("ac,bc,dc->cabd", one[:, rank], two[:, rank], three[:, rank])
    return total.detach()  # [channels, audio + 1, image + 1, text + 1]


def test_concat_is_a_star_of_typed_messages(parts, widths):
    """As a graph: each modality node sends its state through the matrix of its relation; the anchor adds them up."""
    torch.manual_seed(0)
    values, present = parts
    fusion, total = Concat(widths, 5).double(), 0
    blocks = fusion.linear.weight.split(list(widths.values()), dim=1)
    for (name, _), block in zip(widths.items(), blocks, strict=True):
        owner = present[name].nonzero().flatten()  # the anchor of each node of this modality
        edges = Adjacency(torch.stack([torch.arange(len(owner)), owner]), len(owner), 15)
        total = total + aggregate(values[name][owner] @ block.T, edges)
    some = torch.stack(list(present.values())).any(dim=0)[:, None]
    torch.testing.assert_close(fusion(values, present), (total + fusion.linear.bias) * some, rtol=1e-12, atol=1e-12)


def test_shared_weights_on_the_star_are_sum_fusion(shared):
    """Where all relations have the same matrix, concatenation is the sum: which modality said it is lost."""
    torch.manual_seed(0)
    values, present = shared
    fusion = Concat(dict.fromkeys(NAMES, 3), 5).double()
    block = fusion.linear.weight.data[:, :3].clone()
    fusion.linear.weight.data, fusion.linear.bias.data = block.repeat(1, 3), torch.zeros(5).double()
    torch.testing.assert_close(fusion(values, present), Sum()(values, present) @ block.T, rtol=1e-12, atol=1e-12)


def test_low_rank_is_tensor_with_the_composed_weights(parts, widths):
    torch.manual_seed(0)
    low, full = LowRank(widths, 5, rank=3).double(), Tensor(widths, 5).double()
    full.linear.weight.data, full.linear.bias.data = composed(low).flatten(1), torch.zeros(5).double()
    torch.testing.assert_close(low(*parts), full(*parts), rtol=1e-11, atol=1e-12)  # absent parts, too


def test_any_tensor_fusion_is_low_rank(parts, widths):
    """A rank a product of entries of all parts but the widest: each picks one of them out."""
    torch.manual_seed(0)
    full = Tensor(widths, 5).double()
    cube = full.linear.weight.data.view(5, 3, 4, 5).clone()
    cube[:, 2, 3, 4] += full.linear.bias.data  # the product of the three 1s is the bias
    low = LowRank(widths, 5, rank=12).double()
    audio, image, text = (low.factors[weight_key(name)].data.zero_() for name in NAMES)
    for rank, (i, j) in enumerate(itertools.product(range(3), range(4))):
        audio[i, rank], image[j, rank], text[:, rank] = 1, 1, cube[:, i, j].T
    torch.testing.assert_close(low(*parts), full(*parts), rtol=1e-11, atol=1e-12)


def test_the_product_of_sums_has_rank_one_and_ours_has_not(parts, widths):
    """The paper's compact form, read literally, sums over the rank before it multiplies."""
    torch.manual_seed(0)
    values = parts[0]
    present = everywhere(values)
    low = LowRank(widths, 5, rank=3).double()
    literal = 1
    for name in NAMES:
        ones = torch.cat([values[name], torch.ones(15, 1).double()], dim=1)
        literal = literal * torch.einsum("aw,wrc->arc", ones, low.factors[weight_key(name)]).sum(dim=1)
    summed = LowRank(widths, 5, rank=1).double()
    for name in NAMES:
        summed.factors[weight_key(name)].data = low.factors[weight_key(name)].data.sum(dim=1, keepdim=True)
    torch.testing.assert_close(summed(values, present), literal, rtol=1e-11, atol=1e-12)
    assert (low(values, present) - literal).abs().max() > 0.1
    for fusion, rank in ((low, 3), (summed, 1)):
        ranks = torch.linalg.matrix_rank(composed(fusion).flatten(2), atol=1e-9)  # [audio + 1, …] of each channel
        assert ranks.tolist() == [rank] * 5


def test_tensor_is_the_sum_of_uni_bi_and_trimodal_terms(parts, widths):
    torch.manual_seed(0)
    values, present = parts
    full = Tensor(widths, 5).double()
    cube = full.linear.weight.data.view(5, 3, 4, 5)
    concat, pairs = Concat(widths, 5).double(), Bilinear(widths, 5).double()
    concat.linear.weight.data = torch.cat([cube[:, :2, 3, 4], cube[:, 2, :3, 4], cube[:, 2, 3, :4]], dim=1)
    concat.linear.bias.data = full.linear.bias.data + cube[:, 2, 3, 4]
    slices = [cube[:, :2, :3, 4], cube[:, :2, 3, :4], cube[:, 2, :3, :4]]
    pairs.linear.weight.data = torch.cat([one.flatten(1) for one in slices], dim=1)
    pairs.linear.bias.data.zero_()
    here = {name: torch.where(present[name][:, None], values[name], 0) for name in NAMES}
    threes = torch.einsum("ai,aj,ak,cijk->ac", *(here[name] for name in NAMES), cube[:, :2, :3, :4])
    together = Hybrid(concat, pairs)(values, present) + threes
    torch.testing.assert_close(full(values, present), together, rtol=1e-11, atol=1e-12)


def test_without_the_third_part_its_slice_is_the_bimodal_tensor():
    x, y, z = torch.randn(5, 2), torch.randn(5, 3), torch.zeros(5, 4)
    parts = {"x": x, "y": y, "z": z}
    cube = outer_parts(parts, everywhere(parts)).view(5, 12, 5)
    bimodal = outer_parts({"x": x, "y": y}, everywhere({"x": x, "y": y}))
    assert torch.equal(cube[:, :, 4], bimodal)  # z = 0, or z absent: the slice of the appended 1, and nothing else
    assert not cube[:, :, :4].any()


def test_late_fusion_of_linear_heads_is_concat_in_block_form(parts, widths):
    torch.manual_seed(0)
    values, present = parts
    for weights, share, mask in (("sum", 1, present), ("mean", 1 / 3, everywhere(values))):
        late, concat = Late(widths, 5, weights=weights).double(), Concat(widths, 5).double()
        heads = [late.heads[weight_key(name)][0] for name in NAMES]
        concat.linear.weight.data = share * torch.cat([head.weight.data for head in heads], dim=1)
        concat.linear.bias.data = share * sum(head.bias.data for head in heads)
        biases = sum(~mask[name][:, None] * head.bias.data for name, head in zip(NAMES, heads, strict=True))
        some = torch.stack(list(mask.values())).any(dim=0)[:, None]
        expected = concat(values, mask) - share * biases * some  # an absent head's bias is not said either
        torch.testing.assert_close(late(values, mask), expected, rtol=1e-11, atol=1e-12)


def test_the_table_of_the_lecture():
    """Text in {sick, fair}, face -1 or 1, loud 0 or 1; y = sick·face·(1 + loud) + fair/2: least squares explains …"""
    rows = list(itertools.product((0.0, 1.0), (-1.0, 1.0), (0.0, 1.0)))
    sick, face, loud = (torch.tensor(column, dtype=torch.float64)[:, None] for column in zip(*rows, strict=True))
    y = sick * face * (1 + loud) + 0.5 * (1 - sick)
    parts = {"face": face, "loud": loud, "text": torch.cat([sick, 1 - sick], dim=1)}
    one, two = concat_parts(parts, everywhere(parts)), bilinear_parts(parts, everywhere(parts))
    explained = []
    for columns in (one, torch.cat([one, two], dim=1), outer_parts(parts, everywhere(parts))):
        columns = torch.cat([columns, torch.ones(8, 1).double()], dim=1)
        rest = y - columns @ (torch.linalg.pinv(columns) @ y)
        explained.append(1 - float(rest.square().sum() / (y - y.mean()).square().sum()))
    assert explained == pytest.approx([0.476, 0.952, 1.0], abs=5e-4)


def public_tensor_fusion(parts):
    """[1; h] of each part, entry by entry the first part slowest: MultiBench's TensorFusion and the authors'."""
    rows = []
    for anchor in range(len(parts[0])):
        vectors = [[1.0, *part[anchor].tolist()] for part in parts]
        rows.append([math.prod(entries) for entries in itertools.product(*vectors)])
    return torch.tensor(rows, dtype=torch.float64)


def test_tensor_fusion_of_multibench_and_its_authors_number_by_number(parts):
    """They put the 1 first, we put it last: the same numbers in another order."""
    values = [parts[0][name] for name in NAMES]
    ours = outer_parts(dict(zip(NAMES, values, strict=True)), everywhere(parts[0])).view(15, 3, 4, 5)
    theirs = public_tensor_fusion(values).view(15, 3, 4, 5)
    turned = ours.roll((1, 1, 1), dims=(1, 2, 3))
    torch.testing.assert_close(turned, theirs, rtol=1e-13, atol=1e-13)


def public_low_rank(parts, factors, weights, bias):
    """Σ_r ω_r Π_m ([1; h_m] F_m^(r)) + b: LowRankTensorFusion of MultiBench and PyKale, and the authors' LMF."""
    out = torch.zeros(len(parts[0]), len(bias), dtype=torch.float64)
    for anchor, channel in itertools.product(range(len(parts[0])), range(len(bias))):
        total = float(bias[channel])
        for rank in range(len(weights)):
            product = float(weights[rank])
            for part, factor in zip(parts, factors, strict=True):
                vector = [1.0, *part[anchor].tolist()]
                product *= sum(x * float(w) for x, w in zip(vector, factor[rank, :, channel], strict=True))
            total += product
        out[anchor, channel] = total
    return out


def test_low_rank_fusion_of_multibench_pykale_and_its_authors_number_by_number(parts, widths):
    """Their weight of a rank scales one of our factors, and their bias is one more rank of constant factors."""
    torch.manual_seed(0)
    values = [parts[0][name] for name in NAMES]
    factors = [torch.randn(3, width + 1, 5, dtype=torch.float64) for width in widths.values()]
    weights, bias = torch.randn(3, dtype=torch.float64), torch.randn(5, dtype=torch.float64)
    fusion = LowRank(widths, 5, rank=4).double()
    for number, (name, factor) in enumerate(zip(NAMES, factors, strict=True)):
        own = fusion.factors[weight_key(name)].data.zero_()
        own[:, :3] = factor.roll(-1, dims=1).transpose(0, 1) * (weights[:, None] if number == 0 else 1)
        own[-1, 3] = bias if number == 0 else 1
    expected = public_low_rank(values, factors, weights, bias)
    torch.testing.assert_close(fusion(parts[0], everywhere(parts[0])), expected, rtol=1e-11, atol=1e-12)


def test_low_rank_is_a_star_with_a_product_then_a_sum_over_the_rank(parts, widths):
    """As messages: each modality node sends rank × channels numbers; the anchor multiplies them, then adds up ranks."""
    torch.manual_seed(0)
    values, present = parts[0], everywhere(parts[0])
    fusion = LowRank(widths, 5, rank=3).double()
    sent = [
        torch.cat([values[name], torch.ones(15, 1).double()], dim=1) @ fusion.factors[weight_key(name)].flatten(1)
        for name in NAMES
    ]
    multiplied = torch.stack(sent).prod(dim=0).view(15, 3, 5)
    ranks = {str(rank): multiplied[:, rank] for rank in range(3)}
    torch.testing.assert_close(fusion(values, present), sum_parts(ranks, everywhere(ranks)), rtol=1e-11, atol=1e-12)
    weights = {name: fusion.factors[weight_key(name)] for name in NAMES}
    assert torch.equal(fusion(values, present), low_rank_parts(values, weights, present))
