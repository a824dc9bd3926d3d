"""The language of queries: from a text to what it asks for. Pure."""

import dataclasses
import json
import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from edgeherd_sim.hub import query_terms as terms
from edgeherd_sim.hub.query_terms import Path, Term

COLLECTIONS = ("devices", "devices.modules")
AGGREGATES = frozenset({"count", "avg", "sum", "min", "max"})
_KEYWORDS = frozenset({"select", "top", "as", "from", "where", "group", "by", "and", "or", "not", "in", "nin"})
_CONSTANTS: Mapping[str, object] = {"true": True, "false": False, "null": None}
_DEPTH = 50
_DIGITS = 20
_Result = TypeVar("_Result")
_NAME = r"\[\[(?:(?!\]\]).)+\]\]"
_TOKEN = re.compile(
    rf"""
      (?P<space>\s+)
    | (?P<path>(?:[A-Za-z_$][\w$]*|{_NAME})(?:\.(?:[\w$]+|{_NAME}))*)
    | (?P<text>'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")
    | (?P<number>-?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)(?![\w$])
    | (?P<sign><=|>=|!=|<>|[=<>(),\[\]*])
    """,
    re.VERBOSE | re.DOTALL,
)
_SEGMENT = re.compile(rf"{_NAME}|[\w$]+", re.DOTALL)


