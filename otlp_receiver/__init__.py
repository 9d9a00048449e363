"""Bytes in, samples out: the OTLP/gRPC transport, frame selection on the wire, decoding."""
