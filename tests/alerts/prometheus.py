"""A real Prometheus on a loopback port."""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.parse
import urllib.request
from typing import TYPE_CHECKING, Any, Final

import yaml

from tests.chart.cluster import program
from tests.e2e.processes import free_port, until

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tests.e2e.processes import Started

_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_DURATION: Final = re.compile(r"(?<=\[)(\d+)([smhd])(?=\])|(?<=offset )(\d+)([smhd])")


def hastened(groups: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rules in which a minute is a second: how long something must hold, and how far they look back."""
    return [{**group, "rules": [_hastened(rule) for rule in group["rules"]]} for group in groups]


def _hastened(rule: dict[str, Any]) -> dict[str, Any]:
    lasting = re.fullmatch(r"(\d+)([smhd])", rule.get("for", "0s"))
    assert lasting, rule
    return rule | {"expr": _DURATION.sub(_minute_to_second, rule["expr"]), "for": _minute_to_second(lasting)}


def _minute_to_second(found: re.Match[str]) -> str:
    number, unit = (each for each in found.groups() if each is not None)
    return f"{int(number) * _SECONDS[unit] // 60}s"


class Prometheus:
    """Scrapes one address once a second, as each of these targets, and evaluates rules as often."""

    def __init__(
        self,
        started: Started,
        address: str,
        targets: Sequence[Mapping[str, str]],
        groups: Sequence[dict[str, Any]],
    ) -> None:
        self._port = free_port()
        (started.folder / "rules.yaml").write_text(yaml.safe_dump({"groups": groups}))
        config = {
            "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
            "rule_files": ["rules.yaml"],
            "scrape_configs": [
                {
                    "job_name": labels["job"],
                    "static_configs": [
                        {"targets": [address], "labels": {k: v for k, v in labels.items() if k != "job"}}
                    ],
                }
                for labels in targets
            ],
        }
        path = started.folder / "prometheus.yaml"
        path.write_text(yaml.safe_dump(config))
        command = [
            program("prometheus"),
            f"--config.file={path}",
            f"--storage.tsdb.path={started.folder}/prometheus",
            f"--web.listen-address=127.0.0.1:{self._port}",
            "--log.level=warn",
        ]
        process = started.start("prometheus", command)

        def ready() -> bool:
            assert process.poll() is None, started.log("prometheus")
            return self._ready()

        until("Prometheus is ready", ready, 60)

    def query(self, expression: str) -> list[dict[str, Any]]:
        """What an instant query gives; Prometheus must have nothing against it."""
        found: dict[str, Any] = self._asked("query", query=expression)
        result: list[dict[str, Any]] = found["result"]
        return result

    def values_of(self, label: str, selector: str) -> list[str]:
        """What Grafana's ``label_values(selector, label)`` gives."""
        found: list[str] = self._asked(f"label/{label}/values", **{"match[]": selector})
        return found

    def firing(self, alert: str) -> list[dict[str, str]]:
        """The labels of an alert, each time it fires."""
        found = self._asked("alerts")["alerts"]
        return [
            each["labels"]
            for each in found
            if (each["labels"]["alertname"], each["state"]) == (alert, "firing")
        ]

    def health(self) -> dict[str, str]:
        """``ok``, ``unknown`` before it was evaluated, or what went wrong, by the name of the alert."""
        rules = [rule for group in self._asked("rules")["groups"] for rule in group["rules"]]
        return {rule["name"]: rule.get("lastError", rule["health"]) for rule in rules}

    def _asked(self, what: str, **parameters: str) -> Any:
        try:
            answer = json.loads(self._got(f"/api/v1/{what}?{urllib.parse.urlencode(parameters)}"))
        except urllib.error.HTTPError as refusal:
            with refusal:
                answer = json.loads(refusal.read())
        told = {key: value for key, value in answer.items() if key != "data"}
        assert told == {"status": "success"}, (parameters, told)
        return answer["data"]

    def _ready(self) -> bool:
        try:
            return self._got("/-/ready") != b""
        except OSError:
            return False

    def _got(self, path: str) -> bytes:
        with urllib.request.urlopen(f"http://127.0.0.1:{self._port}{path}", timeout=30) as reply:
            body: bytes = reply.read()
        return body
