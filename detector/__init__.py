"""The pure core: samples in, findings out; no I/O, no clock, no threads."""
