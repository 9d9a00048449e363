"""What the rules of secrets share: the span of one, and where a value that a shell reads ends."""

import re
from typing import Final, NamedTuple


class Span(NamedTuple):
    """A secret: ``text[start:end]``, and the kind of rule that found it (a metric label)."""

    start: int
    end: int
    kind: str


# A value in closed quotes (`"a b"`, `$'a b'`; `\"a b\"` inside of other quotes), else up to white space that
# no backslash takes for the value. An unclosed quote is a character like any other: redacting to the end of
# the text would let `# token="` hide the rest of a script from the analyst.
VALUE: Final = re.compile(
    r"""(?:\$?(?:"(?:[^"\\]|\\.)*+"|'[^']*+')|\\"(?:[^\\]|\\(?!"))*+\\"|\\'(?:[^\\]|\\(?!'))*+\\'|(?:\\.|\S)++)""",
    re.DOTALL,
)
WORD: Final = re.compile(r"\S++")
