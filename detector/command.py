"""How a shell was started, by its command line.

The collector joins the arguments by single blanks and leaves empty ones out: where an argument ends is lost.
What can be read stands in front: the options, up to the first word that is none. That word begins the command
after ``-c`` and is the script without; if there is none, the shell reads its input. So do bash
(``parse_shell_options``), dash (``options``) and their kin; csh and tcsh take the command right behind
``-c``.

``argv[0]`` is what the parent liked to write: options are read by their position, whatever it says. A command
line is garbage only if nothing says shell, neither ``argv[0]`` nor the name nor the path.
"""

from __future__ import annotations

import re
from typing import Final

from detector.context import Invocation, Mode
from detector.template import template_of

RUNS_LIMIT: Final = 256
"""How many characters are kept of what a shell runs."""

_CSH: Final = frozenset({"csh", "tcsh", "bsd-csh"})
_SHELLS: Final = _CSH | {
    "ash",
    "bash",
    "dash",
    "fish",
    "hush",
    "ksh",
    "lksh",
    "mksh",
    "oksh",
    "rbash",
    "rksh",
    "rzsh",
    "sh",
    "yash",
    "zsh",
}
_READS_ON: Final = "dash"
"""With ``-s`` it reads its input when the command after ``-c`` is done; in other shells ``-c`` wins."""
_MULTI_CALL: Final = frozenset({"busybox", "toybox"})
_LOGIN_NAMES: Final = frozenset({"-", "-su"})
"""``argv[0]`` of login shells, beside a shell's name behind a dash."""

_WITH_VALUE: Final = frozenset({"rcfile", "init-file", "emulate"})
"""Long options that take the next word; ``emulate`` is zsh's."""
_LONG: Final = _WITH_VALUE | {
    "debugger",
    "help",
    "login",
    "noediting",
    "noprofile",
    "norc",
    "posix",
    "restricted",
    "verbose",
    "version",
}
"""Long options of bash, which takes them behind one dash too."""
_INPUT: Final = re.compile(
    r"/dev/(?:stdin|fd/0|tty\w*|console|pts/[0-9]+)|/proc/(?:self|thread-self|[0-9]+)/fd/0"
)
"""Scripts that are the shell's input, or a terminal."""


# What options tell a shell: the letters that do, and a mark for those that have none.
_COMMAND: Final = "c"
_STDIN: Final = "s"
_LOGIN: Final = "l"
_TEXT: Final = "?"
"""To print a text about itself and end."""
_WORDS: Final = {"login": _LOGIN, "help": _TEXT, "version": _TEXT}


def read_invocation(command_line: str, name: str, path: str) -> Invocation:
    """Mode, what is run, and template of a shell. Never raises; linear in the length of the command line.

    ``name`` and ``path`` are the attributes ``process.executable.*``. ``-c`` with nothing behind it is still
    ``command``: it reads no input. ``--help`` and ``--version`` are ``unknown``: they run nothing.
    """
    template = template_of(command_line)
    if not template:
        return Invocation()
    argv0, at = _argv0(command_line, name, path)
    shell = next((kind for kind in map(_kind, (path, argv0, name)) if kind in _SHELLS), None)
    if shell is None:
        return Invocation(template=template)
    told, at = (_csh_options if shell in _CSH else _options)(command_line, at)
    if argv0.startswith("-"):
        told.add(_LOGIN)
    if shell == _READS_ON and told >= {_COMMAND, _STDIN}:
        told.remove(_COMMAND)
    mode, runs = _mode(told, command_line[at:].strip())
    return Invocation(mode, runs[:RUNS_LIMIT], template)


def _mode(told: set[str], operands: str) -> tuple[Mode, str]:
    if _COMMAND in told:
        return Mode.COMMAND, operands
    if _TEXT in told:
        return Mode.UNKNOWN, ""
    script = "" if _STDIN in told else operands.partition(" ")[0]
    if script and not _INPUT.fullmatch(script):
        return Mode.SCRIPT, script
    return (Mode.LOGIN if _LOGIN in told else Mode.STDIN), script


def _kind(executable: str) -> str:
    """The name of a program, however it is called: ``-bash``, ``/opt/bash-5.2``, ``/bin/sh (deleted)``."""
    base = executable.removesuffix(" (deleted)").rpartition("/")[2]
    return base.removeprefix("-").rstrip("0123456789.-")


def _argv0(line: str, name: str, path: str) -> tuple[str, int]:
    """(``argv[0]``, where the arguments begin).

    An empty ``argv[0]`` is left out by the collector: then the line begins with an option. Of busybox, the
    name of the applet is ``argv[0]``.
    """
    program = path.removesuffix(" (deleted)")
    if " " in program and f"{line} ".startswith(f"{program} "):
        return program, len(program) + 1
    argv0, at = _word(line, 0)
    if argv0.startswith("-") and not (argv0 in _LOGIN_NAMES or argv0[1:] == name or _kind(argv0) in _SHELLS):
        return "", 0
    if _kind(argv0) in _MULTI_CALL:
        applet, behind = _word(line, at)
        if _kind(applet) in _SHELLS:
            return applet, behind
    return argv0, at


def _word(line: str, at: int) -> tuple[str, int]:
    """The word that begins at a position, and the position behind it."""
    end = line.find(" ", at)
    return (line[at:], len(line)) if end < 0 else (line[at:end], end + 1)


def _options(line: str, at: int) -> tuple[set[str], int]:
    """What the options say, and where they end."""
    told: set[str] = set()
    while at < len(line):
        word, behind = _word(line, at)
        if word in {"-", "--"}:
            return told, behind
        if not word.startswith(("-", "+")):
            break
        at = behind
        long = word.lstrip("-")
        if word.startswith("--") or (word[0] == "-" and long in _LONG):
            told.update(_WORDS.get(long, ""))
            values = int(long in _WITH_VALUE)
        else:
            told.update(_letters(word))
            values = word.count("o") + word.count("O")  # -o errexit, +O extglob, -oo errexit nounset
        while values and at < len(line):
            at = _word(line, at)[1]
            values -= 1
    return told, at


def _csh_options(line: str, at: int) -> tuple[set[str], int]:
    told: set[str] = set()
    while at < len(line):
        word, behind = _word(line, at)
        if not word.startswith("-"):
            break
        at = behind
        if word.startswith("--"):
            told.update(_WORDS.get(word[2:], ""))
            continue
        told.update(_letters(word))
        if _COMMAND in told or "b" in word:  # -b: what follows are no options
            break
    return told, at


def _letters(word: str) -> set[str]:
    """What a cluster of letters says; behind ``+`` they are switched off."""
    return {letter for letter in (_COMMAND, _STDIN, _LOGIN) if letter in word} if word[0] == "-" else set()