class QuerySyntaxError(Exception):
    """The text is no query; the message says why."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One member of each row: what is at a path, or an aggregate of it. COUNT has no path."""

    name: str
    path: Path = ()
    aggregate: str = ""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """What is asked for. Without columns it is whole twins."""

    modules: bool
    top: int | None
    columns: tuple[Column, ...]
    where: Term
    group_by: tuple[Path, ...]

    @property
    def grouped(self) -> bool:
        """Whether a row stands for many twins."""
        return bool(self.group_by) or any(column.aggregate for column in self.columns)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Which devices a deployment is for, or which modules."""

    modules: bool
    where: Term


@dataclasses.dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    source: str

    @property
    def word(self) -> str:
        """A single word in small letters; nothing if it is anything else."""
        return self.source.lower() if self.kind == "path" and self.source.isidentifier() else ""


def parse(text: str) -> Query:
    """A whole query."""
    return _whole(text, _Parser.query)


def parse_target(text: str) -> Target:
    """The target condition of a deployment: a condition, one on modules, or the star for all devices."""
    return _whole(text, _Parser.target)


def _whole(text: str, rule: Callable[["_Parser"], _Result]) -> _Result:
    parser = _Parser(_tokens(text))
    result = rule(parser)
    parser.end()
    return result


def _tokens(text: str) -> list[_Token]:
    found: list[_Token] = []
    at = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None or match.lastgroup is None:
            raise QuerySyntaxError(f"Syntax error at position {at}.")
        if match.lastgroup != "space":
            found.append(_Token(match.lastgroup, match[0]))
        at = match.end()
    return found


class _Parser:
    """Goes through the tokens once."""

    def __init__(self, tokens: list[_Token]) -> None:
        self._tokens = tokens
        self._at = 0
        self._depth = 0

    def query(self) -> Query:
        """SELECT … FROM … [WHERE …] [GROUP BY …]."""
        self._expect("select")
        top = self._number() if self._accept("top") else None
        columns = () if self._accept("*") else self._columns()
        self._expect("from")
        collection = self._collection()
        where = self.alternatives() if self._accept("where") else terms.constant(True)
        group_by: tuple[Path, ...] = ()
        if self._accept("group"):
            self._expect("by")
            group_by = self._paths()
        query = Query(modules=collection == "devices.modules", top=top, columns=columns, where=where, group_by=group_by)
        if query.grouped:
            _check_groups(query)
        return query

    def target(self) -> Target:
        """The star, or [FROM … WHERE] and an expression."""
        if self._accept("*"):
            return Target(modules=False, where=terms.constant(True))
        modules = False
        if self._accept("from"):
            modules = self._collection() == "devices.modules"
            self._expect("where")
        return Target(modules=modules, where=self.alternatives())

    def alternatives(self) -> Term:
        """An expression: terms joined by OR, which binds least."""
        found = [self._conjunction()]
        while self._accept("or"):
            found.append(self._conjunction())
        return found[0] if len(found) == 1 else terms.either(found)

    def end(self) -> None:
        """There must be nothing left."""
        if self._take().kind != "end":
            raise self._error()

    def _collection(self) -> str:
        collection = self._take().source.lower()
        if collection not in COLLECTIONS:
            raise self._error()
        return collection

    def _conjunction(self) -> Term:
        found = [self._negation()]
        while self._accept("and"):
            found.append(self._negation())
        return found[0] if len(found) == 1 else terms.both(found)

    def _negation(self) -> Term:
        odd = False
        while self._accept("not"):
            odd = not odd
        term = self._comparison()
        return terms.negated(term) if odd else term

    def _comparison(self) -> Term:
        left = self._operand()
        if self._accept("in"):
            return terms.among(left, self._list())
        if self._accept("nin"):
            return terms.negated(terms.among(left, self._list()))
        if self._peek().source in terms.COMPARISONS:
            return terms.compared(left, self._take().source, self._operand())
        return left

    def _list(self) -> list[Term]:
        self._expect("[")
        items = [self._operand()]
        while self._accept(","):
            items.append(self._operand())
        self._expect("]")
        return items

    def _operand(self) -> Term:
        token = self._take()
        match token.kind:
            case "text":
                return terms.constant(_unquoted(token.source))
            case "number":
                return terms.constant(_number(token.source))
            case "sign" if token.source == "(":
                self._deeper()
                term = self.alternatives()
                self._expect(")")
                self._depth -= 1
                return term
            case "path" if token.word in _CONSTANTS:
                return terms.constant(_CONSTANTS[token.word])
            case "path" if self._accept("("):
                return self._function(token.word)
            case "path" if token.word not in _KEYWORDS:
                return terms.member(_path(token))
            case _:
                raise self._error()

    def _function(self, name: str) -> Term:
        self._deeper()
        if name == "is_defined":
            term = terms.is_defined(self._path())
        elif name == "array_contains":
            term = self._array_contains()
        elif name in terms.TEXT_FUNCTIONS:
            left = self._operand()
            self._expect(",")
            term = terms.text_test(name, left, self._operand())
        else:
            raise self._error()
        self._expect(")")
        self._depth -= 1
        return term

    def _array_contains(self) -> Term:
        array = self._operand()
        self._expect(",")
        value = self._operand()
        partial = False
        if self._accept(","):
            partial = self._accept("true")
            if not partial:
                self._expect("false")
        return terms.array_contains(array, value, partial=partial)

    def _columns(self) -> tuple[Column, ...]:
        found: list[Column] = []
        while not found or self._accept(","):
            token = self._take()
            if token.word in AGGREGATES and self._accept("("):
                path = () if token.word == "count" else self._path()
                self._expect(")")
                column = Column(name=f"${len(found) + 1}", path=path, aggregate=token.word)
            else:
                column = Column(name=self._named(token)[-1], path=self._named(token))
            if self._accept("as"):
                column = dataclasses.replace(column, name=self._alias())
            found.append(column)
        return tuple(found)

    def _alias(self) -> str:
        path = self._path()
        if len(path) > 1:
            raise self._error()
        return path[0]

    def _paths(self) -> tuple[Path, ...]:
        found = [self._path()]
        while self._accept(","):
            found.append(self._path())
        return tuple(found)

    def _path(self) -> Path:
        return self._named(self._take())

    def _named(self, token: _Token) -> Path:
        if token.kind != "path" or token.word in _KEYWORDS or token.word in _CONSTANTS:
            raise self._error()
        return _path(token)

    def _number(self) -> int:
        token = self._take()
        number = _number(token.source) if token.kind == "number" else 0
        if not isinstance(number, int) or number < 1:
            raise self._error()
        return number

    def _peek(self) -> _Token:
        return self._tokens[self._at] if self._at < len(self._tokens) else _Token("end", "")

    def _take(self) -> _Token:
        token = self._peek()
        self._at += 1
        return token

    def _accept(self, what: str) -> bool:
        token = self._peek()
        accepted = token.word == what or (token.kind == "sign" and token.source == what)
        self._at += accepted
        return accepted

    def _expect(self, what: str) -> None:
        if not self._accept(what):
            self._take()
            raise self._error()

    def _deeper(self) -> None:
        self._depth += 1
        if self._depth > _DEPTH:
            raise QuerySyntaxError("The query is nested too deep.")

    def _error(self) -> QuerySyntaxError:
        """About the token that was taken last."""
        token = self._tokens[self._at - 1].source if 0 < self._at <= len(self._tokens) else "the end"
        return QuerySyntaxError(f"Syntax error at {token}.")


def _path(token: _Token) -> Path:
    """The names of a path; the collection may stand in front of it."""
    names = _SEGMENT.findall(token.source)
    for prefix in (["devices", "modules"], ["devices"]):
        if names[: len(prefix)] == prefix and len(names) > len(prefix):
            names = names[len(prefix) :]
            break
    return tuple(name.removeprefix("[[").removesuffix("]]") for name in names)


def _unquoted(source: str) -> str:
    """The value of a text in quotation marks, with the escapes of JSON and those of both marks."""
    inner = re.sub(
        r"\\.|\"", lambda found: {"\\'": "'", '"': '\\"'}.get(found[0], found[0]), source[1:-1], flags=re.DOTALL
    )
    try:
        value: Any = json.loads(f'"{inner}"', strict=False)
    except ValueError:
        raise QuerySyntaxError(f"Syntax error at {source}.") from None
    return str(value)


def _number(source: str) -> int | float:
    if source.removeprefix("-").isdigit() and len(source) <= _DIGITS:
        return int(source)
    return float(source)


def _check_groups(query: Query) -> None:
    """Where rows stand for many twins, a column is an aggregate or what the twins are grouped by."""
    plain = {column.path for column in query.columns if not column.aggregate}
    if not query.columns or not plain <= set(query.group_by):
        raise QuerySyntaxError("Syntax error: every column must be an aggregate or stand behind GROUP BY.")
