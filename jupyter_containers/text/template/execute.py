"""Filling a template in: walks the nodes with the data, Go's scopes and Go's error texts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from jupyter_containers.errors import suggest

from .errors import TemplateError
from .functions import FUNCTIONS, HEADER_FUNCTIONS, LAZY, NAMES
from .parse import Node, Operand, Pipe, parse
from .printf import go_type
from .values import MAPS, Fields, shown, truth, typed


class Template:
    """A parsed template.

    Args:
        source: the text.

    Raises:
        TemplateError: it does not parse.
    """

    def __init__(self, source: str) -> None:
        self.source, self.nodes = source, parse(source, NAMES)

    def render(self, data: Any, header: bool = False) -> str:
        """The template filled in with *data*; *header* makes docker's functions pass their argument through."""
        run = _Run(self.source, data, HEADER_FUNCTIONS if header else FUNCTIONS)
        run.walk(self.nodes, data)
        return "".join(run.pieces)


class _Leave(Exception):
    def __init__(self, again: bool) -> None:
        self.again = again


class _Run:
    def __init__(self, source: str, root: Any, functions: Mapping[str, Callable[..., Any]]) -> None:
        self.source, self.functions = source, functions
        self.variables: list[tuple[str, Any]] = [("$", root)]
        self.pieces: list[str] = []

    # -- nodes -------------------------------------------------------------------------------------------------

    def walk(self, nodes: Iterable[Node], dot: Any) -> None:
        for node in nodes:
            if node.kind == "text":
                self.pieces.append(node.text)
            elif node.pipe is None:
                raise _Leave(node.kind == "continue")
            elif node.kind == "action":
                value = self.pipe(node.pipe, dot)
                if not node.pipe.names:
                    self.pieces.append(shown(value))
            else:
                mark = len(self.variables)
                self.block(node, node.pipe, dot)
                del self.variables[mark:]

    def block(self, node: Node, pipe: Pipe, dot: Any) -> None:
        value = self.pipe(pipe, dot) if node.kind != "range" else self.commands(pipe, dot)
        if node.kind == "range":
            self.range(node, pipe, value, dot)
        elif truth(value):
            self.walk(node.body, value if node.kind == "with" else dot)
        else:
            self.walk(node.other, dot)

    def range(self, node: Node, pipe: Pipe, value: Any, dot: Any) -> None:
        pairs = self.pairs(pipe, value)
        mark = len(self.variables)
        for key, item in pairs:
            self.bind(pipe, (key, item) if len(pipe.names) == 2 else (item,))
            try:
                self.walk(node.body, item)
            except _Leave as leave:
                if not leave.again:
                    break
            finally:
                del self.variables[mark:]
        if not pairs:
            self.walk(node.other, dot)

    def pairs(self, pipe: Pipe, value: Any) -> list[tuple[Any, Any]]:
        if value is None:
            return []
        if isinstance(value, Mapping):
            return sorted(value.items())
        if isinstance(value, (list, tuple)):
            return list(enumerate(value))
        if isinstance(value, int) and not isinstance(value, bool):
            return [(number, number) for number in range(value)]
        raise self.error(pipe.commands[0][0], f"range can't iterate over {shown(value)}")

    # -- values ------------------------------------------------------------------------------------------------

    def pipe(self, pipe: Pipe, dot: Any) -> Any:
        value = self.commands(pipe, dot)
        self.bind(pipe, (value,))
        return value

    def bind(self, pipe: Pipe, values: tuple[Any, ...]) -> None:
        for name, value in zip(pipe.names, values, strict=False):
            if pipe.declares:
                self.variables.append((name, value))
            else:
                place = max(i for i, (known, _) in enumerate(self.variables) if known == name)
                self.variables[place] = (name, value)

    def commands(self, pipe: Pipe, dot: Any) -> Any:
        final: tuple[Any, ...] = ()
        for command in pipe.commands:
            final = (self.command(command, dot, final),)
        return final[0]

    def command(self, command: list[Operand], dot: Any, final: tuple[Any, ...]) -> Any:
        head, *rest = command
        if head.kind == "function":
            return self.fields(head, self.function(head, rest, dot, final), head.fields)
        if head.kind in ("field", "variable", "pipe") and (head.fields or not (rest or final)):
            return self.value(head, dot, rest, final)
        if rest or final:
            raise self.error(head, f"can't give argument to non-function {head.text}")
        if head.kind == "nil":
            raise self.error(head, "nil is not a command")
        return self.value(head, dot)

    def function(self, head: Operand, rest: list[Operand], dot: Any, final: tuple[Any, ...]) -> Any:
        if head.name in LAZY:
            return self.lazy(head, rest, dot, final)
        values = [*(self.value(operand, dot) for operand in rest), *final]
        try:
            return self.functions[head.name](*values)
        except ValueError as error:
            raise self._wrong(head, rest, str(error)) from None
        except (TypeError, AttributeError):
            raise self._arguments(head, values) from None

    def _wrong(self, head: Operand, rest: list[Operand], text: str) -> TemplateError:
        if text.startswith("wrong type"):
            return self.error(rest[0] if rest else head, text)
        return self.error(head, f"error calling {head.name}: {text}")

    def _arguments(self, head: Operand, values: list[Any]) -> TemplateError:
        kinds = ", ".join(go_type(value) for value in values)
        return self.error(head, f"wrong arguments for {head.name}: got ({kinds})")

    def lazy(self, head: Operand, rest: list[Operand], dot: Any, final: tuple[Any, ...]) -> Any:
        value: Any = None
        for operand in rest:
            value = self.value(operand, dot)
            if truth(value) == (head.name == "or"):
                return value
        return final[0] if final else value

    def value(self, operand: Operand, dot: Any, rest: Iterable[Operand] = (), final: tuple[Any, ...] = ()) -> Any:
        if operand.kind == "literal":
            return operand.value
        if operand.kind == "nil":
            return None
        if operand.kind == "variable":
            start = next(value for name, value in reversed(self.variables) if name == operand.name)
        elif operand.kind == "pipe" and operand.pipe is not None:
            start = self.pipe(operand.pipe, dot)
        elif operand.kind == "function":
            start = self.function(operand, [], dot, ())
        else:
            start = dot
        arguments = [*(self.value(item, dot) for item in rest), *final]
        return self.fields(operand, start, operand.fields, arguments)

    def fields(self, operand: Operand, value: Any, names: list[str], arguments: list[Any] | None = None) -> Any:
        inside = ""
        for number, name in enumerate(names):
            last = number == len(names) - 1
            value = self.field(operand, value, name, inside, arguments if last else None)
            inside = name
        return value

    def field(self, operand: Operand, value: Any, name: str, inside: str, arguments: list[Any] | None) -> Any:
        if isinstance(value, Fields):
            return self.row(operand, value, name, arguments or [])
        if arguments:
            raise self.error(operand, f"{name} has arguments but cannot be invoked as function")
        if isinstance(value, Mapping):
            key = "Id" if name == "ID" and "ID" not in value else name
            if key in value or inside in MAPS:
                return typed(key, value.get(key))
            near = suggest(name, (str(known) for known in value))
            raise self.error(operand, f'map has no entry for key "{name}"', near)
        if value is None:
            raise self.error(operand, f"nil data; no entry for key {name!r}".replace("'", '"'))
        raise self.error(operand, f"can't evaluate field {name} in type {go_type(value)}")

    def row(self, operand: Operand, row: Fields, name: str, arguments: list[Any]) -> Any:
        if name in row.methods:
            try:
                return row.methods[name](*arguments)
            except TypeError:
                raise self.error(operand, f"wrong number of args for {name}: got {len(arguments)}") from None
        if name not in row:
            near = suggest(name, row.names())
            raise self.error(operand, f"can't evaluate field {name} in type {row.type_name}", near)
        return row.get(name)

    def error(self, operand: Operand, text: str, mend: str = "") -> TemplateError:
        before = self.source[: operand.at]
        line, column = before.count("\n") + 1, len(before.rpartition("\n")[2].encode())
        return TemplateError(f'template: :{line}:{column}: executing "" at <{operand.text}>: {text}', mend=mend)
