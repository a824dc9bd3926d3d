"""The syntax of CEL: from an expression's text to a tree that knows where its parts stand.

The CEL library keeps its tree to itself. What comes here has been parsed by it before, so this reads well-formed text
only and wastes no word on errors.
"""

import ast
import re
from dataclasses import dataclass
from typing import Any, Final

_TOKEN: Final = re.compile(
    r"""\s+|//[^\n]*
    |(?P<text>[rRbB]{0,2}(?:\"\"\"(?:[^\\]|\\.)*?\"\"\"|'''(?:[^\\]|\\.)*?'''|"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'))
    |(?P<number>0x[0-9a-fA-F]+u?|[0-9]+\.[0-9]+(?:[eE][+-]?[0-9]+)?|[0-9]+[eE][+-]?[0-9]+|[0-9]+u?)
    |(?P<name>[A-Za-z_]\w*)
    |(?P<sign>&&|\|\||[=!<>]=|[-+*/%<>!?:.,()\[\]{}])
    """,
    re.VERBOSE,
)
_POWER: Final = {
    "||": 1,
    "&&": 2,
    **dict.fromkeys(("==", "!=", "<", "<=", ">", ">=", "in"), 3),
    **dict.fromkeys("+-", 4),
    **dict.fromkeys("*/%", 5),
}
_WORDS: Final = {"true": True, "false": False, "null": None}


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A part of an expression: `const`, `ident`, `select`, `index`, `list`, `map`, `conditional`, `operator`, `call`."""

    kind: str
    at: int
    """Where the server says that it stands: an operator at its sign, a call at its parenthesis."""
    value: Any = None
    target: "Node | None" = None
    parts: "tuple[Node, ...]" = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Token:
    kind: str
    text: str
    at: int


def parse(text: str) -> Node:
    """The tree of a well-formed expression."""
    tokens = [
        _Token(kind=match.lastgroup, text=match.group(), at=match.start())
        for match in _TOKEN.finditer(text)
        if match.lastgroup
    ]
    return _Parser([*tokens, _Token(kind="end", text="", at=len(text))]).expression()


class _Parser:
    """Precedence climbing over the tokens."""

    def __init__(self, tokens: list[_Token]) -> None:
        self._tokens = tokens
        self._next = 0

    def _take(self) -> _Token:
        token = self._tokens[self._next]
        self._next += 1
        return token

    def _peek(self) -> _Token:
        return self._tokens[self._next]

    def _skip(self, text: str) -> bool:
        if self._peek().text == text and self._peek().kind == "sign":
            self._next += 1
            return True
        return False

    def expression(self) -> Node:
        """An expression up to a comma, a closing bracket or the end."""
        test = self._binary(1)
        question = self._peek()
        if not self._skip("?"):
            return test
        one = self._binary(1)
        self._skip(":")
        return Node(kind="conditional", at=question.at, parts=(test, one, self.expression()))

    def _binary(self, power: int) -> Node:
        left = self._unary()
        while (found := _POWER.get(self._peek().text, 0)) >= power and self._peek().kind in {"sign", "name"}:
            sign = self._take()
            right = self._binary(found + 1)
            left = Node(kind="operator", at=sign.at, value=sign.text, parts=(left, right))
        return left

    def _unary(self) -> Node:
        sign = self._peek()
        if sign.kind == "sign" and sign.text in {"!", "-"}:
            self._take()
            return Node(kind="operator", at=sign.at, value=sign.text, parts=(self._unary(),))
        return self._member(self._primary())

    def _member(self, node: Node) -> Node:
        while True:
            sign = self._peek()
            if self._skip("."):
                name = self._take()
                opening = self._peek()
                if self._skip("("):
                    parts = self._list(")")
                    node = Node(kind="call", at=opening.at, value=name.text, target=node, parts=parts)
                else:
                    node = Node(kind="select", at=sign.at, value=name.text, parts=(node,))
            elif self._skip("["):
                node = Node(kind="index", at=sign.at, parts=(node, *self._list("]")))
            else:
                return node

    def _primary(self) -> Node:
        token = self._take()
        if token.kind == "sign":
            return self._bracketed(token)
        if token.kind == "name" and token.text not in _WORDS:
            opening = self._peek()
            if self._skip("("):
                return Node(kind="call", at=opening.at, value=token.text, parts=self._list(")"))
            return Node(kind="ident", at=token.at, value=token.text)
        read = {"text": _unquoted, "number": _number}.get(token.kind, _WORDS.get)
        return Node(kind="const", at=token.at, value=read(token.text))

    def _bracketed(self, opening: _Token) -> Node:
        if opening.text == "[":
            return Node(kind="list", at=opening.at, parts=self._list("]"))
        if opening.text == "{":
            return Node(kind="map", at=opening.at, parts=self._list("}"))
        inner = self.expression()
        self._skip(")")
        return inner

    def _list(self, closing: str) -> tuple[Node, ...]:
        """Expressions up to the closing bracket; a map's keys and values one after the other."""
        parts = []
        while not self._skip(closing):
            parts.append(self.expression())
            if not self._skip(","):
                self._skip(":")
        return tuple(parts)


def _number(text: str) -> int | float:
    if text.startswith("0x"):
        return int(text.rstrip("u"), 16)
    return int(text.rstrip("u")) if text.rstrip("u").isdigit() else float(text)


def _unquoted(text: str) -> str | bytes:
    """CEL's literals are read as Python's, which has the same escapes but for two that nobody uses in a pattern."""
    try:
        found = ast.literal_eval(text)
    except (SyntaxError, ValueError):
        found = text
    return found if isinstance(found, str | bytes) else text
