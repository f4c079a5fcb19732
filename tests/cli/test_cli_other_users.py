"""Another user on the machine: what they put in the way or lock stops no search, and what they ask is not taken."""

from __future__ import annotations

import fcntl
import grp
import os
import pwd
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from eventhpo import own_files
from eventhpo.controller.request_files import FileRequests, may_ask
from eventhpo.controller.requests import EnqueueRequest, encode
from eventhpo.controller.send_request import ask_holder
from eventhpo.core.fold.events import PointEnqueued, RequestRefused
from eventhpo.core.fold.evolve import fold
from eventhpo.errors import StorageFailed
from eventhpo.jobs.local.folder import AttemptFolder, is_free
from eventhpo.log import lease, paths, reader
from eventhpo.log.create import create
from eventhpo.log.lease import Holder
from eventhpo.testing.searches import created
from eventhpo.testing.simulated import START
from tests.cli.harness import small

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")

OWNER, OTHER = 65534, 65533
POINT = encode(EnqueueRequest(params={"General/lr": 0.5}))
NAME = f"{7:032x}.json"
ME = Holder("here", 1)


@pytest.fixture(autouse=True)
def _another_user_can_read_the_packages() -> None:
    """Skip where they lie in a private folder: what a child imports after it has become another user is not there."""
    if not as_user(OTHER, lambda: [Path(str(package.__file__)).read_bytes() for package in (own_files, pytest)]):
        pytest.skip("another user cannot read the packages of this Python")


@pytest.fixture
def shared() -> Iterator[Path]:
    """A folder in which everybody may write, as /tmp, and no file of another user may be removed."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o1777)
    yield folder
    shutil.rmtree(folder)


def as_user(uid: int, work: Callable[[], object], *groups: int) -> bool:
    """Do *work* in a child that is the user *uid*, under umask 022; return whether it ended without an error."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            os.setgroups(groups)
            os.setgid(uid)
            os.setuid(uid)
            os.umask(0o022)
            work()
            code = 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


@pytest.fixture
def log(shared: Path) -> Path:
    """The log of a search of OWNER."""
    assert as_user(OWNER, lambda: create(shared / "search.db", created(small()), START))
    return shared / "search.db"


def requests_of(log: Path, uid: int) -> list[str]:
    """Return the types of the events that the controller of OWNER makes of what *uid* asks."""
    folder = paths.requests(log)

    def put() -> None:
        own_files.write_new(folder / NAME, POINT)

    assert as_user(uid, put)
    state = fold(reader.read(log).rows)
    return [type(event).__name__ for event, _ in FileRequests(log).read(state)]


# ---------------------------------------------------------------- requests


def test_a_request_of_another_user_is_refused_in_the_log_by_their_user_id(log: Path) -> None:
    as_user(OWNER, lambda: paths.requests(log).mkdir())
    paths.requests(log).chmod(0o777)  # not as eventhpo makes it
    assert requests_of(log, OTHER) == [RequestRefused.__name__]
    [(event, _)] = FileRequests(log).read(fold(reader.read(log).rows))
    assert isinstance(event, RequestRefused)
    assert f"user {OTHER} may not ask" in event.why


@pytest.mark.parametrize("uid", [OWNER, 0])
def test_a_request_of_the_owner_or_of_root_is_taken(uid: int, log: Path) -> None:
    as_user(OWNER, lambda: paths.requests(log).mkdir())
    assert requests_of(log, uid) == [PointEnqueued.__name__]


def test_a_request_of_the_group_that_was_given_the_folder_is_taken(log: Path) -> None:
    user = next(user for user in pwd.getpwall() if user.pw_uid not in (0, OWNER) and user.pw_gid != 0)
    folder = paths.requests(log)
    as_user(OWNER, folder.mkdir)
    os.chown(folder, OWNER, user.pw_gid)
    folder.chmod(0o775)  # as a umask of 002 makes it: nobody was named
    assert not may_ask(log, user.pw_uid)
    folder.chmod(0o2770)
    assert may_ask(log, user.pw_uid)
    assert not may_ask(log, OTHER)
    assert grp.getgrgid(user.pw_gid)


def test_the_folder_is_made_for_its_owner_alone_also_by_root(log: Path) -> None:
    held = lease.acquire(log, Holder("here", 1, epoch=0))
    try:
        with pytest.raises(Exception, match="did not answer"):
            ask_holder(log, lambda _: EnqueueRequest(params={"General/lr": 0.5}), patience=0)
    finally:
        held.release()
    status = paths.requests(log).stat()
    assert (status.st_uid, status.st_mode & 0o777) == (OWNER, 0o700)


