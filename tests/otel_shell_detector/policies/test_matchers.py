"""Matchers as text, held to a model of what Alertmanager makes of them."""

from __future__ import annotations

import re
import time
from contextlib import suppress
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.policy import FIELDS, Action, Matcher, Operator, Rule
from otel_shell_detector.policies.matchers import (
    LARGEST_PROGRAM,
    LONGEST_PATTERN,
    MatcherError,
    parse,
    predicate,
    write,
)

OWNER = Matcher("process.owner", Operator.EQUAL, "root")


@pytest.mark.parametrize(
    "text",
    [
        "process.owner=root",
        'process.owner="root"',
        '{process.owner="root"}',
        '{ process.owner = "root" , }',
        '"process.owner"="root",',
        "\n\tprocess.owner\n=\nroot\n",
        r'process.owner="\x72oo\164"',
        r'"process\u002eowner"="r\U0000006fot"',
    ],
)
def test_one_matcher_is_written_in_many_ways(text: str) -> None:
    assert parse(text) == [OWNER]


def test_several_matchers_stand_in_one_text() -> None:
    found = parse(
        r'{k8s.namespace.name=ci-1, process.owner!="", shell.runs=~"a\\.b", shell.mode!~login|stdin}'
    )
    assert [str(each) for each in found] == [
        'k8s.namespace.name="ci-1"',
        'process.owner!=""',
        r'shell.runs=~"a\\.b"',
        'shell.mode!~"login|stdin"',
    ]


@pytest.mark.parametrize(
    ("quoted", "value"),
    [
        (r'"\a\b\f\n\r\t\v\\\""', '\a\b\f\n\r\t\v\\"'),
        (r'"\xc3\xa9\303\251\u00e9\U0001f600"', "ééé\U0001f600"),
        ('"é, {x=y} \'`"', "é, {x=y} '`"),
        ('""', ""),
        ("/bin/sh", "/bin/sh"),
        ("é|b.*[0-9]+$", "é|b.*[0-9]+$"),
    ],
)
def test_values_are_quoted_as_in_go(quoted: str, value: str) -> None:
    assert parse(f"shell.runs={quoted}") == [Matcher("shell.runs", Operator.EQUAL, value)]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", 'got none; want at least one, such as systemd.unit="cron.service"'),
        ("{}", 'got none; want at least one, such as systemd.unit="cron.service"'),
        ("{,}", 'got "," at character 2; want a matcher or }'),
        ("=x", 'got "=" at character 1; want a matcher'),
        ("process.owner", "got the end at character 14; want an operator: =, !=, =~ or !~"),
        ('process.owner "x"', r'got "\"x\"" at character 15; want an operator: =, !=, =~ or !~'),
        ("process.owner!x", 'got "!" at character 14; want it in double quotes, with what it belongs to'),
        (
            "process.owner=",
            "got the end at character 15; want a value, in double quotes if it is not a plain word",
        ),
        (
            "process.owner==x",
            'got "=" at character 15; want a value, in double quotes if it is not a plain word',
        ),
        ("process.owner='x'", 'got "\'" at character 15; want it in double quotes, with what it belongs to'),
        (
            r"shell.runs=~a\.b",
            r'got "\\" at character 14; want it in double quotes, with what it belongs to',
        ),
        ("{process.owner=x", "got the end at character 17; want a comma and another matcher, or }"),
        ("process.owner=x}", 'got "}" at character 16; want the end or a comma and another matcher'),
        ("process.owner=x,,", 'got "," at character 17; want the end or a comma and another matcher'),
        (
            "process.owner=x shell.mode=y",
            'got "shell.mode" at character 17; want the end or a comma and another matcher',
        ),
        ("{process.owner=x} x", 'got "x" at character 19; want the end or a comma and another matcher'),
        ('process.owner="x', r'got "\"x" at character 15; want " at its end, on one line'),
        ('process.owner="x\n"', r'got "\"x\n\"" at character 15; want " at its end, on one line'),
        (
            r'shell.runs=~"a\.b"',
            r'got "\\." at character 15; want one of \\ \" \a \b \f \n \r \t \v \ooo \xhh \uhhhh \Uhhhhhhhh',
        ),
        (r'process.owner="\xff"', r'got "\"\\xff\"" at character 15; want UTF-8'),
        (r'process.owner="\ud800"', r'got "\\ud800" at character 16; want a character of Unicode'),
        (r'process.owner="\U00110000"', r'got "\\U00110000" at character 16; want a character of Unicode'),
        ("process.owner=\ud800", "got half a surrogate pair; want characters of Unicode"),
        ("proces.owner=x", 'unknown field "proces.owner"; did you mean process.owner?'),
        ('"\\n\\u202e"=x', r'unknown field "\n\u202e"; did you mean systemd.unit?'),
        ('shell.runs=~"("', 'got "("; want a pattern of RE2 (missing ): ()'),
        ('shell.runs!~"a)|(b"', 'got "a)|(b"; want a pattern of RE2 (unexpected ): a)|(b)'),
        (r'shell.runs=~"(a)\\1"', r'got "(a)\\1"; want a pattern of RE2 (invalid escape sequence: \1)'),
        ('shell.runs=~"(?=a)"', 'got "(?=a)"; want a pattern of RE2 (invalid perl operator: (?=)'),
        (f"shell.runs=~{'a' * 1025}", "got a pattern of 1025 bytes; want at most 1024"),
        (
            'shell.runs=~".{0,200}x.{0,300}"',
            'got ".{0,200}x.{0,300}", 4005 instructions; want at most 2000: repeat less often',
        ),
        (
            r'shell.runs=~"\\pL{1000}"',
            r'got "\\pL{1000}"; want a pattern of RE2 (pattern too large - compile failed)',
        ),
    ],
)
def test_what_is_no_matcher_is_told_with_its_place(text: str, told: str) -> None:
    with pytest.raises(MatcherError) as error:
        parse(text)
    assert str(error.value) == told


