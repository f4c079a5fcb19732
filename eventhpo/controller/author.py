"""Who acts on a search: the name that is claimed, the user id that the kernel knows, and the reason given."""

from __future__ import annotations

import getpass
import os
import pwd
import socket
import unicodedata
from typing import TypeVar, cast

import msgspec

from eventhpo.core.fold.events import Act, Event
from eventhpo.errors import Usage

E = TypeVar("E", bound=Event)

LONGEST_NAME = 200  # characters of `by`: an address of e-mail with its name fits
LONGEST_TEXT = 4_000  # characters of a reason or a note: a page


class Author(msgspec.Struct, frozen=True):
    """A person who acts: `by` as claimed, `why` as given, `uid` from the kernel."""

    by: str = ""
    why: str = ""
    uid: int | None = None

    def sign(self, event: E) -> E:
        """Return *event* with this author in it; what it says of its author already stays.

        Events that are no act of a person come back as they are.
        """
        act: Event = event
        if not isinstance(act, Act) or act.by:
            return event
        return cast(E, msgspec.structs.replace(act, by=self.by, why=act.why or self.why, uid=self.uid))


NOBODY = Author()


def this_author(by: str = "", why: str = "") -> Author:
    """Return the author of what this process asks for.

    *by* is a name to use in place of login and host, *why* a reason.

    Raises:
        Usage: the name or the reason cannot be shown in a line, or is too long.
    """
    return Author(by=name(by) if by else f"{_login()}@{_host()}", why=text("--why", why), uid=os.getuid())


def other_author(by: str, why: str, uid: int) -> Author:
    """Return the author of a request: *by* and *why* as it has them, *uid* of its file's owner.

    Raises:
        Usage: the name or the reason cannot be shown in a line, or is too long.
    """
    return Author(by=name(by) if by else f"{_login_of(uid)}@{_host()}", why=text("--why", why), uid=uid)


def name(given: str) -> str:
    """Return *given*, a name for `by`.

    Raises:
        Usage: it is empty, longer than `LONGEST_NAME`, or has characters that no line can show.
    """
    if not given.strip() or len(given) > LONGEST_NAME or not _showable(given):
        raise Usage(f"--by: expected a name of 1 to {LONGEST_NAME} characters on one line, as alice@gpu-7")
    return given


def text(place: str, given: str) -> str:
    """Return *given*, a reason or a note of a person; empty for no reason.

    Raises:
        Usage: it is longer than `LONGEST_TEXT`, or has characters that no text can show; *place* names it.
    """
    if len(given) > LONGEST_TEXT or not _showable(given.replace("\n", " ").replace("\t", " ")):
        raise Usage(f"{place}: expected a text of at most {LONGEST_TEXT} characters, without control characters")
    return given


def _showable(given: str) -> bool:
    return not any(unicodedata.category(character) in ("Cc", "Cs") for character in given)


def _login() -> str:
    try:
        login = getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        return f"uid {os.getuid()}"
    return _shown(login)


def _login_of(uid: int) -> str:
    try:
        return _shown(pwd.getpwuid(uid).pw_name)
    except KeyError:
        return f"uid {uid}"


def _host() -> str:
    return _shown(socket.gethostname())


def _shown(given: str) -> str:
    """Return a name from the system as one that can be recorded: it may be cut, or hold any byte."""
    return "".join(c if _showable(c) else "?" for c in given)[: LONGEST_NAME // 2 - 1]
