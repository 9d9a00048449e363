"""Where secrets stand in a command line: the rules behind :class:`exporter.redaction.Redactor`.

Every rule looks at the *original* text and yields spans, so no rule depends on another's replacement. Each is
linear in the length of the text: names and values are matched possessively, whether a name is a secret's is
decided outside the pattern, no scan starts inside a word, and a scan goes on behind the value it found.

A command line reaches us as the words of an argv joined by blanks: quotes that the shell removed are gone. A
secret with a blank in it therefore loses its first word only, unless it still stands in quotes (inside ``sh
-c '...'``). Where a value ends is decided in favour of secrecy: at white space, not at ``;`` or ``&``, which
passwords may contain. What no rule can know is a bare word (``net user x hunter2``) and what is encoded, but
for ``%3D`` and the like.
"""

import re
from collections.abc import Iterator
from typing import Final

from exporter.secret_clients import clients
from exporter.secret_spans import VALUE, Span

# A name and what binds it to a value. No name starts inside a word or behind "/" (`-v /run/secrets:/x` is a
# path), but one may behind an encoded "&" or "?". `=` binds what follows at once (`PASSWORD= cmd` has an
# empty value) or stands between blanks; a closing quote, itself escaped perhaps, may come first (as in JSON).
# A blank binds too, but for options and settings only: "password reset" is prose.
_NAME: Final = re.compile(
    r"""(?:(?<![\w./-])|(?<=%26)|(?<=%3[fF]))(?P<dashes>-{0,2})(?P<name>[A-Za-z_][\w.-]*+)"""
    r"""(?P<bond>\\{0,4}["']?(?:\s{0,4}:\s{0,4}|\s=\s|\+?=|%3[aAdD]|\s++)|)"""
)
_PART: Final = re.compile(r"[A-Z]?[a-z0-9]++|[A-Z0-9]++")
_SET: Final = re.compile(r"(?:^|[\s;'\"/])(?:config\s+)?(?:set|setenv|config)\s+(?:\S{0,80}:)?$")
_AUTH_SCHEME: Final = re.compile(
    r"(?:basic|bearer|digest|negotiate|ntlm|splunk|token|apikey|apikey-v1|api-token|geniekey|ssws|key|oauth|jwt|hawk"
    r"|sharedkey|aws4-hmac-sha256)\s++",
    re.IGNORECASE,
)
# Of a header without quotes: its value, and what goes on behind a comma or semicolon (Digest, AWS4, Cookie).
_HEADER_VALUE: Final = re.compile(
    r"""(?:[^\s"']|"[^\s"']*+")++(?:(?<=[,;])\s++(?:[^\s"']|"[^\s"']*+")++)*+"""
)
_QUERY_VALUE: Final = re.compile(r"[^\s&#\"']++")
_AUTHORITY: Final = re.compile(r"://([^\s/?#\"'<>]*+)")
_USERINFO: Final = re.compile(
    # no scheme (`://`) and no digest of an image (`x:1@sha256:...`)
    r"""(?<![^\s"'=/])(?!(?:mailto|sips?|acct|xmpp):)[\w.%+-]++:([^\s/@:"']++)@(?!sha\d+:)(?=\w)""",
    re.IGNORECASE,
)
_STATEMENT: Final = re.compile(
    r"""\b(?:identified\s++by|(?:user|role)\s++\S++\s++(?:with\s++)?(?:encrypted\s++)?password|password\s*+\()\s*+"""
    r"""(?=["'\\])("""
    rf"{VALUE.pattern})",
    re.IGNORECASE | re.DOTALL,
)
_PIPED: Final = re.compile(
    r"""\b(?:echo|printf)\s++(?:-[neE]++\s++)*+("[^"]*+"|'[^']*+'|[^\s|"']++)\s*+\|\s*+"""
    r"""(?:[\w/.-]{0,60}/)?"""
    r"""(?:sudo\s(?=[^|;&]{0,80}?(?:-\w{0,9}S|--stdin)\b)|(?:passwd|kinit|cryptsetup|su)\b|[^|;&]{0,200}?--password-stdin)"""
)
_ACCOUNT: Final = re.compile(r"""(?<![^\s"'=|])[A-Za-z_][\w.-]*+:([^\s"'|]++)""")

