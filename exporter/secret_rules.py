"""Where secrets stand in a command line: the rules behind :class:`exporter.redaction.Redactor`.

Every rule looks at the *original* text and yields spans, so no rule depends on another's replacement. Each is
linear in the length of the text: names and values are matched possessively, whether a name is a secret's is
decided outside the pattern, no scan starts inside a word, and a scan goes on behind the value it found.

A command line reaches us as the words of an argv joined by blanks: quotes that the shell removed are gone. A
secret with a blank in it therefore loses its first word only, unless it still stands in quotes (inside ``sh
-c '...'``). Where a value ends is decided in favour of secrecy: at white space, not at ``;`` or ``&``, which
passwords may contain.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple


class Span(NamedTuple):
    """A secret: ``text[start:end]``, and the kind of rule that found it (a metric label)."""

    start: int
    end: int
    kind: str


# A value in closed quotes, else up to white space. An unclosed quote is a character like any other: redacting
# to the end of the text would let `# token="` hide the rest of a script from the analyst.
_VALUE: Final = re.compile(r"""(?:"(?:[^"\\]|\\.)*+"|'[^']*+'|\S++)""", re.DOTALL)

# A name and what binds it to a value. No name starts inside a word or behind "/" (`-v /run/secrets:/x` is a
# path). `=` binds what follows at once (`PASSWORD= cmd` has an empty value) or stands between blanks; a
# closing quote may come first (`{"token": "x"}`). A blank binds too, but for options only: "password reset"
# is prose.
_NAME: Final = re.compile(
    r"""(?<![\w./-])(?P<dashes>-{0,2})(?P<name>[A-Za-z_][\w.-]*+)(?P<bond>["']?(?:\s?:\s?|\s=\s|=|\s++)|)"""
)
_PART: Final = re.compile(r"[A-Z]?[a-z0-9]++|[A-Z0-9]++")
_AUTH_SCHEME: Final = re.compile(r"(?:basic|bearer|digest|negotiate|splunk|token|apikey)\s++", re.IGNORECASE)
_CREDENTIAL: Final = re.compile(r"[^\s\"']++")
_QUERY_VALUE: Final = re.compile(r"[^\s&#\"']++")
_AUTHORITY: Final = re.compile(r"://([^\s/?#\"'<>]*+)")
_WORD: Final = re.compile(r"\S++")

_SECRET_ANYWHERE: Final = (
    "password",
    "passwd",
    "passphrase",
    "secret",
    "apikey",
    "accesskey",
    "privatekey",
    "credential",
)
"""A name that holds one of these, separators removed, names a secret."""
_SECRET_LAST: Final = frozenset({"pass", "passin", "passout", "sshpass", "pwd"})
"""A name whose last part is one of these does too: `DB_PASS`, `MYSQL_PWD`; not `--pass-through`."""
_PLACE_LAST: Final = frozenset({"file", "path", "dir"})
"""`--password-file /run/x` names a place, not a secret."""


def _names_a_secret(name: str, *, option: bool) -> bool:
    parts = [part.lower() for part in _PART.findall(name)]
    if (
        not parts or parts[-1] in _PLACE_LAST or (option and parts[0] == "no")
    ):  # `--no-password` takes no value
        return False
    if parts == ["pwd"] and not option:
        return False  # the shell's working directory
    joined = "".join(parts)
    # "token" must end the name: `TOKENIZERS_PARALLELISM` and `--max-tokens 100` are nobody's secret
    return (
        parts[-1] in _SECRET_LAST
        or joined.endswith("token")
        or any(word in joined for word in _SECRET_ANYWHERE)
    )


