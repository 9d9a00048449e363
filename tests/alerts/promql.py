"""The names in PromQL: which metrics, labels and label values a text asks for, and whether they are declared.

No parser of PromQL: promtool does that. It tells names apart by what stands around them, so a name that is
neither a function, a keyword nor a label that is grouped or matched by is a metric. Variables of Grafana
(``$job``, ``${job}``, ``$__rate_interval``, ``[[job]]``) stand for text that is not known here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from telemetry.metrics import DECLARATIONS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from telemetry.declaring import Declaration

OF_TARGETS: Final = frozenset(
    {"cluster", "container", "endpoint", "instance", "job", "namespace", "pod", "service"}
)
"""Labels that Prometheus and its operator put on what they scrape; their values are not ours to know."""
OF_PROMETHEUS: Final = {"up": frozenset[str](), "ALERTS": frozenset({"alertname", "alertstate", "severity"})}
"""Series that Prometheus makes itself, with their labels beside those of the target."""

_TOKEN: Final = re.compile(
    r"""(?P<space>\s+|\#.*)
    |(?P<text>"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|`[^`]*`)
    |(?P<variable>\$\w+|\$\{[^}]*\}|\[\[\w+\]\])
    |(?P<range>\[[^]]*\])
    |(?P<number>[0-9][\w.]*)
    |(?P<name>[A-Za-z_:][\w:]*)
    |(?P<sign>=~|!~|!=|==|<=|>=|[-+*/%^<>=(){},@])""",
    re.VERBOSE,
)
_WORDS: Final = frozenset({"and", "bool", "inf", "nan", "offset", "or", "unless"})
_GROUPING: Final = frozenset({"by", "group_left", "group_right", "ignoring", "on", "without"})
_OPEN: Final = ("name of ", "HTTP status")
_ENDINGS: Final = ("_bucket", "_sum", "_count")


@dataclass(frozen=True, slots=True)
class Matcher:
    """``label`` compared with ``value`` by ``=``, ``!=``, ``=~`` or ``!~``."""

    label: str
    how: str
    value: str


@dataclass(slots=True)
class Names:
    """What an expression names: each metric with its matchers, and the labels it groups or joins by."""

    metrics: list[tuple[str, tuple[Matcher, ...]]] = field(default_factory=list)
    labels: set[str] = field(default_factory=set)


def _tokens(expression: str) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    at = 0
    while at < len(expression):
        match = _TOKEN.match(expression, at)
        if match is None:
            raise ValueError(f"{expression[at : at + 20]!r}: want PromQL")
        at = match.end()
        if match.lastgroup not in {"space", "range"}:
            found.append((str(match.lastgroup), match[0]))
    return found


def names(expression: str) -> Names:
    """The names in an expression."""
    found = Names()
    tokens = _tokens(expression)
    at = 0
    while at < len(tokens):
        kind, text = tokens[at]
        after = tokens[at + 1][1] if at + 1 < len(tokens) else ""
        at += 1
        if kind != "name" or text.lower() in _WORDS:
            continue
        if text in _GROUPING and after == "(":
            end = tokens.index(("sign", ")"), at)
            found.labels |= {name for kind, name in tokens[at:end] if kind == "name"}
            at = end
        elif after == "{":
            end = tokens.index(("sign", "}"), at)
            found.metrics.append((text, tuple(_matchers(tokens[at + 1 : end]))))
            at = end
        elif after != "(" and text not in _GROUPING and not _is_aggregation(tokens, at):
            found.metrics.append((text, ()))
    return found


def _is_aggregation(tokens: list[tuple[str, str]], after: int) -> bool:
    """Whether a name is an aggregation's, with its grouping before its argument: ``sum by (job) (x)``."""
    return after < len(tokens) and tokens[after][1] in {"by", "without"}


def _matchers(tokens: list[tuple[str, str]]) -> Iterator[Matcher]:
    given = [text for _, text in tokens if text != ","]
    for label, how, value in zip(given[::3], given[1::3], given[2::3], strict=True):
        yield Matcher(label, how, value if value.startswith("$") else value[1:-1])


def queries(dashboard: object) -> Iterator[str]:
    """Every expression of a Grafana dashboard: of panels, and of variables that list values of a label."""
    if isinstance(dashboard, list):
        for each in dashboard:
            yield from queries(each)
    elif isinstance(dashboard, dict):
        for key, value in dashboard.items():
            if key == "expr":
                yield value
            elif isinstance(value, str):
                yield from re.findall(r"^label_values\((.+), *\w+\)$", value)
            else:
                yield from queries(value)


def unknown(expression: str) -> list[str]:
    """What an expression names that nothing declares, as sentences; empty if all is there."""
    found = names(expression)
    wrong: list[str] = []
    labels = OF_TARGETS | {"le"}
    for metric, matchers in found.metrics:
        declared = _declared(metric)
        if declared is None and metric not in OF_PROMETHEUS:
            wrong.append(f"{metric}: no such metric")
            continue
        known = declared.labels if declared else dict.fromkeys(OF_PROMETHEUS[metric], "")
        labels |= known.keys()
        wrong += [
            f"{metric}: {complaint}" for each in matchers if (complaint := _unknown_matcher(each, known))
        ]
    return wrong + [f"{label}: no label of these metrics" for label in sorted(found.labels - labels)]


def labels_of(expression: str) -> set[str]:
    """The labels that a result of the expression may have."""
    declared = [_declared(metric) for metric, _ in names(expression).metrics]
    return set(OF_TARGETS).union(*(each.labels for each in declared if each))


def _declared(metric: str) -> Declaration | None:
    for each in DECLARATIONS:
        histogram = each.kind == "histogram"
        exposed = {each.name + ending for ending in _ENDINGS} if histogram else {each.name}
        if metric in exposed:
            return each
    return None


def _unknown_matcher(matcher: Matcher, known: Mapping[str, str]) -> str:
    if matcher.label in OF_TARGETS or matcher.label == "le":
        return ""
    if matcher.label not in known:
        return f"no label {matcher.label}"
    values = matcher.value.split("|") if "~" in matcher.how else [matcher.value]
    strange = [value for value in values if not _is_value(value, known[matcher.label])]
    return f"no {matcher.label} is {', '.join(strange)}" if strange else ""


def _is_value(value: str, told: str) -> bool:
    """Whether a declaration lists a value: between separators, for it is prose.

    Where it lists none (names of status codes, versions) any will do; so will a variable, and a regular
    expression for anything.
    """
    if not told or told.startswith(_OPEN) or value in {".*", ".+"} or "$" in value:
        return True
    return bool(re.search(rf"(?:^|[,;:] )(?:and )?{re.escape(value)}(?=[,;:]| \(| if |$)", told))
