"""Optuna's own suite for storages, on a folder of logs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from optuna.storages import BaseStorage
from optuna.testing.pytest_storages import StorageTestCase

from eventhpo.study.storage import EventStorage


class TestFolder(StorageTestCase):
    """A folder holds a study in each file."""

    @pytest.fixture
    def storage(self, tmp_path: Path) -> Iterator[BaseStorage]:
        storage = EventStorage(tmp_path / "studies")
        yield storage
        storage.close()
