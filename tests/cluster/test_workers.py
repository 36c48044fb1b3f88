"""Which workers there are."""

import pytest

from mmgraph.cluster import open_workers
from mmgraph.cluster.local import Processes
from mmgraph.errors import ConfigError


def test_one_local_worker_is_this_process():
    with open_workers("local", 1) as workers:
        assert workers is None
    with open_workers("local", 3) as workers:
        assert isinstance(workers, Processes)
        assert workers.count == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"engine": "dask"}, r"engine must be one of \['local', 'ray'\], got 'dask'"),
        ({"count": 0}, "workers must be at least 1, got 0"),
        ({"address": "auto", "count": 2}, "address is of a Ray cluster, got 'auto' with engine 'local'"),
    ],
)
def test_what_can_not_be_is_refused(options, message):
    with pytest.raises(ConfigError, match=message), open_workers(**options):
        pass


def test_ray_is_started_where_there_is_none_and_ended(monkeypatch):
    import ray

    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    assert not ray.is_initialized()
    with open_workers("ray", 1):
        assert ray.cluster_resources()["CPU"] == 1
    assert not ray.is_initialized()
