"""Policies that follow their files while the service runs.

Each second the files are looked at: their names, and what ``stat`` tells of what they lead to. If that is
another than before they are read; if they cannot be used, the policies of before stay in force, however
long it takes. So a mistake makes no noise and silences nothing.

A ConfigMap that is mounted as a directory changes at one instant, by a symbolic link (``..data``) to another
directory; files that are copied one by one do not. What was looked at is compared before and after reading:
if something changed meanwhile, the next look decides.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final

from detector.policy import Action, Policy
from otel_shell_detector.logs import described
from otel_shell_detector.policies.file import Loaded, PolicyError, Result, files, load
from telemetry import events, metrics

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from detector.policy import Rule

LOOK_EVERY_S: Final = 1.0
_TOLD_MISTAKES: Final = 5
"""In a log line; ``check-config`` tells all."""

_Look = tuple[tuple[str, ...], ...]


class PolicyWatcher:
    """Keeps policies as their files say.

    ``clock`` gives wall time in nanoseconds. ``first_seen`` is what the last :class:`Loaded` held, of this
    process or one before it. ``on_change`` is called with what is in force when files were loaded and when a
    rule came past its end, on the thread that calls :meth:`tick`; if it raises, the next look calls it again.
    """

    def __init__(
        self,
        path: Path,
        clock: Callable[[], int],
        first_seen: Mapping[str, int],
        on_change: Callable[[Loaded], None],
    ) -> None:
        self._path = path
        self._clock = clock
        self._on_change = on_change
        self._in_force = Loaded(Policy(), first_seen)
        self._seen: _Look | None = None
        self._changed = False
        self._told_expired: frozenset[Rule] = frozenset()
        self._asked_to_stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="policies", daemon=True)

    def start(self) -> None:
        """Load the policies, if they can be used, and look at their files from now on."""
        self.tick()
        self._thread.start()

    def stop(self) -> None:
        """Look no more; returns when nothing is called any more. May be called without a start."""
        self._asked_to_stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def tick(self) -> None:
        """Look once; load what changed."""
        seen = _look(self._path)
        if seen != self._seen:
            self._load(seen)
        self._tell_expired()
        if self._changed:
            self._on_change(self._in_force)
            self._changed = False

    def _run(self) -> None:
        while not self._asked_to_stop.wait(LOOK_EVERY_S):
            try:
                self.tick()
            except Exception as error:  # noqa: BLE001  # policies that stay as they are must not end the service
                events.POLICY_WATCH_FAILED(**described(error))

    def _load(self, seen: _Look) -> None:
        try:
            loaded = load(self._path, self._clock(), self._in_force.first_seen)
        except PolicyError as error:
            if _look(self._path) == seen:
                self._seen = seen
                self._keep(error)
            return
        if _look(self._path) != seen:
            return
        self._seen = seen
        self._in_force = loaded
        self._changed = True
        rules = loaded.policy.rules
        for action in Action:
            metrics.POLICY_RULES.labels(action).set(sum(rule.action is action for rule in rules))
        metrics.POLICY_LOADS.labels(Result.LOADED).inc()
        metrics.POLICY_FILES_REFUSED.set(0)
        events.POLICY_LOADED(path=str(self._path), rules=len(rules))

    def _keep(self, error: PolicyError) -> None:
        metrics.POLICY_LOADS.labels(error.result).inc()
        metrics.POLICY_FILES_REFUSED.set(1)
        events.POLICY_KEPT(
            path=str(self._path),
            result=error.result,
            mistakes=error.mistakes[:_TOLD_MISTAKES],
            more=max(0, len(error.mistakes) - _TOLD_MISTAKES),
            rules=len(self._in_force.policy.rules),
        )

    def _tell_expired(self) -> None:
        expired = frozenset(self._in_force.policy.expired(self._clock()))
        new = expired - self._told_expired
        for rule in sorted(new, key=lambda rule: rule.id):
            events.POLICY_RULE_EXPIRED(id=rule.id, owner=rule.owner, reason=rule.reason)
        self._told_expired = expired
        self._changed = self._changed or bool(new)
        metrics.POLICY_RULES_EXPIRED.set(len(expired))


def _look(path: Path) -> _Look:
    """What can be seen of policies without reading them; equal as long as nothing changed."""
    try:
        found = files(path)
    except PolicyError as error:
        return (error.mistakes,)
    return tuple(_identity(each) for each in found)


def _identity(path: Path) -> tuple[str, ...]:
    try:
        stat = path.stat()
        numbers = (stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)
        return (str(path), *map(str, numbers))
    except OSError as error:
        return (str(path), str(error.strerror))
