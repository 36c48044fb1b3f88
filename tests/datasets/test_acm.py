"""ACM as HeCo ships it: what the card says of it, and that its splits and features are what they should be."""

import pytest
import torch

from mmgraph.data import load_dataset

EDGES = {("paper", "by", "author"): 13407, ("paper", "about", "subject"): 4019}
WORDS = ("shares", "tfidf", "topics")


def acm(load_or_skip, **options):
    load_or_skip("acm")
    return load_dataset("acm", **options)


@pytest.mark.data
def test_papers_authors_and_subjects(load_or_skip):
    graph, schema = load_or_skip("acm")
    schema.check(graph)
    assert {node: graph[node].num_nodes for node in graph.node_types} == {"paper": 4019, "author": 7167, "subject": 60}
    for (source, name, target), count in EDGES.items():
        index = graph[source, name, target].edge_index
        assert index.shape == (2, count)
        assert len(index.unique(dim=1).T) == count
        assert torch.equal(graph[target, f"^{name}", source].edge_index, index.flip(0))
    about = graph["paper", "about", "subject"].edge_index
    assert torch.equal(about[0].sort().values, torch.arange(4019))  # one subject a paper
    assert int(about[1].bincount().max()) == 1841
    assert int(graph["paper", "by", "author"].edge_index[0].bincount(minlength=4019).min()) == 1
    assert graph["paper"].y.bincount().tolist() == [1993, 965, 1061]
    for node in ("paper", "author"):
        torch.testing.assert_close(graph[node].x.sum(dim=1), torch.ones(graph[node].num_nodes))


@pytest.mark.data
@pytest.mark.parametrize("labels", [20, 40, 60])
def test_splits(load_or_skip, labels):
    graph, _ = acm(load_or_skip, labels=labels)
    paper = graph["paper"]
    assert paper.y[paper.train_mask].bincount().tolist() == [labels] * 3
    assert (int(paper.val_mask.sum()), int(paper.test_mask.sum())) == (1000, 1000)
    assert int((paper.train_mask.int() + paper.val_mask.int() + paper.test_mask.int()).max()) == 1


@pytest.mark.data
def test_an_author_uses_the_words_of_the_papers(load_or_skip):
    graph, _ = load_or_skip("acm")
    paper, author = graph["paper", "by", "author"].edge_index
    used = torch.zeros(7167, 1902).index_add(0, author, (graph["paper"].x[paper] > 0).float()) > 0
    assert torch.equal(graph["author"].x > 0, used)


@pytest.mark.data
def test_rare_words_weigh_more_and_topics_keep_what_is_alike(load_or_skip):
    plain, rare, topics = (acm(load_or_skip, words=words)[0]["paper"].x for words in WORDS)
    assert topics.shape == (4019, 128)
    for x in (rare, topics):
        torch.testing.assert_close(x.norm(dim=1), torch.ones(4019))
    share = (plain > 0).float().mean(dim=0)
    row = rare[0] / -share.log()
    torch.testing.assert_close(row[rare[0] > 0], row.max().expand(int((rare[0] > 0).sum())), rtol=1e-4, atol=1e-6)
    left, values, _ = torch.linalg.svd(rare, full_matrices=False)
    best = torch.nn.functional.normalize(left[:, :128] * values[:128], dim=1)
    torch.testing.assert_close(topics[:50] @ topics[:50].T, best[:50] @ best[:50].T, rtol=1e-3, atol=1e-4)
