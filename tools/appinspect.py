#!/usr/bin/env python3
"""Runs Splunk's AppInspect over the app, all of its checks: tools/appinspect.py ARCHIVE.

It needs no network. Prints each check that does not pass, or does not apply, with its reason. Exit status 0
if there is no error, failure or warning; 1 if there is; 2 if AppInspect is missing (`make splunk-env`).
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROGRAM = ROOT / ".cache" / "splunk" / "bin" / "splunk-appinspect"
FINE = {"success", "not_applicable"}


def inspect(app: Path) -> list[dict[str, str]]:
    """The checks: ``name``, ``result`` and the ``reason``, on one line."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        options = ["--mode", "precert", "--data-format", "json", "--output-file", str(report)]
        command = [str(PROGRAM), "inspect", str(app), *options]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if not report.exists():
            raise SystemExit(f"AppInspect made no report:\n{done.stdout}{done.stderr}")
        reports = json.loads(report.read_text(encoding="utf-8"))["reports"]
    return [
        {
            "name": check["name"],
            "result": check["result"],
            "reason": " ".join(" ".join(each["message"].split()) for each in check["messages"]),
        }
        for report in reports
        for group in report["groups"]
        for check in group["checks"]
    ]


def main() -> int:
    """Inspect and print; gives the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("app", type=Path, metavar="ARCHIVE", help="what `make splunk-app` built")
    options = parser.parse_args()
    if not PROGRAM.exists():
        print("AppInspect is missing. Type: make splunk-env", file=sys.stderr)
        return 2
    checks = inspect(options.app)
    for check in checks:
        if check["result"] != "success":
            print(f"{check['result']}: {check['name']}: {check['reason']}")
    print(*(f"{number} {result}" for result, number in sorted(Counter(c["result"] for c in checks).items())))
    return int(not {check["result"] for check in checks} <= FINE)


if __name__ == "__main__":
    sys.exit(main())
