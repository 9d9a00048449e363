"""What strangers write, and what nobody may read."""

from __future__ import annotations

HOSTILE = [
    *(chr(code) for code in (*range(0x20), *range(0x7F, 0xA0))),  # control characters
    "\u2028",  # line and paragraph separators, which some readers break lines at
    "\u2029",
    "\u200b",  # what nobody sees, and what turns the direction of writing
    "\u202e",
    "\u2066",
    "\ufeff",
    "\ufffe",
    "\ud800",  # half of a pair
    "\udfff",
    "\x1b[2J\x1b[1;1H",  # clear the screen; set the title; a link; answer as if typed
    "\x1b]0;owned\x07",
    "\x1b]8;;http://x\x1b\\",
    "\x1bP$q\x1b\\",
    '\r\n{"level": "info", "event": "service.started"}',  # a line of ours
    "\n2026-11-24T09:00:00.000000Z info     service.started",
    '"}, {"event": "service.stopped", "a": "',
]

HEC_TOKEN = "SENTINEL-hec-5e4f3c1a-0000-4000-8000-00000000beef"
BEARER_TOKENS = ["SENTINEL-bearer-one-0123456789abcdef", "SENTINEL-bearer-two-0123456789abcdef"]
WRONG_TOKEN = "SENTINEL-bearer-wrong-0123456789abcdef"
PASSWORD = "SENTINEL-argv-password"
SENTINEL = b"SENTINEL"
"""Is in every secret, and nowhere else."""

ARGV = "MARKER-argv"
"""Is in every command line: no secret, but nobody's business at the port of metrics, and in the log."""

COMMAND_LINES = [
    f"bash -c {ARGV} --password={PASSWORD}",
    f"bash -c {ARGV} --password {PASSWORD} -x",
    f"bash -c {ARGV} mysql -uroot -p{PASSWORD} db",
    f"bash -c {ARGV} curl -su me:{PASSWORD} https://h",
    f"bash -c {ARGV} curl -H Authorization: Bearer {PASSWORD} https://h",
    f"bash -c {ARGV} git clone https://me:{PASSWORD}@h/x",
    f"bash -c {ARGV} PGPASSWORD={PASSWORD} AWS_SECRET_ACCESS_KEY={PASSWORD} psql",
    f'bash -c {ARGV} sh -c "sh -c \'TOKEN=\\"{PASSWORD} {PASSWORD}\\" x\'"',
    f"bash -c {ARGV} echo {PASSWORD} | sudo -S id",
    f"bash -c {ARGV} x?a=1&api_key={PASSWORD}&b=2 token={PASSWORD} " + "y" * 3000,
    f"bash -c {ARGV} " + "z" * 2030 + f" --password={PASSWORD}",
    f"bash -c {ARGV} 😀 \x1b[2J PASSWORD={PASSWORD}\x1b[1m\n",
]


def as_bytes(text: str) -> bytes:
    """As a kernel hands it on: lone surrogates in bytes that are no UTF-8."""
    return text.encode("utf-8", "surrogatepass")
