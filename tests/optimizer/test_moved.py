"""A script that is moved or copied together with its log goes on with it; one in another folder is refused."""

from __future__ import annotations

import shutil

import pytest

from eventhpo.core.fold.events import CommandMoved
from eventhpo.errors import Usage
from tests.optimizer.harness import Place


@pytest.mark.parametrize("how", ["moved", "copied"])
def test_a_script_goes_on_with_its_log_where_both_lie_now(place: Place, how: str) -> None:
    folder = place.folder / "first"
    folder.mkdir()
    first = Place(folder)
    first.optimizer().start()
    second = first.folder.with_name("second")
    if how == "moved":
        first.folder.rename(second)
    else:
        shutil.copytree(first.folder, second)
    now = Place(second)
    now.optimizer(total_max_jobs=5).start()
    assert sorted(now.launches().values()) == [1] * 5
    assert [event.folder for event in now.of(CommandMoved)] == [str(second)]
    now.close()


def test_another_folder_for_the_same_log_is_refused(place: Place) -> None:
    place.optimizer().start()
    (place.folder / "other").mkdir()
    other = Place(place.folder / "other")
    with pytest.raises(Usage, match="records another search"):
        other.optimizer(log=place.log, total_max_jobs=5).start()
