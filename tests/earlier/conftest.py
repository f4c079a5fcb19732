"""The code of each earlier version, unpacked."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.earlier.version import ARCHIVES, unpacked

VERSIONS = sorted(path.name.removesuffix(".tar.gz") for path in ARCHIVES.glob("*.tar.gz"))


@pytest.fixture(scope="module", params=VERSIONS)
def earlier(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return unpacked(request.param, tmp_path_factory.mktemp(request.param))
