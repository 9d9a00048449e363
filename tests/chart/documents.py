"""The commands and the files of a document, and how they are run."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from tests.chart.helm import helm_binary
from tests.e2e.processes import ROOT, peer

if TYPE_CHECKING:
    from pathlib import Path

    from tests.chart.cluster import Cluster

_BLOCK: Final = re.compile(r"^```(sh|yaml)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_NAME: Final = re.compile(r"# ([a-z0-9]+\.yaml)\n.*", re.DOTALL)
_ELSEWHERE: Final = frozenset({"docker", "kind", "oc", "curl"})
"""Programs that are not here, or that would need one that is not."""
_OF_A_KUBELET: Final = frozenset({"rollout", "exec", "port-forward"})
"""Commands to what runs in a pod; here none does."""


def blocks(document: str) -> list[tuple[str, str]]:
    """The kind, ``sh`` or ``yaml``, and the text of each block, in order."""
    return _BLOCK.findall((ROOT / document).read_text(encoding="utf-8"))


def files(document: str) -> dict[str, str]:
    """The YAML of a document by the name that stands in its first line."""
    found = {}
    for kind, text in blocks(document):
        if kind == "yaml":
            named = _NAME.fullmatch(text)
            assert named, f"{document}: a file without a name in its first line: {text}"
            found[named[1]] = text
    return found


def commands(document: str) -> list[str]:
    """Each command on one line."""
    texts = [text for kind, text in blocks(document) if kind == "sh"]
    return [line for text in texts for line in text.replace("\\\n", " ").splitlines()]


def runs_here(command: str) -> bool:
    """Whether it is for the API server, and nothing else."""
    words = shlex.split(command)
    return words[0] not in _ELSEWHERE and not _OF_A_KUBELET & set(words)


@dataclass
class Reader:
    """Somebody at a shell, with kubectl and helm. ``done`` is what was run, by document."""

    cluster: Cluster
    folder: Path
    done: dict[str, list[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        binaries = self.folder / "bin"
        binaries.mkdir()
        for name, path in (("kubectl", peer("kubectl")), ("helm", helm_binary())):
            (binaries / name).symlink_to(path)
        (self.folder / "deploy").symlink_to(ROOT / "deploy")
        (self.folder / "hec-token.txt").write_text("00000000-0000-0000-0000-000000000000")
        self._environment = os.environ | {
            "PATH": f"{binaries}:{os.environ['PATH']}",
            "KUBECONFIG": str(self.cluster.kubeconfig),
        }

    def follow(self, document: str) -> None:
        """Write its files, run its commands in their order; each must succeed, without a word of warning."""
        for name, text in files(document).items():
            (self.folder / name).write_text(text)
        self.done[document] = [each for each in commands(document) if runs_here(each)]
        for command in self.done[document]:
            self.run(command)

    def run(self, command: str) -> str:
        """What a command says."""
        ended = subprocess.run(
            ["sh", "-c", command], cwd=self.folder, env=self._environment,
            capture_output=True, text=True, check=False, timeout=120,
        )  # fmt: skip
        assert (ended.returncode, ended.stderr) == (0, ""), f"{command}\n{ended.stderr}"
        return ended.stdout


def headings(document: Path) -> set[str]:
    """What a link to a part of a document ends with, for each part."""
    lines = re.findall(r"^#+ (.*)$", document.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", line.lower()).replace(" ", "-") for line in lines}
