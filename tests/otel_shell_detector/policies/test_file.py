"""Each mistake is a file of ``testdata`` that ends with the lines a user must see."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from detector.policy import Action, Matcher, Operator, Rule
from otel_shell_detector.cli import main
from otel_shell_detector.policies.file import MOST_CHECKS, PolicyError, Result, load
from tests.otel_shell_detector.policies.policies import NOW, NOW_NS, ns, text

TESTDATA = Path(__file__).parent / "testdata"
MISTAKES = sorted(path.name for path in TESTDATA.iterdir())
EXPECT = "# expect: "
END_OF_DEFAULT = datetime(2026, 8, 29, tzinfo=UTC)


def refused(path: Path, now_ns: int = NOW_NS) -> tuple[Result, list[str]]:
    with pytest.raises(PolicyError) as error:
        load(path, now_ns, {})
    return error.value.result, [each.replace(f"{path}", "P") for each in error.value.mistakes]


@pytest.mark.parametrize("name", MISTAKES)
def test_each_mistake_is_told_with_its_line_and_column(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(TESTDATA)
    lines = Path(name).read_text(encoding="utf-8").splitlines()
    expected = tuple(line.removeprefix(EXPECT) for line in lines if line.startswith(EXPECT))
    with pytest.raises(PolicyError) as error:
        load(Path(name), NOW_NS, {})
    assert error.value.mistakes == expected
    assert expected


def test_there_are_many_mistakes_to_make() -> None:
    assert len(MISTAKES) >= 45


def test_a_rule_says_all_that_it_can_say(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text(
        """\
rules:
  - id: cron-run-parts.1
    reason: the jobs of the distribution,
      hourly and daily
    owner: "platform@example.org"
    action: suppress
    matchers:
      - systemd.unit="cron.service"
      - '{shell.mode=command, process.owner!="www-data"}'
    expires: 2026-05-31
  - {id: "2", reason: quiet, owner: ops, action: {score: 5}, matchers: 'shell.mode=login',
     expires: 2026-03-02T10:00:00+02:00}
  - {id: b, reason: no anchor, owner: ops, action: suppress, matchers: shell.mode=login, unsafe: true,
     expires: "2026-08-29 00:00:00Z"}
