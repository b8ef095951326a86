"""Which definitions of the package are reached from what a user starts, read off the source without importing it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

_DOTTED = re.compile(r"raylift(\.\w+)+(:\w+)?")


class Definition(NamedTuple):
    """A function or class at the top level of a module; ``module`` is the module's dotted name."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


class Reach(NamedTuple):
    """What code leads to: definitions by use, modules by import."""

    definitions: set[Definition]
    modules: set[str]


@dataclass
class Module:
    """A source file.

    Attributes:
        tree: its syntax.
        definitions: functions and classes of its top level; one that is defined twice (overloads) has several nodes.
        imports: what a name stands for: a module, or a name in one.
    """

    tree: ast.Module
    definitions: dict[str, list[ast.AST]] = field(default_factory=dict)
    imports: dict[str, str] = field(default_factory=dict)


def read_module(path: Path) -> Module:
    """A file's definitions and imports, wherever in the file they are imported."""
    module = Module(ast.parse(path.read_text()))
    for node in module.tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            module.definitions.setdefault(node.name, []).append(node)
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                name = alias.asname or alias.name.split(".")[0]
                module.imports[name] = alias.name if alias.asname else name
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                module.imports[alias.asname or alias.name] = f"{node.module}.{alias.name}"
    return module


def read_package(folder: Path) -> dict[str, Module]:
    """Every module of a package, by its dotted name."""
    found = {}
    for path in sorted(folder.rglob("*.py")):
        parts = path.relative_to(folder.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = read_module(path)
    return found


def reached(package: Mapping[str, Module], scripts: Iterable[Module], entries: Iterable[str] = ()) -> Reach:
    """The definitions that scripts reach, by way of one another.

    A definition is reached by its name in code that is reached: a script, another definition, or the top level of a
    module that is imported. An import alone reaches its module and not the name. Methods come with their class. What a
    function of the package decorates is handed to it (a registry), so it is reached with its module.

    Args:
        entries: modules that are found by their place rather than by an import.
    """
    found: set[Definition] = set()
    opened: set[str] = set()
    waiting: list[tuple[Module, Iterable[ast.AST], str]] = []

    def open_module(name: str) -> None:
        while name:
            if name in package and name not in opened:
                opened.add(name)
                waiting.append((package[name], _top_level(package[name]), name))
                for own in _registered(package, name):
                    use(Definition(name, own))
            name = name.rpartition(".")[0]

    def use(target: Definition) -> None:
        if target not in found:
            found.add(target)
            home = package[target.module]
            waiting.append((home, home.definitions[target.name], target.module))
            open_module(target.module)

    for script in scripts:
        waiting.append((script, script.tree.body, ""))
    for entry in entries:
        open_module(entry)
    while waiting:
        module, nodes, own_name = waiting.pop()
        for node in nodes:
            for dotted in _mentioned(module, node, own_name):
                for target in _resolved(package, dotted):
                    if isinstance(target, str):
                        open_module(target)
                    else:
                        use(target)
    return Reach(found, opened)


def public(package: Mapping[str, Module]) -> Iterator[Definition]:
    """Every definition whose name does not begin with an underscore."""
    for name, module in package.items():
        yield from (Definition(name, own) for own in module.definitions if not own.startswith("_"))


def _top_level(module: Module) -> list[ast.AST]:
    return [
        node for node in module.tree.body if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
    ]


def _registered(package: Mapping[str, Module], name: str) -> Iterator[str]:
    """Definitions of a module that functions of the package decorate."""
    module = package[name]
    for own, nodes in module.definitions.items():
        decorators = [one for node in nodes for one in getattr(node, "decorator_list", [])]
        mentioned = [dotted for one in decorators for dotted in _mentioned(module, one, name)]
        if any(isinstance(target, Definition) for dotted in mentioned for target in _resolved(package, dotted)):
            yield own


def _mentioned(module: Module, node: ast.AST, own_name: str) -> Iterator[str]:
    """Dotted names of modules and definitions that a piece of code mentions."""
    for part in ast.walk(node):
        if isinstance(part, ast.Name):
            if part.id in module.imports:
                yield module.imports[part.id]
            elif part.id in module.definitions and own_name:
                yield f"{own_name}.{part.id}"
        elif isinstance(part, ast.Attribute):
            dotted = _chain(part)
            head, _, rest = dotted.partition(".")
            if head in module.imports:
                yield f"{module.imports[head]}.{rest}"
        elif isinstance(part, ast.Import):
            yield from (f"{alias.name}." for alias in part.names)
        elif isinstance(part, ast.ImportFrom) and part.module:
            yield f"{part.module}."
            yield from (f"{part.module}.{alias.name}." for alias in part.names)
        elif isinstance(part, ast.Constant) and isinstance(part.value, str) and _DOTTED.fullmatch(part.value):
            yield part.value.replace(":", ".")


def _chain(node: ast.AST) -> str:
    """``a.b.c`` of an attribute of a name, or nothing where it is of something else."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and (before := _chain(node.value)):
        return f"{before}.{node.attr}"
    return ""


def _resolved(package: Mapping[str, Module], dotted: str, depth: int = 0) -> Iterator[Definition | str]:
    """The definition that a dotted name leads to, or the modules on its way; one that ends in a dot is a module's."""
    name, rest = dotted.rstrip("."), []
    while name and name not in package:
        name, _, last = name.rpartition(".")
        rest.insert(0, last)
    if not name:
        return
    yield name
    if not rest or dotted.endswith("."):
        return
    module = package[name]
    if rest[0] in module.definitions:
        yield Definition(name, rest[0])
    elif rest[0] in module.imports and depth < 8:
        yield from _resolved(package, ".".join([module.imports[rest[0]], *rest[1:]]), depth + 1)
