"""How a shell was started, by its command line, and what of the line is the same the next time."""

from __future__ import annotations

import hashlib
import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.command import RUNS_LIMIT, read_invocation
from detector.context import Invocation, Mode
from detector.template import normalize, template_of
from tests.detector.testdata.command_lines import COMMAND, HOSTILE, LOGIN, SCRIPT, STDIN, UNKNOWN, Row

ROWS = (*LOGIN, *STDIN, *COMMAND, *SCRIPT, *UNKNOWN, *HOSTILE)
SHELLS = st.sampled_from(["sh", "bash", "/bin/bash", "tcsh", "-csh", "busybox", "x", "", "-"])
WORDS = st.one_of(
    st.sampled_from(["-c", "-s", "-l", "-i", "-", "--", "--login", "--rcfile", "-o", "+O", "-b", "-fc"]),
    st.sampled_from(["--help", "sh", "x.sh", "id"]),
    st.text(max_size=9),
)
LINES = st.one_of(st.text(max_size=200), st.lists(WORDS, max_size=9).map(" ".join))


def _name(row: Row) -> str:
    return f"{row.name}: {row.what}"


@pytest.mark.parametrize("row", ROWS, ids=_name)
def test_a_command_line_says_what_its_shell_does(row: Row) -> None:
    found = read_invocation(row.line, row.name, row.path)
    assert found == Invocation(row.mode, row.runs, template_of(row.line))


def test_the_table_is_as_large_as_it_claims_to_be() -> None:
    assert len({(row.line, row.name, row.path) for row in ROWS}) >= 130
    assert {row.mode for row in ROWS} == set(Mode)


@given(LINES, SHELLS, SHELLS)
def test_no_command_line_makes_it_raise_or_run_what_it_does_not_hold(line: str, name: str, path: str) -> None:
    found = read_invocation(line, name, path)
    assert found.runs in line
    assert len(found.runs) <= RUNS_LIMIT
    assert re.fullmatch(r"[0-9a-f]{16}|", found.template)
    assert bool(found.template) is bool(line.strip())


@given(
    st.lists(st.sampled_from(["-x", "-e", "--norc", "-o errexit", "+O extglob", "--rcfile /x"]), max_size=9)
)
def test_options_that_decide_nothing_change_nothing(options: list[str]) -> None:
    line = " ".join(["bash", *options])
    assert read_invocation(line, "bash", "/bin/bash").mode is Mode.STDIN
    assert read_invocation(f"{line} -c id", "bash", "/bin/bash").runs == "id"
    assert read_invocation(f"{line} x.sh", "bash", "/bin/bash").mode is Mode.SCRIPT


