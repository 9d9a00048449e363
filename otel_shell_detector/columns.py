"""Columns with a head, for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from otel_shell_detector.kinds import one_line

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


def columns(
    head: Sequence[str], rows: Sequence[Sequence[object]], bodies: Sequence[str | None] = ()
) -> Iterator[str]:
    """Lines: columns, those whose head ends with > to the right; below a row its body, if it has one."""
    cells = [[one_line(str(cell)) for cell in row] for row in rows]
    names = [name.removesuffix(">") for name in head]
    widths = [max(len(line[column]) for line in (names, *cells)) for column in range(len(head))]

    def line(row: Sequence[str]) -> str:
        parts = (
            cell.rjust(width) if name.endswith(">") else cell.ljust(width)
            for cell, width, name in zip(row, widths, head, strict=True)
        )
        return "  ".join(parts).rstrip() + "\n"

    yield line(names)
    for number, row in enumerate(cells):
        yield line(row)
        body = bodies[number] if bodies else None
        if body is not None:
            yield f"    {one_line(body)}\n"
