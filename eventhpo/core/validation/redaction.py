"""Passwords in addresses: what is printed or recorded does not show them."""

from __future__ import annotations

import re

_USER = re.compile(r"(?<=://)[^/\s@'\"]+@")


def without_passwords(text: str) -> str:
    """Return *text* with `***@` for the user and password of each address in it."""
    return _USER.sub("***@", text)
