"""The tables of ``make bench``."""

GZIP="gzip"
ENCODINGS=("none", GZIP)
SHELLS=(0,2,30)
def render(results): return ""
