"""The docstrings' roles and directives as Markdown, and where each public name of the package is documented."""

from __future__ import annotations

import ast
import re
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import griffe

ROLE = re.compile(r":(class|func|meth|attr|data|mod|exc):`(?:([^`<]+?)\s*<([^`>]+)>|(~?)([^`]+))`")
MATH = re.compile(r":math:`([^`]+)`")
DIRECTIVE = re.compile(
    r"^(?P<indent> *)\.\. math::(?P<first>[^\n]*)(?P<rest>(?:\n(?:(?P=indent) +\S[^\n]*| *(?=\n)))*)", re.MULTILINE
)
LITERAL = re.compile(
    r"^(?P<indent> *)(?P<text>[^\n]*\S):: *\n(?P<body>(?:\n|(?P=indent) +[^\n]*(?:\n|$))+)", re.MULTILINE
)


@dataclass(frozen=True)
class Room:
    """A package or a module that has a page.

    Attributes:
        path: ``mmgraph.fusion``.
        summary: The first line of its docstring.
        names: Its public names → the paths of where they are defined, under which they are documented on its page.
        others: The same of those that another room's page documents.
    """

    path: str
    summary: str
    names: dict[str, str]
    others: dict[str, str]

    @property
    def page(self) -> str:
        """``api/mmgraph.fusion.md``."""
        return f"api/{self.path}.md"


def rooms(package: Path) -> list[Room]:
    """Gives the rooms of a package by their names: its folders with an ``__all__``, and the modules beside them.

    A name that several rooms offer belongs to the one in which it is defined, or to the first.
    """
    modules = _Modules(package)
    paths = sorted([*package.glob("*/__init__.py"), *package.glob("[!_]*.py")])
    names = [f"{package.name}.{file.parent.name if file.stem == '__init__' else file.stem}" for file in paths]
    offered = {
        path: {name: modules.origin(f"{path}.{name}") for name in public}
        for path in sorted(names)
        if (public := modules.public(path))
    }
    homes: dict[str, str] = {}
    for path, origins in offered.items():
        for origin in origins.values():
            if origin not in homes or origin.startswith(f"{path}."):
                homes[origin] = path
    return [
        Room(
            path,
            (ast.get_docstring(modules.tree(path)) or "").partition("\n")[0],
            names={name: origin for name, origin in origins.items() if homes[origin] == path},
            others={name: origin for name, origin in origins.items() if homes[origin] != path},
        )
        for path, origins in offered.items()
    ]


class _Modules:
    """The modules of a package by their paths, read but not run."""

    def __init__(self, package: Path) -> None:
        self.package = package
        self.trees: dict[str, ast.Module | None] = {}
        self.taken: dict[str, dict[str, str]] = {}

    def tree(self, path: str) -> ast.Module | None:
        if path not in self.trees:
            place = self.package.parent.joinpath(*path.split("."))
            files = (place / "__init__.py", place.with_suffix(".py"))
            text = next((file.read_text(encoding="utf-8") for file in files if file.is_file()), None)
            self.trees[path] = None if text is None else ast.parse(text)
        return self.trees[path]

    def imported(self, path: str) -> dict[str, str]:
        """The names that a module takes from others → the paths by which it takes them."""
        if path not in self.taken:
            self.taken[path] = {
                alias.asname or alias.name: f"{node.module}.{alias.name}"
                for node in self.tree(path).body
                if isinstance(node, ast.ImportFrom)
                for alias in node.names
            }
        return self.taken[path]

    def origin(self, path: str) -> str:
        """The path of where a name is defined, from one by which it can be had."""
        module, _, name = path.rpartition(".")
        further = None if self.tree(module) is None else self.imported(module).get(name)
        return path if further in (None, path) else self.origin(further)  # a module that a room offers is its own

    def public(self, path: str) -> list[str]:
        """What ``__all__`` names, or what the module defines without an underscore."""
        defined = []
        for node in self.tree(path).body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef):
                defined.append(node.name)
            elif isinstance(node, ast.Assign | ast.AnnAssign):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                named = [target.id for target in targets if isinstance(target, ast.Name)]
                if named == ["__all__"]:
                    return ast.literal_eval(node.value)
                defined += named
        return [name for name in defined if not name.startswith("_")]


