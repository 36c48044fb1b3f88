"""All tests, and the examples in docstrings, keep features in a folder of their own."""

import pytest

APART = ("tests/recipes/test_recipes.py::test_runs_from_end_to_end",)  # long, and each shares nothing with the others


@pytest.fixture(autouse=True, scope="session")
def own_cache(tmp_path_factory):
    """A cache for the session."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MMGRAPH_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Keeps the tests of a file on one worker, for they share fixtures, but lets any worker take those ``APART``."""
    if config.getvalue("dist") != "loadfile":
        return None
    from xdist.scheduler import LoadFileScheduling

    class Scheduling(LoadFileScheduling):
        def _split_scope(self, nodeid):
            return nodeid if nodeid.startswith(APART) else super()._split_scope(nodeid)

    return Scheduling(config, log)
