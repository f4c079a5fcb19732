"""The page of promises names tests that exist."""

from __future__ import annotations

import re

import pytest

from tests.house.test_structure import ROOT

PAGE = (ROOT / "docs" / "promises.md").read_text()
ROWS = [line for line in PAGE.splitlines() if line.startswith("| **")]
TESTS = sorted(set(re.findall(r"`(tests/[^`]+)`", PAGE)))


@pytest.mark.parametrize("test", TESTS)
def test_each_test_that_the_page_names_exists(test: str) -> None:
    path, _, function = test.partition("::")
    assert (ROOT / path).is_file()
    assert not function or f"\ndef {function}(" in (ROOT / path).read_text()


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.split("**")[1])
def test_each_promise_has_a_test(row: str) -> None:
    _, _, tests, *_ = row.split("|")
    assert re.findall(r"`tests/[^`]+`", tests)


def test_the_page_has_its_promises() -> None:
    assert len(ROWS) >= 10
