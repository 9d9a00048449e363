"""Secrets in short options of well-known programs, where only the program tells what an option means."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from exporter.secret_spans import VALUE, WORD, Span

if TYPE_CHECKING:
    import re


@dataclass(frozen=True, slots=True)
class Client:
    """Programs whose short options carry a secret.

    Elsewhere `-p` is a port, a path or a pid (`ssh -p 22`, `mkdir -p x`), so the program decides.
    """

    programs: str
    """Names, blanks between them."""
    options: tuple[str, ...]
    attached: bool = True
    """Whether `-pX` is one word (and `--user=X`)."""
    separate: bool = True
    """Whether `-p X` are two. Not so for mysql, where a lone `-p` asks and the next word is a database."""
    bundled: bool = False
    """Whether other letters may stand before the option's: `-su X`."""
    behind: str = ""
    """What separates a user from the secret in the value (`-u user:password`); empty: all of it is secret."""
    command: str = ""
    """The subcommand that has the option: `docker login -p x`, for `docker run -p` is a port."""


CLIENTS: Final = (
    Client(
        "mysql mysqladmin mysqlcheck mysqldump mysqlimport mysqlshow mysqlslap mysqlsh mariadb mariadb-admin"
        " mariadb-check mariadb-dump mariadb-import mariadb-show 7z 7za 7zr 7zz rar unrar",
        ("-p",),
        separate=False,
    ),
    Client("mongo mongosh mongodump mongoexport mongoimport mongorestore cqlsh twine", ("-p",)),
    Client("sshpass", ("-p",), bundled=True),
    Client("useradd usermod", ("-p",)),
    Client(
        "nxc netexec crackmapexec cme evil-winrm hydra medusa rdesktop ncftp ncftpget ncftpput",
        ("-p",),
        attached=False,
    ),
    Client("plink pscp psftp putty", ("-pw",), attached=False),
    Client("xfreerdp wlfreerdp", ("/p:",), separate=False),
    Client("docker podman nerdctl buildah skopeo helm oc az crane", ("-p",), command="login"),
    Client("redis-cli", ("-a", "AUTH", "auth"), attached=False),
    Client("vault", ("login",), attached=False),
    Client("curl", ("-u", "-U"), bundled=True, behind=":"),
    Client("curl", ("--user", "--proxy-user", "-E", "--cert"), behind=":"),
    Client("curl", ("-b", "--cookie"), behind="="),
    Client("http https splunk", ("-a", "--auth", "-auth"), attached=False, behind=":"),
    Client("mysqladmin nmcli", ("password",), attached=False),
    Client("etcdctl", ("--user",), behind=":"),
    Client("lftp", ("-u",), behind=","),
    Client("smbclient rpcclient winexe smbget smbmap", ("-U", "--user"), behind="%"),
    Client("ldapsearch ldapadd ldapmodify ldapdelete ldappasswd ldapwhoami", ("-w",)),
    Client("openssl", ("-k", "-K"), attached=False),
    Client("zip unzip zipcloak sqlcmd bcp osql isql tsql mosquitto_pub mosquitto_sub ipmitool", ("-P",)),
    Client("snmpget snmpset snmpwalk snmpbulkwalk snmpbulkget snmpgetnext", ("-A", "-X", "-c")),
)
_CLIENTS_OF: Final = {
    program: tuple(each for each in CLIENTS if program in each.programs.split())
    for client in CLIENTS
    for program in client.programs.split()
}
_SEPARATORS: Final = frozenset({";", "|", "||", "&", "&&"})
_BEFORE_A_PROGRAM: Final = "/;|&(`$\"'"


def clients(text: str) -> Iterator[Span]:
    """Secrets in options of the programs in ``CLIENTS``, up to the end of their simple command."""
    known: tuple[Client, ...] = ()
    waiting: tuple[Client, ...] = ()
    at = 0
    while found := WORD.search(text, at):
        word, at = found[0], found.end()
        if word in _SEPARATORS:
            known = waiting = ()
            continue
        program = word.rstrip("\"'`);\\")
        program = program[max(program.rfind(character) for character in _BEFORE_A_PROGRAM) + 1 :]
        if program in _CLIENTS_OF:
            known = tuple(each for each in _CLIENTS_OF[program] if not each.command)
            waiting = tuple(each for each in _CLIENTS_OF[program] if each.command)
        elif value := _value(known, text, found):
            start, at = value
            if start < at:
                yield Span(start, at, "client")
        elif waiting and word == waiting[0].command:
            known, waiting = known + waiting, ()
        if word.endswith(";"):
            known = waiting = ()


def _value(known: tuple[Client, ...], text: str, word: "re.Match[str]") -> tuple[int, int] | None:
    """The bounds of the secret that a word of these clients leads to; empty ones if its value holds none."""
    for client in known:
        start = _start(client, text, word)
        value = VALUE.match(text, start) if start >= 0 else None
        if value and client.behind:
            secret = value[0].find(client.behind) + 1
            return value.start() + secret if secret else value.end(), value.end()
        if value:
            return value.span()
    return None


def _start(client: Client, text: str, word: "re.Match[str]") -> int:
    """Where the value of a secret option starts, if the word is such an option; else -1."""
    for option in client.options:
        if client.attached and word[0] != option and word[0].startswith(option):
            start = word.start() + len(option)
            if text[start] == "=":
                return start + 1
            if not option.startswith("--"):
                return start
        bundle = client.bundled and word[0].startswith("-") and word[0][1:].isalpha()
        if word[0] == option or (bundle and word[0].endswith(option[1:])):
            following = WORD.search(text, word.end()) if client.separate else None
            # a value that starts with a dash is the next option: ours had none
            return following.start() if following and not following[0].startswith("-") else -1
    return -1
