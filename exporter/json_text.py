"""JSON text of single values: the same value gives the same bytes, and no text exceeds its budget.

The standard encoder is not used for whole events: it has no exact decimals, no bound on what escaping makes
of a hostile string (a control character takes six bytes), and it lets pass what a terminal obeys.
"""

import math
import re
from json.encoder import encode_basestring
from typing import Final

_NANOSECONDS: Final = 1_000_000_000

_OBEYED: Final = re.compile("[\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff]")
"""What ``encode_basestring`` leaves as it is though terminals and viewers act on it: DEL, C1 controls (0x9b
starts an escape sequence), line separators, and the marks that reorder text. argv is the attacker's to
write."""


def text(value: str) -> str:
    """A JSON string with its quotes. Lone surrogates, which have no UTF-8, become visible escapes."""
    clean = value.encode("utf-8", "backslashreplace").decode("utf-8")
    return _OBEYED.sub(lambda found: f"\\u{ord(found[0]):04x}", encode_basestring(clean))


def size(value: str) -> int:
    """Bytes that :func:`text` takes, quotes included."""
    return len(text(value).encode())


def clip(value: str, budget: int, mark: str = "…") -> str:
    """The longest prefix of ``value`` whose JSON text has at most ``budget`` bytes.

    ``mark`` is appended to what was cut, within the budget.
    """
    if len(value) <= budget and size(value) <= budget:
        return value
    low, high = 0, min(len(value), budget)  # a character takes at least a byte
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if size(value[:middle] + mark) <= budget else (low, middle - 1)
    return value[:low] + mark


def seconds(time_ns: int) -> str:
    """Nanoseconds as a JSON number of seconds: three decimals (Splunk's ``<sec>.<ms>``) to nine, exact.

    Nothing is rounded, so equal times are equal text here and in the collector's own output. A reader that
    holds the number in a double, as Splunk's ``_time`` and most JSON parsers do, keeps a quarter of a
    microsecond.
    """
    whole, fraction = divmod(abs(time_ns), _NANOSECONDS)
    digits = f"{fraction:09d}".rstrip("0").ljust(3, "0")
    return f"{'-' if time_ns < 0 else ''}{whole}.{digits}"


def number(value: float | None) -> str | None:
    """A finite float in its shortest exact form; ``None`` for what JSON cannot say."""
    return None if value is None or not math.isfinite(value) else repr(float(value))


def flag(*, value: bool) -> str:
    """A JSON boolean."""
    return "true" if value else "false"
