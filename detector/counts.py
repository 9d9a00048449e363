"""What the detector counts. Every discard has a name here; the pipeline turns names into metrics."""

from __future__ import annotations

import enum


class Count(enum.StrEnum):
    """Something that happened to points, windows, starts, shells or nodes."""

    POINT_NEGATIVE = "point_negative"
    """Left out: a reused pid's first CPU point has the dead process's time subtracted."""
    POINT_NAN = "point_nan"
    POINT_INFINITE = "point_infinite"
    POINT_OUT_OF_RANGE = "point_out_of_range"
    """Left out: above 1e12 no utilization is meant, and exact sums need a bound."""
    POINT_NO_RECORDED_VALUE = "point_no_recorded_value"
    POINT_NO_TIME = "point_no_time"
    """Left out: a point without a time belongs to no window."""
    POINT_LATE_CLOSED = "point_late_closed"
    """Changed nothing: its bin had closed surviving (a repetition), or its session had."""
    POINT_LATE_HORIZON = "point_late_horizon"
    """Changed nothing: older than the replay horizon."""
    POINT_WINDOW_CEILING = "point_window_ceiling"
    """Changed nothing: its node has as many open windows as a node may have."""
    POINT_UNTRACKED = "point_untracked"
    """Changed nothing: a shell beyond the ceiling that showed no evidence, or was told already."""
    POINT_CONFLICT = "point_conflict"
    """Kept, the larger value: two values for the same metric, state and time."""
    POINT_CPU_ABOVE_ONE = "point_cpu_above_one"
    """Kept: a state's share of one CPU second per second is above 1."""
    WINDOW_OPENED = "window_opened"
    WINDOW_SURVIVED = "window_survived"
    WINDOW_DROPPED = "window_dropped"
    """Closed without a positive point."""
    START_CORRECTED = "start_corrected"
    """A sample's start time was corrected because its node's boot time had shifted."""
    CLOCK_WENT_BACK = "clock_went_back"
    """A session's memory restarted because its node's clock went back by more than the replay horizon."""
    NODE_CEILING = "node_ceiling"
    """A record of a node beyond the ceiling on nodes: its shells are told, none is tracked."""
