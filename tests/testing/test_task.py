import pytest
import torch

from mmgraph.tasks import NodeClassification, Task
from mmgraph.testing import check_task, fake_graph


class Good(Task):
    """A regression: NodeClassification has no such part, so the general way is checked too."""

    metrics = ("error",)

    def view(self, graph, part):
        seen = graph.clone()
        seen["subject"].y = graph["subject"].y.where(graph["subject"].train_mask, float("nan"))
        return seen

    def answers(self, outputs, view, part):
        return outputs[view["subject"][f"{part}_mask"]]

    def evaluate(self, predictions, graph, part="test", *, metrics=None):
        y = graph["subject"].y[graph["subject"][f"{part}_mask"]]
        return {name: float((predictions - y).abs().mean()) for name in metrics or ["error"]}


def check(task, **options):
    graph, schema = fake_graph(classes=("a", "b"))
    graph["subject"].y = torch.linspace(-1, 1, 40)
    target = schema.target("diagnosis").model_copy(update={"kind": "regression", "classes": ()})
    schema = schema.model_copy(update={"targets": {"diagnosis": target}})
    store = graph["subject"]
    options = {"higher_is_better": {"error": False}, "perfect": lambda p: store.y[store[f"{p}_mask"]]} | options
    check_task(task, graph, schema, draws=10, **options)


class Classes(NodeClassification):
    pass


class ShowsLabels(Classes):
    def view(self, graph, part):
        seen = super().view(graph, part)
        seen["subject"].y = graph["subject"].y
        return seen


class ShowsShares(Classes):
    def view(self, graph, part):
        seen = super().view(graph, part)
        seen["subject"].share = graph["subject"].y.float().mean()
        return seen


class AllRows(Classes):
    def answers(self, outputs, view, part):
        return outputs.softmax(dim=1)


class Backwards(Classes):
    def evaluate(self, predictions, graph, part="test", *, metrics=None):
        return super().evaluate(1 - predictions, graph, part, metrics=metrics)


class Generous(Classes):
    def evaluate(self, predictions, graph, part="test", *, metrics=None):
        scores = super().evaluate(predictions, graph, part, metrics=metrics)
        return {name: score**0.5 if name == "accuracy" else score for name, score in scores.items()}


class Tensors(Classes):
    def evaluate(self, predictions, graph, part="test", *, metrics=None):
        scores = super().evaluate(predictions, graph, part, metrics=metrics)
        return {name: torch.tensor(score) for name, score in scores.items()}


class IgnoresMetrics(Classes):
    def evaluate(self, predictions, graph, part="test", *, metrics=None):
        return super().evaluate(predictions, graph, part)


class Constant(Classes):
    def evaluate(self, predictions, graph, part="test", *, metrics=None):
        return dict.fromkeys(metrics or ["accuracy"], 1.0)


class Overwrites(Classes):
    def answers(self, outputs, view, part):
        answers = super().answers(outputs, view, part)
        view["subject"].test_mask[:] = False  # the view shares it with the graph
        return answers


BROKEN = {
    ShowsLabels: "ShowsLabels must hide labels outside training from the view of 'train', got 'y' of 'subject'",
    ShowsShares: "ShowsShares must hide labels .* got 'share' of 'subject'",
    AllRows: r"AllRows must answer for each row of 'train', \[24, 2\], got \[40, 2\]",
    Backwards: "Backwards must give perfect predictions the best accuracy, got 0.0",
    Generous: "Generous must give noise a accuracy of 0.500",
    Tensors: "Tensors must give floats, got accuracy = tensor",
    IgnoresMetrics: "IgnoresMetrics must give accuracy = .* when asked for it, got {",
    Constant: "Constant must give perfect predictions the best accuracy, got 1.0, and 1.0 for noise",
}


@pytest.mark.parametrize("broken", BROKEN)
def test_a_broken_promise_is_found(broken):
    graph, schema = fake_graph()
    with pytest.raises(AssertionError, match=BROKEN[broken]):
        check_task(broken(schema), graph, schema)


def test_a_task_that_changes_the_graph_is_found():
    graph, schema = fake_graph()
    with pytest.raises(Exception, match="test"):
        check_task(Overwrites(schema), graph, schema)


def test_a_task_of_another_kind_passes_with_its_own_perfection():
    check(Good())


def test_a_metric_needs_a_direction():
    with pytest.raises(AssertionError, match="higher_is_better must say the direction of 'error', got none"):
        check(Good(), higher_is_better={"accuracy": True})


def test_a_direction_that_is_wrong_is_found():
    with pytest.raises(AssertionError, match=r"perfect predictions the best error, got 0\.0"):
        check(Good(), higher_is_better={"error": True})
