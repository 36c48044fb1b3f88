"""The import law: a module imports from lower layers and its own room alone, heavy packages where they are used."""

import ast
import importlib
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

import mmgraph

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "mmgraph"
FILES = sorted(PACKAGE.rglob("*.py"))

LAYER = {
    **dict.fromkeys(("typing", "errors", "optional", "files", "keys", "blueprint"), 0),
    **dict.fromkeys(("schema", "media"), 1),
    **dict.fromkeys(("functional", "data"), 2),
    **dict.fromkeys(("builders", "encoders", "layers", "fusion", "decoders", "objectives", "scorers"), 3),
    **dict.fromkeys(("model", "aligner", "linker", "translator", "tasks", "index", "interop"), 4),
    **dict.fromkeys(("train", "report", "testing", "recipe", "run", "search", "assembly", "describe", "sweep"), 5),
    **dict.fromkeys(("explain", "align", "engine", "questions", "serve", "entity_aligner", "zero_shot", "socratic"), 5),
    **dict.fromkeys(("completion", "estimators", "pretrained", "export", "tune", "trackers", "cluster"), 5),
    **dict.fromkeys(("cli",), 6),
}
LAZY = {"dgl", "ogb", "faiss", "networkx", "sentence_transformers", "matplotlib", "numba", "pyarrow"}
LAZY |= {"PIL", "soundfile", "soxr", "av", "transformers"}
LAZY |= {"ray", "onnx", "onnxruntime", "torch_frame", "mlflow", "tensorboard", "optuna", "relbench", "pandas"}
LAZY |= {"huggingface_hub", "duckdb"}


def name_of(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def room(name):
    """mmgraph.layers.gcn → layers; mmgraph itself has none."""
    return [*name.split("."), ""][1]


def is_type_checking(node):
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


def walk(tree, *, functions=True, checking=True):
    """All nodes, if wanted those within functions and under TYPE_CHECKING too."""
    for node in ast.iter_child_nodes(tree):
        if (is_type_checking(node) and not checking) or (
            isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) and not functions
        ):
            continue
        yield node
        yield from walk(node, functions=functions, checking=checking)


