"""What an operator may ask of a store, as JSON objects: a request, and the reply to it.

A running service answers on its control socket (:mod:`otel_shell_detector.control`); while none runs, the
command (:mod:`otel_shell_detector.outbox`) asks the store that it opened itself the same. So there is one
meaning of each request.

``ask`` names it; the keys beside it are those of its row in ``_OPERATIONS``, each optional unless it says
otherwise. In a running service the core does nothing else meanwhile, so one request looks at a bounded piece
of the store, and a longer list is asked for page by page.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple, Protocol, TypeVar

from detector.events import Lane
from otel_shell_detector.explain.asked import Asked, NotFoundError
from otel_shell_detector.explain.stored import explain_state
from otel_shell_detector.kinds import show

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from otel_shell_detector.explain.inside import Inspect
    from store.seams import DeadLetter, Store

SOCKET: Final = "control.sock"
"""The name of the control socket in the state directory."""
MOST_NUMBERS: Final = 1_000
"""Dead letters that one request may name."""
MOST_WAITING: Final = 1_000
"""How far into a lane one may look: an outbox gives the first of a lane, so all before are read too."""
HIGHEST: Final = 2**63 - 1
"""The highest number that a store may give."""
_PAGE_LETTERS: Final = 100
_PAGE_BYTES: Final = 256 << 10
"""A page ends with the letter or event that exceeds it. Letters are read one by one, for a single one may
have the size of a request."""
_SHOWN_BYTES: Final = 64 << 10
"""What is shown of a body. Events are far smaller, so only stored records are ever cut."""

_Answer = TypeVar("_Answer")
Reply = dict[str, object]


class StoreCall(Protocol):
    """Runs work with the store in the thread that owns it, and gives what it returns.

    The work raises nothing but :class:`store.seams.StoreError`, for anything else would end that thread.
    """

    def __call__(self, work: Callable[[Store], _Answer], /) -> _Answer:
        """Run it. Raises what the work raises, and what says that the store cannot be reached."""
        ...


class RefusedError(Exception):
    """A request that is not understood or must not be done; the message says why. Nothing was changed."""


class _Request:
    """The keys beside ``ask``, read with the type that each must have."""

    def __init__(self, fields: Mapping[str, object]) -> None:
        self._fields = fields

    def whole(self, key: str, lowest: int, highest: int, default: int) -> int:
        return _whole(key, self._fields.get(key, default), lowest, highest)

    def flag(self, key: str) -> bool:
        value = self._fields.get(key, False)
        if not isinstance(value, bool):
            raise RefusedError(f"{key}: got {show(value)}; want true or false")
        return value

    def lane(self) -> Lane | None:
        value = self._fields.get("lane")
        if value is None:
            return None
        if not isinstance(value, str) or value not in set(Lane):
            raise RefusedError(f"lane: got {show(value)}; want {', '.join(Lane)}")
        return Lane(value)

    def one_lane(self) -> Lane:
        lane = self.lane()
        if lane is None:
            raise RefusedError(f"lane: got nothing; want {', '.join(Lane)}")
        return lane

    def numbers(self) -> list[int] | None:
        """``None`` stands for all and must be said: a forgotten key must not delete everything."""
        value = self._fields.get("numbers", "nothing")
        if value is None:
            return None
        if not isinstance(value, list) or not 0 < len(value) <= MOST_NUMBERS:
            raise RefusedError(f"numbers: want null, or a list of 1 to {MOST_NUMBERS} numbers")
        return sorted({_whole("numbers", each, 1, HIGHEST) for each in value})


def _whole(key: str, value: object, lowest: int, highest: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not lowest <= value <= highest:
        # Not quoted: an integer of JSON may have thousands of digits.
        raise RefusedError(f"{key}: want a whole number from {lowest} to {highest}")
    return value


class _Operation(NamedTuple):
    keys: frozenset[str]
    run: Callable[[_Request, StoreCall], Reply]


def answer(request: Mapping[str, object], call: StoreCall, inspect: Inspect | None = None) -> Reply:
    """Do what is asked and give the reply; without ``inspect`` nothing is explained.

    Raises :class:`RefusedError`, :class:`store.seams.StoreError` and what ``call`` raises.
    """
    fields = dict(request)
    name = fields.pop("ask", None)
    operation = _OPERATIONS.get(name) if isinstance(name, str) else None
    if name == _EXPLAIN and inspect is not None:
        return _explain(fields, inspect)
    if operation is None:
        names = [*_OPERATIONS, *([] if inspect is None else [_EXPLAIN])]
        raise RefusedError(f"ask: got {show(name)}; want {', '.join(names)}")
    if stray := fields.keys() - operation.keys:
        want = ", ".join(sorted(operation.keys)) or "nothing beside it"
        raise RefusedError(f"{name}: got {show(min(stray))}; want {want}")
    return operation.run(_Request(fields), call)


def _counts(_request: _Request, call: StoreCall) -> Reply:
    """``{"waiting": {lane: events}, "dead": [{"origin", "reason", "letters"}]}``."""
    waiting, dead = call(lambda store: (dict(store.backlog()), dict(store.count_dead_letters())))
    return {
        "waiting": {str(lane): waiting.get(lane, 0) for lane in Lane},
        "dead": [
            {"origin": origin, "reason": reason, "letters": letters}
            for (origin, reason), letters in sorted(dead.items())
        ],
    }


def _dead(request: _Request, call: StoreCall) -> Reply:
    """A page of dead letters above a number, oldest first: ``{"items": [...], "after": N}``.

    ``after`` of the reply asks for the next page; null if there is none.
    """
    after, bodies = request.whole("after", 0, HIGHEST, 0), request.flag("bodies")
    lane = request.lane()
    letters, more = call(lambda store: _read_letters(store, after))
    chosen = [letter for letter in letters if lane is None or letter.origin == lane]
    return {
        "items": [_letter(letter, bodies=bodies) for letter in chosen],
        "after": letters[-1].number if more else None,
    }


def _read_letters(store: Store, after: int) -> tuple[list[DeadLetter], bool]:
    letters: list[DeadLetter] = []
    read = 0
    while len(letters) < _PAGE_LETTERS and read < _PAGE_BYTES:
        found = store.dead_letters(1, after)
        if not found:
            return letters, False
        letters.extend(found)
        after = letters[-1].number
        read += len(letters[-1].body)
    return letters, True


def _letter(letter: DeadLetter, *, bodies: bool) -> Reply:
    shown: Reply = {
        "number": letter.number,
        "origin": letter.origin,
        "reason": letter.reason,
        "at_ns": letter.at_ns,
        "event_id": letter.event_id,
        "size": len(letter.body),
    }
    return shown | _body(letter.body, wanted=bodies)


def _body(body: bytes, *, wanted: bool) -> Reply:
    return {"body": body[:_SHOWN_BYTES].decode(errors="backslashreplace")} if wanted else {}


def _waiting(request: _Request, call: StoreCall) -> Reply:
    """A page of the first ``limit`` events of a lane above a number, as those of :func:`_dead`."""
    lane, bodies = request.one_lane(), request.flag("bodies")
    after = request.whole("after", 0, HIGHEST, 0)
    limit = request.whole("limit", 1, MOST_WAITING, MOST_WAITING)
    items: list[Reply] = []
    read = 0
    for queued in call(lambda store: store.take(lane, limit)):
        if queued.sequence <= after:
            continue
        if read >= _PAGE_BYTES:
            return {"items": items, "after": items[-1]["number"]}
        event = queued.event
        size = len(event.body)
        items.append(
            {"number": queued.sequence, "lane": str(lane), "event_id": event.event_id, "size": size}
            | _body(event.body, wanted=bodies)
        )
        read += size if bodies else 0
    return {"items": items, "after": None}


def _requeue(request: _Request, call: StoreCall) -> Reply:
    """Events among the dead letters go to the end of their lanes, all that are named or none."""
    numbers = request.numbers()

    def work(store: Store) -> int | str:
        complaint = _missing(store, numbers) or _no_event(store, numbers)
        return complaint or store.requeue(numbers)

    return _count(call(work))


def _purge(request: _Request, call: StoreCall) -> Reply:
    """Dead letters are deleted, all that are named or none; with ``sure`` false they are only counted."""
    numbers, sure = request.numbers(), request.flag("sure")

    def work(store: Store) -> int | str:
        if complaint := _missing(store, numbers):
            return complaint
        if sure:
            return store.purge(numbers)
        return sum(store.count_dead_letters().values()) if numbers is None else len(numbers)

    return _count(call(work))


def _purge_waiting(request: _Request, call: StoreCall) -> Reply:
    """Every event that waits in a lane is deleted; with ``sure`` false they are only counted."""
    lane, sure = request.one_lane(), request.flag("sure")
    return _count(call(lambda store: store.purge_backlog(lane) if sure else store.backlog().get(lane, 0)))


def _count(done: int | str) -> Reply:
    if isinstance(done, str):
        raise RefusedError(done)
    return {"count": done}


def _missing(store: Store, numbers: Sequence[int] | None) -> str:
    for number in numbers or ():
        if _find(store, number) is None:
            return f"no dead letter has the number {number}; nothing was changed"
    return ""


def _no_event(store: Store, numbers: Sequence[int] | None) -> str:
    for number in numbers or ():
        letter = _find(store, number)
        if letter is not None and not letter.event_id:
            return (
                f"dead letter {number} is no event (origin {letter.origin}, reason {letter.reason}) and "
                "cannot be sent; nothing was changed"
            )
    return ""


def _find(store: Store, number: int) -> DeadLetter | None:
    return next((each for each in store.dead_letters(1, number - 1) if each.number == number), None)


def _explain(fields: Mapping[str, object], inspect: Inspect) -> Reply:
    """The document that ``explain`` prints of an ``id``, or of a ``pid`` (and ``node``)."""
    try:
        return explain_state(_asked_for(fields), inspect)
    except NotFoundError as error:
        raise RefusedError(str(error)) from None


def _asked_for(fields: Mapping[str, object]) -> Asked:
    asked, pid, node = fields.get("id"), fields.get("pid"), fields.get("node")
    if isinstance(asked, str) and fields.keys() == {"id"}:
        return Asked(id=asked)
    if not fields.keys() <= {"pid", "node"} or not (node is None or isinstance(node, str)):
        raise RefusedError("explain: want id, or pid and perhaps node")
    return Asked(pid=_whole("pid", pid, 0, HIGHEST), node=node)


_EXPLAIN: Final = "explain"
_OPERATIONS: Final = {
    "counts": _Operation(frozenset(), _counts),
    "dead": _Operation(frozenset({"after", "lane", "bodies"}), _dead),
    "waiting": _Operation(frozenset({"lane", "after", "limit", "bodies"}), _waiting),
    "requeue": _Operation(frozenset({"numbers"}), _requeue),
    "purge": _Operation(frozenset({"numbers", "sure"}), _purge),
    "purge_waiting": _Operation(frozenset({"lane", "sure"}), _purge_waiting),
}
