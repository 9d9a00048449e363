"""One API server for all tests that one process runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.chart.cluster import Cluster
from tests.chart.helm import NAMESPACE
from tests.e2e.processes import peer

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    definitions = peer("kubernetes-schemas") / "v0.93.1"
    made = Cluster(tmp_path_factory.mktemp("cluster"))
    try:
        made.done("apply", "--server-side", f"--filename={definitions}")
        # Its exit status alone: it says on standard error, at times, that it stopped watching.
        waited = made.kubectl("wait", "--for=condition=Established", "--timeout=60s", "crd", "--all")
        assert waited.returncode == 0, waited.stderr
        made.done("create", "namespace", NAMESPACE)
        enforced = [f"pod-security.kubernetes.io/{mode}=restricted" for mode in ("enforce", "warn")]
        made.done("label", "namespace", NAMESPACE, *enforced)
        made.done("create", "priorityclass", "urgent", "--value=1000")
        yield made
    finally:
        made.end()