"""
    )
    unit = Matcher("systemd.unit", Operator.EQUAL, "cron.service")
    command = Matcher("shell.mode", Operator.EQUAL, "command")
    owner = Matcher("process.owner", Operator.NOT_EQUAL, "www-data")
    login = Matcher("shell.mode", Operator.EQUAL, "login")
    loaded = load(path, NOW_NS, {})
    assert loaded.policy.rules == (
        Rule(
            id="cron-run-parts.1",
            reason="the jobs of the distribution, hourly and daily",
            owner="platform@example.org",
            matchers=(unit, command, owner),
            action=Action.SUPPRESS,
            expires_ns=ns(datetime(2026, 6, 1, tzinfo=UTC)),
        ),
        Rule("2", "quiet", "ops", (login,), Action.SCORE, ns(datetime(2026, 3, 2, 8, tzinfo=UTC)), score=5),
        Rule("b", "no anchor", "ops", (login,), Action.SUPPRESS, ns(END_OF_DEFAULT), unsafe=True),
    )
    assert loaded.first_seen == {}


def test_a_rule_without_an_end_ends_half_a_year_after_it_was_first_seen(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text(text("a"))
    first = load(path, NOW_NS, {})
    (rule,) = first.policy.rules
    assert (rule.expires_ns, first.first_seen) == (ns(END_OF_DEFAULT), {rule.digest: NOW_NS})

    later_ns = ns(NOW + timedelta(days=100))
    path.write_text(text("a", "b", reason="in other words", owner="dev"))
    second = load(path, later_ns, first.first_seen)
    assert [each.expires_ns for each in second.policy.rules] == [
        ns(END_OF_DEFAULT),
        ns(END_OF_DEFAULT + timedelta(days=100)),
    ]
    assert list(second.first_seen.values()) == [NOW_NS, later_ns]

    path.write_text(text("a", matchers="systemd.unit=another.service"))
    (changed,) = load(path, later_ns, second.first_seen).policy.rules
    assert changed.expires_ns == ns(END_OF_DEFAULT + timedelta(days=100))


def test_a_clock_that_was_ahead_lengthens_no_life(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text(text("a"))
    ahead = load(path, ns(NOW + timedelta(days=3000)), {}).first_seen
    loaded = load(path, NOW_NS, ahead)
    (rule,) = loaded.policy.rules
    assert (rule.expires_ns, loaded.first_seen) == (ns(END_OF_DEFAULT), {rule.digest: NOW_NS})


def test_a_file_stays_good_when_its_rules_come_past_their_end(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text(text("a", expires="2020-01-01"))
    policy = load(path, NOW_NS, {}).policy
    assert policy.expired(NOW_NS) == list(policy.rules)


def test_the_files_of_a_directory_are_read_in_the_order_of_their_names(tmp_path: Path) -> None:
    for name in ("20.yml", "10.yaml", "30.txt", ".hidden.yaml", "9.json"):
        (tmp_path / name).write_text(text("of-" + name.strip(".")))
    (tmp_path / "..data").mkdir()
    (tmp_path / "..data" / "x.yaml").write_text("broken")
    assert [rule.id for rule in load(tmp_path, NOW_NS, {}).policy.rules] == ["of-10.yaml", "of-20.yml"]


def test_an_id_is_taken_once_over_all_files(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(text("x"))
    (tmp_path / "b.yaml").write_text(text("y", "x"))
    expected = [f"P{os.sep}b.yaml:7:5: id: got x again; want another than at P{os.sep}a.yaml:2:5"]
    assert refused(tmp_path) == (Result.INVALID, expected)


def test_what_holds_nothing_is_told_apart_from_what_is_wrong(tmp_path: Path) -> None:
    empty = "got an empty file; want rules, or `rules: []` for none"
    file = tmp_path / "a.yaml"
    assert refused(file) == (
        Result.MISSING,
        ["P: No such file or directory; want a file that can be read, or a directory of such"],
    )
    assert refused(tmp_path) == (
        Result.EMPTY,
        ["P: got a directory without *.yaml or *.yml; want at least one"],
    )
    file.write_text("")
    assert refused(file) == (Result.EMPTY, [f"P:1:1: {empty}"])
    (tmp_path / "b.yaml").write_text("---\n# nothing\n")
    assert refused(tmp_path) == (Result.EMPTY, [f"P/a.yaml:1:1: {empty}", f"P/b.yaml:1:1: {empty}"])
    (tmp_path / "c.yaml").write_text(text("x"))
    assert refused(tmp_path) == (Result.INVALID, [f"P/a.yaml:1:1: {empty}", f"P/b.yaml:1:1: {empty}"])


def test_to_have_no_rules_is_said(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("rules: []\n")
    assert load(path, NOW_NS, {}).policy.rules == ()


def test_files_that_cannot_be_read_are_told(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").mkdir()
    assert refused(tmp_path) == (
        Result.INVALID,
        ["P/a.yaml: Is a directory; want a file that can be read, or a directory of such"],
    )
    (tmp_path / "a.yaml").rmdir()
    (tmp_path / "a.yaml").symlink_to("a.yaml")
    assert refused(tmp_path)[0] is Result.INVALID


def test_a_directory_that_cannot_be_listed_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def iterdir(_path: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "iterdir", iterdir)
    assert refused(tmp_path) == (
        Result.INVALID,
        ["P: Permission denied; want a file that can be read, or a directory of such"],
    )


def test_there_are_bounds(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_bytes(b"#" * ((1 << 20) + 1))
    assert refused(file) == (Result.INVALID, ["P: got more than 1MiB; want at most that"])
    file.write_text("rules:\n- &a {}\n" + "- *a\n" * 10_000)
    assert refused(file) == (Result.INVALID, ["P:2:1: got 10001 rules up to here; want at most 10000"])
    for number in range(257):
        (tmp_path / f"{number}.yaml").touch()
    file.unlink()
    assert refused(tmp_path) == (Result.INVALID, ["P: got 257 files; want at most 256"])


def test_rules_that_every_shell_would_be_compared_with_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    ids = [f"r{number}" for number in range(MOST_CHECKS + 1)]
    path.write_text(text(*ids[:MOST_CHECKS], matchers="process.executable.name=sh"))
    assert load(path, NOW_NS, {}).policy.most_checks == MOST_CHECKS
    path.write_text(text(*ids, matchers="process.executable.name=sh"))
    expected = (
        "P: got rules of which a shell may have to be compared with 257; want at most 256: give more of them "
        "a matcher with = and a value that few others have"
    )
    assert refused(path) == (Result.INVALID, [expected])


def test_a_thousand_rules_load_and_a_shell_meets_few_of_them(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    cron = 'process.parent.executable.name=~"cron|crond"'
    rules = [f"['systemd.unit={number}.service', '{cron}']" for number in range(950)]
    rules += [f"process.owner=~user-{number}" for number in range(50)]
    path.write_text(
        "rules:\n" + "".join(text(f"r{number}", matchers=each)[7:] for number, each in enumerate(rules))
    )
    policy = load(path, NOW_NS, {}).policy
    assert (len(policy.rules), policy.most_checks) == (1000, 51)
    shell = {"systemd.unit": "7.service", "process.parent.executable.name": "sh", "process.owner": "root"}
    assert (policy.judge(shell, NOW_NS), policy.checks) == (None, 51)
    cron_job = shell | {"process.parent.executable.name": "crond"}
    assert (policy.judge(cron_job, NOW_NS), policy.checks) == (policy.rules[7], 1)


@given(
    st.text(max_size=60)
    | st.text(alphabet="rules:-[]{}&*!|>'\"\n #,?%@0", max_size=80)
    | st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=10) | st.dates(),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["id", "reason", "action", "matchers", "expires", "score"]), inner
            )
        ),
    ).map(lambda value: yaml.safe_dump({"rules": [value]}))
)
def test_no_document_raises_anything_but_a_policy_error(
    tmp_path_factory: pytest.TempPathFactory, content: str
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_bytes(content.encode(errors="surrogatepass"))
    try:
        assert load(path, NOW_NS, {}).policy.rules == ()
    except PolicyError as error:
        assert all(line.isprintable() for line in error.mistakes)  # noqa: PT017  # either is fine


# --- check-config


def check_config(
    path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> tuple[int, str]:
    monkeypatch.setenv("OTEL_SHELL_DETECTOR_POLICY__PATH", str(path))
    status = main(["check-config"])
    return status, capsys.readouterr().err


def test_check_config_explains_a_policy(
    tmp_path: Path,
    no_variables: None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(text("a", owner="5", action="drop"))
    owner = f"{path}:4:12: owner: got 5; want text of 1 to 256 characters on one line\n"
    action = (
        f'{path}:5:13: action: got "drop"; want suppress, annotate or {{score: N}} with N from 0 to 100\n'
    )
    assert check_config(path, monkeypatch, capsys) == (2, owner + action)
    path.write_text(text("a"))
    assert check_config(path, monkeypatch, capsys) == (0, "")
    path.write_text(text("a", expires="2020-01-01"))
    expected = "warning: policy.path: rule a is past its end and does nothing\n"
    assert check_config(path, monkeypatch, capsys) == (0, expected)
