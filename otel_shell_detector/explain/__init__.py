"""``explain``: why a shell was told, or was not: with which evidence, and why with that score.

Start with :mod:`otel_shell_detector.explain.command`; ``docs/explain.md`` tells operators about it.
"""
