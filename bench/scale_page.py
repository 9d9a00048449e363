"""The tables of ``bench.scale`` for the page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bench.circumstances import told
from bench.markdown import table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_CAPTION = "![Processor and memory of the service by size](performance-scale.svg)\n"


def render(results: Mapping[str, Any]) -> str:
    """All tables, and the picture."""
    found = {name: part["found"] for name, part in results.items()}
    return "\n".join(
        (
            _where(results),
            _CAPTION,
            _fleet(found["fleet"]),
            _nodes(found["nodes"], found["fleet"]),
            _processes(found["processes"]),
            _shells(found["shells"]),
            _sessions(found["sessions"]),
        )
    )


def _where(results: Mapping[str, Any]) -> str:
    """Where each part was measured; usually all in one run."""
    parts_of: dict[str, list[str]] = {}
    for name, part in results.items():
        parts_of.setdefault(told(part["circumstances"]), []).append(name)
    return "".join(f"{_list(names)}: {where}.\n" for where, names in parts_of.items())


def _list(names: Sequence[str]) -> str:
    return ", ".join(names).capitalize()


def _spread(figure: Mapping[str, float], digits: int = 2) -> str:
    return f"{figure['median']:.{digits}f} ({figure['least']:.{digits}f}-{figure['most']:.{digits}f})"


def _cpu_ms(run: Mapping[str, Any]) -> float:
    return float(run["cpu_s"] / run["scrapes"] * 1e3)


def _missing(latency: Mapping[str, Any]) -> str:
    return f"{latency['shells']} shells, {latency['missing']} without an event"


def _fleet(run: Mapping[str, Any]) -> str:
    latency, answers = run["latency_s"], run["answer_s"]
    received_mb = run["received_bytes"] / 1e6 / run["rounds_measured"] / run["round_s"]
    rows = [
        ("rounds kept up with", f"{run['rounds_kept_up']} of {run['rounds_measured']}"),
        ("requests, and scrapes in them", f"{run['requests']:,}, {run['scrapes']:,}"),
        ("one round late, of the requests", f"{run['late_requests']:,}"),
        ("refused, tried again, unanswered", f"{run['refused']}, {run['tried_again']}, {run['unanswered']}"),
        ("processor of the service, cores, each round", _spread(run["cores"])),
        ("processor of the generator, cores", f"{run['generator_cores']:.2f}"),
        (
            "received, inflated, MB/s",
            f"{received_mb:.0f}",
        ),
        ("from when a request is due to its answer, p50 and p99, s", _two(answers)),
        (f"from sample to event, p50, p99 and most, s ({_missing(latency)})", _latency(latency)),
        ("memory (RSS) at the end, at most, MiB", f"{run['rss_mib']:.0f}, {run['peak_rss_mib']:.0f}"),
        ("state on disk, MiB", f"{run['state_mib']:.1f}"),
        ("durable transactions each second, of those commits of the journal", _commits(run)),
    ]
    heads = (f"{run['nodes']:,} nodes, {run['processes']} processes, {run['shells']} shells", "")
    return table(heads, rows)


def _two(figures: Mapping[str, float]) -> str:
    return f"{figures['p50']:.3f}, {figures['p99']:.3f}" if figures else "-"


def _latency(latency: Mapping[str, float]) -> str:
    return f"{latency['p50']:.1f}, {latency['p99']:.1f}, {latency['max']:.1f}" if "p50" in latency else "-"


def _commits(run: Mapping[str, float]) -> str:
    return f"{run['transactions_per_s']:.0f}, {run['group_commits_per_s']:.0f}"


def _nodes(found: Mapping[str, Any], fleet: Mapping[str, Any]) -> str:
    runs = sorted((*found["tried"], fleet), key=lambda run: int(run["nodes"]))
    rows = [
        (
            f"{run['nodes']:,}",
            f"{run['rounds_kept_up']} of {run['rounds_measured']}",
            _spread(run["cores"]),
            f"{_cpu_ms(run):.2f}",
            f"{run['generator_cores']:.2f}",
            _two(run["answer_s"]),
            f"{run['refused']}",
            f"{run['rss_mib']:.0f}",
        )
        for run in runs
    ]
    heads = ("nodes", "rounds kept up with", "cores", "ms a scrape", "cores, generator", "answer p50, p99, s")
    one_core = (
        f"{fleet['round_s']:g} s / {_cpu_ms(fleet):.2f} ms = {fleet['round_s'] / _cpu_ms(fleet) * 1e3:,.0f}"
    )
    return (
        table((*heads, "refused", "RSS, MiB"), rows)
        + f"\nThe largest number tried that kept up, on the cores shared with the generator:"
        f" {found['largest']:,}. By the processor that a scrape took with {fleet['nodes']:,} nodes, one core"
        f" that is free for the service bears {one_core} nodes.\n"
    )


def _processes(found: Mapping[str, Any]) -> str:
    line = found["fit"]
    rows = [
        (
            f"{point['processes']:,}",
            f"{point['bytes']:,}",
            f"{point['wire_bytes']:,}",
            _spread(point["cpu_ms"]),
            f"{line['constant'] + line['slope'] * point['bytes']:.2f}",
            f"{(line['constant'] + line['slope'] * point['bytes']) / point['cpu_ms']['median'] - 1:+.1%}",
        )
        for point in found["points"]
    ]
    heads = ("processes", "bytes", "bytes, gzip", "ms a request", "ms by the line", "residual")
    return (
        table(heads, rows)
        + f"\nThe line of the least relative squares: {line['constant']:.2f} ms + {line['slope'] * 1e6:.2f}"
        f" ms for each MB; its largest residual is {line['worst']:.1%}. Medians of {found['rounds']}.\n"
    )


def _shells(runs: Sequence[Mapping[str, Any]]) -> str:
    rows = [
        (
            f"{run['on_each_node']}",
            f"{run['nodes']:,}",
            f"{_cpu_ms(run):.2f}",
            f"{run['transactions_per_s']:.0f}",
            f"{run['rss_mib']:.0f}",
        )
        for run in runs
    ]
    return table(("shells on each node", "nodes", "ms a scrape", "transactions a second", "RSS, MiB"), rows)


def _sessions(found: Mapping[str, Any]) -> str:
    idle = found["connections"]
    rows = [
        ("started", f"{found['started_mib']:.0f}", "", "", ""),
        *(
            (
                f"{point['sessions']:,} open sessions",
                f"{point['rss_mib']:.0f}",
                f"{point['with_windows_mib']:.0f}",
                f"{point['told_s']:.0f}",
                f"{point['tried_again']}",
            )
            for point in found["points"]
        ),
        (f"the same and {idle['connections']:,} idle connections", "", f"{idle['after_mib']:.0f}", "", ""),
    ]
    heads = (
        "",
        "RSS, all told, MiB",
        "RSS, each sampled again, MiB",
        "s until all told",
        "requests tried again",
    )
    return (
        table(heads, rows)
        + f"\n{found['bytes_per_session']:,.0f} bytes for each session, between the last two rows of"
        f" sessions; {idle['bytes_per_connection']:,.0f} for each connection."
        f" At most {found['peak_mib']:.0f} MiB; state on disk {found['state_mib']:.0f} MiB.\n"
    )
