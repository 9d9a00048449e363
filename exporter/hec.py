"""The sink that matters: Splunk's HTTP Event Collector (``/services/collector/event``).

One request carries one batch of one lane. What the answer means stands in :mod:`exporter.hec_answers`; when
to come again is the caller's business (:mod:`exporter.lanes`). With acknowledgement (``exporter.hec.ack``) a
batch is done when the indexers have it, not when the collector took it; until then it is *in flight* and
further batches may follow.
"""

import gzip
import json
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from detector.events import Lane, Outcome, Queued, Settlement
from exporter import hec_answers
from exporter.answers import Action, Row
from exporter.bounded_http import HttpClient, Reply, Unreachable
from exporter.hec_acks import Acks
from exporter.settings import HecSettings
from exporter.sink import Delivery, Directive, within
from exporter.token_file import TokenError, TokenFile, without
from telemetry import events, metrics

EVENT_PATH: Final = "/services/collector/event"
ACK_PATH: Final = "/services/collector/ack"
_DETAIL_LIMIT: Final = 200


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of a request: the row that it matches and what the reply says.

    ``body`` is ``None`` without a reply, ``{}`` if that is no JSON object.
    """

    row: Row
    status: int | None = None
    code: int | None = None
    body: dict[str, object] | None = None
    after_s: float | None = None
    detail: str = ""

    @property
    def said(self) -> str:
        """The answer for a person."""
        if self.status is None:
            return self.detail
        code = "no code" if self.code is None else f"code {self.code}"
        return f"status {self.status}, {code}: {self.detail}"


class HecSink:
    """See :class:`exporter.sink.Sink`.

    ``clock`` gives seconds that never go back, ``wall`` seconds since the epoch. Raises :class:`ValueError`
    if the CA file cannot be loaded; the token file is looked at with every request only.
    """

    name: Final = "hec"

    def __init__(self, settings: HecSettings, clock: Callable[[], float], wall: Callable[[], float]) -> None:
        self._settings = settings
        self._clock = clock
        self._wall = wall
        self._base = settings.url.rstrip("/")
        self._channel = settings.channel or str(uuid.uuid4())
        self._token = TokenFile(settings.token_file)
        self._acks = Acks(settings.ack_timeout_s)
        self._poll_at = 0.0
        self._client = HttpClient(
            proxy_url=settings.proxy_url, tls=settings.tls, timeout_s=settings.request_timeout_s, clock=clock
        )
        if settings.tls.insecure_skip_verify:
            events.EXPORTER_TLS_UNVERIFIED(url=self._base)

    def send(self, lane: Lane, batch: Sequence[Queued]) -> Delivery:
        """See :class:`exporter.sink.Sink`. Blocks for one request, in acknowledgement mode for two."""
        trouble = self._poll(lane)
        done = tuple(Outcome(q.sequence, Settlement.DONE) for q in self._acks.take_confirmed(lane))
        if trouble:
            return replace(trouble, outcomes=done)
        chosen = self._acks.overdue(lane) or ()
        if not chosen and not self._acks.full(lane):
            in_flight = self._acks.in_flight(lane) | {outcome.sequence for outcome in done}
            new = [queued for queued in batch if queued.sequence not in in_flight]
            chosen = within(new, self._settings.max_batch_bytes)
        if not chosen:
            return Delivery(done, after_s=self._settings.ack_poll_s)
        delivery = self._post(lane, chosen)
        return replace(delivery, outcomes=done + delivery.outcomes)

    def in_flight(self, lane: Lane) -> int:
        """Events that were accepted and not acknowledged yet."""
        return len(self._acks.in_flight(lane))

    def close(self) -> None:
        """Close the connections. Safe to repeat."""
        self._client.close()

    def _post(self, lane: Lane, batch: tuple[Queued, ...]) -> Delivery:
        """Send one batch and say what became of it."""
        # Objects stacked one after the other; the line ends are white space to Splunk and help who splits
        # lines.
        body = b"\n".join(queued.event.body for queued in batch)
        metrics.EXPORTER_BATCH.labels(sink=self.name).observe(len(body))
        answer = self._request(EVENT_PATH, body)
        action = answer.row.action
        if action is Action.ACCEPTED:
            return self._accepted(lane, batch, answer)
        if action in {Action.INVALID, Action.TOO_LARGE}:
            self._acks.forget_overdue(lane)  # it must be made up anew, without what is dead, or smaller
            victim = _victim(answer, batch)
            if victim is not None:
                self._log(lane, answer, events.EXPORTER_DEAD_LETTER, event_id=victim.event.event_id)
                dead = Outcome(victim.sequence, Settlement.DEAD, answer.row.label)
                return Delivery(
                    (dead,), Directive.REFUSED, answer.row.label, tried=len(batch), said=answer.said
                )
        self._log(lane, answer, answer.row.log)
        return Delivery(
            (), answer.row.directive, answer.row.label, answer.after_s, len(batch), said=answer.said
        )

    def _accepted(self, lane: Lane, batch: tuple[Queued, ...], answer: Answer) -> Delivery:
        label = answer.row.label
        if self._settings.ack:
            ack_id = _integer(answer.body, "ackId")
            if ack_id is not None:
                self._forgotten(lane, answer, self._acks.sent(lane, batch, ack_id, self._clock()))
                self._log(lane, answer, answer.row.log)
                return Delivery(
                    result=label, after_s=self._settings.ack_poll_s, tried=len(batch), said=answer.said
                )
            # It was accepted. Sending it again for want of an id would count its risk twice.
            self._acks.forget_overdue(lane)
            metrics.EXPORTER_ACKS.labels(result="missing").inc()
            self._log(lane, answer, events.EXPORTER_ACK_MISSING)
        self._log(lane, answer, answer.row.log)
        done = tuple(Outcome(queued.sequence, Settlement.DONE) for queued in batch)
        return Delivery(done, result=label, tried=len(batch), said=answer.said)

    def _forgotten(self, lane: Lane, answer: Answer, batches: int) -> None:
        if batches:
            metrics.EXPORTER_ACKS.labels(result="forgotten").inc(batches)
            self._log(lane, answer, events.EXPORTER_ACK_FORGOTTEN, batches=batches)

    def _poll(self, lane: Lane) -> Delivery | None:
        """Ask for acknowledgements if it is time; ``None`` unless the request failed."""
        now = self._clock()
        ids = self._acks.ids()
        if ids and now >= self._poll_at:
            self._poll_at = now + self._settings.ack_poll_s
            answer = self._request(f"{ACK_PATH}?channel={self._channel}", json.dumps({"acks": ids}).encode())
            acks = (answer.body or {}).get("acks")
            if answer.row in hec_answers.CHANNEL_UNKNOWN:
                # A restart. The channel comes to be with the next events; to pause here would keep them back.
                self._forgotten(lane, answer, self._acks.lose())
            elif answer.status != 200 or not isinstance(acks, dict):  # noqa: PLR2004  # HTTP's own
                # The other rows say the same of a poll as of events; these speak of events that it has not.
                if answer.row.action in {Action.ACCEPTED, Action.INVALID, Action.TOO_LARGE}:
                    answer = replace(answer, row=hec_answers.ACK_REPLY_UNREADABLE)
                self._log(lane, answer, answer.row.log)
                return Delivery((), answer.row.directive, answer.row.label, answer.after_s, said=answer.said)
            else:
                confirmed = self._acks.confirm(int(k) for k, v in acks.items() if v is True and k.isdecimal())
                metrics.EXPORTER_ACKS.labels(result="confirmed").inc(confirmed)
        if expired := self._acks.expire(now):
            metrics.EXPORTER_ACKS.labels(result="timed_out").inc(expired)
            events.EXPORTER_ACK_TIMED_OUT(sink=self.name, batches=expired)
        return None

    def _request(self, path: str, body: bytes) -> Answer:
        try:
            token = self._token.read()
        except TokenError as error:
            return Answer(hec_answers.TOKEN_UNREADABLE, detail=str(error))
        headers = {"Authorization": f"Splunk {token}", "Content-Type": "application/json"}
        if self._settings.ack:
            headers["X-Splunk-Request-Channel"] = self._channel
        if self._settings.gzip:
            headers["Content-Encoding"] = "gzip"
            body = gzip.compress(body, compresslevel=6, mtime=0)
        try:
            reply = self._client.post(self._base + path, body, headers)
        except Unreachable as error:
            answer = Answer(hec_answers.UNREACHABLE[error.label], detail=str(error))
        else:
            answer = _answer(reply, self._wall())
        # A server, or what poses as one, may echo what it was sent, in a status line as well as in a body.
        return replace(answer, detail=without(token, answer.detail)[:_DETAIL_LIMIT])

    def _log(self, lane: Lane, answer: Answer, log: events.LogEvent, **more: object) -> None:
        log(
            sink=self.name,
            lane=lane,
            result=answer.row.label,
            status=answer.status,
            code=answer.code,
            detail=answer.detail,
            **more,
        )


def _answer(reply: Reply, wall_s: float) -> Answer:
    """Interpret a reply."""
    try:
        body = json.loads(reply.body or b"")
    except (ValueError, RecursionError):  # not JSON, or JSON that nests without end
        body = None
    if not isinstance(body, dict):
        body = {}
    code = _integer(body, "code")
    detail = body.get("text")
    if not isinstance(detail, str):
        detail = (
            "the reply is too long" if reply.body is None else reply.body.decode("utf-8", "backslashreplace")
        )
    after_s = hec_answers.retry_after_s(reply.retry_after, wall_s)
    return Answer(hec_answers.classify(reply.status, code), reply.status, code, body, after_s, detail)


def _integer(body: dict[str, object] | None, key: str) -> int | None:
    """An integer of a reply; ``None`` for anything else (JSON's true is Python's 1)."""
    value = (body or {}).get(key)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _victim(answer: Answer, batch: Sequence[Queued]) -> Queued | None:
    """The event that is refused for good, if that is known: the one that the server names, or the only one.

    ``invalid-event-number`` counts from 0. A number that names no event of the batch names none.
    """
    if answer.row.action is Action.INVALID:
        number = _integer(answer.body, "invalid-event-number")
        if number is not None and 0 <= number < len(batch):
            return batch[number]
    return batch[0] if len(batch) == 1 else None