def named(text: str) -> Iterator[Span]:
    """Values bound to a telling name.

    `--password x`, `TOKEN=x`, `"secret": "x"`, `?token=x&`, `Authorization: Bearer x`.
    """
    at = 0
    while found := _NAME.search(text, at):
        at = found.end()
        bond = found["bond"].lstrip("\"'")
        option = bool(found["dashes"])
        if not bond or (not option and not bond.strip()):
            continue
        kind, shape = "named", _VALUE
        if found["name"].lower().endswith("authorization") and bond.strip():
            kind, shape = "header", _CREDENTIAL
            if scheme := _AUTH_SCHEME.match(text, at):
                at = scheme.end()
        elif not _names_a_secret(found["name"], option=option):
            continue
        elif not bond.strip() and text[at : at + 1] == "-":
            continue  # `mysql --password -u root`: the option had no value
        elif text[found.start() - 1 : found.start()] in {"?", "&"}:
            shape = _QUERY_VALUE
        if value := shape.match(text, at):
            yield Span(value.start(), value.end(), kind)
            at = value.end()


def urls(text: str) -> Iterator[Span]:
    """The password of `scheme://user:password@host`: first colon to last at sign of the authority."""
    for found in _AUTHORITY.finditer(text):
        userinfo, at_sign, _ = found[1].rpartition("@")
        user, colon, password = userinfo.partition(":")
        if at_sign and colon and password:
            start = found.start(1) + len(user) + 1
            yield Span(start, start + len(password), "url")


@dataclass(frozen=True, slots=True)
class Client:
    """A program whose short option carries a secret.

    Elsewhere `-p` is a port, a path or a pid (`ssh -p 22`, `mkdir -p x`), so the program decides.
    """

    programs: frozenset[str]
    options: tuple[str, ...]
    attached: bool = True
    """Whether `-pX` is one word."""
    separate: bool = True
    """Whether `-p X` are two. Not so for mysql, where a lone `-p` asks and the next word is a database."""
    after_colon: bool = False
    """Whether only what follows the first colon is secret (`-u user:password`)."""


CLIENTS: Final = (
    Client(
        frozenset(
            {
                "mysql",
                "mysqladmin",
                "mysqlcheck",
                "mysqldump",
                "mysqlimport",
                "mysqlshow",
                "mysqlslap",
                "mysqlsh",
            }
            | {"mariadb", "mariadb-admin", "mariadb-check", "mariadb-dump", "mariadb-import", "mariadb-show"}
        ),
        ("-p",),
        separate=False,
    ),
    Client(
        frozenset({"mongo", "mongosh", "mongodump", "mongoexport", "mongoimport", "mongorestore"}), ("-p",)
    ),
    Client(frozenset({"sshpass"}), ("-p",)),
    Client(frozenset({"redis-cli"}), ("-a",), attached=False),
    Client(frozenset({"curl"}), ("-u", "--user", "-U", "--proxy-user"), after_colon=True),
)
_CLIENT_OF: Final = {program: client for client in CLIENTS for program in client.programs}
_SEPARATORS: Final = frozenset({";", "|", "||", "&", "&&"})


def clients(text: str) -> Iterator[Span]:
    """Secrets in short options of the programs in ``CLIENTS``, up to the end of their simple command."""
    client: Client | None = None
    at = 0
    while found := _WORD.search(text, at):
        word, at = found[0], found.end()
        if word in _SEPARATORS:
            client = None
            continue
        program = word.strip("\"'`()$;").rpartition("/")[2]
        if program in _CLIENT_OF:
            client = _CLIENT_OF[program]
        elif (
            client
            and (start := _secret_start(client, text, found)) is not None
            and (value := _VALUE.match(text, start))
        ):
            at = value.end()
            if client.after_colon:
                start += value[0].find(":") + 1
                if start == value.start():
                    continue  # a user without a password
            if start < at:
                yield Span(start, at, "client")
        if word.endswith(";"):
            client = None


def _secret_start(client: Client, text: str, word: re.Match[str]) -> int | None:
    """Where the value of a secret option starts, if the word is such an option."""
    for option in client.options:
        if word[0] == option:
            following = _WORD.search(text, word.end()) if client.separate else None
            # a value that starts with a dash is the next option: ours had none
            return following.start() if following and not following[0].startswith("-") else None
        if client.attached and not option.startswith("--") and word[0].startswith(option):
            return word.start() + len(option)
    return None


RULES: Final = (named, urls, clients)
KINDS: Final = ("named", "header", "url", "client", "custom")
"""Every kind of span; ``custom`` are the operator's."""
