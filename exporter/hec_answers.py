"""What a HEC server's answer means, as a table.

Codes are those of "Possible error codes" on Splunk's page *Troubleshoot HTTP Event Collector*; an answer is
looked up by (status, code), then by status, then by the status's class. Accepted is one row only: HTTP 200
with a JSON body whose code is 0. A load balancer's friendly page with status 200 is not that.

A code under another status than Splunk's says nothing: the status wins. Whoever is between us and Splunk
changes statuses or bodies, not both, and there is one thing that cannot be made good: an event that is given
up, or called done, on the word of a stranger. The row of a status keeps everything (413 aside, which gives up
only what is too large alone).

``docs/delivery.md`` shows this table; a test holds the two together.

The labels of the rows are metric labels and names in logs: renaming one is a breaking change.
"""

import re
from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Final

from exporter.answers import Action, Row

BY_CODE: Final[Mapping[tuple[int, int], Row]] = {
    (200, 0): Row("accepted", Action.ACCEPTED),
    (403, 1): Row("token_disabled", Action.PAUSE_SINK),
    (401, 2): Row("token_required", Action.PAUSE_SINK),
    (401, 3): Row("authorization_invalid", Action.PAUSE_SINK),
    (403, 4): Row("token_invalid", Action.PAUSE_SINK),
    # We never send an empty body: something on the way loses it, and it loses every event's.
    (400, 5): Row("no_data", Action.PAUSE_SINK),
    (400, 6): Row("event_invalid", Action.INVALID),
    (400, 7): Row("index_incorrect", Action.PAUSE_LANE),
    (500, 8): Row("server_error", Action.RETRY),
    (503, 9): Row("server_busy", Action.RETRY),
    (400, 10): Row("channel_missing", Action.PAUSE_SINK),  # the token wants acknowledgement: exporter.hec.ack
    (400, 11): Row("channel_invalid", Action.PAUSE_SINK),
    (400, 12): Row("event_field_missing", Action.INVALID),
    (400, 13): Row("event_field_blank", Action.INVALID),
    (400, 14): Row("ack_disabled", Action.PAUSE_SINK),
    (400, 15): Row("fields_invalid", Action.INVALID),
    (400, 16): Row("query_token_refused", Action.PAUSE_SINK),  # we send no token in a query; a proxy might
    # 17 to 22 are answers of the health endpoint; a gateway that checks health first passes them on.
    (200, 17): Row("health_only", Action.RETRY),  # healthy, but nobody says that the events were taken
    (503, 18): Row("queues_full", Action.RETRY),
    (503, 19): Row("ack_unavailable", Action.RETRY),
    (503, 20): Row("queues_full_ack_unavailable", Action.RETRY),
    (400, 21): Row("token_invalid", Action.PAUSE_SINK),
    (400, 22): Row("token_disabled", Action.PAUSE_SINK),
    (503, 23): Row("shutting_down", Action.RETRY),
}
BY_STATUS: Final[Mapping[int, Row]] = {
    200: Row("not_success", Action.RETRY),
    401: Row("unauthorized", Action.PAUSE_SINK),
    403: Row("forbidden", Action.PAUSE_SINK),
    404: Row("not_found", Action.PAUSE_SINK),
    405: Row("method_not_allowed", Action.PAUSE_SINK),
    408: Row("request_timeout", Action.RETRY),
    413: Row("too_large", Action.TOO_LARGE),
    429: Row("too_many_requests", Action.RETRY),
    503: Row("unavailable", Action.RETRY),
}
BY_CLASS: Final[Mapping[int, Row]] = {
    2: Row("not_success", Action.RETRY),
    # Not followed: the token would go to a host that nobody configured, and a POST may come back as a GET.
    3: Row("redirected", Action.PAUSE_SINK),
    4: Row("refused", Action.PAUSE_SINK),
    5: Row("server_error", Action.RETRY),
}
NOT_HTTP: Final = Row("not_success", Action.RETRY)
"""A status outside of 200 to 599."""

UNREACHABLE: Final[Mapping[str, Row]] = {
    label: Row(label, Action.RETRY)
    for label in (
        "timeout",
        "name_unresolved",
        "connection_refused",
        "tls_failed",
        "proxy_failed",
        "connection_lost",
    )
}
"""No answer at all, by :class:`exporter.bounded_http.Unreachable`."""

CHANNEL_UNKNOWN: Final = frozenset({BY_CODE[400, 10], BY_CODE[400, 11]})
"""As answers to a poll for acknowledgements: the server has forgotten the channel."""

ACK_REPLY_UNREADABLE: Final = Row("ack_reply_unreadable", Action.RETRY)
TOKEN_UNREADABLE: Final = Row("token_unreadable", Action.PAUSE_SINK)
"""Our own token file: nothing is sent without a token."""


def classify(status: int, code: int | None) -> Row:
    """The row of an answer. ``code`` is ``None`` if the body has none."""
    if code is not None and (row := BY_CODE.get((status, code))):
        return row
    return BY_STATUS.get(status) or BY_CLASS.get(status // 100) or NOT_HTTP


_DELTA_SECONDS: Final = re.compile(r"[0-9]{1,12}")


def retry_after_s(header: str | None, wall_s: float) -> float | None:
    """Seconds of a Retry-After header (RFC 9110 section 10.2.3): a number or a date; else ``None``.

    Not bounded here: whoever waits knows how long it can afford to.
    """
    if header is None:
        return None
    value = header.strip()
    if _DELTA_SECONDS.fullmatch(value):
        return float(value)
    try:
        when = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return None
    if when.tzinfo is None:  # "-0000": UTC, source unknown
        when = when.replace(tzinfo=UTC)
    return max(0.0, when.timestamp() - wall_s)