NORMAL = (
    ("a number", "sleep 70", "sleep <n>"),
    ("a fraction", "sleep 0.41", "sleep <n>"),
    ("a version, an address", "ping 10.0.0.1 -c 3", "ping <n> -c <n>"),
    ("a port", "curl localhost:8080/healthz", "curl localhost:<n>/healthz"),
    ("a number in a word", "worker-12 node3", "worker-<n> node<n>"),
    ("a full stop", "echo 1. 2", "echo <n>. <n>"),
    ("hex of eight", "git show deadbeef", "git show <n>"),
    ("hex of seven", "git show feedbee", "git show feedbee"),
    ("hex that is all digits", "git show 12345678", "git show <n>"),
    ("capitals", "x DEADBEEF01", "x <n>"),
    ("a prefix", "x 0xdeadbeef 0X1F", "x <n> <n>"),
    ("hex in a name", "tail pod_0a1b2c3d4e-x.log", "tail pod_<n>-x.log"),
    ("hex in a word", "facadeface1g", "facadeface<n>g"),
    ("a digest", "x sha256:" + "0a" * 32, "x sha<n>:<n>"),
    ("a UUID", "x 3f1c9a52-8d7e-4b0a-9c61-5e2f7a40d913 y", "x <uuid> y"),
    ("a UUID in a unit's name", "x 3f1c9a52_8d7e_4b0a_9c61_5e2f7a40d913.slice", "x <uuid>.slice"),
    ("no UUID", "x 3f1c9a52-8d7e_4b0a-9c61-5e2f7a40d913", "x <n>-<n>d<n>e_<n>b<n>a-<n>c<n>-<n>"),
    ("a date", "backup 2024-01-31", "backup <time>"),
    ("a time", "backup 2024-01-31T10:20:30.123+02:00 x", "backup <time> x"),
    ("a time of Zulu", "backup 2024-01-31_10:20:30Z", "backup <time>"),
    ("a clock", "at 23:59:59,5", "at <time>"),
    ("ports are no clock", "-p 80:80 -p 443:80", "-p <n>:<n> -p <n>:<n>"),
    ("a temporary file", "bash /tmp/tmp.Xy12/run.sh -x", "bash <tmp> -x"),
    ("its end", 'cat </tmp/a >/var/tmp/b;x=/tmp/c,"/tmp/d"', 'cat <<tmp> ><tmp>;x=<tmp>,"<tmp>"'),
    ("shared memory", "/dev/shm/.x", "<tmp>"),
    ("a user's directory", "ls /run/user/1000/bus /var/run/user/0/x", "ls <tmp> <tmp>"),
    ("a user's directory itself", "ls /run/user/1000", "ls <tmp>"),
    ("mktemp elsewhere", "mv /srv/tmp.Ab3dEfGh12/x .", "mv /srv/<tmp>/x ."),
    ("a tmp of one's own", "ls /srv/tmp/x", "ls /srv/tmp/x"),
    ("a way out of tmp", "sh /tmp/../srv/x7", "sh /tmp/../srv/x<n>"),
    ("tmp itself", "ls /tmp", "ls /tmp"),
    ("white space", "  a\n\tb \u00a0 c ", "a b c"),
    ("what was redacted", "curl -u [redacted]", "curl -u [redacted]"),
    ("digits of other scripts", "x \u0663", "x \u0663"),
    ("nothing", " \n", ""),
)  # fmt: skip


@pytest.mark.parametrize(("what", "text", "expected"), NORMAL, ids=[what for what, _, _ in NORMAL])
def test_what_varies_from_run_to_run_is_replaced(what: str, text: str, expected: str) -> None:
    assert normalize(text) == expected


def test_a_template_is_the_hash_of_the_normalized_text() -> None:
    normal = "sh -c sleep <n>; exit <n>"
    assert template_of("sh -c sleep 0.31;  exit 0") == hashlib.sha256(normal.encode()).hexdigest()[:16]
    assert template_of("") == ""


@given(
    st.text(),
    st.from_regex(r"[0-9a-f]{8,40}", fullmatch=True),
    st.from_regex(r"[0-9a-f]{8,40}", fullmatch=True),
)
def test_ids_leave_no_trace_in_a_template(text: str, one: str, other: str) -> None:
    assert template_of(f"{text} {one} x") == template_of(f"{text} {other} x")


@given(st.one_of(st.text(), st.text("0123456789af-_:.xT /tmp", max_size=60)))
def test_no_digit_and_no_run_of_blanks_survives(text: str) -> None:
    normal = normalize(text)
    assert not re.search(r"[0-9]|\s\s|^\s|\s$", normal)


@pytest.mark.parametrize(
    "unit",
    [
        *(
            "a",
            "0",
            "/",
            "-",
            "_",
            " ",
            "1.",
            "ab-",
            "/tmp/",
            "/tmp/../",
            "tmp.",
            "aaaaaaaa_",
            "10:10:",
            "0x",
        ),
        *("2024-01-01", "/run/user/1", "00000000-0000-", "-o ", "--rcfile ", "\n", "[", "\u2013"),
    ],
)
def test_the_work_is_linear_in_the_length_of_the_line(unit: str) -> None:
    line = "bash " + unit * (2**18 // len(unit))
    started = time.process_time()
    read_invocation(line, "bash", "/bin/bash")
    assert time.process_time() - started < 10  # as it is: 0.3 s at most; were it quadratic: minutes
