"""Tokens become a tree of nodes. Which functions there are is checked here, as Go does."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

from .errors import TemplateError
from .lex import Token, place, tokens


@dataclass(slots=True)
class Operand:
    """A value of a command.

    ``kind``: ``dot``, ``field``, ``variable`` (*name*), ``literal`` (*value*), ``nil``, ``function`` (*name*) or
    ``pipe`` (*pipe*); *fields* are looked up in it one after the other.
    """

    kind: str
    at: int
    text: str
    name: str = ""
    value: Any = None
    pipe: Pipe | None = None
    fields: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Pipe:
    """Commands joined by ``|``; the result may be declared (``:=``) or assigned (``=``) to *names*."""

    commands: list[list[Operand]]
    names: list[str] = field(default_factory=list)
    declares: bool = False


@dataclass(slots=True)
class Node:
    """``text``, ``action``, ``if``, ``range``, ``with``, ``break`` or ``continue``."""

    kind: str
    text: str = ""
    pipe: Pipe | None = None
    body: list[Node] = field(default_factory=list)
    other: list[Node] = field(default_factory=list)


_BLOCKS = ("if", "range", "with")
_KEYWORDS = (*_BLOCKS, "else", "end", "define", "template", "block", "break", "continue")


def parse(source: str, functions: Collection[str]) -> list[Node]:
    """The nodes of *source*.

    Raises:
        TemplateError: with Go's text.
    """
    parser = _Parser(source, functions)
    nodes, ended = parser.nodes()
    if ended:
        raise parser.error(f"unexpected {{{{{ended}}}}}")
    return nodes


class _Parser:
    def __init__(self, source: str, functions: Collection[str]) -> None:
        self.source, self.functions = source, functions
        self.tokens, self.index, self.names, self.loops = tokens(source), 0, ["$"], 0

    def error(self, text: str) -> TemplateError:
        at = self.tokens[min(self.index, len(self.tokens)) - 1].at if self.tokens else 0
        return TemplateError(f"{place(self.source, at)}: {text}", parsing=True)

    # -- nodes -------------------------------------------------------------------------------------------------

    def nodes(self) -> tuple[list[Node], str]:
        """Nodes up to an ``end`` or ``else`` (given back) or the end of the template ("")."""
        found: list[Node] = []
        while self.index < len(self.tokens):
            token = self.tokens[self.index]
            self.index += 1
            if token.kind == "text":
                found.append(Node("text", token.text))
                continue
            word = self.keyword()
            if word in ("end", "else"):
                return found, word
            found.append(self.node(word))
        return found, ""

    def keyword(self) -> str:
        token = self.peek()
        if token.kind == "word" and token.text in _KEYWORDS:
            self.next()
            return token.text
        return ""

    def node(self, word: str) -> Node:
        if word in _BLOCKS:
            return self.block(word)
        if word in ("break", "continue"):
            if not self.loops:
                raise self.error(f"{{{{{word}}}}} outside {{{{range}}}}")
            self.expect_close(word)
            return Node(word)
        if word:
            raise self.error(f"{{{{{word}}}}} is not supported here")
        pipe = self.pipe("command", "close")
        return Node("action", pipe=pipe)

    def block(self, word: str) -> Node:
        outer = len(self.names)
        node = Node(word, pipe=self.pipe(word, "close"))
        self.loops += word == "range"
        node.body, ended = self.nodes()
        self.loops -= word == "range"
        if ended == "else":
            chained = self.keyword()
            if chained in ("if", "with") and word != "range":
                node.other = [self.block(chained)]
                del self.names[outer:]
                return node
            self.expect_close("else")
            node.other, ended = self.nodes()
        if ended != "end":
            raise self.error("unexpected EOF" if not ended else "expected end; found {{else}}")
        self.expect_close("end")
        del self.names[outer:]
        return node

    # -- tokens ------------------------------------------------------------------------------------------------

    def peek(self) -> Token:
        while self.tokens[self.index].kind == "space":
            self.index += 1
        return self.tokens[self.index]

    def next(self) -> Token:
        token = self.peek()
        self.index += 1
        return token

    def expect_close(self, where: str) -> None:
        token = self.next()
        if token.kind != "close":
            raise self.error(f'unexpected "{token.text}" in {where}')

    # -- pipelines ---------------------------------------------------------------------------------------------

    def pipe(self, where: str, end: str) -> Pipe:
        pipe = Pipe([])
        self.declaration(pipe, where)
        while True:
            pipe.commands.append(self.command())
            token = self.next()
            if token.kind == end or (token.kind == "mark" and token.text == end):
                break
            if token.text != "|" or token.kind != "mark":
                raise self.error(f'unexpected "{token.text}" in {where}')
        if not all(pipe.commands):
            raise self.error(f"missing value for {where}")
        for later in pipe.commands[1:]:
            if later[0].kind not in ("function", "field", "variable", "pipe"):
                raise self.error(f"non executable command in pipeline stage {pipe.commands.index(later) + 1}")
        if pipe.declares:
            self.names += pipe.names
        return pipe

    def declaration(self, pipe: Pipe, where: str) -> None:
        start = self.index
        names: list[str] = []
        while self.peek().kind == "variable":
            names.append(self.next().text)
            mark = self.next()
            if mark.text in (":=", "="):
                if len(names) > (2 if where == "range" else 1):
                    raise self.error(f"too many declarations in {where}")
                pipe.names, pipe.declares = names, mark.text == ":="
                return
            if mark.text != "," or where != "range":
                break
        self.index = start

    def command(self) -> list[Operand]:
        found: list[Operand] = []
        while True:
            token = self.peek()
            if token.kind in ("close", "mark") and token.text != "(":
                return found
            found.append(self.operand())
            after = self.tokens[self.index]
            if after.kind not in ("space", "close", "mark"):
                raise self.error(f'unexpected "{after.text}" in operand')

    def operand(self) -> Operand:
        token = self.next()
        operand = self.term(token)
        while self.tokens[self.index].kind == "field":
            chained = self.tokens[self.index]
            if operand.kind in ("literal", "nil", "dot"):
                raise self.error(f'unexpected . after term "{operand.text}"')
            if not operand.fields or (operand.kind == "field" and len(operand.fields) == 1):
                operand.at = chained.at  # where Go says that a chain is
            operand.fields.append(chained.text[1:])
            operand.text += chained.text
            self.index += 1
        return operand

    def term(self, token: Token) -> Operand:
        if token.kind == "mark" and token.text == "(":
            begin = token.at
            pipe = self.pipe("parenthesized pipeline", ")")
            return Operand("pipe", begin, self.source[begin : self.tokens[self.index - 1].at + 1], pipe=pipe)
        if token.kind == "field":
            return Operand("field", token.at, token.text, fields=[token.text[1:]])
        if token.kind == "dot":
            return Operand("dot", token.at, ".")
        if token.kind == "variable":
            if token.text not in self.names:
                raise self.error(f'undefined variable "{token.text}"')
            return Operand("variable", token.at, token.text, name=token.text)
        if token.kind == "word":
            return self.word(token)
        try:
            return Operand("literal", token.at, token.text, value=literal(token))
        except (ValueError, SyntaxError, TypeError):  # TypeError: more than one character in single quotes
            kind = "number syntax" if token.kind == "number" else "string syntax"
            raise self.error(f"bad {kind}: {token.text}") from None

    def word(self, token: Token) -> Operand:
        if token.text in ("true", "false"):
            return Operand("literal", token.at, token.text, value=token.text == "true")
        if token.text == "nil":
            return Operand("nil", token.at, "nil")
        if token.text not in self.functions:
            raise self.error(f'function "{token.text}" not defined')
        return Operand("function", token.at, token.text, name=token.text)


def literal(token: Token) -> Any:
    """The value of a number, string or character."""
    text = token.text
    if token.kind == "raw":
        return text[1:-1]
    if token.kind in ("string", "char"):
        import ast

        quoted = "'" + text[1:-1] + "'" if token.kind == "char" else text
        found = ast.literal_eval(quoted)
        return ord(found) if token.kind == "char" else found
    plain = text.replace("_", "")
    try:
        return int(plain, 0)
    except ValueError:
        return float(plain) if not plain.isdigit() else int(plain, 8)
