"""Every key as an environment variable, and the variables that are none of ours."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from otel_shell_detector.cli import main
from otel_shell_detector.configuration import Settings
from otel_shell_detector.keys import KEYS, Key
from otel_shell_detector.sources import ConfigurationError, build

if TYPE_CHECKING:
    from pathlib import Path

PREFIX = "OTEL_SHELL_DETECTOR_"

# What Kubernetes gives a pod for a Service of our name with two named ports.
SERVICE_LINKS = {
    "OTEL_SHELL_DETECTOR_SERVICE_HOST": "10.96.0.17",
    "OTEL_SHELL_DETECTOR_SERVICE_PORT": "4317",
    "OTEL_SHELL_DETECTOR_SERVICE_PORT_OTLP_GRPC": "4317",
    "OTEL_SHELL_DETECTOR_SERVICE_PORT_METRICS": "9464",
    "OTEL_SHELL_DETECTOR_PORT": "tcp://10.96.0.17:4317",
    "OTEL_SHELL_DETECTOR_PORT_4317_TCP": "tcp://10.96.0.17:4317",
    "OTEL_SHELL_DETECTOR_PORT_4317_TCP_PROTO": "tcp",
    "OTEL_SHELL_DETECTOR_PORT_4317_TCP_PORT": "4317",
    "OTEL_SHELL_DETECTOR_PORT_4317_TCP_ADDR": "10.96.0.17",
}

# For each key another value than its default, as a variable spells it, that stands on its own.
ANOTHER = {
    "receiver.endpoint": "[::1]:1",
    "receiver.max_request_size": "1MiB",
    "receiver.max_in_flight": "128MiB",
    "receiver.max_resources": "7",
    "receiver.workers": "8",
    "receiver.receive_timeout": "250ms",
    "receiver.require_auth": "true",
    "receiver.tls.cert_file": "/FILE",
    "receiver.tls.key_file": "/FILE",
    "receiver.tls.client_ca_file": "/FILE",
    "receiver.bearer_token_file": "/FILE",
    "http.endpoint": "localhost:0",
    "detector.executables": "zsh,fish",
    "detector.match": "name,path",
    "detector.window": "20s",
    "detector.lateness": "0s",
    "detector.renotify": "2h",
    "detector.replay_horizon": "2h",
    "detector.emit": "early",
    "detector.cluster_name": "prod-1",
    "detector.max_tracked_shells": "10",
    "detector.max_nodes": "11",
    "risk.name": "Shell",
    "risk.profile": "seed",
    "risk.score": "1",
    "risk.impact": "2",
    "risk.confidence": "3",
    "risk.message": "a shell, on $host$",
    "risk.host_field": "k8s.node.name",
    "risk.pod_object": "node",
    "risk.preexisting": "summary",
    "risk.baseline": "5m",
    "risk.max_per_object": "75/h",
    "risk.cpu_rule": "true",
    "risk.burst.after": "0",
    "risk.burst.period": "2h",
    "exporter.sink": "file",
    "exporter.file.path": "/events",
    "exporter.hec.url": "https://splunk:8088",
    "exporter.hec.token_file": "/FILE",
    "exporter.hec.index": "r",
    "exporter.hec.context_index": "c",
    "exporter.hec.audit_index": "a",
    "exporter.hec.staged": "true",
    "exporter.hec.source": "s",
    "exporter.hec.sourcetype": "t",
    "exporter.hec.ack": "TRUE",
    "exporter.hec.ack_timeout": "150s",
    "exporter.hec.proxy_url": "http://proxy:3128",
    "exporter.hec.tls.ca_file": "/FILE",
    "exporter.hec.tls.insecure_skip_verify": "True",
    "exporter.hec.timeout": "3s",
    "exporter.hec.max_batch_size": "512KiB",
    "exporter.hec.gzip": "false",
    "exporter.otlp.endpoint": "https://collector:4317",
    "exporter.otlp.token_file": "/FILE",
    "exporter.otlp.tls.ca_file": "/FILE",
    "exporter.otlp.tls.cert_file": "/FILE",
    "exporter.otlp.tls.key_file": "/FILE",
    "exporter.otlp.timeout": "3s",
    "exporter.otlp.gzip": "false",
    "exporter.otlp.fields": "attributes",
    "exporter.redact": "secret=.*,hunter.",
    "policy.path": "/policies",
    "state.path": "/state",
    "state.ephemeral": "true",
    "state.max_size": "2GiB",
    "log.level": "error",
    "log.format": "console",
}
# What a key needs beside it.
WITH = {
    "receiver.require_auth": {"receiver.bearer_token_file": "/FILE"},
    "receiver.tls.cert_file": {"receiver.tls.key_file": "/FILE"},
    "receiver.tls.key_file": {"receiver.tls.cert_file": "/FILE"},
    "receiver.tls.client_ca_file": {"receiver.tls.cert_file": "/FILE", "receiver.tls.key_file": "/FILE"},
    "exporter.hec.staged": {"exporter.hec.index": "otel_shell"},
    "exporter.sink": {"exporter.file.path": "/events"},
}


def value_of(settings: Settings, key: Key) -> object:
    value: object = settings
    for name in key.path:
        value = getattr(value, name)
    return value


@pytest.mark.parametrize("name", KEYS)
def test_every_key_is_set_by_its_variable(name: str, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("x")
    texts = {name: ANOTHER[name]} | WITH.get(name, {})
    variables = {KEYS[each].variable: text.replace("/FILE", str(file)) for each, text in texts.items()}
    settings = build({}, variables)
    default = Settings()
    assert value_of(settings, KEYS[name]) != value_of(default, KEYS[name])
    touched = {each for each, key in KEYS.items() if value_of(settings, key) != value_of(default, key)}
    assert touched == set(texts)


def test_lists_are_separated_by_commas_or_written_as_json() -> None:
    def executables(text: str) -> tuple[str, ...]:
        return build({}, {PREFIX + "DETECTOR__EXECUTABLES": text}).detector.executables

    assert executables("sh") == ("sh",)
    assert executables(" sh , bash ") == ("sh", "bash")
    assert executables('["sh", "a,b"]') == ("sh", "a,b")
    assert build({}, {PREFIX + "EXPORTER__REDACT": ""}).exporter.redact == ()


def test_the_environment_wins_over_the_file_and_the_file_over_the_defaults() -> None:
    document = {"detector": {"window": "20s", "lateness": "7s"}}
    detector = build(document, {PREFIX + "DETECTOR__WINDOW": "30s"}).detector
    assert (str(detector.window), str(detector.lateness), str(detector.renotify)) == ("30s", "7s", "1h")


def test_a_variable_fills_a_section_that_the_file_leaves_empty() -> None:
    assert (
        str(
            build({"exporter": {"hec": None}}, {PREFIX + "EXPORTER__HEC__TIMEOUT": "1s"}).exporter.hec.timeout
        )
        == "1s"
    )


def test_service_links_do_not_disturb() -> None:
    assert build({}, SERVICE_LINKS) == build({}, {}) == Settings()


def test_variables_of_others_do_not_disturb() -> None:
    assert build({}, {"PATH": "/bin", "X__Y": "1", "OTEL_SHELL_DETECTORX__Y": "1"}) == Settings()


@pytest.mark.parametrize(
    ("variables", "told"),
    [
        (
            {"RECEIVER__ENDPONT": "x"},
            "RECEIVER__ENDPONT: unknown key; did you mean OTEL_SHELL_DETECTOR_RECEIVER__ENDPOINT?",
        ),
        (
            {"DETCTOR__WINDOW": "x"},
            "DETCTOR__WINDOW: unknown key; did you mean OTEL_SHELL_DETECTOR_DETECTOR__WINDOW?",
        ),
        (
            {"receiver__endpoint": "x"},
            "receiver__endpoint: unknown key; did you mean OTEL_SHELL_DETECTOR_RECEIVER__ENDPOINT?",
        ),
        ({"RECEIVER__TLS": "{}"}, "RECEIVER__TLS: is a section; want a variable of one of its keys"),
        ({"RECEIVER__": "x"}, "RECEIVER__: unknown key; did you mean OTEL_SHELL_DETECTOR_RECEIVER__TLS?"),
        ({"__": "x"}, "__: unknown key; did you mean OTEL_SHELL_DETECTOR_RISK__NAME?"),
        (
            {"EXPORTER__HEC__TOKEN": "hunter2"},
            (
                "EXPORTER__HEC__TOKEN: unknown key; want OTEL_SHELL_DETECTOR_EXPORTER__HEC__TOKEN_FILE, "
                "the path of a file that holds it"
            ),
        ),
        ({"RECEIVER__WORKERS": "many"}, 'RECEIVER__WORKERS: got "many"; want a whole number from 1 to 4096'),
        ({"RECEIVER__WORKERS": ""}, 'RECEIVER__WORKERS: got ""; want a whole number from 1 to 4096'),
        ({"RECEIVER__WORKERS": "1e2"}, 'RECEIVER__WORKERS: got "1e2"; want a whole number from 1 to 4096'),
        ({"RECEIVER__WORKERS": "0"}, 'RECEIVER__WORKERS: got "0"; want a whole number from 1 to 4096'),
        ({"EXPORTER__HEC__ACK": "yes"}, 'EXPORTER__HEC__ACK: got "yes"; want true or false'),
        (
            {"DETECTOR__WINDOW": "10"},
            'DETECTOR__WINDOW: got "10"; want a duration such as 250ms, 10s, 5m or 1h, from 1s to 1h',
        ),
        (
            {"DETECTOR__EXECUTABLES": ""},
            'DETECTOR__EXECUTABLES: got ""; want a list (not empty), each a name of 1 to 255 bytes without /',
        ),
        (
            {"DETECTOR__EXECUTABLES": "sh,,bash"},
            (
                'DETECTOR__EXECUTABLES: got "sh,,bash"; want a list (not empty), each a name of 1 to 255 bytes without / '
                '("" is not)'
            ),
        ),
        (
            {"EXPORTER__REDACT": "[a-z]+"},
            'EXPORTER__REDACT: got "[a-z]+"; want a list, each a regular expression (what begins with [ is read as JSON)',
        ),
        (
            {"DETECTOR__WINDOW": "2m", "DETECTOR__RENOTIFY": "1m"},
            "DETECTOR__RENOTIFY: got 1m; want at least detector.window (2m)",
        ),
        (
            {"EXPORTER__SINK": "file"},
            "exporter.file.path: got nothing; want a path, for exporter.sink is file",
        ),
        (
            {"RECEIVER__BEARER_TOKEN_FILE": "hunter2"},
            (
                "RECEIVER__BEARER_TOKEN_FILE: got what is not shown here, for it may be a secret; want a file that can be "
                "read and is not empty (No such file or directory)"
            ),
        ),
        (
            {"EXPORTER__HEC__URL": "https://me:hunter2@splunk"},
            (
                "EXPORTER__HEC__URL: got what is not shown here, for it may be a secret; want a base URL such as "
                "https://splunk:8088, without a path, a user name or a password"
            ),
        ),
    ],
)
def test_each_mistake_names_its_variable(
    variables: dict[str, str],
    told: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    no_variables: None,
) -> None:
    for name, value in (SERVICE_LINKS | {PREFIX + each: value for each, value in variables.items()}).items():
        monkeypatch.setenv(name, value)
    assert main(["check-config"]) == 2
    shown = capsys.readouterr()
    expected = told if told.startswith("exporter.") else PREFIX + told
    assert (shown.out, shown.err) == ("", expected + "\n")
    assert "hunter2" not in shown.err


def test_mistakes_of_file_and_environment_are_told_together() -> None:
    with pytest.raises(ConfigurationError) as raised:
        build(
            {"receiver": 3, "log": {"level": "no"}},
            {PREFIX + "RECEIVER__WORKERS": "8", PREFIX + "HTTP__X": "1"},
        )
    assert raised.value.mistakes == (
        "OTEL_SHELL_DETECTOR_HTTP__X: unknown key; did you mean OTEL_SHELL_DETECTOR_HTTP__ENDPOINT?",
        "receiver: got 3; want a mapping",
        'log.level: got "no"; want debug, info, warning or error',
    )


def test_bytes_that_are_no_text_are_told_on_one_line() -> None:
    with pytest.raises(ConfigurationError) as raised:
        build({}, {PREFIX + "RISK__NAME": "a\udcff\n"})
    assert raised.value.mistakes == (
        'OTEL_SHELL_DETECTOR_RISK__NAME: got "a\\udcff\\n"; want text of 1 to 128 characters on one line',
    )


def test_json_that_is_no_list_of_texts_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="want a list"):
        build({}, {PREFIX + "EXPORTER__REDACT": json.dumps([["x"]])})
