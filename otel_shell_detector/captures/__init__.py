"""Captures: what the collector's file exporter wrote, as the requests that it received."""

from otel_shell_detector.captures.formats import MAX_MESSAGE, Damaged, Item, OtherSignal, Request, requests
from otel_shell_detector.captures.source import CaptureError

__all__ = ["MAX_MESSAGE", "CaptureError", "Damaged", "Item", "OtherSignal", "Request", "requests"]