def to_markdown(text: str, resolve: Callable[[str], str | None]) -> str:
    r"""Turns a docstring's roles and directives into Markdown.

    Args:
        text: A docstring.
        resolve: The name in a role → the path it is documented under, None where it is not documented.

    Example:
        >>> to_markdown(":class:`~a.b.C` is :math:`x^2`.", lambda name: "a.C")
        '[`C`][a.C] is `#!math x^2`.'
    """

    def role(match: re.Match[str]) -> str:
        title, named, tilde, plain = match.group(2), match.group(3), match.group(4), match.group(5)
        target = named or plain
        shown = title or (plain.rpartition(".")[2] if tilde else plain)
        path = resolve(target)
        return f"`{shown}`" if path is None else f"[`{shown}`][{path}]"

    def display(match: re.Match[str]) -> str:
        indent = match["indent"]
        formula = [match["first"].strip(), *textwrap.dedent(match["rest"]).strip().splitlines()]
        lines = ["```math", *[line for line in formula if line.strip()], "```"]
        return "\n" + "\n".join(indent + line for line in lines) + "\n"

    def literal(match: re.Match[str]) -> str:
        body = textwrap.indent(textwrap.dedent(match["body"]).strip("\n"), match["indent"])
        fence = match["indent"] + "```"
        return f"{match['indent']}{match['text']}:\n\n{fence}python\n{body}\n{fence}\n\n"

    text = DIRECTIVE.sub(display, text)
    text = LITERAL.sub(literal, text)
    text = re.sub(r"^Example:$", "Examples:", text, flags=re.MULTILINE)
    text = MATH.sub(lambda match: f"`#!math {' '.join(match.group(1).split())}`", text)
    return ROLE.sub(role, text)


class Docstrings(griffe.Extension):
    """Turns every docstring of a package into Markdown whose names lead to where they are documented."""

    def on_package(self, *, pkg: griffe.Module, **_: Any) -> None:
        """Runs when a package is loaded whole."""
        self.package = pkg
        self.paths: dict[str, str] = {}  # a path that a docstring may use → the one it is documented under
        named: dict[str, set[str]] = {}
        for room in rooms(Path(str(pkg.filepath)).parent):
            self.paths[room.path] = room.path
            for name, origin in (room.names | room.others).items():
                self.paths[f"{room.path}.{name}"] = self.paths[origin] = origin
                named.setdefault(name, set()).add(origin)
        for name, origins in named.items():
            if len(origins) == 1:
                self.paths.setdefault(name, *origins)
                self.paths.setdefault(f"{pkg.name}.{name}", *origins)
        for one in _walk(pkg):
            _add_constructor(one)
            if one.docstring is not None:
                one.docstring.value = to_markdown(one.docstring.value, lambda name, one=one: self.resolve(name, one))

    def resolve(self, name: str, one: griffe.Object) -> str | None:
        """Gives the path under which a name that a docstring uses is documented, or None."""
        name = name.strip().removesuffix("()")
        holder = one if one.is_class else one.parent
        module = one.module.path
        first, dot, rest = name.partition(".")
        scopes = [holder.path if holder is not None else module, module, ".".join(module.split(".")[:2])]
        tried = [f"{scope}.{name}" for scope in scopes]
        if first in one.module.imports:
            tried.append(one.module.imports[first] + dot + rest)
        return next((found for path in [*tried, name] if (found := self.documented(path)) is not None), None)

    def documented(self, path: str) -> str | None:
        """Gives the path that a page shows for a public name, or for a member of a public class."""
        if path in self.paths:
            return self.paths[path]
        owner, _, member = path.rpartition(".")
        if owner not in self.paths:
            return None
        holder: Any = self.package
        for step in self.paths[owner].split(".")[1:]:
            holder = holder.members[step]
        held = holder.members.get(member) if holder.is_class else None
        shown = held is not None and held.docstring is not None and not member.startswith("_")
        return f"{self.paths[owner]}.{member}" if shown else None


def _add_constructor(one: griffe.Object) -> None:
    """Gives a class of checked fields the constructor that pydantic makes when the class is made."""
    if not one.is_class or not _is_checked(one):
        return
    fields = [
        griffe.Parameter(name, annotation=held.annotation, kind=griffe.ParameterKind.keyword_only, default=held.value)
        for name, held in one.members.items()
        if held.is_attribute and "property" not in held.labels and held.annotation is not None and name[0] != "_"
    ]
    made = griffe.Function("__init__", parameters=griffe.Parameters(griffe.Parameter("self"), *fields))
    one.set_member("__init__", made)


def _is_checked(one: Any) -> bool:
    names = [str(base).rpartition(".")[2] for base in one.bases]
    return "BaseModel" in names or any(_is_checked(base) for base in one.resolved_bases)


def _walk(one: griffe.Object) -> Iterator[griffe.Object]:
    yield one
    for member in one.members.values():
        if not member.is_alias:
            yield from _walk(member)
