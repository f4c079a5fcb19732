"""Keep the keys of a ClearML server out of errors: a log and a terminal show these to everybody."""

from __future__ import annotations

import base64
from collections import deque
from collections.abc import Mapping
from urllib.parse import quote, unquote

from eventhpo.core.validation.redaction import without_passwords

HIDDEN = "***"
_SHORTEST = 4  # characters of a key that is looked for: a shorter one stands in half of all words


class Credentials:
    """What a process has authenticated itself with, the newest of it."""

    def __init__(self) -> None:
        self._values: deque[str] = deque(maxlen=64)  # a token lasts a month by default

    def remember(self, auth: object, headers: Mapping[str, str | None]) -> None:
        """Remember user and password of *auth*, and what `Authorization` of *headers* has."""
        names = (getattr(auth, "username", None), getattr(auth, "password", None))
        _, _, sent = str(headers.get("Authorization") or "").partition(" ")
        basic = base64.b64encode(":".join(map(str, names)).encode()).decode()
        for value in (*names, basic, sent):
            if isinstance(value, str) and len(value) >= _SHORTEST and value not in self._values:
                self._values.append(value)

    def hide(self, text: str) -> str:
        """Return *text* without any of them, and without user and password in any address."""
        text = without_passwords(text)
        for value in sorted(self._values, key=len, reverse=True):
            for spelt in (value, quote(value, safe=""), unquote(value)):
                text = text.replace(spelt, HIDDEN)
        return text


CREDENTIALS = Credentials()  # of this process, as the configuration of the SDK is
