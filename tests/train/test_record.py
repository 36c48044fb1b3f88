import torch
from torch_geometric.data import HeteroData

from mmgraph.train.record import graph_sha256, record


def test_record_names_versions_and_machine() -> None:
    facts = record()
    assert facts["versions"]["torch"] == torch.__version__
    assert facts["threads"] == torch.get_num_threads()


def test_digest_changes_with_any_value_and_not_with_order() -> None:
    def graph(value: float, flip: bool = False) -> HeteroData:
        made = HeteroData()
        for node in ("b", "a") if flip else ("a", "b"):
            made[node].x = torch.full((2, 1), value if node == "a" else 0.0)
        made["a", "to", "b"].edge_index = torch.tensor([[0], [1]])
        return made

    assert graph_sha256(graph(1.0)) == graph_sha256(graph(1.0, flip=True))
    assert graph_sha256(graph(1.0)) != graph_sha256(graph(2.0))
