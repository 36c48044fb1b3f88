import logging
import sys
import warnings

import pytest

from mmgraph.errors import MissingPackageError, MMGraphError
from mmgraph.optional import no_bars, quiet, require


def test_a_package_that_is_there_is_imported():
    import json.decoder

    assert require("json", extra="none") is json
    assert require("json.decoder", extra="none") is json.decoder


def test_the_message_says_what_to_install():
    for name in ("no_such_package", "no_such_package.inside"):
        with pytest.raises(MissingPackageError, match=rf"'{name}'.*pip install 'mmgraph\[index\]'"):
            require(name, extra="index")


def test_it_can_be_caught_as_an_import_error_or_as_ours():
    assert issubclass(MissingPackageError, ImportError)
    assert issubclass(MissingPackageError, MMGraphError)


def test_what_is_missing_inside_a_package_is_not_blamed_on_the_package(tmp_path, monkeypatch):
    (tmp_path / "half_installed.py").write_text("import its_own_dependency")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="its_own_dependency") as raised:
        require("half_installed", extra="index")
    assert not isinstance(raised.value, MissingPackageError)
    with pytest.raises(ModuleNotFoundError, match=r"json\.no_such_part"):
        require("json.no_such_part", extra="index")
    assert "half_installed" not in sys.modules


def test_remarks_and_warnings_of_a_kind_are_kept_away_and_come_back(caplog):
    logger = logging.getLogger("mmgraph_test_remarks")
    logger.setLevel(logging.INFO)
    with quiet("mmgraph_test_remarks", DeprecationWarning):
        logger.warning("unheard")
        logger.error("heard")
        warnings.warn("unheard", DeprecationWarning, stacklevel=1)
        with pytest.raises(UserWarning, match="another kind"):
            warnings.warn("another kind", UserWarning, stacklevel=1)
    logger.info("heard again")
    assert logger.level == logging.INFO
    assert caplog.messages == ["heard", "heard again"]
    with quiet("mmgraph_test_remarks", DeprecationWarning, module="elsewhere"), pytest.raises(DeprecationWarning):
        warnings.warn("from here", DeprecationWarning, stacklevel=1)


def test_bars_of_transformers_come_back_as_they_were():
    bars = require("transformers", extra="text").utils.logging
    before = bars.is_progress_bar_enabled()
    for shown in (True, False):
        (bars.enable_progress_bar if shown else bars.disable_progress_bar)()
        with no_bars():
            assert not bars.is_progress_bar_enabled()
        assert bars.is_progress_bar_enabled() == shown
    (bars.enable_progress_bar if before else bars.disable_progress_bar)()
