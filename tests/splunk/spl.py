"""Reads searches, as far as those of the Splunk app go: their commands, the fields that they use and make.

It knows the commands and functions that are listed here and no others, and follows the fields from left to
right: after ``stats`` there is nothing but what ``stats`` made. What it does not understand it refuses.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

SPLUNKS: Final = frozenset({"_time", "_raw", "_indextime", "index", "host", "source", "sourcetype"})
_RANGES: Final = {"earliest", "latest", "_index_earliest", "_index_latest"}
_METRICS: Final = {"process.cpu.utilization", "process.memory.utilization"}
_FUNCTIONS: Final = {
    *("ceiling", "coalesce", "eval", "floor", "if", "isnull", "mvindex", "mvzip", "now", "replace", "split"),
}
_AGGREGATES: Final = {"avg", "count", "first", "latest", "max", "min", "perc50", "perc95", "sum", "values"}
_KEYWORDS: Final = {"AND", "OR", "NOT", "IN", "as", "by"}
_COMPARISONS: Final = {"=", "==", "!=", "<", ">", "<=", ">="}
_TOKEN: Final = re.compile(
    r"""(?P<string>"(?:\\.|[^"\\])*") | '(?P<quoted>[^']+)' | (?P<number>\d[\w.@]*|@\w+)
    | (?P<word>[A-Za-z_][\w.{}]*) | (?P<sign>==|!=|<=|>=|[=<>|(),\[\]*/+-]) | (?P<space>\s+)""",
    re.VERBOSE,
)
_MACRO: Final = re.compile(r"`([^`]*)`")
_CLOSES: Final = {"(": ")", "[": "]"}


class SplError(ValueError):
    """What is wrong with a search."""


@dataclass(frozen=True, slots=True)
class Token:
    """``kind`` is string, quoted, number, word or sign."""

    kind: str
    text: str

    @property
    def is_name(self) -> bool:
        """Whether it may be a field."""
        return self.kind == "quoted" or (self.kind == "word" and self.text not in _KEYWORDS)


_NOTHING: Final = Token("sign", "")


@dataclass
class Search:
    """What a search holds. ``fields`` are those that are there at its end."""

    events: frozenset[str]
    fields: set[str] = field(default_factory=set)
    commands: list[str] = field(default_factory=list)
    compared: list[tuple[str, str]] = field(default_factory=list)
    """Fields, and the texts that they are compared with."""

    def use(self, name: str) -> str:
        """The field, which must be there."""
        if name not in self.fields:
            raise SplError(f"no field {name!r} in {' | '.join(self.commands)}")
        return name


def expanded(text: str, macros: Mapping[str, str], depth: int = 0) -> str:
    """The search with its macros in place."""

    def definition(found: re.Match[str]) -> str:
        if found[1] not in macros or depth > len(macros):
            raise SplError(f"no macro {found[1]!r}")
        return expanded(macros[found[1]], macros, depth + 1)

    return _MACRO.sub(definition, text)


def read(text: str, events: frozenset[str]) -> Search:
    """A search over events with these fields, its macros in place. Raises :class:`SplError`."""
    tokens = list(_tokens(text))
    if tokens[:1] != [Token("sign", "|")]:
        tokens = [Token("sign", "|"), Token("word", "search"), *tokens]
    return _run(tokens, Search(events))


def _run(tokens: list[Token], search: Search) -> Search:
    for name, *arguments in _split(tokens[1:], "|"):
        if name.text not in _COMMANDS:
            raise SplError(f"no command {name.text!r}")
        if not search.commands and name.text == "search":
            search.fields = {*search.events, *SPLUNKS}
        search.commands.append(name.text)
        _COMMANDS[name.text](arguments, search)
    return search


def _tokens(text: str) -> Iterator[Token]:
    at = 0
    missing: list[str] = []
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise SplError(f"cannot read {text[at : at + 20]!r}")
        at, kind = match.end(), str(match.lastgroup)
        if match[0] in _CLOSES:
            missing.append(_CLOSES[match[0]])
        elif match[0] in _CLOSES.values() and (not missing or missing.pop() != match[0]):
            raise SplError(f"{match[0]!r} closes nothing")
        if kind != "space":
            yield Token(kind, match[kind])
    if missing:
        raise SplError(f"{missing[-1]!r} is missing")


def _split(tokens: list[Token], sign: str) -> list[list[Token]]:
    """The parts between signs that stand in no parentheses; an empty one is refused."""
    parts: list[list[Token]] = [[]]
    depth = 0
    for token in tokens:
        depth += (token.text in _CLOSES) - (token.text in _CLOSES.values())
        if token == Token("sign", sign) and not depth:
            parts.append([])
        else:
            parts[-1].append(token)
    if not all(parts):
        raise SplError(f"nothing beside {sign!r}")
    return parts


def _options(arguments: list[Token], *names: str) -> list[Token]:
    """What is left without ``name=value``."""
    left = list(arguments)
    for name in names:
        for at, token in enumerate(left[:-2]):
            if token.text == name and left[at + 1].text == "=":
                del left[at : at + 3]
                break
    return left


def _names(arguments: list[Token], search: Search) -> list[str]:
    """Fields between commas or spaces, all of which must be there."""
    named = [token for token in arguments if token.text != ","]
    if not named or not all(token.is_name for token in named):
        raise SplError(f"no list of fields: {' '.join(token.text for token in arguments)}")
    return [search.use(token.text) for token in named]


def _search(arguments: list[Token], search: Search) -> None:
    at = 0
    while at < len(arguments):
        token, sign = arguments[at], (arguments[at + 1 :] or [_NOTHING])[0].text
        at += 1
        if not token.is_name or sign not in {*_COMPARISONS, "IN"}:
            if token.is_name:
                raise SplError(f"a bare word: {token.text!r}")
            continue
        if token.text not in _RANGES:
            search.use(token.text)
        at += 1
        if sign == "IN":
            end = at + [each.text for each in arguments[at:]].index(")")
            values = [each.text for each in arguments[at:end] if each.text not in "(,"]
        else:
            end = at + (arguments[at].text in "+-")  # of a relative time
            values = [arguments[end].text]
        search.compared += [(token.text, value) for value in values]
        at = end + 1


def _expression(arguments: list[Token], search: Search) -> None:
    for at, token in enumerate(arguments):
        if not token.is_name:
            continue
        if (arguments[at + 1 :] or [_NOTHING])[0].text == "(":
            if token.text not in _FUNCTIONS:
                raise SplError(f"no function {token.text!r}")
        else:
            search.use(token.text)


def _eval(arguments: list[Token], search: Search) -> None:
    for target, *rest in _split(arguments, ","):
        sign, *expression = rest or [_NOTHING]
        if not target.is_name or sign.text != "=" or not expression:
            raise SplError(f"no assignment: {target.text}")
        _expression(expression, search)
        search.fields.add(target.text)


def _aggregated(arguments: list[Token], search: Search) -> tuple[set[str], list[str]]:
    """What ``f(x) as y g(z) by a b`` makes, and the fields after ``by``."""
    made: set[str] = set()
    at = 0
    while at < len(arguments) and arguments[at].text != "by":
        name = made_name = arguments[at].text
        if name not in _AGGREGATES:
            raise SplError(f"no aggregate {name!r}")
        at += 1
        if arguments[at : at + 1] == [Token("sign", "(")]:
            end = next(n for n in range(at, len(arguments)) if _is_closed(arguments[at : n + 1]))
            _expression(arguments[at + 1 : end], search)
            made_name = f"{name}({''.join(token.text for token in arguments[at + 1 : end])})"
            at = end + 1
        if arguments[at : at + 1] == [Token("word", "as")]:
            made_name, at = arguments[at + 1].text, at + 2
        made.add(made_name)
    return made, _names(arguments[at + 1 :], search) if at < len(arguments) else []


def _is_closed(tokens: list[Token]) -> bool:
    return sum((token.text == "(") - (token.text == ")") for token in tokens) == 0


def _stats(arguments: list[Token], search: Search) -> None:
    made, by = _aggregated(arguments, search)
    search.fields = {*made, *by}


def _eventstats(arguments: list[Token], search: Search) -> None:
    made, _ = _aggregated(arguments, search)
    search.fields |= made


def _timechart(arguments: list[Token], search: Search) -> None:
    search.use("_time")
    made, _ = _aggregated(_options(arguments, "span"), search)
    search.fields = {*made, "_time"}


def _mstats(arguments: list[Token], search: Search) -> None:
    rest = _options(arguments, "span")
    where = next(at for at, token in enumerate(rest) if token.text == "where")
    by = next((at for at, token in enumerate(rest) if token.text == "by"), len(rest))
    search.fields = {*search.events, "index"}
    _search(rest[where + 1 : by], search)
    search.fields |= _METRICS
    made, names = _aggregated([*rest[:where], *rest[by:]], search)
    search.fields = {*made, *names, "_time"}


def _rename(arguments: list[Token], search: Search) -> None:
    for at in range(0, len(arguments), 4):
        old, as_, new = arguments[at : at + 3]
        if as_.text != "as":
            raise SplError(f"rename: want as, got {as_.text!r}")
        search.fields.remove(search.use(old.text.strip('"')))
        search.fields.add(new.text)


def _fields(arguments: list[Token], search: Search) -> None:
    everything = Token("sign", "*")
    if everything in arguments:
        _names([token for token in arguments if token != everything], search)
        return
    search.fields = {*_names(arguments, search), "_time", "_raw"}


def _append(arguments: list[Token], search: Search) -> None:
    if (arguments[0].text, arguments[-1].text) != ("[", "]"):
        raise SplError("append: want a search in brackets")
    appended = _run([Token("sign", "|"), *arguments[1:-1]], Search(search.events))
    search.compared += appended.compared
    search.fields |= appended.fields


def _collect(arguments: list[Token], search: Search) -> None:
    if _options(arguments, "index", "output_format"):
        raise SplError("collect: want index and output_format alone")
    if search.fields != {"_time", "_raw", "host", "source", "sourcetype"}:
        raise SplError("collect: each further field would be indexed, and be there twice")


def _transpose(arguments: list[Token], search: Search) -> None:
    if [token.text for token in arguments[:2]] != ["column_name", "="]:
        raise SplError("transpose: want column_name")
    search.fields = {arguments[2].text, "row 1"}


def _convert(arguments: list[Token], search: Search) -> None:
    function, _, *inner, _ = arguments
    if function.text != "ctime":
        raise SplError(f"convert: no function {function.text!r}")
    _names(inner, search)


def _head(arguments: list[Token], _search: Search) -> None:
    if [token.kind for token in arguments] != ["number"]:
        raise SplError("head: want a number")


def _sort(arguments: list[Token], search: Search) -> None:
    _names([token for token in arguments if token.is_name], search)


def _listed(arguments: list[Token], search: Search) -> None:
    _names(_options(arguments, "value"), search)


def _table(arguments: list[Token], search: Search) -> None:
    search.fields = set(_names(arguments, search))


_COMMANDS: Final[dict[str, Callable[[list[Token], Search], None]]] = {
    "append": _append,
    "collect": _collect,
    "convert": _convert,
    "dedup": _listed,
    "eval": _eval,
    "eventstats": _eventstats,
    "fields": _fields,
    "fillnull": _listed,
    "head": _head,
    "mstats": _mstats,
    "mvexpand": _listed,
    "rename": _rename,
    "search": _search,
    "sort": _sort,
    "stats": _stats,
    "table": _table,
    "timechart": _timechart,
    "transpose": _transpose,
    "where": _expression,
}