@given(
    st.text(max_size=40) | st.text(alphabet="ab.=!~,{}\"\\ \nxu0'", max_size=30).map("process.owner".__add__)
)
def test_no_text_raises_anything_but_a_matcher_error(text: str) -> None:
    with suppress(MatcherError):
        assert parse(text)


# --- what they match


@dataclass(frozen=True)
class Pattern:
    """A pattern, as both engines read it: ``$`` is the end of the text for RE2, for Python not quite."""

    text: str
    python: str


def _joined(parts: list[Pattern], between: str = "") -> Pattern:
    return Pattern(between.join(part.text for part in parts), between.join(part.python for part in parts))


def _wrapped(before: str, inner: Pattern, after: str) -> Pattern:
    return Pattern(f"{before}{inner.text}{after}", f"{before}{inner.python}{after}")


# Each consumes a character, so that repeating it ends; `{2}` of a thing that matches the empty text is told
# apart by neither engine in the same way.
_ATOMS = st.sampled_from(
    ["a", "b", r"\.", r"\n", ".", "[ab]", "[^a]", r"\d", r"\w", "é", "-", "(?:a|bb)", "(b)"]
)
_REPEATED = st.tuples(_ATOMS, st.sampled_from(["", "", "?", "*", "+", "{2}", "{0,2}", "*?"])).map(
    lambda pair: Pattern("".join(pair), "".join(pair))
)
_EDGES = st.sampled_from([Pattern("", ""), Pattern("^", "^"), Pattern("$", r"\Z"), Pattern("()", "()")])
PATTERNS = st.recursive(
    _REPEATED | _EDGES,
    lambda inner: (
        st.lists(inner, max_size=4).map(_joined)
        | st.lists(inner, min_size=2, max_size=3).map(lambda parts: _joined(parts, "|"))
        | inner.map(lambda each: _wrapped("(?:", each, ")"))
        | inner.map(lambda each: _wrapped("(?:", each, ")?"))
    ),
    max_leaves=8,
)
TEXTS = st.text(alphabet="ab.\né-1", max_size=6) | st.sampled_from(
    ["", "\n", "a\n", "\na", "\\", '"', "\x00"]
)
NAMES = ("systemd.unit", "process.owner", "shell.escape_hint", "shell.runs")


@dataclass(frozen=True)
class Condition:
    """A matcher before it is written, with what it means."""

    name: str
    operator: str
    written: str
    python: str

    @property
    def text(self) -> str:
        escaped = self.written.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
        return f'{self.name}{self.operator}"{escaped}"'

    def accepts(self, labels: dict[str, str]) -> bool:
        """Alertmanager's: labels that are not there are empty; the pattern stands between ^(?: and )$."""
        label = labels.get(self.name, "")
        if self.operator == "=":
            return label == self.written
        if self.operator == "!=":
            return label != self.written
        matched = re.search(rf"\A(?:{self.python})\Z", label, re.DOTALL | re.ASCII) is not None
        return matched if self.operator == "=~" else not matched


