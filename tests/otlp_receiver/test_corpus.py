"""The requests that the fuzzer found worth keeping (``make fuzz``), through the checks that it makes."""

from __future__ import annotations

from pathlib import Path

import pytest

from fuzz.oracle import SELECTIONS, WrongReadingError, check
from fuzz.seeds import name_of
from otlp_receiver import decode
from otlp_receiver.reading import MalformedRequest, TooManyResources, read_request
from tests.otlp_receiver.captures import bare

CORPUS = sorted((Path(__file__).parent / "corpus").iterdir())


def test_the_corpus_is_kept() -> None:
    assert len(CORPUS) > 200
    assert [file.name for file in CORPUS] == [name_of(file.read_bytes()) for file in CORPUS]


@pytest.mark.parametrize("file", CORPUS, ids=lambda file: file.name[:8])
def test_what_the_fuzzer_found_reads_as_promised(file: Path) -> None:
    for selection in SELECTIONS:
        check(file.read_bytes(), selection)


def test_the_corpus_reaches_both_ends_of_every_check() -> None:
    ends = set()
    for file in CORPUS:
        body = file.read_bytes()
        for selection in SELECTIONS:
            try:
                ends.add(("read", check(body, selection), bool(read_request(body, selection).records)))
            except (MalformedRequest, TooManyResources) as error:
                ends.add((type(error).__name__, check(body, selection), False))
    assert ends == {
        ("read", True, True),
        ("read", True, False),
        ("read", False, True),
        ("read", False, False),
        ("MalformedRequest", True, False),
        ("TooManyResources", True, False),
    }


@pytest.mark.parametrize("wrong", [None, RuntimeError()], ids=["a shell that is missed", "a defect"])
def test_the_check_notices(wrong: Exception | None, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        if wrong:
            raise wrong

    monkeypatch.setattr(decode, "decode_frame", broken)
    with pytest.raises(WrongReadingError):
        check(bare("scrape-300.pb"), SELECTIONS[0])