@pytest.mark.parametrize("kind", ["folder", "link"])
def test_a_folder_of_requests_that_another_user_made_before_counts_for_nothing(kind: str, shared: Path) -> None:
    log = shared / "search.db"

    def plant() -> None:
        real = shared / "theirs" if kind == "link" else paths.requests(log)
        real.mkdir(mode=0o777)
        own_files.write_new(real / NAME, POINT)
        if kind == "link":
            paths.requests(log).symlink_to(real)

    assert as_user(OTHER, plant)
    assert as_user(OWNER, lambda: create(log, created(small()), START))
    state = fold(reader.read(log).rows)
    requests = FileRequests(log)
    assert not requests.any()
    assert list(requests.read(state)) == []
    held = lease.acquire(log, Holder("here", 1, epoch=0))
    try:
        with pytest.raises(StorageFailed, match="move it away; nothing was asked"):
            ask_holder(log, lambda _: EnqueueRequest(params={"General/lr": 0.5}), patience=0)
    finally:
        held.release()


def test_a_file_of_the_owner_that_another_user_linked_is_no_request(log: Path) -> None:
    as_user(OWNER, lambda: paths.requests(log).mkdir())
    as_user(OWNER, lambda: own_files.write_new(log.with_name("precious"), POINT))
    os.link(log.with_name("precious"), paths.requests(log) / NAME)
    [(event, _)] = FileRequests(log).read(fold(reader.read(log).rows))
    assert isinstance(event, RequestRefused)
    assert "another name" in event.why


# ---------------------------------------------------------------- locks


def lock(path: Path, how: int = fcntl.LOCK_EX) -> None:
    fcntl.flock(os.open(path, os.O_RDONLY), how | fcntl.LOCK_NB)


@pytest.mark.parametrize("mode", [0o600, 0o644])
def test_nobody_else_can_lock_the_lock_file_and_delay_a_writer(mode: int, log: Path) -> None:
    def write() -> None:
        lease.acquire(log, ME).release()

    assert as_user(OWNER, write)
    paths.lock(log).chmod(mode)  # 0644 is as earlier versions made it
    assert as_user(OWNER, write)
    assert not as_user(OTHER, lambda: lock(paths.lock(log)))
    assert not as_user(OTHER, lambda: lock(paths.lock(log), fcntl.LOCK_SH))
    assert as_user(OWNER, lambda: lock(paths.lock(log)))


def test_who_may_not_open_the_lock_file_still_sees_whether_the_search_runs(log: Path) -> None:
    def sees(held: bool) -> None:
        assert (lease.holder(log) is not None) is held

    holder = lease.acquire(log, ME)
    assert as_user(OTHER, lambda: sees(True))
    holder.release()
    assert as_user(OTHER, lambda: sees(False))


def test_a_lock_file_of_another_user_is_refused_and_said(log: Path) -> None:
    assert as_user(OTHER, lambda: paths.lock(log).touch())
    paths.lock(log).chmod(0o666)

    def write() -> None:
        with pytest.raises(StorageFailed, match=f"it is of user {OTHER}; move it away"):
            lease.acquire(log, ME)

    assert as_user(OWNER, write)


def test_a_lock_file_that_is_a_link_changes_nothing_of_what_it_leads_to(log: Path) -> None:
    victim = log.with_name("victim")
    as_user(OWNER, lambda: own_files.write_new(victim, b"precious"))
    assert as_user(OTHER, lambda: paths.lock(log).symlink_to(victim))
    assert not as_user(OWNER, lambda: lease.acquire(log, ME))
    assert victim.read_bytes() == b"precious"


def test_root_makes_a_lock_file_that_the_owner_of_the_log_can_open(log: Path) -> None:
    lease.acquire(log, ME).release()
    assert as_user(OWNER, lambda: lease.acquire(log, ME).release())


def test_a_take_over_keeps_the_group_of_the_lock_file(log: Path) -> None:
    lease.acquire(log, ME).release()
    os.chown(paths.lock(log), OWNER, OTHER)
    paths.lock(log).chmod(0o660)
    lease.take_over(log, ME).release()
    status = paths.lock(log).stat()
    assert (status.st_gid, status.st_mode & 0o777) == (OTHER, 0o660)


def test_nobody_else_can_hold_the_locks_of_a_job_and_make_a_dead_one_look_alive(shared: Path) -> None:
    attempt = AttemptFolder(shared / "search.db.jobs" / "1")

    def launch() -> None:
        attempt.create({}, None)
        locks = attempt.take_locks()
        assert locks is not None
        with locks:
            pass

    assert as_user(OWNER, launch)
    assert not as_user(OTHER, lambda: lock(attempt.job_lock))
    assert not as_user(OTHER, lambda: lock(attempt.job_lock, fcntl.LOCK_SH))

    def look(free: bool) -> None:
        assert is_free(attempt.job_lock) is free

    assert as_user(OTHER, lambda: look(True))
    with attempt.take_locks() or pytest.fail("somebody holds them"):
        assert as_user(OTHER, lambda: look(False))
        assert as_user(OWNER, lambda: look(False))


def test_a_lock_of_a_job_that_is_a_link_is_not_followed(shared: Path) -> None:
    attempt = AttemptFolder(shared / "search.db.jobs" / "1")
    attempt.create({}, None)
    attempt.job_lock.symlink_to("/etc/passwd")
    with pytest.raises(OSError, match="symbolic links"):
        attempt.take_locks()