# Keys that tell what they are, whatever stands before them.
_FORMAT: Final = re.compile(
    r"(?<![A-Za-z0-9_-])(?:"
    r"gh[pousr]_[A-Za-z0-9]{30,}+|github_pat_[A-Za-z0-9_]{30,}+|glpat-[\w-]{20,}+"  # GitHub, GitLab
    r"|xox[abeoprs]-[A-Za-z0-9-]{20,}+|xapp-[A-Za-z0-9-]{20,}+"  # Slack
    r"|hv[sbr]\.[\w-]{20,}+|npm_[A-Za-z0-9]{30,}+|pypi-[\w-]{40,}+|dop_v1_[0-9a-f]{40,}+"  # Vault, registries
    r"|sk-[A-Za-z0-9_-]{32,}+|[sr]k_live_[A-Za-z0-9]{20,}+|AIza[\w-]{35}|SG\.[\w-]{16,}\.[\w-]{30,}+"
    r"|eyJ[\w-]{8,}+\.eyJ[\w-]{8,}+\.[\w-]*+"  # a JSON web token
    r"|(?<=-----BEGIN )[A-Z ]{0,20}PRIVATE KEY-----[^-]*+"
    r")"
)

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
_SECRET_LAST: Final = frozenset({"passin", "passout", "pwd", "pw", "jwt", "bearer", "signature"})
"""A name whose last part is one of these does too: `MYSQL_PWD`, `--oauth2-bearer`."""
_NO_PASS: Final = ("bypass", "compass", "overpass", "underpass", "trespass", "encompass", "multipass")
"""A name that ends in "pass" or "pw" names a secret (`DBPASS`, `-storepass`), but these do not."""
_OTHER_LAST: Final = frozenset({"file", "path", "dir", "authentication"})
"""`--password-file /run/x` names a place and `PasswordAuthentication=no` a way, not a secret."""
_OPEN_KEYS: Final = ("public", "sort", "host", "foreign", "primary", "partition")
"""`PUBLIC_KEY=x` is no secret; other keys are if they look like one."""
# Bounded, for it is read again with the next name if it is no key.
_KEY_VALUE: Final = re.compile(r"""["']?(?![/.~$])(?=[^\s&#"']{8})[^\s&#"'\d]{0,64}\d""")
_QUERY_SECRETS: Final = frozenset({"sig", "code"})


def _names_a_secret(name: str, *, option: bool) -> bool:
    parts = [part.lower() for part in _PART.findall(name)]
    if (
        not parts or parts[-1] in _OTHER_LAST or (option and parts[0] == "no")
    ):  # `--no-password` takes no value
        return False
    if parts == ["pwd"] and not option:
        return False  # the shell's working directory
    joined = "".join(parts)
    # "token" must end the name: `TOKENIZERS_PARALLELISM` and `--max-tokens 100` are nobody's secret
    return (
        parts[-1] in _SECRET_LAST
        or joined.endswith(("token", "rediscliauth"))
        or (joined.endswith(("pass", "pw")) and not joined.endswith(_NO_PASS))
        or any(word in joined for word in _SECRET_ANYWHERE)
    )


def _is_a_key(text: str, name: "re.Match[str]") -> bool:
    """Whether what `key=` or `STRIPE_KEY=` gives can be a key: long, with a digit in it, and no path."""
    if not name["name"].lower().endswith("key") or "=" not in name["bond"]:
        return False
    if any(part.lower().startswith(_OPEN_KEYS) for part in _PART.findall(name["name"])):
        return False
    return bool(_KEY_VALUE.match(text, name.end()))


def named(text: str) -> Iterator[Span]:
    """Values bound to a telling name.

    `--password x`, `TOKEN=x`, `"secret": "x"`, `?token=x&`, `Authorization: Bearer x`.
    """
    at = 0
    while found := _NAME.search(text, at):
        at = found.end()
        bond = found["bond"].lstrip("\\\"'")
        if not bond:
            continue
        span = _header(text, found) if bond.strip() else None
        if span or (span := _value(text, found, binds=bool(bond.strip()))):
            yield span
            at = span.end


