"""All tests, and the examples in docstrings, keep features in a folder of their own."""

import pytest


@pytest.fixture(autouse=True, scope="session")
def own_cache(tmp_path_factory):
    """A cache for the session."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MMGRAPH_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield
