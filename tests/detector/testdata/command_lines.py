"""Command lines of shells, as the collector joins them, each with what the shell does.

The options were tried, in thousands of mixtures, on bash 5.2, dash 0.5.12, busybox 1.35 and tcsh 6.24.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from detector.context import Mode


class Row(NamedTuple):
    """``what`` tells where it is met or what is special."""

    what: str
    line: str
    mode: Mode
    runs: str = ""
    name: str = "bash"
    path: str = "/usr/bin/bash"


def sh(what: str, line: str, mode: Mode, runs: str = "") -> Row:
    return Row(what, line, mode, runs, "sh", "/usr/bin/dash")


def csh(what: str, line: str, mode: Mode, runs: str = "") -> Row:
    return Row(what, line, mode, runs, "tcsh", "/usr/bin/tcsh")


LOGIN: Final = (
    Row("sshd, su -", "-bash", Mode.LOGIN),
    sh("getty on Alpine", "-sh", Mode.LOGIN),
    csh("an interactive csh, as captured", "-sh", Mode.LOGIN),
    csh("login(1)", "-tcsh", Mode.LOGIN),
    Row("old su", "-su", Mode.LOGIN),
    Row("login without a shell's name", "-", Mode.LOGIN),
    Row("by path", "-/bin/bash", Mode.LOGIN),
    Row("a name of its own", "-xx", Mode.LOGIN, "", "xx", "/opt/xx/bash"),
    Row("interactive", "-bash -i", Mode.LOGIN),
    Row("-l", "bash -l", Mode.LOGIN),
    Row("in a cluster", "/bin/bash -il", Mode.LOGIN),
    Row("--login", "bash --login", Mode.LOGIN),
    Row("--login behind others", "bash --norc --login -i", Mode.LOGIN),
    Row("-login with one dash", "bash -login", Mode.LOGIN),
    Row("tmux", "-bash -s", Mode.LOGIN),
    csh("-l", "tcsh -l", Mode.LOGIN),
    sh("from its input", "-sh /dev/stdin", Mode.LOGIN, "/dev/stdin"),
)

STDIN: Final = (
    sh("kubectl exec -it", "sh", Mode.STDIN),
    Row("by path", "/bin/bash", Mode.STDIN),
    Row("interactive", "bash -i", Mode.STDIN),
    Row("piped script with arguments", "bash -s stable --yes", Mode.STDIN),
    Row("-s in a cluster", "bash -es x", Mode.STDIN),
    Row("curl | bash -", "bash -", Mode.STDIN),
    Row("options end", "bash --", Mode.STDIN),
    Row("quiet", "bash --norc --noprofile -i", Mode.STDIN),
    Row("one dash", "bash -norc -noprofile", Mode.STDIN),
    Row("trace", "bash -x", Mode.STDIN),
    Row("-o takes a word", "bash -o errexit", Mode.STDIN),
    Row("-o in a cluster", "bash -euo pipefail", Mode.STDIN),
    Row("-oo takes two", "bash -oo errexit nounset", Mode.STDIN),
    Row("-o -c is no command", "bash -o -c", Mode.STDIN),
    Row("+o takes a word", "bash +o history", Mode.STDIN),
    Row("-O takes a word", "bash -O extglob", Mode.STDIN),
    Row("+O takes a word", "bash +O extglob -i", Mode.STDIN),
    Row("+c is no -c", "bash +x +c", Mode.STDIN),
    Row("-o without a word prints", "bash -o", Mode.STDIN),
    Row("VS Code", "/bin/bash --init-file /vscode/shellIntegration-bash.sh", Mode.STDIN),
    Row("a file of its own", "bash --rcfile /tmp/.x -i", Mode.STDIN),
    Row("one dash and a file", "bash -rcfile /tmp/.x", Mode.STDIN),
    Row("--rcfile cut", "bash --rcfile", Mode.STDIN),
    Row("input by name", "bash /dev/stdin", Mode.STDIN, "/dev/stdin"),
    sh("input by number", "sh -e /proc/self/fd/0 x", Mode.STDIN, "/proc/self/fd/0"),
    sh("-s beside -c: dash runs it, then reads on", "sh -sc :", Mode.STDIN),
    sh("a terminal", "sh /dev/pts/3", Mode.STDIN, "/dev/pts/3"),
    Row("busybox", "busybox sh", Mode.STDIN, "", "busybox", "/bin/busybox"),
    Row("busybox's link", "/bin/sh", Mode.STDIN, "", "sh", "/bin/busybox"),
    csh("interactive", "csh", Mode.STDIN),
    csh("fast", "tcsh -f", Mode.STDIN),
    csh("-s", "tcsh -fs x", Mode.STDIN),
    Row("exec -a", "[kworker/0:1]", Mode.STDIN),
    Row("exec -a with options", "nginx: -i", Mode.STDIN),
    Row("an empty argv[0] is left out", "-i", Mode.STDIN),
    Row("no name at all", "/tmp/x", Mode.STDIN, "", "bash", ""),
    Row("deleted", "./x", Mode.STDIN, "", "x", "/tmp/bash (deleted)"),
    Row("of a version", "/opt/bash-5.2 -i", Mode.STDIN, "", "bash-5.2", "/opt/bash-5.2"),
    Row("a path with a blank", "/opt/my shell/bash -i", Mode.STDIN, "", "bash", "/opt/my shell/bash"),
    Row(
        "nothing but a path with a blank", "/opt/my shell/bash", Mode.STDIN, "", "bash", "/opt/my shell/bash"
    ),
)

COMMAND: Final = (
    sh("a Dockerfile's entrypoint, as captured", "/bin/sh -c sleep 70; :", Mode.COMMAND, "sleep 70; :"),
    sh(
        "cron",
        "/bin/sh -c cd / && run-parts /etc/cron.hourly",
        Mode.COMMAND,
        "cd / && run-parts /etc/cron.hourly",
    ),
    sh("exec probe, as captured", "sh -c sleep 0.10; exit 0", Mode.COMMAND, "sleep 0.10; exit 0"),
    Row("in a login shell", "bash -lc make all", Mode.COMMAND, "make all"),
    Row("in clusters", "bash -xec make", Mode.COMMAND, "make"),
    Row("interactive", "bash -ic id", Mode.COMMAND, "id"),
    Row("of a login shell", "-bash -c id", Mode.COMMAND, "id"),
    Row("sshd", "bash -c scp -t /srv", Mode.COMMAND, "scp -t /srv"),
    Row("options behind -c", "bash -c -x -- id -u", Mode.COMMAND, "id -u"),
    Row("-c after -o", "bash -eo pipefail -c a | b", Mode.COMMAND, "a | b"),
    Row("-o behind -c in a cluster", "bash -ceuo pipefail x", Mode.COMMAND, "x"),
    Row("-s too", "bash -s -c id", Mode.COMMAND, "id"),
    Row("-s too, busybox", "sh -c -s :", Mode.COMMAND, ":", "sh", "/bin/busybox"),
    Row("-s too, bash as sh", "sh -s -c id", Mode.COMMAND, "id", "sh", "/usr/bin/bash"),
    Row("with --login", "bash --login -c id", Mode.COMMAND, "id"),
    Row("an rcfile before it", "bash --rcfile /srv/rc -c id", Mode.COMMAND, "id"),
    Row("with $0 and $1", "bash -c echo $1 x y", Mode.COMMAND, "echo $1 x y"),
    Row(
        "web shell, as captured",
        "bash -c bash -i; sleep 110; : # >& /dev/tcp/127.0.0.1/4444 0>&1",
        Mode.COMMAND,
        "bash -i; sleep 110; : # >& /dev/tcp/127.0.0.1/4444 0>&1",
    ),
    sh("from the input, in vain", "sh -c /dev/stdin", Mode.COMMAND, "/dev/stdin"),
    sh("nothing behind it", "sh -c", Mode.COMMAND),
    sh("blanks behind it", "sh -c   ", Mode.COMMAND),
    sh("leading blanks", "sh -c   id", Mode.COMMAND, "id"),
    sh("redacted", "sh -c curl -H [redacted] x", Mode.COMMAND, "curl -H [redacted] x"),
    Row("busybox", "busybox sh -c id", Mode.COMMAND, "id", "busybox", "/bin/busybox"),
    Row("busybox's ash", "/bin/busybox ash -ec id", Mode.COMMAND, "id", "ash", "/bin/busybox"),
    Row("toybox", "toybox sh -c id", Mode.COMMAND, "id", "sh", "/usr/bin/toybox"),
    csh("-c", "tcsh -c ls -l", Mode.COMMAND, "ls -l"),
    csh("-fc", "/bin/tcsh -fc ls", Mode.COMMAND, "ls"),
    csh("right behind -c", "csh -c -f", Mode.COMMAND, "-f"),
    Row("bsd-csh", "csh -c -f", Mode.COMMAND, "-f", "csh", "/usr/bin/bsd-csh"),
    Row("zsh", "zsh --emulate sh -c id", Mode.COMMAND, "id", "zsh", "/bin/zsh"),
    Row("exec -a", "[kworker/0:1] -c id", Mode.COMMAND, "id"),
    Row("an empty argv[0] is left out", "-c id", Mode.COMMAND, "id"),
    Row("a path with a blank", "/opt/my shell/bash -c id", Mode.COMMAND, "id", "bash", "/opt/my shell/bash"),
    Row(
        "a path with a blank that argv[0] has not",
        "bash -c id",
        Mode.COMMAND,
        "id",
        "bash",
        "/opt/my shell/bash",
    ),
    Row("a path of another program", "bash -c id", Mode.COMMAND, "id", "x", "/usr/bin/x"),
)

SCRIPT: Final = (
    sh(
        "dpkg",
        "/bin/sh -e /var/lib/dpkg/info/x.postinst configure",
        Mode.SCRIPT,
        "/var/lib/dpkg/info/x.postinst",
    ),
    sh("shebang", "/bin/sh /srv/report.sh", Mode.SCRIPT, "/srv/report.sh"),
    Row("shebang, found by path", "/bin/bash /srv/report.sh a", Mode.SCRIPT, "/srv/report.sh", "report.sh"),
    Row(
        "shebang by env", "bash /srv/docker-entrypoint.sh postgres", Mode.SCRIPT, "/srv/docker-entrypoint.sh"
    ),
    Row("in a login shell", "bash -l /srv/build.sh job", Mode.SCRIPT, "/srv/build.sh"),
    Row("of a login shell", "-bash x.sh", Mode.SCRIPT, "x.sh"),
    Row("a bare word", "bash build", Mode.SCRIPT, "build"),
    Row("its own -c", "bash build.sh -c id", Mode.SCRIPT, "build.sh"),
    Row("its own -s", "bash build.sh -s", Mode.SCRIPT, "build.sh"),
    Row("behind --", "bash -- -c id", Mode.SCRIPT, "-c"),
    Row("options end with -", "bash - -c", Mode.SCRIPT, "-c"),
    Row("behind -", "bash - build.sh", Mode.SCRIPT, "build.sh"),
    Row("behind -o", "bash -o errexit x.sh", Mode.SCRIPT, "x.sh"),
    Row("behind -eu", "bash -eux x.sh", Mode.SCRIPT, "x.sh"),
    Row("-o takes one word", "bash -o -c x", Mode.SCRIPT, "x"),
    Row("process substitution", "bash /dev/fd/63", Mode.SCRIPT, "/dev/fd/63"),
    Row("--posix", "bash --posix x.sh", Mode.SCRIPT, "x.sh"),
    Row("an option that there is not", "bash --frobnicate x.sh", Mode.SCRIPT, "x.sh"),
    Row("busybox", "busybox sh x.sh", Mode.SCRIPT, "x.sh", "sh", "/bin/busybox"),
    csh("-f, as captured", "/bin/tcsh -f /srv/spin.csh", Mode.SCRIPT, "/srv/spin.csh"),
    csh("-o takes no word", "tcsh -eo x.csh", Mode.SCRIPT, "x.csh"),
    csh("behind -b", "tcsh -b -c", Mode.SCRIPT, "-c"),
    csh("--verbose has no -b in it", "tcsh --verbose -f x.csh", Mode.SCRIPT, "x.csh"),
    Row("leading blanks", "bash   x.sh", Mode.SCRIPT, "x.sh"),
    Row("another letter's dash", "bash \u2013c id", Mode.SCRIPT, "\u2013c"),
    Row("a busybox that is none", "busybox x.sh", Mode.SCRIPT, "x.sh"),
)

UNKNOWN: Final = (
    Row("zombie", "", Mode.UNKNOWN, "", "bash", ""),
    Row("blanks", "  ", Mode.UNKNOWN),
    Row("no shell at all", "perl -e x", Mode.UNKNOWN, "", "perl", "/usr/bin/perl"),
    Row("another applet", "busybox vi /etc/x", Mode.UNKNOWN, "", "vi", "/bin/busybox"),
    Row("--help", "bash --help", Mode.UNKNOWN),
    Row("--version", "bash --version x", Mode.UNKNOWN),
    Row("-version", "bash -version", Mode.UNKNOWN),
    csh("--version", "tcsh --version", Mode.UNKNOWN),
)

HOSTILE: Final = (
    sh(
        "newlines, GitLab runner",
        "sh -c \nif [ -x /bin/bash ]; then\n\texec /bin/bash\nfi",
        Mode.COMMAND,
        "if [ -x /bin/bash ]; then\n\texec /bin/bash\nfi",
    ),
    sh("a newline is no blank", "sh -c\nid", Mode.COMMAND),
    sh("NUL", "sh -c id\x00-x", Mode.COMMAND, "id\x00-x"),
    sh("no UTF-8, escaped", r"sh -c printf \xff\xfe", Mode.COMMAND, r"printf \xff\xfe"),
    sh("a lone surrogate", "sh -c \ud800", Mode.COMMAND, "\ud800"),
    sh("ANSI escapes", "sh -c \x1b[2K\x1b[1A id", Mode.COMMAND, "\x1b[2K\x1b[1A id"),
    sh("right to left", "sh -c \u202ehs.x", Mode.COMMAND, "\u202ehs.x"),
    sh("a no-break space is no blank", "sh -c\u00a0id x", Mode.COMMAND, "x"),
    Row("a mebibyte behind -c", "bash -c " + "x" * 2**20, Mode.COMMAND, "x" * 256),
    Row("a mebibyte of a script", "bash " + "x" * 2**20, Mode.SCRIPT, "x" * 256),
    Row("a mebibyte of argv[0]", "x" * 2**20 + " -c id", Mode.COMMAND, "id"),
    Row("a mebibyte of blanks", "bash -c" + " " * 2**20 + "id", Mode.COMMAND, "id"),
    Row("a mebibyte of one option", "bash -" + "x" * 2**20 + " id", Mode.SCRIPT, "id"),
    Row("10,000 options", "bash" + " -x" * 10_000 + " -c id", Mode.COMMAND, "id"),
    Row("a mebibyte of options with words", "bash" + " -o x" * 200_000 + " -c id", Mode.COMMAND, "id"),
    Row("an option that takes a million words", "bash -" + "o" * 2**20 + " a b c", Mode.STDIN),
    csh("10,000 options of csh", "tcsh" + " -f" * 10_000 + " -c id", Mode.COMMAND, "id"),
    Row("dashes", "bash --- ---- id", Mode.SCRIPT, "id"),
    Row("pluses", "bash + ++ id", Mode.SCRIPT, "id"),
)
