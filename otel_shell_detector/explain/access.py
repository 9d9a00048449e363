"""Where ``explain`` asks without captures: the service that runs or, if none does, the state it left."""

from __future__ import annotations

import dataclasses
import time
from typing import TYPE_CHECKING

from detector.detector import NodeFailed
from otel_shell_detector import wiring
from otel_shell_detector.bench import first_seen
from otel_shell_detector.explain.inside import Inside
from otel_shell_detector.explain.stored import explain_state
from otel_shell_detector.operations import SOCKET
from otel_shell_detector.outbox_access import ANSWER_S, CannotAskError, ask_service, open_store
from otel_shell_detector.policies.file import load
from otel_shell_detector.recovery import look_into
from store.seams import StoreError

if TYPE_CHECKING:
    from otel_shell_detector.configuration import Settings
    from otel_shell_detector.explain.asked import Asked
    from otel_shell_detector.explain.document import Json
    from store.seams import Store


def ask(settings: Settings, asked: Asked) -> Json:
    """The document. Raises :class:`CannotAskError` and :class:`NotFoundError`."""
    wanted = {key: value for key, value in dataclasses.asdict(asked).items() if value is not None}
    reply = ask_service(settings.state.path / SOCKET, {"ask": "explain", **wanted}, ANSWER_S)
    if reply is not None:
        return {"from": "service", **reply}
    store = open_store(settings.state)
    try:
        inside = _inside(settings, store)
        return {"from": "state", **explain_state(asked, lambda work: work(inside))}
    except NodeFailed as failure:
        raise CannotAskError(
            f"{settings.state.path}: the state of node {failure} cannot be read again; the next start sets "
            "it aside"
        ) from None
    except StoreError as error:
        raise CannotAskError(str(error)) from None
    finally:
        store.close()


def _inside(settings: Settings, store: Store) -> Inside:
    """What a service would begin with that started now."""
    bench, now_ns = wiring.bench(settings), time.time_ns()
    if settings.policy.path is not None:
        bench.adopt(load(settings.policy.path, now_ns, first_seen(store)))
    found = look_into(store, wiring.rules(settings), time.monotonic_ns)
    return Inside(store, found.detector, bench, found.service_ns, now_ns)
