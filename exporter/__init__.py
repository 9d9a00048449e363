"""Findings out: risk events as HEC bytes, the sinks that take them, the exposition of metrics."""