CONDITIONS = st.builds(
    lambda name, operator, value: Condition(name, operator, value, value),
    st.sampled_from(NAMES),
    st.sampled_from(["=", "!="]),
    TEXTS,
) | st.builds(
    lambda name, operator, pattern: Condition(name, operator, pattern.text, pattern.python),
    st.sampled_from(NAMES),
    st.sampled_from(["=~", "!~"]),
    PATTERNS,
)


@given(st.lists(CONDITIONS, min_size=1, max_size=4), st.dictionaries(st.sampled_from(NAMES), TEXTS))
def test_matchers_accept_what_alertmanagers_would(
    conditions: list[Condition], labels: dict[str, str]
) -> None:
    matchers = parse("{" + ", ".join(each.text for each in conditions) + "}")
    expected = [each.accepts(labels) for each in conditions]
    assert [each.accepts(labels.get(each.name, "")) for each in matchers] == expected
    rule = Rule("r", "why", "who", tuple(matchers), Action.ANNOTATE, 0)
    assert rule.applies(labels) is all(expected)
    assert [parse(str(each)) for each in matchers] == [[each] for each in matchers]


@pytest.mark.parametrize(
    ("pattern", "matches", "misses"),
    [
        ("a.b", ["a\nb", "a\rb", "aéb", "a\x00b"], ["ab", "a\n\nb", "xa\nb", "a\nbx"]),
        (".*", ["", "\n", "a\nb"], []),
        ("a", ["a"], ["a\n", "\na", "A", "aa", ""]),
        ("a$", ["a"], ["a\n"]),
        ("^a", ["a"], ["\na"]),
        ("a|b", ["a", "b"], ["ab", "ac", "xb"]),
        ("(?m)^a$", ["a"], ["b\na", "a\nb"]),
        ("(?-s)a.b", ["axb"], ["a\nb"]),
        ("(?i)cron", ["CRON", "Cron"], ["cro"]),
        ("", [""], ["a"]),
        (r"[^\n]*", ["", "a"], ["\n"]),
        (r"\w", ["a", "_"], ["é"]),
        (r"\\xff", [r"\xff"], ["ÿ"]),
        (".", ["x", "\U0001f600"], ["\ud800"]),
        (r"\\ud800", ["\ud800", r"\ud800"], [""]),
    ],
)
def test_patterns_match_the_whole_text(pattern: str, matches: list[str], misses: list[str]) -> None:
    matched = predicate(pattern)
    assert [text for text in matches + misses if matched(text)] == matches


@pytest.mark.parametrize("pattern", ["(a+)+$", "(a|aa)+$", "(a*)*b?$", "(.*a){20}$", "(a|a?)+$"])
def test_a_catastrophic_pattern_takes_linear_time(pattern: str) -> None:
    """Python's own engine would take longer than the universe on the first of them."""
    matched = predicate(pattern)
    began = time.process_time()
    assert not matched("a" * 2047 + "c")
    assert time.process_time() - began < 5


def test_the_dearest_pattern_that_is_taken_still_costs_little() -> None:
    """One that RE2 cannot keep the states of: it steps through all its instructions at each character."""
    pattern = "[ab]*a[ab]{990}[ab]{990}"
    matched = predicate(pattern)
    began = time.process_time()
    matched("ab" * 1024)
    assert time.process_time() - began < 5
    assert len(pattern) < LONGEST_PATTERN
    with pytest.raises(MatcherError, match=f"want at most {LARGEST_PROGRAM}"):
        predicate("[ab]*a" + "[ab]{999}" * 3)


def test_the_fields_are_unique() -> None:
    assert len(set(FIELDS)) == len(FIELDS)


@given(
    name=st.sampled_from(FIELDS),
    operator=st.sampled_from([Operator.EQUAL, Operator.NOT_EQUAL]),
    value=st.text(st.characters(exclude_categories=["Cs"])),
)
def test_what_is_written_is_read_and_can_be_seen(name: str, operator: Operator, value: str) -> None:
    written = write(name, operator, value)
    assert parse(written) == [Matcher(name, operator, value)]
    assert written.isprintable()


def test_a_pattern_is_written_as_a_text_is() -> None:
    [matcher] = parse(write("shell.runs", Operator.MATCHES, r"a\.\"b\""))
    assert (matcher.accepts('a."b"'), matcher.accepts('ax"b"')) == (True, False)
