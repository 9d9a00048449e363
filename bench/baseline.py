"""What counts are compared with: those that are kept, or the commit that wrote them, counted here.

Counts depend on the :func:`environment`. The kept ones are of use in the environment that they were counted
in. In any other one the commit that changed them last is counted too, with the interpreter and the packages
at hand: it is where they were said to be as they should.
"""

from __future__ import annotations

import contextlib
import platform
import subprocess
import sysconfig
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bench import callgrind
from bench.callgrind import CannotCountError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

RESULTS: Final = Path("bench/results/counts.json")
_OPTIMISED_BY: Final = ("--enable-optimizations", "--with-lto", "--with-pydebug")


def environment() -> dict[str, str]:
    """What the counts depend on beside the code and the locked packages.

    Valgrind imitates one processor for all that have AVX2, and one for all that have not.
    """
    arguments = str(sysconfig.get_config_var("CONFIG_ARGS"))
    options = [option for option in _OPTIMISED_BY if option in arguments]
    flags = Path("/proc/cpuinfo").read_text(encoding="utf-8").split()
    return {
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "built by": " ".join((platform.python_compiler(), str(sysconfig.get_config_var("OPT")), *options)),
        "libc": " ".join(platform.libc_ver()),
        "valgrind": callgrind.version(),
        "processor": platform.machine() + (" with AVX2" if "avx2" in flags else ""),
    }


def differences(kept: Mapping[str, str], here: Mapping[str, str]) -> list[str]:
    """What is not as it was when the baseline was counted, in words."""
    return [f"{what} {here[what]}, not {kept.get(what)}" for what in here if here[what] != kept.get(what)]


@contextlib.contextmanager
def writer(root: Path) -> Iterator[tuple[str, Path]]:
    """The commit that changed the baseline last, and a checkout of it. Raises :class:`CannotCountError`."""
    if _git(root, "rev-parse", "--is-shallow-repository") != "false":
        raise CannotCountError(
            "the history is cut: want the commit that wrote the baseline: git fetch --unshallow"
        )
    commit = _git(root, "log", "-1", "--format=%H", "--", str(RESULTS))
    if not commit:
        raise CannotCountError(f"{RESULTS} was never committed: want a baseline: make bench-check WRITE=1")
    with tempfile.TemporaryDirectory() as name:
        archive, checkout = Path(name) / "archive.tar", Path(name) / "checkout"
        checkout.mkdir()
        _git(root, "archive", f"--output={archive}", commit)
        _run(["tar", "-xf", str(archive), "-C", str(checkout)])
        yield commit, checkout


def _git(root: Path, *arguments: str) -> str:
    return _run(["git", "-C", str(root), *arguments])


def _run(command: list[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        raise CannotCountError(f"{command[0]}: {error}") from error
    if done.returncode:
        raise CannotCountError(f"{' '.join(command)}: {done.stderr.strip()}")
    return done.stdout.strip()
