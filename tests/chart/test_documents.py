"""What docs/deploy.md and UPGRADING.md tell to type is typed, against a real API server."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

import pytest
import yaml

from tests.chart.documents import Reader, commands, files, headings, runs_here
from tests.chart.helm import CHART, template
from tests.e2e.processes import ROOT, Splunk, Started, environment_without_keys, peer, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.chart.cluster import Cluster

pytestmark = [pytest.mark.peers, pytest.mark.timeout(300)]

DEPLOY: Final = "docs/deploy.md"
UPGRADING: Final = "UPGRADING.md"
SPACE: Final = "--namespace=shell-detector"
NAME: Final = "shell-detector-otel-shell-detector"
CLAIM: Final = f"state-{NAME}-0"
CLASS: Final = "gp3"


@pytest.fixture(scope="module")
def reader(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    """A cluster with the operators' definitions, and somebody who has followed docs/deploy.md."""
    definitions = peer("operator-crds")
    for folder in sorted(definitions.iterdir()):
        cluster.done("apply", "--server-side", f"--filename={folder}")
    waited = cluster.kubectl("wait", "--for=condition=Established", "--timeout=60s", "crd", "--all")
    assert waited.returncode == 0, waited.stderr
    for name in ("cert-manager", "monitoring"):
        cluster.done("create", "namespace", name)
    made = Reader(cluster, tmp_path_factory.mktemp("reader"))
    made.follow(DEPLOY)
    yield made
    cluster.helm("uninstall", "trial", "--namespace=trial")


def test_every_kind_of_manifest_is_known_to_the_server(reader: Reader) -> None:
    """And every field of it."""
    manifests = {
        name: [each for each in yaml.safe_load_all(text) if "apiVersion" in each]
        for document in (DEPLOY, UPGRADING)
        for name, text in files(document).items()
    }
    strictly = ("apply", "--dry-run=server", "--validate=strict", "--warnings-as-errors", "--filename=-")
    said = [reader.cluster.done(*strictly, given=each) for objects in manifests.values() for each in objects]
    kinds = Counter(each["kind"] for objects in manifests.values() for each in objects)
    assert len(said) == kinds.total()
    assert kinds == {
        "Certificate": 3,
        "ClusterIssuer": 2,
        "ExternalSecret": 1,
        "StorageClass": 1,
        "VolumeSnapshot": 1,
    }


def test_a_misspelt_field_of_a_manifest_is_refused(reader: Reader) -> None:
    for name, text in files(DEPLOY).items():
        if name in {"certificates.yaml", "externalsecret.yaml"}:
            [*_, manifest] = yaml.safe_load_all(text)
            manifest["spec"]["secretname"] = "x"
            strictly = ("apply", "--dry-run=server", "--validate=strict", "--filename=-")
            refused = reader.cluster.kubectl(*strictly, given=manifest)
            assert (refused.returncode, 'unknown field "spec.secretname"' in refused.stderr) == (1, True)


def test_the_commands_that_are_not_run_here_are_these(reader: Reader) -> None:
    left = [each for each in commands(DEPLOY) if not runs_here(each)]
    assert len(reader.done[DEPLOY]) == len(commands(DEPLOY)) - len(left) == 16
    assert Counter(" ".join(shlex.split(each)[:1]) for each in left) == {
        "docker": 4,
        "kind": 2,
        "kubectl": 5,
        "curl": 1,
        "oc": 1,
    }
    assert [each for each in commands(UPGRADING) if not runs_here(each)] == []


def test_each_file_of_values_makes_a_release(tmp_path: Path) -> None:
    texts = files(DEPLOY)
    (tmp_path / "values.yaml").write_text(texts.pop("values.yaml"))
    made = []
    for name, text in texts.items():
        if "apiVersion" not in text:
            (tmp_path / name).write_text(text)
            rendered = template(tmp_path / "values.yaml", "--values", tmp_path / name)
            assert rendered.returncode == 0, rendered.stderr
            made.append(name)
    assert made == [
        "kind.yaml",
        "ipv6.yaml",
        "openshift.yaml",
        "mtls.yaml",
        "network.yaml",
        "monitoring.yaml",
        "ephemeral.yaml",
    ]


def test_the_names_that_the_document_uses_are_those_of_the_release(reader: Reader) -> None:
    found = reader.cluster.got("statefulset", NAME, SPACE)
    [certificate] = [
        each
        for each in yaml.safe_load_all(files(DEPLOY)["certificates.yaml"])
        if each["metadata"]["name"] == "shell-detector-server"
    ]
    services = [each["metadata"]["name"] for each in reader.cluster.got("services", SPACE)["items"]]
    assert found["spec"]["volumeClaimTemplates"][0]["metadata"]["name"] == CLAIM.removesuffix(f"-{NAME}-0")
    assert certificate["spec"]["dnsNames"][0].removesuffix(".shell-detector.svc") in services
    token = reader.cluster.got("secret", "splunk-hec", SPACE)["data"]
    assert list(token) == ["token"]


def configuration(reader: Reader, name: str, space: str) -> str:
    text: str = reader.cluster.got("configmap", name, space)["data"]["config.yaml"]
    return text


