"""The shells of one node that are in memory: candidates and open sessions, and which of them are absent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from detector.rules import START_TOLERANCE_NS
from detector.sessions import Shell, State

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from detector.budget import Budget
    from detector.rules import Rules
    from detector.types import NodeId, ShellId


class Shells:
    """By identity. All nodes share one budget."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._by_id: dict[ShellId, Shell] = {}
        self._absent: dict[Shell, int] = {}
        """Since when (service time) an open session's shell is absent, in that order."""

    def __len__(self) -> int:
        return len(self._by_id)

    def __iter__(self) -> Iterator[Shell]:
        return iter(self._by_id.values())

    def get(self, shell_id: ShellId) -> Shell | None:
        """The shell of an identity."""
        return self._by_id.get(shell_id)

    def has(self, shell: Shell) -> bool:
        """Whether that very incarnation is here."""
        return self._by_id.get(shell.id) is shell

    def add(self, shell: Shell) -> bool:
        """Track a shell; whether there was room for it."""
        if self._budget.exhausted():
            return False
        self._by_id[shell.id] = shell
        self._budget.used += 1
        return True

    def drop(self, shell: Shell) -> None:
        """Track it no longer."""
        if self.has(shell):
            del self._by_id[shell.id]
            self._absent.pop(shell, None)
            self._budget.used -= 1

    def absences(self) -> Iterable[tuple[Shell, int]]:
        """Absent shells and since when, in that order."""
        return self._absent.items()

    def mark(self, touched: Iterable[Shell], oldest: int, window_ns: int, now_ns: int) -> None:
        """Of these shells, those without a sign of life from bin ``oldest`` on are absent."""
        for shell in touched:
            if shell.state is State.CLOSED or shell.sign_ns // window_ns >= oldest:
                self._absent.pop(shell, None)
            elif self.has(shell):
                self._absent.setdefault(shell, now_ns)

    def restart(self, newest: int, rules: Rules) -> int:
        """Let those whose node's clock went back to bin ``newest`` start there; how many they are."""
        back = [shell for shell in self if shell.went_back(newest, rules)]
        for shell in back:
            shell.restart_at(newest, rules)
        return len(back)

    def superseded(self, pids: Collection[int]) -> list[Shell]:
        """A pid has one process at a time: of two sessions with starts apart the earlier one is over."""
        latest_ns: dict[int, int] = {}
        of_pids = [
            shell for shell in self if shell.id.start_ns and shell.id.pid in pids and shell.total.windows
        ]
        for shell in of_pids:
            latest_ns[shell.id.pid] = max(shell.id.start_ns, latest_ns.get(shell.id.pid, 0))
        return [
            shell for shell in of_pids if latest_ns[shell.id.pid] - shell.id.start_ns > START_TOLERANCE_NS
        ]

    def dump(self) -> dict[str, Any]:
        """Shells and absences as JSON has them, for a checkpoint; a shell is named by its place."""
        numbers = self.numbers()
        return {
            "shells": [shell.dump() for shell in self],
            "absent": [[numbers[shell], since_ns] for shell, since_ns in self._absent.items()],
        }

    def numbers(self) -> dict[Shell, int]:
        """The place of each shell in what :meth:`dump` gives."""
        return {shell: number for number, shell in enumerate(self)}

    def load(self, node: NodeId, dumped: dict[str, Any]) -> list[Shell]:
        """Take what :meth:`dump` gave; return the shells by their places."""
        shells = [Shell.load(node, each) for each in dumped["shells"]]
        self._absent = {shells[number]: since_ns for number, since_ns in dumped["absent"]}
        self._by_id = {shell.id: shell for shell in shells}
        self._budget.used += len(self._by_id)
        return shells
