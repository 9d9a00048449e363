from __future__ import annotations

import gzip
import zlib

from otel_shell_detector.captures.compression import whole_file
from otel_shell_detector.captures.content import Content


def test_gzip_that_is_cut_gives_every_byte_that_can_be_told() -> None:
    # 4 KiB and less of it are worth many pieces, so the end of a piece falls everywhere.
    data = gzip.compress(b"".join(b"%d" % (number // 5000) * 3 for number in range(120_000)), mtime=0)
    assert len(data) < 4096
    for cut in range(2, len(data)):
        content = whole_file(Content(iter([data[:cut]])))
        reference = zlib.decompressobj(wbits=31)
        expected = reference.decompress(data[:cut]) + reference.flush()
        assert content.take(1 << 22) == expected, cut
        assert content.broken == f"gzip is cut at byte {cut} of the file"
