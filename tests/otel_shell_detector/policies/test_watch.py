"""Files that change while they are looked at, in the layout in which Kubernetes mounts a ConfigMap."""

from __future__ import annotations

import os
import threading
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from structlog.testing import capture_logs

from otel_shell_detector.policies import watch
from otel_shell_detector.policies.file import load
from otel_shell_detector.policies.watch import PolicyWatcher
from telemetry import metrics
from tests.otel_shell_detector.policies.config_map import ConfigMap
from tests.otel_shell_detector.policies.policies import NOW, NOW_NS, ns, text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from otel_shell_detector.policies.file import Loaded


class Watched:
    """A watcher, what it told, and a clock that stands still."""

    def __init__(self, path: Path, first_seen: Mapping[str, int] | None = None) -> None:
        self.now_ns = NOW_NS
        self.told: list[Loaded] = []
        self.watcher = PolicyWatcher(path, lambda: self.now_ns, first_seen or {}, self.told.append)

    def tick(self) -> list[dict[str, Any]]:
        """Look once; gives what was logged."""
        with capture_logs() as logs:
            self.watcher.tick()
        return [dict(each) for each in logs]

    @property
    def ids(self) -> list[list[str]]:
        """The rules of each time that something was told."""
        return [[rule.id for rule in loaded.policy.rules] for loaded in self.told]


@pytest.fixture
def config_map(tmp_path: Path) -> ConfigMap:
    folder = tmp_path / "policies"
    folder.mkdir()
    return ConfigMap(folder)


@pytest.fixture
def loads() -> Iterator[dict[str, float]]:
    """How often each result came about in a test, once it asks."""
    names = ("loaded", "invalid", "empty", "missing")
    before = {name: metrics.POLICY_LOADS.labels(name)._value.get() for name in names}

    class Loads(dict[str, float]):
        def __missing__(self, name: str) -> float:
            return float(metrics.POLICY_LOADS.labels(name)._value.get() - before[name])

    yield Loads()
    metrics.POLICY_FILES_REFUSED.set(0)


def refused() -> float:
    return float(metrics.POLICY_FILES_REFUSED._value.get())


@pytest.mark.parametrize("whole", [True, False], ids=["directory", "file"])
def test_a_config_map_that_is_swapped_is_followed(config_map: ConfigMap, whole: bool) -> None:
    config_map.write({"a.yaml": text("one")})
    watched = Watched(config_map.folder if whole else config_map.folder / "a.yaml")
    watched.tick()
    watched.tick()
    assert watched.ids == [["one"]]
    config_map.write({"a.yaml": text("two")})
    watched.tick()
    watched.tick()
    assert watched.ids == [["one"], ["two"]]


def test_files_that_come_and_go_are_followed(config_map: ConfigMap) -> None:
    watched = Watched(config_map.folder)
    for files in ({"a.yaml": text("a")}, {"a.yaml": text("a"), "b.yaml": text("b")}, {"b.yaml": text("b")}):
        config_map.write(files)
        watched.tick()
    assert watched.ids == [["a"], ["a", "b"], ["b"]]


