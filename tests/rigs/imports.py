"""Who imports whom, read from the source: modules of the two packages and their imports at run time."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PACKAGES = ("kernel_runtime", "jupyter_containers")


@dataclass(frozen=True)
class Import:
    """*importer* imports *target* (dotted, as far as a name could be a module) in line *line*."""

    importer: str
    target: str
    line: int
    at_top: bool


def modules(checkout: Path) -> dict[str, Path]:
    """Dotted name of every module of the two packages, and its file."""
    files = [path for package in PACKAGES for path in sorted((checkout / package).rglob("*.py"))]
    return {_dotted(path.relative_to(checkout)): path for path in files}


def _dotted(path: Path) -> str:
    return ".".join(path.with_suffix("").parts).removesuffix(".__init__")


def imports(name: str, path: Path) -> list[Import]:
    """What a module imports, in functions too; not what only a type checker sees."""
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    return list(_walk(ast.parse(path.read_text()), name, package, True))


def _walk(node: ast.AST, name: str, package: str, at_top: bool) -> Iterator[Import]:
    if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
        return
    if isinstance(node, ast.Import):
        yield from (Import(name, alias.name, node.lineno, at_top) for alias in node.names)
    if isinstance(node, ast.ImportFrom):
        base = node.module or ""
        if node.level:
            base = ".".join([*package.split(".")[: len(package.split(".")) - node.level + 1], *filter(None, [base])])
        yield from (Import(name, f"{base}.{alias.name}", node.lineno, at_top) for alias in node.names)
    inside = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
    for child in ast.iter_child_nodes(node):
        yield from _walk(child, name, package, at_top and not inside)


def resolve(target: str, known: dict[str, Path]) -> str:
    """The module of ours that an import's target names or lies in; empty where it is not ours."""
    while target and target not in known:
        target = target.rpartition(".")[0]
    return target
