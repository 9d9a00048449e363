"""The image, run as a cluster does: read-only root, no capability, as its user and as one of the platform."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.e2e.processes import ROOT, Service, Splunk, Started, replayed, until
from tests.image import building, inside

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.image.building import Image

pytestmark = [pytest.mark.peers, pytest.mark.slow, pytest.mark.timeout(1200)]

WORKER_1: Final = ROOT / "tests/captures/worker-1.pb"
OWN: Final = (10001, 0)
OPENSHIFT: Final = (1_000_770_000, 0)
"""A user of no name, as a restricted namespace there has it; such a process has no HOME either."""
MEASURED: Final = ROOT / ".cache/image/measured.json"
_KEYS: Final = "OTEL_SHELL_DETECTOR_"


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Image]:
    building.require()
    with building.built(tmp_path_factory.mktemp("build")) as each:
        yield each


def in_image(
    image: Image, folder: Path, user: tuple[int, int], environment: dict[str, str], *command: str
) -> Sequence[str | bytes | Path]:
    """What runs a command in the image; the volume belongs to root and to the group of the process."""
    state, secrets = folder / "volume", folder / "secrets"
    for each in (state, secrets):
        each.mkdir(exist_ok=True)
    state.chmod(0o770)
    asked = {
        "root": str(image.root),
        "state": str(state),
        "secrets": str(secrets),
        "folder": image.config["WorkingDir"],
        "uid": user[0],
        "gid": user[1],
        "command": command or image.config["Entrypoint"] + image.config["Cmd"],
        "environment": image.environment() | environment,
    }
    return ["unshare", "--mount", sys.executable, inside.__file__, json.dumps(asked)]


class Contained(Service):
    """``serve`` of the image. Its state is where the image has it, its token where secrets are mounted."""

    def __init__(
        self, started: Started, splunk: Splunk, image: Image, user: tuple[int, int], home: dict[str, str]
    ) -> None:
        self._image, self._user, self._home = image, user, home
        token = started.folder / "secrets" / "token"
        token.parent.mkdir()
        token.write_text("00000000-0000-0000-0000-000000000000\n")
        token.chmod(0o440)  # what fsGroup does to a secret
        super().__init__(started, "image", splunk, EXPORTER__HEC__TOKEN_FILE=f"/{inside.SECRETS}/token")

    def command(self) -> Sequence[str | bytes | Path]:
        state = f"{_KEYS}STATE__PATH"
        keys = {k: v for k, v in self._environment.items() if k.startswith(_KEYS) and k != state}
        return in_image(self._image, self._started.folder, self._user, keys | self._home)

    def seen(self) -> dict[str, Any]:
        """What the kernel says of the process."""
        of = Path(f"/proc/{self.process.pid}")
        status = dict(line.split(":\t", 1) for line in (of / "status").read_text().splitlines())
        mounts = [line.split() for line in (of / "mountinfo").read_text().splitlines()]
        return {
            "ids": (status["Uid"].split(), status["Gid"].split(), status["Groups"].split()),
            "capabilities": int(status["CapEff"], 16),
            "no new privileges": status["NoNewPrivs"],
            "read-only root": [each[5].split(",")[0] for each in mounts if each[4] == "/"],
            "writable": [
                each[4]
                for each in mounts
                if "rw" in each[5].split(",") and not each[4].startswith(("/dev", "/proc"))
            ],
        }


def measured(**what: float) -> None:
    """Put it into the report of `make image-test`."""
    MEASURED.parent.mkdir(parents=True, exist_ok=True)
    before = json.loads(MEASURED.read_text()) if MEASURED.exists() else {}
    MEASURED.write_text(json.dumps(before | what, indent=2, sort_keys=True) + "\n")


@pytest.mark.parametrize(
    ("user", "home"),
    [(OWN, {"HOME": "/"}), (OPENSHIFT, {})],
    ids=["as its user", "as a user of the platform"],
)
def test_a_capture_that_it_is_sent_arrives_as_events(
    started: Started, image: Image, user: tuple[int, int], home: dict[str, str]
) -> None:
    splunk = Splunk(started, ack=False)
    begun = time.monotonic()
    service = Contained(started, splunk, image, user, home)
    measured(**{f"seconds to the start as {user[0]}": round(time.monotonic() - begun, 1)})
    uid, gid = (str(each) for each in user)
    assert service.seen() == {
        "ids": ([uid] * 4, [gid] * 4, []),
        "capabilities": 0,
        "no new privileges": "1",
        "read-only root": ["ro"],
        "writable": [f"/{inside.STATE}"],
    }
    service.send(WORKER_1)
    told = [json.loads(line)["event"] for line in replayed(WORKER_1).splitlines()]
    want = {each["event_id"] for each in told if each["kind"] == "opened"}
    assert want
    until(
        "every shell of the capture is told",
        lambda: {each["event_id"] for each in service.events("opened")} >= want,
        60,
    )
    assert {each["event_id"] for each in service.events("opened")} == want
    assert service.terminate() == 0, service.log()


def run(image: Image, folder: Path, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        in_image(image, folder, OPENSHIFT, environment, *command),
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )


def test_it_says_what_it_is_and_how_it_is_stopped(image: Image) -> None:
    config = image.config
    labels = {key.removeprefix("org.opencontainers.image."): each for key, each in config["Labels"].items()}
    del labels["description"]
    labels.pop("io.buildah.version", None)
    assert labels == {
        "title": "otel-shell-detector",
        "licenses": "Apache-2.0",
        "version": "1.2.3",
        "revision": "abc",
        "created": "1970-01-01T00:00:00Z",
    }
    assert config["User"] == "{}:{}".format(*OWN)
    assert config["StopSignal"] == "SIGTERM"
    assert config["ExposedPorts"].keys() == {"4317/tcp", "9464/tcp"}
    assert (config["Entrypoint"], config["Cmd"]) == (["otel-shell-detector"], ["serve"])


def test_a_configuration_file_has_the_last_word_on_the_state(image: Image, tmp_path: Path) -> None:
    shown = run(image, tmp_path, "otel-shell-detector", "check-config")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert f"/{inside.STATE}" in shown.stdout
    (tmp_path / "secrets" / "config.yaml").write_text("state: {path: /elsewhere}\n")
    other = run(image, tmp_path, "otel-shell-detector", "check-config", "--config", "/mnt/config.yaml")
    assert other.stdout == shown.stdout.replace(f"/{inside.STATE}", "/elsewhere")


def test_nothing_in_it_installs_or_compiles(image: Image) -> None:
    """Not what the base has of it either."""
    unwanted = re.compile(
        r"(^|/)(pip|ensurepip)/__init__\.py$|(^|/)pip-[^/]*\.whl$"
        r"|(^|/)s?bin/(pip[0-9.]*|uv|cc|cpp|make|as|ld(\.(bfd|gold|lld))?|(.*-)?(gcc|g\+\+|c\+\+|clang)(-[0-9.]+)?)$"
    )
    files = {str(path.relative_to(image.root)) for path in image.root.rglob("*") if not path.is_dir()}
    assert sorted(each for each in files if unwanted.search(each)) == []
    assert any(unwanted.search(each) for each in image.base_files), "the search finds what the base has"


def test_its_bill_of_materials_is_what_is_installed_in_it(image: Image, tmp_path: Path) -> None:
    program = (
        "import importlib.metadata as m, json, re\n"
        "print(json.dumps({re.sub('[-_.]+', '-', d.name).lower(): d.version for d in m.distributions()}))"
    )
    asked = run(image, tmp_path, "/opt/otel-shell-detector/bin/python", "-c", program)
    assert asked.returncode == 0, asked.stderr
    bill = json.loads((image.root / "opt/otel-shell-detector/sbom.cdx.json").read_text())
    listed = {each["name"]: each["version"] for each in (*bill["components"], bill["metadata"]["component"])}
    assert listed == json.loads(asked.stdout)


def test_what_it_adds_to_its_base_is_small(image: Image) -> None:
    measured(**{"bytes above the base": image.above_base_bytes})
    assert image.above_base_bytes <= building.LARGEST_BYTES


def test_no_layer_has_the_secrets_of_the_build(image: Image) -> None:
    assert not (image.root / "etc/pip.conf").exists()
    assert not (image.root / "run/secrets").exists()
