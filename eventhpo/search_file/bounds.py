"""How large a search file may be: looked at before the text is parsed, in time that grows with its length alone."""

from __future__ import annotations

import re

from eventhpo.core.validation.mistakes import Mistake

LARGEST = 1_000_000  # bytes; a file of 10,000 points to try first has half of that
MOST_VALUES = 100_000
DEEPEST = 40  # brackets in brackets; a search file needs five
MOST_PARTS = 20  # of one key, as in a.b.c; a search file needs four

# A string that does not end goes to the end of its line, or of the file: no place is looked at twice.
_TEXTS = re.compile(
    r'"""(?:\\.|[^\\])*?(?:"""|\Z)'
    r"|'''.*?(?:'''|\Z)"
    r'|"(?:\\[^\n]|[^"\\\n])*(?:"|$|\\)'
    r"|'[^'\n]*(?:'|$)"
    r"|#[^\n]*",
    re.DOTALL | re.MULTILINE,
)
_LONG_KEY = re.compile(rf"(?<![\w-])(?:[\w-]+[ \t]*\.[ \t]*){{{MOST_PARTS},}}", re.ASCII)
_SIGNS = re.compile(r"[\[\]{},\n]")


def beyond(text: str) -> tuple[int, Mistake] | None:
    """Return the number of the first line of *text* that goes beyond a bound, and what is wrong there; None if none."""
    bare = _TEXTS.sub(_blank, text)
    key = _LONG_KEY.search(bare)
    until = len(bare) if key is None else key.start()
    if (place := _beyond_in_values(bare[:until])) is not None:
        return place
    if key is None:
        return None
    parts = key[0].count(".") + 1
    expected = f"a key of at most {MOST_PARTS} parts"
    return bare.count("\n", 0, until) + 1, Mistake("", f"a key of {parts:,} parts", expected)


def _blank(text: re.Match[str]) -> str:
    """Return something as short as can be in the place of a string or a comment, on as many lines."""
    lines = "\n" * text[0].count("\n")
    return lines if text[0].startswith("#") else "s" + lines


def _beyond_in_values(bare: str) -> tuple[int, Mistake] | None:
    line, depth, values = 1, 0, 0
    for sign in _SIGNS.findall(bare):
        if sign == "\n":
            line += 1
        elif sign == ",":
            values += 1
        else:
            depth = max(0, depth + (1 if sign in "[{" else -1))
        if depth > DEEPEST:
            return line, Mistake("", "brackets in brackets in brackets", f"TOML with at most {DEEPEST} in each other")
        if values + line > MOST_VALUES:
            return line, Mistake("", "a value too many", f"a file of at most {MOST_VALUES:,} lines and values")
    return None
