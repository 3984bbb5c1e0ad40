"""Which metrics a function emits, read from its code and that of the modules it imports."""

import ast
from collections.abc import Iterator
from pathlib import Path

from reportflow.consumer import Outcome
from stacks.packaging import REPOSITORY

_EMITTERS = {"count", "measure"}


def emitted(function: str) -> set[str]:
    """The names of the metrics that the function can emit."""
    return {
        name
        for tree in _modules(REPOSITORY / "functions" / function / "handler.py", set())
        for name in _names(tree)
    }


def _modules(path: Path, seen: set[Path]) -> Iterator[ast.Module]:
    """The file's syntax tree, and those of our own modules that it imports."""
    if path in seen or not path.is_file():
        return
    seen.add(path)
    tree = ast.parse(path.read_text())
    yield tree
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            imported = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
            for module in imported:
                name = f"layers/reportflow/{module.replace('.', '/')}.py"
                yield from _modules(REPOSITORY / name, seen)


def _names(tree: ast.Module) -> Iterator[str]:
    passed_on: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and _name(node.func) in _EMITTERS:
            yield from (keyword.arg for keyword in node.keywords if keyword.arg)
            passed_on |= {_name(keyword.value) for keyword in node.keywords if not keyword.arg}
        if isinstance(node, ast.Attribute) and _name(node.value) == "Outcome":
            yield Outcome[node.attr]
    for node in ast.walk(tree):
        match node:
            case ast.Subscript(value=ast.Name(id=mapping), slice=ast.Constant(value=str(name))):
                if mapping in passed_on:
                    yield name


def _name(node: ast.expr) -> str:
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
    return ""
