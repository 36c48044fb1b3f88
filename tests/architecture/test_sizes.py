"""Sizes, and what is refused everywhere."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LIBRARY = sorted((ROOT / "mmgraph").rglob("*.py"))
RECIPES = sorted(ROOT.glob("recipes/*/*.py"))
DATASETS = sorted(ROOT.glob("datasets/*/*.py"))
REFUSED = {"utils.py", "helpers.py", "common.py", "misc.py"}


def short(path):
    return str(path.relative_to(ROOT))


def calls(path):
    return [node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)]


@pytest.mark.parametrize("path", LIBRARY, ids=short)
def test_files_are_short(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 400


def code_lines(function):
    """Lines of a function without those of its docstring."""
    total = function.end_lineno - function.lineno + 1
    first = function.body[0]
    if ast.get_docstring(function, clean=False) is not None:
        total -= first.end_lineno - first.lineno + 1
    return total


@pytest.mark.parametrize("path", LIBRARY, ids=short)
def test_functions_are_short(path):
    functions = [
        node
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    assert {f.name: code_lines(f) for f in functions if code_lines(f) > 60} == {}


@pytest.mark.parametrize("path", RECIPES, ids=short)
def test_recipes_fit_on_a_page(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 120


@pytest.mark.parametrize("path", [*LIBRARY, *RECIPES, *DATASETS], ids=short)
def test_files_have_a_docstring_and_a_name_that_says_something(path):
    assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    assert path.name not in REFUSED


@pytest.mark.parametrize("folder", ["datasets", "recipes"])
def test_data_and_recipes_are_no_packages(folder):
    """On ``sys.path`` a package ``datasets`` makes transformers believe that Hugging Face's is installed."""
    assert list((ROOT / folder).rglob("__init__.py")) == []


def test_tests_are_no_packages():
    assert list((ROOT / "tests").rglob("__init__.py")) == []


@pytest.mark.parametrize("path", [*LIBRARY, *RECIPES, *DATASETS], ids=short)
def test_nothing_is_printed(path):
    assert [call.lineno for call in calls(path) if ast.unparse(call.func) == "print"] == []


@pytest.mark.parametrize("path", [*LIBRARY, *RECIPES, *DATASETS], ids=short)
def test_nothing_is_unpickled(path):
    """A file from elsewhere must not run code: no pickle, and ``torch.load`` and ``numpy.load`` in their safe modes."""
    for call in calls(path):
        name, words = ast.unparse(call.func), {word.arg: ast.unparse(word.value) for word in call.keywords}
        assert name.split(".")[0] not in ("pickle", "dill", "joblib", "shelve", "marshal") or name.endswith("Error")
        if name == "torch.load":
            assert words.get("weights_only") == "True", f"line {call.lineno}"
        if name in ("np.load", "numpy.load"):
            assert words.get("allow_pickle") == "False", f"line {call.lineno}"
        assert name not in ("eval", "exec", "__import__"), f"line {call.lineno}"
