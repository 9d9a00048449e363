"""Findings and settings with whatever somebody can put into them."""

from hypothesis import strategies as st

from detector.types import CloseReason, CommandLine, Evidence, Finding, Kind, NodeId, ShellId, Span
from exporter.settings import EventSettings

hostile = st.text(
    st.one_of(
        st.characters(),
        st.sampled_from(list('\x00\x07\x1b\x9b\n\r"\\/\u2028\u202e\ufeff😀$')),
        st.characters(categories=["Cs", "Cc", "Cf"]),
    ),
    max_size=300,
)
long_hostile = st.builds(lambda text, times: (text * times)[:5000], hostile, st.integers(1, 400))
times = st.integers(-(2**63), 2**63)
means = st.none() | st.floats()
lines = st.none() | st.builds(
    lambda text, cut: CommandLine(text[:2048], len(text), "f" * 64 if cut else ""),
    long_hostile,
    st.booleans(),
)
findings = st.builds(
    Finding,
    event_id=st.uuids().map(str),
    session_id=st.uuids().map(str),
    kind=st.sampled_from(Kind),
    shell=st.builds(
        ShellId,
        node=st.builds(NodeId, long_hostile, long_hostile),
        host=long_hostile,
        pid=times,
        start_ns=times,
        name=long_hostile,
    ),
    incarnation=st.integers(0, 2**40),
    ordinal=st.integers(0, 2**40),
    span=st.builds(Span, times, times, times, times, times, means, means, means),
    first_seen_ns=times,
    last_seen_ns=times,
    envelope_ns=times,
    evidence=st.builds(Evidence, times, st.none() | times, long_hostile, long_hostile, lines),
    reason=st.none() | st.sampled_from(CloseReason),
    partial=st.booleans(),
)
settings_of_events = st.builds(
    EventSettings,
    risk_name=st.sampled_from(["X", "n" * 128]),
    message=st.sampled_from(["$host$" * 42, "é" * 256]),
    source=st.sampled_from(["", "s" * 256]),
    sourcetype=st.just("t" * 128),
    index=st.sampled_from(["", "i" * 128]),
)
