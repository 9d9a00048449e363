"""The service is run once for each form of log; the tests look at what was seen of it."""

from __future__ import annotations

import pytest

from tests.security.evidence import Evidence, gather


@pytest.fixture(scope="session", params=["json", "console"])
def evidence(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Evidence:
    return gather(tmp_path_factory.mktemp("service"), request.param)
