#!/usr/bin/env python3
"""Prints what the image holds beside its base, as a bill of materials: CycloneDX 1.6. `make sbom`.

It is what locks/runtime.txt pins, which is what the image installs. The same lock gives the same bytes: no
time, no random serial number. Standard library alone, for it runs while the image is built.
"""

import json
import re
import sys
import tomllib
import uuid
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PIN = re.compile(
    r"^(?P<name>[A-Za-z0-9._-]+)==(?P<version>[^\s;\\]+)(?P<rest>.*(?:\n[ \t]+.*)*)", re.MULTILINE
)


def component(name: str, version: str, hashes: list[str]) -> dict[str, Any]:
    """A package, with the hashes of the files of which an installation takes one."""
    normal = re.sub(r"[-_.]+", "-", name).lower()
    purl = f"pkg:pypi/{normal}@{version}"
    files = {
        "type": "distribution",
        "url": purl,  # an identifier, for a host may take its packages from anywhere
        "comment": "one of these files, by platform",
        "hashes": [{"alg": "SHA-256", "content": each} for each in sorted(hashes)],
    }
    return {
        "type": "library",
        "bom-ref": purl,
        "name": normal,
        "version": version,
        "purl": purl,
        "externalReferences": [files],
    }


def document(lock: str, version: str) -> dict[str, Any]:
    """The bill of a lock for this version of the product."""
    components = [
        component(pin["name"], pin["version"], re.findall(r"sha256:([0-9a-f]{64})", pin["rest"]))
        for pin in PIN.finditer(lock)
    ]
    components.sort(key=lambda each: str(each["name"]))
    ours = f"pkg:pypi/otel-shell-detector@{version}"
    content = json.dumps([ours, components], sort_keys=True)
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, content)}",
        "version": 1,
        "metadata": {
            "component": {
                "type": "application",
                "bom-ref": ours,
                "name": "otel-shell-detector",
                "version": version,
                "purl": ours,
                "licenses": [{"license": {"id": "Apache-2.0"}}],
            }
        },
        "components": components,
        "dependencies": [{"ref": ours, "dependsOn": [each["bom-ref"] for each in components]}],
    }


def main() -> None:
    """Print the bill of this tree."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lock = (ROOT / "locks" / "runtime.txt").read_text(encoding="utf-8")
    json.dump(document(lock, project["version"]), sys.stdout, indent=2)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
