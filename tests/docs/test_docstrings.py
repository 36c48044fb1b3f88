"""Docstrings as Markdown, and which page documents a name."""

import importlib
import inspect
from pathlib import Path

import griffe
import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (":class:`Gated`", "[`Gated`][x.Gated]"),
        (":class:`~a.b.Gated`", "[`Gated`][x.a.b.Gated]"),
        (":func:`the function <a.b>`", "[`the function`][x.a.b]"),
        (":meth:`unknown.Name`", "`unknown.Name`"),
        (":math:`a_i\n    b`", "`#!math a_i b`"),
        ("| :math:`\\|x\\|` | y |", "| `#!math \\|x\\|` | y |"),
        ("Example:\n    >>> 1", "Examples:\n    >>> 1"),
        ("Text.\n\n.. math:: a\n    b\n\nMore.", "Text.\n\n\n```math\na\nb\n```\n\nMore."),
        ("Args:\n    x: Text.\n\n        .. math::\n\n            a\n\n    y: More.",
         "Args:\n    x: Text.\n\n\n        ```math\n        a\n        ```\n\n    y: More."),
        ("Like this::\n\n    x = 1\n\n    y = 2\n\nEnd.", "Like this:\n\n```python\nx = 1\n\ny = 2\n```\n\nEnd."),
    ],
)  # fmt: skip
def test_roles_and_directives(docstrings, text, expected) -> None:
    assert docstrings.to_markdown(text, lambda name: None if "unknown" in name else f"x.{name}") == expected


def test_rooms_have_the_names_that_the_package_offers_when_it_runs(rooms) -> None:
    for room in rooms:
        module = importlib.import_module(room.path)
        offered = getattr(module, "__all__", None)
        if offered is not None:
            assert set(room.names) | set(room.others) == set(offered), room.path
        for name, path in (room.names | room.others).items():
            held = getattr(module, name)
            if (inspect.isclass(held) or inspect.isfunction(held)) and held.__module__.startswith("mmgraph"):
                assert path == f"{held.__module__}.{held.__qualname__}", (room.path, name)


def test_every_folder_and_every_top_name_has_a_room(rooms) -> None:
    import mmgraph

    paths = {room.path for room in rooms}
    assert paths >= {f"mmgraph.{folder.parent.name}" for folder in (ROOT / "mmgraph").glob("*/__init__.py")}
    offered = {f"{room.path}.{name}" for room in rooms for name in room.names | room.others}
    assert {f"{module}.{name}" for name, module in mmgraph._MODULE_OF.items()} <= offered


def test_a_name_is_documented_once(rooms) -> None:
    paths = [path for room in rooms for path in room.names.values()]
    assert len(paths) == len(set(paths))
    assert {path for room in rooms for path in room.others.values()} <= set(paths)


def test_a_name_that_several_rooms_offer_belongs_to_where_it_is_defined(docstrings, tmp_path) -> None:
    package = tmp_path / "shop"
    for name, text in {
        "till/__init__.py": "'''Till.'''\nfrom shop.goods import Cup\n__all__ = ['Cup']\n",
        "goods/__init__.py": "'''Goods.\n\nMore.'''\nfrom shop.goods.cup import Cup\n__all__ = ['Cup']\n",
        "plain.py": "'''Plain.'''\nimport os\nLIMIT: int = 3\ndef buy(): ...\ndef _hidden(): ...\n",
        "empty.py": "import os\n",
    }.items():
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / name).write_text(text)
    found = {room.path: room for room in docstrings.rooms(package)}
    assert list(found) == ["shop.goods", "shop.plain", "shop.till"]
    assert found["shop.goods"].names == {"Cup": "shop.goods.cup.Cup"}
    assert found["shop.goods"].summary == "Goods."
    assert found["shop.till"].names == {}
    assert found["shop.till"].others == {"Cup": "shop.goods.cup.Cup"}
    assert found["shop.plain"].names == {"LIMIT": "shop.plain.LIMIT", "buy": "shop.plain.buy"}
    assert found["shop.plain"].page == "api/shop.plain.md"


@pytest.fixture(scope="module")
def loaded(docstrings):
    extension = docstrings.Docstrings()
    loader = griffe.GriffeLoader(search_paths=[ROOT], extensions=griffe.Extensions(extension))
    return extension, loader.load("mmgraph")


@pytest.mark.parametrize(
    ("where", "name", "expected"),
    [
        ("fusion.low_rank.LowRank", "Tensor", "mmgraph.fusion.tensor.Tensor"),  # the room's, not torch's
        ("model.Model", "~Encoder", None),
        ("model.Model", "Encoder", "mmgraph.encoders.base.Encoder"),  # imported there
        ("model.Model", "embed", "mmgraph.model.Model.embed"),  # its own
        ("model.Model", "mmgraph.schema.Schema.paths", "mmgraph.schema.schema.Schema.paths"),
        ("model", "mmgraph.Linker", "mmgraph.linker.Linker"),  # by the name it has at the top
        ("model", "Contrast", "mmgraph.objectives.contrast.Contrast"),  # the only one of this name
        ("model", "mmgraph.fusion", "mmgraph.fusion"),
        ("model", "mmgraph.fusion.gated", None),  # a module inside a room has no page
        ("model", "torch.nn.Linear", None),
        ("model", "Model.nowhere", None),
        ("model", "Model._private", None),
    ],
)
def test_names_lead_to_where_they_are_documented(loaded, where, name, expected) -> None:
    extension, package = loaded
    assert extension.resolve(name, package[where]) == expected


def test_checked_classes_show_the_parameters_they_take(loaded) -> None:
    _, package = loaded
    shown = [parameter.name for parameter in package["assembly.config.GraphConfig"].parameters]
    assert shown[:4] == ["self", "name", "anchor", "nodes"]
    assert "fields" not in shown
    assert [one.name for one in package["fusion.gated.Gated"].parameters] == ["self", "widths", "channels"]