def test_a_file_that_is_written_in_place_is_followed(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(text("one"))
    watched = Watched(path)
    watched.tick()
    path.write_text(text("two"))
    os.utime(path, ns=(NOW_NS, NOW_NS))
    watched.tick()
    assert watched.ids == [["one"], ["two"]]


@pytest.mark.parametrize(
    ("broken", "result", "mistake"),
    [
        ({"a.yaml": text("one", owner="TODO")}, "invalid", "/a.yaml:4:12: owner: got"),
        ({"a.yaml": ""}, "empty", "/a.yaml:1:1: got an empty file;"),
        ({}, "empty", ": got a directory without *.yaml or *.yml;"),
    ],
    ids=["broken", "empty", "removed"],
)
def test_what_cannot_be_used_leaves_in_force_what_was_there(
    config_map: ConfigMap, loads: dict[str, float], broken: dict[str, str], result: str, mistake: str
) -> None:
    config_map.write({"a.yaml": text("one")})
    watched = Watched(config_map.folder)
    watched.tick()
    assert (loads["loaded"], refused()) == (1, 0)

    config_map.write(broken)
    [log] = watched.tick()
    assert log.pop("mistakes")[0].startswith(f"{config_map.folder}{mistake}")
    assert log == {
        "event": "policy.kept",
        "log_level": "error",
        "path": str(config_map.folder),
        "result": result,
        "more": 0,
        "rules": 1,
    }
    assert watched.tick() == []  # told once, not each second
    assert (watched.ids, loads[result], refused()) == ([["one"]], 1, 1)

    config_map.write({"a.yaml": text("two", action="suppress")})
    assert [log["event"] for log in watched.tick()] == ["policy.loaded"]
    assert (watched.ids, loads["loaded"], loads[result], refused()) == ([["one"], ["two"]], 2, 1, 0)


def test_a_mount_that_vanishes_leaves_in_force_what_was_there(
    tmp_path: Path, loads: dict[str, float]
) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(text("one"))
    watched = Watched(path)
    watched.tick()
    path.unlink()
    assert [log["result"] for log in watched.tick()] == ["missing"]
    assert watched.tick() == []
    assert (watched.ids, loads["missing"], refused()) == ([["one"]], 1, 1)
    path.write_text(text("one"))
    assert [log["event"] for log in watched.tick()] == ["policy.loaded"]
    assert (watched.ids, refused()) == ([["one"], ["one"]], 0)


def test_a_start_without_files_waits_for_them(config_map: ConfigMap, loads: dict[str, float]) -> None:
    watched = Watched(config_map.folder / "policies")
    assert [(log["event"], log["rules"]) for log in watched.tick()] == [("policy.kept", 0)]
    assert watched.told == []
    (config_map.folder / "policies").mkdir()
    assert [log["result"] for log in watched.tick()] == ["empty"]
    (config_map.folder / "policies" / "a.yml").write_text(text("late"))
    watched.tick()
    assert (watched.ids, loads["missing"], loads["empty"], loads["loaded"]) == ([["late"]], 1, 1, 1)


def test_a_log_line_holds_few_mistakes_and_says_how_many_there_are(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(text(*(f"r{number}" for number in range(8)), owner="TODO"))
    [log] = Watched(path).tick()
    assert (len(log["mistakes"]), log["more"]) == (5, 3)


def test_what_changes_while_it_is_read_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(text("one"))
    watched = Watched(path)
    watched.tick()

    def change_after(content: str) -> None:
        def loading(*arguments: Any) -> Loaded:
            try:
                return load(*arguments)
            finally:
                path.write_text(content)

        monkeypatch.setattr(watch, "load", loading)

    path.write_text(text("half"))
    change_after(text("two", owner="TODO", action="drop"))
    assert watched.tick() == []
    change_after(text("three"))
    assert watched.tick() == []
    monkeypatch.setattr(watch, "load", load)
    assert [log["event"] for log in watched.tick()] == ["policy.loaded"]
    assert watched.ids == [["one"], ["three"]]


def test_the_rules_in_force_are_counted_by_what_they_do(tmp_path: Path) -> None:
    for name, action in (("a", "annotate"), ("b", "suppress"), ("c", "{score: 3}"), ("d", "suppress")):
        (tmp_path / f"{name}.yaml").write_text(text(name, action=action))
    Watched(tmp_path).tick()
    actions = ("suppress", "score", "annotate")
    assert [metrics.POLICY_RULES.labels(action)._value.get() for action in actions] == [2, 1, 1]


def test_a_rule_that_comes_past_its_end_is_told_once(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(
        text("old", expires="2026-02-01") + text("soon", expires="2026-03-01").removeprefix("rules:\n")
    )
    watched = Watched(path)

    def expired(*ids: str) -> list[dict[str, Any]]:
        fields = {
            "event": "policy.rule_expired",
            "log_level": "warning",
            "owner": "ops",
            "reason": "it is known",
        }
        return [fields | {"id": each} for each in ids]

    assert watched.tick()[1:] == expired("old")
    assert (watched.tick(), metrics.POLICY_RULES_EXPIRED._value.get()) == ([], 1)
    watched.now_ns = ns(NOW + timedelta(hours=12))
    assert watched.tick() == expired("soon")
    assert (watched.tick(), metrics.POLICY_RULES_EXPIRED._value.get()) == ([], 2)
    assert watched.ids == [["old", "soon"], ["old", "soon"]]  # once more, for now other rules are in force


def test_a_rule_past_its_end_that_is_taken_out_is_not_counted(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(text("old", expires="2026-02-01"))
    watched = Watched(path)
    watched.tick()
    assert metrics.POLICY_RULES_EXPIRED._value.get() == 1
    path.write_text("rules: []\n")
    watched.tick()
    assert metrics.POLICY_RULES_EXPIRED._value.get() == 0


def test_a_rule_keeps_its_first_day_over_reloads_and_restarts(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(text("a"))
    watched = Watched(path)
    watched.tick()
    first = watched.told[0].first_seen
    assert list(first.values()) == [NOW_NS]
    watched.now_ns = ns(NOW + timedelta(days=7))
    path.write_text(text("a", reason="in other words"))
    watched.tick()
    restarted = Watched(path, first)
    restarted.now_ns = ns(NOW + timedelta(days=9))
    restarted.tick()
    assert [loaded.first_seen for loaded in (watched.told[1], restarted.told[0])] == [first, first]


def test_who_could_not_take_a_change_is_told_again(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(text("a"))
    told: list[Loaded] = []

    def on_change(loaded: Loaded) -> None:
        told.append(loaded)
        if len(told) == 1:
            raise OSError(28, "No space left on device")

    watcher = PolicyWatcher(tmp_path, lambda: NOW_NS, {}, on_change)
    with pytest.raises(OSError, match="No space"):
        watcher.tick()
    watcher.tick()
    watcher.tick()
    assert len(told) == 2


# --- the thread


class Waiting:
    """Takes what is told, and waits for the next."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._told: list[list[str]] = []

    def __call__(self, loaded: Loaded) -> None:
        with self._condition:
            self._told.append([rule.id for rule in loaded.policy.rules])
            self._condition.notify_all()

    def wait(self, ids: list[str]) -> bool:
        """Whether these rules came in force within the five seconds that are promised."""
        with self._condition:
            return self._condition.wait_for(lambda: self._told[-1:] == [ids], timeout=5)


def test_a_running_service_follows_a_config_map_within_five_seconds(config_map: ConfigMap) -> None:
    config_map.write({"a.yaml": text("one")})
    told = Waiting()
    watcher = PolicyWatcher(config_map.folder, lambda: NOW_NS, {}, told)
    watcher.start()
    try:
        assert told.wait(["one"])
        config_map.write({"a.yaml": text("two")})
        assert told.wait(["two"])
    finally:
        watcher.stop()


def test_what_was_not_started_is_stopped_all_the_same(tmp_path: Path) -> None:
    watched = Watched(tmp_path)
    watched.watcher.stop()
    assert watched.told == []


def test_a_failure_of_looking_is_told_and_looking_goes_on(
    config_map: ConfigMap, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "LOOK_EVERY_S", 0.01)
    config_map.write({"a.yaml": text("one")})
    told = Waiting()
    failed = threading.Event()

    def on_change(loaded: Loaded) -> None:
        if loaded.policy.rules[0].id == "two" and not failed.is_set():
            failed.set()
            raise ValueError("a defect")
        told(loaded)

    watcher = PolicyWatcher(config_map.folder, lambda: NOW_NS, {}, on_change)
    with capture_logs() as logs:
        watcher.start()
        try:
            config_map.write({"a.yaml": text("two")})
            assert told.wait(["two"])
        finally:
            watcher.stop()
    [failure] = [log for log in logs if log["event"] == "policy.watch_failed"]
    assert (failure["log_level"], failure["error"]) == ("error", "ValueError")
