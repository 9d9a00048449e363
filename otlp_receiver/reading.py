"""What a request says: bytes in, records out. Pure: no clock, no network, no threads; ``replay`` uses it too.

    bytes --find_first--> where watched values are
      `---find_frames---> where the frames lie --hits_of--> the few that may be watched --decode--> samples
                            `-----------find_progress--> what the others say of their nodes
                            `-----------Relatives-------> the few that explain a watched one

What is promised: for a request that parses, with tags and lengths minimally encoded as every known encoder
does, the samples are exactly those of a full parse. Frames that hold no watched value are not validated.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from detector.types import NodeId, Record
from otlp_receiver import resource
from otlp_receiver.decode import Tally, decode_safely
from otlp_receiver.progress import find_progress
from otlp_receiver.relatives import NOTHING_KNOWN, Hit, Known, Relatives
from otlp_receiver.wire import (
    MalformedRequest,
    TooManyResources,
    UnreadableRequest,
    find_first,
    find_frames,
    hits_of,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from otlp_receiver.selection import Selection

__all__ = [
    "NOTHING_KNOWN",
    "MalformedRequest",
    "Reading",
    "TooManyResources",
    "UnreadableRequest",
    "read_request",
]


@dataclass(frozen=True, slots=True)
class Reading:
    """What one request says.

    ``records``: one for each node, in order of first appearance; their samples are in wire order, and each
    has the time of the node's first process frame (:mod:`otlp_receiver.progress`) even if that frame gave a
    sample too. ``rejected``: data points of watched frames that could not be interpreted, by
    :class:`~otlp_receiver.decode.Reject`. ``text_replaced``: how many values were not UTF-8, by attribute,
    in frames that gave samples. ``frames``: all of the request; ``hit_frames``: those decoded;
    ``empty_frames``: those of watched processes without a number data point. ``unknown_clusters``: nodes
    without a cluster. ``errors``: frames that met a defect of this program, by class of exception.
    """

    records: tuple[Record, ...] = ()
    rejected: Mapping[str, int] = field(default_factory=dict)
    text_replaced: Mapping[str, int] = field(default_factory=dict)
    frames: int = 0
    hit_frames: int = 0
    empty_frames: int = 0
    unknown_clusters: int = 0
    errors: Mapping[str, int] = field(default_factory=dict)


def read_request(body: bytes, selection: Selection, known: Known = NOTHING_KNOWN) -> Reading:
    """Read a serialized ``ExportMetricsServiceRequest``.

    ``known`` says for which shells no ancestors need be looked for, and which processes must.
    Raises :class:`MalformedRequest` if its top level is not protobuf, and :class:`TooManyResources`, before
    anything is allocated for the frames beyond ``selection.max_resources``.
    """
    # The search goes first: it brings the bytes from memory in their order, as fast as that is possible. The
    # walk over the frames jumps.
    found = find_first(body, selection.needles)
    frames = find_frames(body, selection.max_resources)
    hits = hits_of(body, frames, found)
    tally = Tally()
    samples: dict[NodeId, list[Hit]] = {}
    first_seen: dict[NodeId, int] = {}
    for index in hits:
        decoded = decode_safely(body[frames.starts[index] : frames.ends[index]], selection, tally)
        if decoded is not None:
            node, of_frame = decoded
            first_seen.setdefault(node, index)
            samples.setdefault(node, []).extend(Hit(index, sample) for sample in of_frame)
    progress = find_progress(body, frames, selection.cluster_name)
    for node, of_node in progress.items():
        first_seen[node] = min(of_node.index, first_seen.get(node, of_node.index))
    relatives = Relatives(body, frames, selection, known)
    records = tuple(
        Record(
            node=node,
            samples=tuple(hit.sample for hit in samples.get(node, ())),
            probe_times_ns=(progress[node].time_ns,) if node in progress else (),
            init_start_ns=progress[node].init_start_ns if node in progress else 0,
            processes=relatives.find(node, samples.get(node, ()), first_seen[node]),
            signs=progress[node].signs if node in progress else 0,
        )
        for node in sorted(first_seen, key=first_seen.__getitem__)
    )
    return Reading(
        records=records,
        rejected=dict(tally.rejected),
        text_replaced=dict(tally.text_replaced),
        frames=len(frames.starts),
        hit_frames=len(hits),
        empty_frames=tally.empty_frames,
        unknown_clusters=sum(node.cluster == resource.UNKNOWN_CLUSTER for node in first_seen),
        errors=dict(tally.errors),
    )
