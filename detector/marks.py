"""The mark of an identity: up to where its findings were told.

After an unclean stop the log is read again through the detector, which decides again what it had decided. The
row of an identity is written in the transaction of its events, so it says which of them are in the outbox.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from detector.types import Kind

if TYPE_CHECKING:
    from detector.types import Finding, SessionRow


def is_told(finding: Finding, row: SessionRow | None) -> bool:
    """Whether the remembered row covers a finding's (incarnation, kind, ordinal)."""
    if row is None or finding.incarnation > row.incarnation:
        return False
    if finding.incarnation < row.incarnation or finding.kind is Kind.OPENED:
        return True
    # The close of an incarnation is its last finding.
    return row.reason is not None or (finding.kind is Kind.ONGOING and finding.ordinal <= row.emitted)
