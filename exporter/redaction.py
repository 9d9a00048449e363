"""Secrets out of command lines before anything is stored, logged or sent; then the cut for the event."""

import hashlib
import re
import secrets
from collections.abc import Iterable, Iterator
from typing import Final

from detector.types import CommandLine
from exporter.secret_rules import KINDS, RULES
from exporter.secret_spans import Span
from telemetry import metrics

REPLACEMENT: Final = "[redacted]"
TEXT_LIMIT_BYTES: Final = 2048
"""What an event shows of a command line, in bytes of UTF-8."""
SCAN_LIMIT: Final = 65536
"""How many characters of a command line are looked at; of the rest only the length counts."""
SCAN_MARGIN: Final = 4096
"""Of a longer text, as many characters before that bound are neither shown nor hashed: a secret that begins
there may end behind the bound, and a rule that needs its end (``user:password@``) would miss it."""
REMEMBERED: Final = 4096
"""Command lines whose redacted form is kept: a shell that runs on is read with every scrape."""


class Redactor:
    """Redacts what the built-in rules (:mod:`exporter.secret_rules`) and the operator's patterns find.

    ``patterns`` are Python regular expressions (``exporter.redact``). If one has a group, its first group is
    the secret, else the whole match. Raises :class:`ValueError` naming the pattern that does not compile.
    They run on at most ``SCAN_LIMIT`` characters; Python's engine backtracks, so a pattern with nested
    repetition can still be slow: that is its author's to avoid.

    What was redacted before is known by a keyed digest: no raw command line stays in memory.
    """

    def __init__(self, patterns: Iterable[str] = ()) -> None:
        self._patterns: list[re.Pattern[str]] = []
        for pattern in patterns:
            try:
                self._patterns.append(re.compile(pattern))
            except re.error as error:
                raise ValueError(f"{pattern!r}: {error}; want a Python regular expression") from error
        self._key = secrets.token_bytes(hashlib.blake2b.MAX_KEY_SIZE)
        self._cleaned: dict[bytes, tuple[CommandLine, tuple[str, ...]]] = {}
        """By digest of the raw line: what may be stored, and the kinds of what was redacted."""
        self._counters = {kind: metrics.EXPORTER_REDACTIONS.labels(kind=kind) for kind in KINDS}

    def clean(self, text: str) -> CommandLine:
        """The command line that may be stored and sent. Counts what it redacts.

        The whole text is redacted, then cut: a secret that crosses the cut is gone before there is one. Lone
        surrogates, which have no UTF-8, become backslash escapes. Never raises.
        """
        raw = text.encode("utf-8", "backslashreplace")
        digest = hashlib.blake2b(raw, key=self._key, digest_size=16).digest()
        found = self._cleaned.get(digest)
        if found is None:
            found = self._clean(raw.decode())
            if len(self._cleaned) >= REMEMBERED:
                self._cleaned.clear()
            self._cleaned[digest] = found
        line, kinds = found
        for kind in kinds:
            self._counters[kind].inc()
        return line

    def _clean(self, text: str) -> tuple[CommandLine, tuple[str, ...]]:
        scanned, rest = text[:SCAN_LIMIT], text[SCAN_LIMIT:]
        redacted, kinds = self._redact(scanned)
        length = len(redacted.encode()) + len(rest.encode())
        known = (redacted[:-SCAN_MARGIN] if rest else redacted).encode()
        if not rest and length <= TEXT_LIMIT_BYTES:
            return CommandLine(redacted, length), kinds
        # "ignore" drops what the cut left of a character; there is nothing else to ignore
        shown = known[:TEXT_LIMIT_BYTES].decode("utf-8", "ignore")
        return CommandLine(shown, length, hashlib.sha256(known).hexdigest()), kinds

    def _redact(self, text: str) -> tuple[str, tuple[str, ...]]:
        pieces: list[str] = []
        kinds: list[str] = []
        at = 0
        for start, end, kind in sorted(self._spans(text)):
            if start >= at:
                pieces += (text[at:start], REPLACEMENT)
                kinds.append(kind)
            at = max(at, end)
        return "".join((*pieces, text[at:])), tuple(kinds)

    def _spans(self, text: str) -> Iterator[Span]:
        for rule in RULES:
            yield from rule(text)
        for pattern in self._patterns:
            secret = 1 if pattern.groups else 0
            for found in pattern.finditer(text):
                if found.start(secret) < found.end(secret):  # a group that took no part is at (-1, -1)
                    yield Span(found.start(secret), found.end(secret), "custom")