def told(reader: Reader, command: str, tmp_path: Path, **keys: str) -> subprocess.CompletedProcess[str]:
    """Run what ``kubectl exec`` is given, with the configuration of that release."""
    before, _, after = command.partition(" -- ")
    [space, name] = re.findall(r"--namespace (\S+) exec statefulset/(\S+)", before)[0]
    program, *arguments = after.split()
    assert program == "otel-shell-detector"
    path = tmp_path / "config.yaml"
    path.write_text(configuration(reader, name, f"--namespace={space}"))
    mounted = "/etc/otel-shell-detector/config/config.yaml"
    moved = [each.replace(mounted, str(path)) for each in arguments]
    assert moved != arguments
    return subprocess.run(
        [sys.executable, "-m", "otel_shell_detector", *moved],
        cwd=ROOT, env=environment_without_keys() | {f"OTEL_SHELL_DETECTOR_{key}": keys[key] for key in keys},
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip


def test_the_test_event_of_the_document_arrives_at_a_real_server(reader: Reader, tmp_path: Path) -> None:
    """With the configuration of the release that the document made, but for what is here another address."""
    [command, _] = [each for each in commands(DEPLOY) if " exec " in each]
    started = Started(tmp_path)
    try:
        splunk = Splunk(started, ack=False)
        done = told(
            reader,
            command,
            tmp_path,
            EXPORTER__HEC__URL=f"http://127.0.0.1:{splunk.port}",
            EXPORTER__HEC__TOKEN_FILE=str(reader.folder / "hec-token.txt"),
        )
        assert done.returncode == 0, done.stdout + done.stderr
        until("the events arrive", lambda: len(splunk.everything()) == 3, 30)
        arrived = [(each["index"], each["event"]) for each in splunk.everything()]
    finally:
        started.end()
    searched = re.findall(r'search: index="(\w+)" event_id=(\S+) ', done.stdout)
    assert [(index, event["event_id"]) for index, event in arrived] == searched
    assert [index for index, _ in searched] == ["risk", "otel_shell", "otel_shell"]


def test_the_test_event_of_the_trial_without_splunk_is_printed(reader: Reader, tmp_path: Path) -> None:
    [_, command] = [each for each in commands(DEPLOY) if " exec " in each]
    done = told(reader, command, tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count('"kind":"test"') == 3


def bound_claim(cluster: Cluster) -> None:
    """What a volume's provisioner and the claim's controllers leave behind."""
    spec: dict[str, Any] = {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "3Gi"}},
        "storageClassName": CLASS,
        "volumeName": "any",
    }
    kind = {"apiVersion": "v1", "kind": "PersistentVolumeClaim"}
    cluster.done("create", "--filename=-", SPACE, given=kind | {"metadata": {"name": CLAIM}, "spec": spec})
    status = '{"status": {"phase": "Bound", "capacity": {"storage": "3Gi"}}}'
    cluster.done("patch", "pvc", CLAIM, SPACE, "--subresource=status", f"--patch={status}")


def test_upgrading_is_as_it_is_told(reader: Reader) -> None:
    """Its commands in their order; what controllers do besides is done by hand."""
    cluster = reader.cluster
    bound_claim(cluster)
    cluster.done(
        "create", "--filename=-", given={"apiVersion": "v1", "kind": "Node", "metadata": {"name": "worker-1"}}
    )
    for name, text in files(UPGRADING).items():
        (reader.folder / name).write_text(text)
    larger = []
    for command in commands(UPGRADING):
        if "--cascade=orphan" in command:
            reader.run(f"{command} --wait=false")
            free = '--patch={"metadata": {"finalizers": null}}'
            cluster.done("patch", "statefulset", NAME, SPACE, "--type=merge", free)
        else:
            reader.run(command)
        if "max_size" in command:
            larger = [
                cluster.got("pvc", CLAIM, SPACE)["spec"]["resources"]["requests"]["storage"],
                cluster.got("statefulset", NAME, SPACE)["spec"]["volumeClaimTemplates"][0]["spec"][
                    "resources"
                ]["requests"]["storage"],
                yaml.safe_load(configuration(reader, NAME, SPACE))["state"]["max_size"],
            ]
    assert larger == ["8Gi", "8Gi", "3GiB"]
    left = cluster.got("statefulsets,deployments,services,configmaps", SPACE)["items"]
    assert [each["metadata"]["name"] for each in left] == ["kube-root-ca.crt"] * (len(left) > 0)


def test_the_images_that_the_documents_name_are_of_this_version() -> None:
    version = yaml.safe_load((CHART / "Chart.yaml").read_text())["appVersion"]
    text = (ROOT / DEPLOY).read_text(encoding="utf-8")
    assert set(re.findall(r"otel-shell-detector:([0-9][^\s]*)", text)) == {version}


def test_the_refusal_that_upgrading_quotes_is_that_of_the_store() -> None:
    text = (ROOT / UPGRADING).read_text(encoding="utf-8")
    source = (ROOT / "store/opening.py").read_text(encoding="utf-8")
    for words in (
        "written by version",
        "of the schema, this program knows",
        "want a newer program or another directory",
    ):
        assert words in text
        assert words in source


@pytest.mark.parametrize("document", [DEPLOY, UPGRADING])
def test_each_link_of_the_documents_leads_somewhere(document: str) -> None:
    path = ROOT / document
    links = [each.partition("#") for each in re.findall(r"\]\(([^)]+)\)", path.read_text(encoding="utf-8"))]
    near = [
        (path.parent / to if to else path, part) for to, _, part in links if not to.startswith("https://")
    ]
    broken = [(to, part) for to, part in near if not to.exists() or (part and part not in headings(to))]
    assert (len(near) > 3, broken) == (True, [])