def _is_set(text: str, name: "re.Match[str]") -> bool:
    """Whether a blank binds: `aws configure set aws_secret_access_key x`, `setenv PASSWORD x`."""
    return bool(_SET.search(text[max(0, name.start() - 100) : name.start()]))


def _header(text: str, name: "re.Match[str]") -> Span | None:
    """The credentials of a header, without their scheme if it is a known one."""
    if not name["name"].lower().endswith(("authorization", "cookie")):
        return None
    scheme = _AUTH_SCHEME.match(text, name.end())
    at = scheme.end() if scheme else name.end()
    end = _end_of_quotes(text, name, at)
    value = _HEADER_VALUE.match(text, at)
    if end <= at and value:
        end = value.end()
    return Span(at, end, "header") if end > at else None


def _value(text: str, name: "re.Match[str]", *, binds: bool) -> Span | None:
    """The value of a name, if the two make a secret. ``binds``: it is bound by more than a blank."""
    at = name.end()
    option = bool(name["dashes"])
    in_query = text[name.start() - 1 : name.start()] in {"?", "&"}
    if _names_a_secret(name["name"], option=option):
        # `mysql --password -u root`: the option had no value
        if not binds and (text[at : at + 1] == "-" or not (option or _is_set(text, name))):
            return None
    elif not _is_a_key(text, name) and not (in_query and name["name"].lower() in _QUERY_SECRETS):
        return None
    value = (_QUERY_VALUE if in_query else VALUE).match(text, at)
    end = _end_of_quotes(text, name, at) if ":" in name["bond"] else 0
    if value and end <= at:
        end = value.end()
    return Span(at, end, "named") if end > at else None


def _end_of_quotes(text: str, name: "re.Match[str]", at: int) -> int:
    """Where the quotes end that a header stands in (`"X-Api-Key: a b"`); 0 if it stands in none.

    Of what is in quotes only because a script is (`sh -c 'PASSWORD=x go'`) this must not be asked.
    """
    quote = text[name.start() - 1 : name.start()]
    if quote not in {'"', "'"} or name["bond"][:1] in {"\\", '"', "'"}:
        return 0
    if text[max(0, name.start() - 2) : name.start() - 1] == "\\":
        quote = "\\" + quote
    return max(0, text.find(quote, at))


def urls(text: str) -> Iterator[Span]:
    """Passwords of `scheme://user:password@host`, first colon to last at sign, and `user:password@host`."""
    for found in _AUTHORITY.finditer(text):
        userinfo, at_sign, _ = found[1].rpartition("@")
        user, colon, password = userinfo.partition(":")
        if at_sign and colon and password:
            start = found.start(1) + len(user) + 1
            yield Span(start, start + len(password), "url")
    for found in _USERINFO.finditer(text):
        yield Span(found.start(1), found.end(1), "url")


def statements(text: str) -> Iterator[Span]:
    """Passwords that SQL gives: `IDENTIFIED BY 'x'`, `ALTER USER u PASSWORD 'x'`, `PASSWORD('x')`."""
    for found in _STATEMENT.finditer(text):
        yield Span(found.start(1), found.end(1), "named")


def piped(text: str) -> Iterator[Span]:
    """Passwords for the standard input of others: `echo x | sudo -S`, `echo root:x | chpasswd`."""
    for found in _PIPED.finditer(text):
        yield Span(found.start(1), found.end(1), "piped")
    if "chpasswd" in text:
        for found in _ACCOUNT.finditer(text):
            yield Span(found.start(1), found.end(1), "piped")


def formats(text: str) -> Iterator[Span]:
    """Keys known by their form: tokens of GitHub, GitLab, Slack, Vault; JSON web tokens; private keys."""
    for found in _FORMAT.finditer(text):
        yield Span(found.start(), found.end(), "format")


RULES: Final = (named, urls, clients, statements, piped, formats)
KINDS: Final = ("named", "header", "url", "client", "piped", "format", "custom")
"""Every kind of span; ``custom`` are the operator's."""
