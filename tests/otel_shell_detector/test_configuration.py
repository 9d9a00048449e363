"""Each mistake is a file of ``testdata`` that begins with the lines a user must see."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from otel_shell_detector import checks
from otel_shell_detector.addresses import Endpoint
from otel_shell_detector.cli import main
from otel_shell_detector.configuration import (
    DetectorSettings,
    ReceiverSettings,
    ReceiverTlsSettings,
    Settings,
    state_directory,
)
from otel_shell_detector.keys import DEPENDS, KEYS, plain
from otel_shell_detector.quantities import Duration, Size
from otel_shell_detector.sources import ConfigurationError, build, load, parse_yaml
from telemetry import metrics

TESTDATA = Path(__file__).parent / "testdata"
MISTAKES = sorted(path.name for path in TESTDATA.glob("*.yaml"))
EXPECT = "# expect: "


@pytest.mark.parametrize("name", MISTAKES)
def test_each_mistake_is_told_on_a_line_of_its_own(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], no_variables: None
) -> None:
    monkeypatch.chdir(TESTDATA)
    lines = Path(name).read_text(encoding="utf-8").splitlines()
    expected = [line.removeprefix(EXPECT) for line in lines if line.startswith(EXPECT)]
    status = main(["check-config", "--config", name])
    shown = capsys.readouterr()
    assert (status, shown.out, shown.err.splitlines()) == (2, "", expected)
    assert expected


def test_there_are_many_mistakes_to_make() -> None:
    assert len(MISTAKES) >= 70


def check(content: bytes | str) -> str:
    """What is told of a document; empty if it is good."""
    try:
        build(parse_yaml(content.encode() if isinstance(content, str) else content, "x.yaml"), {})
    except ConfigurationError as error:
        return str(error)
    return ""


@pytest.mark.parametrize(
    "content",
    ["", "# nothing\n", "---\n", "receiver:\nexporter:\n  hec:\n    tls:\n", "\ufefflog:\n  level: debug\n"],
)
def test_empty_documents_and_sections_leave_the_defaults(content: str) -> None:
    assert check(content) == ""


def test_anchors_and_merges_are_read() -> None:
    document = parse_yaml(
        b"detector: &d {window: 20s, lateness: 1s}\nother: {<<: *d, window: 30s}\n", "x.yaml"
    )
    assert document["other"] == {"window": "30s", "lateness": "1s"}


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"log:\n  level: \xff\n", "x.yaml:2:10: not UTF-8"),
        (b"log:\n  level: \x07\n", "x.yaml:2:10: special characters are not allowed"),
        (b"? [a]\n: b\n", "x.yaml:1:3: while constructing a mapping, found unhashable key"),
        (b"log: *nowhere\n", "x.yaml:1:6: found undefined alias 'nowhere'"),
        (b"a: " + b"[" * 5000, "x.yaml: lists or mappings are nested too deep"),
        (b"a: &a [*a]\n", "a: unknown key; did you mean state?"),
        (b"a: &a {a: *a}\n", "a: unknown key; did you mean state?"),
        (b"log: &a {level: *a}\n", "log.level: got a mapping; want debug, info, warning or error"),
        (b"1: 2\n", "1: unknown key; did you mean state?"),
        (b'"a\\e[31m\\n": 2\n', "a\\x1b[31m\\n: unknown key; did you mean state?"),
        (
            b'risk: {name: "\\e[31m\\n\\u202e"}\n',
            'risk.name: got "\\u001b[31m\\n\\u202e"; want text of 1 to 128 characters on one line',
        ),
        (
            b"detector: {match: [[name]]}\n",
            'detector.match: got a list; want a list (not empty), each name or path (["name"] is not)',
        ),
        (
            b"detector: {cluster_name: %s}\n" % (b"x" * 200),
            f'detector.cluster_name: got "{"x" * 80}..."; want text of 1 to 128 characters on one line',
        ),
        (
            b"log: {level: 2026-01-02}\n",
            "log.level: got 2026-01-02; want debug, info, warning or error",
        ),
        (b'state: {path: "a\\0b"}\n', 'state.path: got "a\\u0000b"; want a path'),
        (b"state: {path: 1}\n", "state.path: got 1; want a path"),
    ],
)
def test_hostile_documents_get_one_printable_line(content: bytes, told: str) -> None:
    assert check(content) == told


def test_a_few_lines_that_stand_for_more_than_memory_holds_are_only_named() -> None:
    layers = "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 12))
    told = check(f"a0: &a0 [x]\n{layers}detector: {{match: *a11}}\n")
    assert "detector.match: got a list; want a list (not empty), each name or path (a list is not)" in told


@given(st.binary(max_size=200) | st.text(alphabet="ab:-[]{}&*!|>'\"\n #,?%@0", max_size=80).map(str.encode))
def test_no_document_raises_anything_but_a_configuration_error(content: bytes) -> None:
    assert all(line.isprintable() for line in check(content).split("\n"))


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as raised:
        load(tmp_path / "no.yaml", {})
    path = tmp_path / "no.yaml"
    assert raised.value.mistakes == (
        f'--config: got "{path}"; want a readable file (No such file or directory)',
    )


def test_a_file_that_is_far_too_large_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = Path("large.yaml")
    path.write_bytes(b"#" * ((1 << 20) + 1))
    with pytest.raises(ConfigurationError) as raised:
        load(path, {})
    assert raised.value.mistakes == (f'--config: got "{path}"; want a file of at most 1MiB',)


def test_every_default_is_a_value_that_its_key_takes() -> None:
    for key in KEYS.values():
        if key.default != DEPENDS:
            assert key.kind.read(key.default) == key.default, key.name
    assert build(plain(Settings()), {}) == Settings()  # type: ignore[arg-type]


def test_every_key_says_what_it_means() -> None:
    assert [key.name for key in KEYS.values() if not key.meaning.endswith(".")] == []


def test_the_defaults_are_those_of_the_contract() -> None:
    settings = Settings()
    assert settings.receiver.endpoint == Endpoint("127.0.0.1", 4317)
    assert settings.receiver.max_request_size == Size(16 * 2**20)
    assert settings.receiver.max_in_flight == Size(64 * 2**20)
    assert settings.http.endpoint == Endpoint("127.0.0.1", 9464)
    assert settings.detector.executables == ("sh", "bash", "csh", "tcsh")
    assert settings.detector.window == Duration(10_000_000_000)
    assert settings.exporter.hec.max_batch_size == Size(1_000_000)
    assert settings.source == "Threat - OTel Shell Detector - Kubernetes Shell Running on Worker Node - Rule"


def test_a_configured_source_stands_for_itself() -> None:
    assert build({"exporter": {"hec": {"source": "shells"}}}, {}).source == "shells"


def test_settings_do_not_change() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Settings().log.level = "debug"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("variables", "directory"),
    [
        ({"XDG_STATE_HOME": "/state", "HOME": "/home/me"}, "/state/otel-shell-detector"),
        ({"XDG_STATE_HOME": "relative", "HOME": "/home/me"}, "/home/me/.local/state/otel-shell-detector"),
        ({"XDG_STATE_HOME": "", "HOME": "/home/me"}, "/home/me/.local/state/otel-shell-detector"),
        ({"XDG_STATE_HOME": "", "HOME": "nowhere"}, "/var/lib/otel-shell-detector"),
    ],
)
def test_state_is_kept_where_a_users_programs_keep_theirs(
    variables: dict[str, str], directory: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert Settings().state.path == state_directory() == Path(directory)


def concerns(**sections: object) -> list[str]:
    return [concern.name for concern in checks.concerns(Settings.model_validate(sections))]


ANYWHERE = Endpoint("0.0.0.0", 4317)
TLS = ReceiverTlsSettings(cert_file=Path("/c"), key_file=Path("/k"))


@pytest.mark.parametrize(
    ("sections", "names"),
    [
        ({}, []),
        ({"receiver": ReceiverSettings(endpoint=ANYWHERE)}, ["receiver_open"]),
        (
            {"receiver": ReceiverSettings(endpoint=ANYWHERE, bearer_token_file=Path("/t"))},
            ["receiver_token_in_clear"],
        ),
        ({"receiver": ReceiverSettings(endpoint=ANYWHERE, tls=TLS)}, []),
        ({"exporter": {"hec": {"url": "http://splunk:8088"}}}, []),
        ({"exporter": {"sink": "hec", "hec": {"url": "http://splunk:8088"}}}, ["hec_token_in_clear"]),
        ({"exporter": {"sink": "hec", "hec": {"url": "https://splunk:8088"}}}, []),
        ({"exporter": {"sink": "hec", "hec": {"tls": {"insecure_skip_verify": True}}}}, ["hec_not_verified"]),
        ({"exporter": {"otlp": {"endpoint": "http://collector:4317"}}}, []),
        ({"exporter": {"sink": "otlp", "otlp": {"endpoint": "http://collector:4317"}}}, ["otlp_in_clear"]),
        ({"exporter": {"sink": "otlp", "otlp": {"endpoint": "http://localhost"}}}, []),
        ({"exporter": {"sink": "otlp", "otlp": {"endpoint": "http://[::1]:4317"}}}, []),
        ({"exporter": {"sink": "otlp", "otlp": {"endpoint": "https://collector:4317"}}}, []),
        ({"detector": DetectorSettings(executables=("a" * 15, "b" * 16))}, ["executable_too_long"]),
        ({"detector": DetectorSettings(executables=("b" * 16,), match=("name", "path"))}, []),
        ({"risk": {"max_per_object": "60/h"}}, []),
        ({"risk": {"max_per_object": "59/h"}}, ["cap_below_score"]),
        ({"risk": {"max_per_object": "25/h", "profile": "seed"}}, []),
        ({"risk": {"max_per_object": "25/h", "profile": "seed", "score": 26}}, ["cap_below_score"]),
    ],
)
def test_what_works_but_is_unwise_is_told(sections: dict[str, object], names: list[str]) -> None:
    assert concerns(**sections) == names


@pytest.mark.parametrize(
    ("more", "what"), [({}, "events are"), ({"token_file": "/t"}, "events and the token are")]
)
def test_what_goes_to_a_collector_in_clear_is_told(more: dict[str, str], what: str) -> None:
    otlp = {"endpoint": "http://collector:4317", **more}
    [concern] = checks.concerns(Settings.model_validate({"exporter": {"sink": "otlp", "otlp": otlp}}))
    assert concern.text == (
        f"exporter.otlp.endpoint: http://collector:4317 is not https: {what} sent unencrypted"
    )


def test_a_cap_below_a_score_names_what_would_never_score() -> None:
    [concern] = checks.concerns(Settings.model_validate({"risk": {"max_per_object": "30/h"}}))
    assert concern.text == (
        "risk.max_per_object: 30/1h is less than the 60 of escape_hint in the profile balanced: "
        "such a shell never scores"
    )


def test_concerns_move_a_metric(logging_restored: None) -> None:
    checks.report(Settings.model_validate({"receiver": {"endpoint": "0.0.0.0:4317"}}))
    assert (
        metrics.REGISTRY.get_sample_value(
            "otel_shell_detector_configuration_concerns", {"concern": "receiver_open"}
        )
        == 1
    )


def test_check_config_shows_what_a_configuration_comes_to(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], no_variables: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = tmp_path / "token"
    token.write_text("0000-secret-1111\n")
    path = tmp_path / "c.yaml"
    path.write_text(
        "receiver: {endpoint: '0.0.0.0:4317'}\n"
        f"exporter: {{sink: hec, hec: {{url: 'http://splunk:8088/', token_file: {token}}}}}\n"
    )
    monkeypatch.setenv("OTEL_SHELL_DETECTOR_DETECTOR__WINDOW", "60s")
    assert main(["check-config", "--config", str(path)]) == 0
    shown = capsys.readouterr()
    assert shown.err.splitlines() == [
        (
            "warning: receiver.endpoint: 0.0.0.0:4317 is reachable from other machines with neither TLS nor a token: "
            "whoever reaches it can send samples"
        ),
        "warning: exporter.hec.url: http://splunk:8088 is not https: the token is sent unencrypted",
    ]
    ok, _, document = shown.out.partition("\n")
    effective = yaml.safe_load(document)
    assert ok == "ok"
    assert effective["exporter"]["hec"]["url"] == "http://splunk:8088"
    assert effective["exporter"]["hec"]["token_file"] == str(token)
    assert effective["detector"]["window"] == "1m"
    assert "secret" not in shown.out + shown.err
    # What is shown is a configuration again, and the same one.
    assert plain(build(effective, {})) == effective
