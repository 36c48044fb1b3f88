"""Two processes under Ray Train share each step of a fit: the numbers of one process."""

import os
import signal

import pytest
import torch

from mmgraph.cluster import train_on_ray
from mmgraph.errors import ConfigError, DataError
from mmgraph.train import ProcessError

pytestmark = pytest.mark.usefixtures("cluster")


@pytest.fixture
def fitted():
    """What each process does: a function of a function, which is sent whole."""

    def fitted(folder, letters):
        import os
        import signal
        from pathlib import Path

        import torch
        from torch import nn

        import mmgraph as mg
        from mmgraph.encoders import Table
        from mmgraph.fusion import Concat
        from mmgraph.testing import fake_graph
        from mmgraph.train import Place

        torch.manual_seed(0)
        graph, schema = fake_graph(61, seed=3)
        widths = {"scan": 3, "text": 5}
        model = mg.Model(
            schema=schema,
            encoder=Table(widths, 4),
            fusion=Concat(dict.fromkeys(widths, 4), 4),
            head=nn.Linear(4, 2),
        )
        task, steps = mg.NodeClassification(schema), []

        def counted(batch, generator):
            steps.append(batch["subject"].train_mask.sum().item())
            if letters and len(steps) == 20 and Place.here().rank == 1 and not Path(letters).exists():
                Path(letters).touch()
                os.kill(os.getpid(), signal.SIGKILL)
            return batch

        config = mg.FitConfig(epochs=6, batch_size=8, checkpoint_every=1, patience=None)
        found = mg.fit(
            model,
            mg.Supervised(task.target),
            task,
            graph,
            config,
            transform=counted,
            folder=folder and Path(folder),
        )
        return Place.here().world, sum(steps), found.history, {k: v.tolist() for k, v in model.state_dict().items()}

    return fitted


def close(found, wanted):
    for one, other in zip(found[2], wanted[2], strict=True):
        assert one == pytest.approx(other, abs=1e-4)
    for name, value in wanted[3].items():
        torch.testing.assert_close(torch.tensor(found[3][name]), torch.tensor(value), atol=1e-4, rtol=0)


def test_two_processes_that_lose_one_end_with_the_numbers_of_one_process(fitted, tmp_path):
    alone = fitted(None, None)
    two = train_on_ray(
        fitted, str(tmp_path / "fit"), str(tmp_path / "letters"), processes=2, storage=tmp_path / "ray", failures=1
    )
    assert (tmp_path / "letters").exists()
    assert (alone[0], two[0]) == (1, 2)
    assert 0 < two[1] < alone[1]  # each reads its part of the steps
    close(two, alone)


def test_errors_come_as_they_are(tmp_path):
    def broken():
        raise DataError("there must be data, got none")

    def killed():
        os.kill(os.getpid(), signal.SIGKILL)

    with pytest.raises(DataError, match="there must be data, got none"):
        train_on_ray(broken, processes=1, storage=tmp_path)
    with pytest.raises(ProcessError, match="All 1 processes must run until the end, but"):
        train_on_ray(killed, processes=1, storage=tmp_path)


def test_what_can_not_be_is_refused():
    with pytest.raises(ConfigError, match="at least 1 and failures at least 0, got 0 and 0"):
        train_on_ray(print, processes=0)
    with pytest.raises(ConfigError, match="at most the processors of the Ray cluster, 2, got 3"):
        train_on_ray(print, processes=3)
