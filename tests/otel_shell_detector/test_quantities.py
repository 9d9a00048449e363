"""Durations, sizes and addresses: what is read, what is refused, and that each is written as it is read."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_shell_detector.addresses import Endpoint, parse_base_url
from otel_shell_detector.quantities import Duration, Size


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        ("0", 0),
        ("0s", 0),
        ("1ns", 1),
        ("250ms", 250_000_000),
        ("10s", 10_000_000_000),
        ("5m", 300_000_000_000),
        ("1h", 3_600_000_000_000),
        ("1h30m", 5_400_000_000_000),
        ("1d", 86_400_000_000_000),
        ("3us", 3_000),
    ],
)
def test_durations_are_read(text: str, nanoseconds: int) -> None:
    assert Duration.parse(text) == Duration(nanoseconds)


@pytest.mark.parametrize(
    "text",
    ["", "10", "s", "-1s", "1.5s", "10 s", " 10s", "10s\n", "1M", "1S", "1w", "\u0661s", "1s" * 33, "٣s"],
)
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a duration"):
        Duration.parse(text)


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("0B", 0),
        ("100B", 100),
        ("1kB", 1000),
        ("1KB", 1000),
        ("512KiB", 524_288),
        ("1MB", 1_000_000),
        ("64MiB", 67_108_864),
        ("1GB", 1_000_000_000),
        ("2GiB", 2_147_483_648),
    ],
)
def test_sizes_are_read(text: str, count: int) -> None:
    assert Size.parse(text) == Size(count)


@pytest.mark.parametrize(
    "text", ["", "64", "64M", "64Mi", "64mib", "64 MiB", "1.5MiB", "-1B", "1TB", "64MiB\n", "٣B"]
)
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a size"):
        Size.parse(text)


@given(st.integers(min_value=0, max_value=10**17))
def test_a_duration_is_written_as_it_is_read(nanoseconds: int) -> None:
    assert Duration.parse(str(Duration(nanoseconds))) == Duration(nanoseconds)


@given(st.integers(min_value=0, max_value=10**17))
def test_a_size_is_written_as_it_is_read(count: int) -> None:
    assert Size.parse(str(Size(count))) == Size(count)


@given(
    st.lists(
        st.tuples(
            st.integers(min_value=0, max_value=10**6), st.sampled_from(["d", "h", "m", "s", "ms", "us", "ns"])
        ),
        min_size=1,
        max_size=6,
    )
)
def test_a_sum_of_terms_is_the_sum_of_each(terms: list[tuple[int, str]]) -> None:
    texts = [f"{count}{unit}" for count, unit in terms]
    assert Duration.parse("".join(texts)).nanoseconds == sum(
        Duration.parse(text).nanoseconds for text in texts
    )


def test_quantities_are_written_in_the_largest_unit_that_divides_them() -> None:
    durations = [Duration.parse(text) for text in ("0", "90m", "120s", "1500ms", "24h", "1d")]
    sizes = [Size.parse(text) for text in ("0B", "1024KiB", "1000KB", "1536B", "64MiB", "999B")]
    assert [str(each) for each in durations] == ["0s", "90m", "2m", "1500ms", "24h", "24h"]
    assert [str(each) for each in sizes] == ["0B", "1MiB", "1MB", "1536B", "64MiB", "999B"]


def test_a_duration_tells_its_seconds() -> None:
    assert Duration.parse("250ms").seconds == 0.25


@pytest.mark.parametrize(
    ("text", "endpoint"),
    [
        ("127.0.0.1:4317", Endpoint("127.0.0.1", 4317)),
        ("localhost:0", Endpoint("localhost", 0)),
        ("0.0.0.0:65535", Endpoint("0.0.0.0", 65535)),
        ("[::1]:4317", Endpoint("::1", 4317)),
        ("[::ffff:10.0.0.1]:1", Endpoint("::ffff:10.0.0.1", 1)),
        ("a-b.example_c:80", Endpoint("a-b.example_c", 80)),
    ],
)
def test_an_endpoint_is_written_as_it_is_read(text: str, endpoint: Endpoint) -> None:
    assert Endpoint.parse(text) == endpoint
    assert str(endpoint) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":4317",
        "localhost",
        "localhost:",
        "::1:4317",
        "[::1]",
        "[::g]:1",
        "[zz]:1",
        "h:65536",
        "h:01",
        "h:-1",
        "h:1\n",
        "a b:1",
    ],
)
def test_what_is_no_endpoint_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        Endpoint.parse(text)


def test_only_this_machine_reaches_a_loopback_address() -> None:
    hosts = ["127.0.0.1", "127.9.9.9", "::1", "localhost", "0.0.0.0", "::", "10.0.0.1", "node.example"]
    assert [host for host in hosts if Endpoint(host, 1).is_loopback] == [
        "127.0.0.1",
        "127.9.9.9",
        "::1",
        "localhost",
    ]


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("https://splunk:8088", "https://splunk:8088"),
        ("https://splunk:8088/", "https://splunk:8088"),
        ("http://10.0.0.1", "http://10.0.0.1"),
        ("https://[::1]:8088", "https://[::1]:8088"),
    ],
)
def test_a_base_url_loses_its_last_slash(text: str, url: str) -> None:
    assert parse_base_url(text) == url


@pytest.mark.parametrize(
    "text",
    [
        "",
        "splunk:8088",
        "ftp://splunk",
        "https://",
        "https://splunk:0",
        "https://splunk:99999",
        "https://splunk:x",
        "https://u:p@splunk",
        "https://u@splunk",
        "https://splunk/path",
        "https://splunk?q",
        "https://splunk#f",
        "https://spl unk",
        "https://splunk\n",
        "https://[::1",
    ],
)
def test_what_is_no_base_url_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        parse_base_url(text)
