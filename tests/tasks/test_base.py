import pytest

from mmgraph.tasks import Task


def test_a_task_is_abstract():
    with pytest.raises(TypeError, match="abstract"):
        Task()