def imported(path, **which):
    """(module, name or None) of every import; ``from m import n`` gives (m, n)."""
    found = []
    for node in walk(ast.parse(path.read_text(encoding="utf-8")), **which):
        if isinstance(node, ast.Import):
            found += [(alias.name, None) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found += [(node.module, alias.name) for alias in node.names]
    return found


def breaks_the_law(importer, module):
    mine, theirs = room(importer), room(module)
    if mine == theirs:
        return False
    return LAYER[theirs] > LAYER[mine] or (LAYER[theirs] == LAYER[mine] and LAYER[mine] in (2, 3, 4))


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_a_module_imports_from_lower_layers_alone(path):
    importer = name_of(path)
    modules = [module for module, _ in imported(path) if module.split(".")[0] == "mmgraph"]
    from_root = [module for module in modules if module == "mmgraph"]
    if importer != "mmgraph":
        assert not from_root or from_root == version_of(path), f"{importer} imports from the package root"
        assert [m for m in modules if m != "mmgraph" and breaks_the_law(importer, m)] == []


def version_of(path):
    """The package root is there for one thing alone: its version."""
    names = [name for module, name in imported(path) if module == "mmgraph"]
    return ["mmgraph"] if names == ["__version__"] else []


def test_every_room_has_a_layer():
    rooms = {room(name_of(path)) for path in FILES} - {""}
    assert rooms - set(LAYER) == set()


def test_the_law_itself():
    assert breaks_the_law("mmgraph.layers.gcn", "mmgraph.fusion")
    assert breaks_the_law("mmgraph.functional.gather", "mmgraph.data")
    assert breaks_the_law("mmgraph.model", "mmgraph.tasks")
    assert breaks_the_law("mmgraph.schema", "mmgraph.train.fit")
    assert not breaks_the_law("mmgraph.train.fit", "mmgraph.tasks")
    assert not breaks_the_law("mmgraph.run", "mmgraph.train")
    assert not breaks_the_law("mmgraph.layers.gcn", "mmgraph.layers.base")


@pytest.mark.parametrize("path", sorted((PACKAGE / "functional").glob("*.py")), ids=name_of)
def test_the_mathematics_knows_torch_alone(path):
    allowed = {"torch", *sys.stdlib_module_names}
    wrong = {m for m, _ in imported(path) if m.split(".")[0] not in allowed and room(m) not in ("functional", "typing")}
    assert wrong == set()


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_heavy_packages_are_imported_where_they_are_used(path):
    at_import = {module.split(".")[0] for module, _ in imported(path, functions=False, checking=False)}
    assert at_import & LAZY == set()


@pytest.mark.parametrize("path", sorted([*ROOT.glob("recipes/*/*.py"), *ROOT.glob("datasets/*/*.py")]), ids=str)
def test_recipes_and_datasets_use_public_names_alone(path):
    for module, name in imported(path):
        assert module.split(".")[0] not in ("recipes", "datasets")
        if module.split(".")[0] != "mmgraph":
            continue
        home = importlib.import_module(module)
        assert module == "mmgraph" or room(module) in LAYER
        assert module.count(".") <= 1, f"{module} is not a room"
        assert hasattr(home, "__path__"), f"{module} is a module, not a room"
        if name is not None:
            assert not name.startswith("_")
            public = {*home.__all__, *(LAYER if module == "mmgraph" else ())}
            assert name in public, f"{name} is not in the public names of {module}"


@pytest.mark.parametrize("path", sorted([*FILES, *ROOT.glob("recipes/*/*.py"), *ROOT.glob("datasets/*/*.py")]), ids=str)
def test_nothing_imports_recipes_or_datasets(path):
    assert {module.split(".")[0] for module, _ in imported(path)} & {"recipes", "datasets"} == set()


def fresh(code):
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_importing_mmgraph_loads_nothing_heavy():
    heavy = ("torch", "numpy", "sklearn", "torch_geometric", "lightning", "pydantic", "matplotlib", "dgl", "faiss")
    code = f"import sys, mmgraph; print([name for name in {heavy} if name in sys.modules])"
    assert fresh(code) == "[]"


def test_importing_every_room_loads_no_optional_package():
    rooms = [
        "mmgraph.encoders",
        "mmgraph.layers",
        "mmgraph.fusion",
        "mmgraph.index",
        "mmgraph.tasks",
        "mmgraph.testing",
    ]
    theirs = {"matplotlib", "numba", "PIL", "transformers"}  # torchmetrics and PyG import them
    theirs |= {"torch_frame", "pandas", "huggingface_hub"}  # PyG, where PyTorch Frame is
    if importlib.util.find_spec("pandas") is not None:
        theirs |= {"pyarrow"}  # by way of scikit-learn, which imports pandas where it is
    lazy = sorted(LAZY - theirs)
    code = f"import sys, {', '.join(rooms)}; print([name for name in {lazy} if name in sys.modules])"
    assert fresh(code) == "[]"


def test_the_checks_need_no_test_framework():
    assert (
        fresh("import sys, mmgraph.testing; print('pytest' in sys.modules or 'hypothesis' in sys.modules)") == "False"
    )


def test_the_names_of_the_root_are_all_there():
    assert dir(mmgraph) == sorted(mmgraph.__all__)
    assert len(set(mmgraph.__all__)) == len(mmgraph.__all__)
    for name in mmgraph.__all__:
        assert getattr(mmgraph, name) is not None
    with pytest.raises(AttributeError, match="module 'mmgraph' has no attribute 'nonsense'"):
        mmgraph.nonsense  # noqa: B018


@pytest.mark.parametrize("path", [path for path in FILES if path.name == "__init__.py"], ids=name_of)
def test_the_names_of_a_room_are_all_there(path):
    home = importlib.import_module(name_of(path))
    assert list(home.__all__) == sorted(set(home.__all__), key=home.__all__.index)
    for name in home.__all__:
        assert hasattr(home, name)


@pytest.mark.parametrize("name", ["torchvision", "torchaudio"])
def test_packages_that_break_others_are_not_installed(name):
    assert find_spec(name) is None
