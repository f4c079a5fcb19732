"""Values on a command line: as a search file writes them, else as the text that they are."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable

from eventhpo.core.fold.events import Head
from eventhpo.core.search.gpus import EXPECTED, Gpus
from eventhpo.core.search.gpus import gpus as kind_of_gpus
from eventhpo.core.search.ranges import from_job, full_name
from eventhpo.core.search.space import fitting, job_names, parameter_sets, set_names, single_ranges
from eventhpo.core.search.spec import LimitChanges, Scalar, Search, option
from eventhpo.core.validation.validators import Wrong
from eventhpo.errors import Usage


def scalar(text: str) -> Scalar:
    """Return *text* as the TOML value that it is, or itself if it is none."""
    if "\n" in text or "\r" in text:
        return text
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except (tomllib.TOMLDecodeError, RecursionError, ValueError):
        return text
    return value if isinstance(value, bool | int | float | str) else text


def point(search: Search, assignments: Iterable[str]) -> dict[str, Scalar]:
    """Return `Section/name=value` *assignments* as a point; whether it fits the space is looked at later.

    Raises:
        Usage: a word without a `=`, or a name that stands there twice.
    """
    params: dict[str, Scalar] = {}
    for word in assignments:
        name, equals, text = word.partition("=")
        if not equals or not name:
            raise Usage(f"{word}: expected Section/name=value, as {job_names(search.space)[0]}=...")
        full = full_name(name)
        if full in params:
            raise Usage(f"{full} is given twice")
        params[full] = _of(search, full, text)
    return params


def _of(search: Search, name: str, text: str) -> Scalar:
    """Return the value that *text* is for the parameter *name*: "1" of a list of texts needs no quotes."""
    value = scalar(text)
    candidates: list[Scalar] = [value, text]
    if text in ("none", "None", "null"):
        candidates.append(None)
    return next((candidate for candidate in candidates if _is_value(search, name, candidate)), value)


def _is_value(search: Search, name: str, value: Scalar) -> bool:
    for p in single_ranges(search.space):
        if p.name == name:
            try:
                from_job(p, value)
            except (ValueError, OverflowError):
                return False
            return True
    return any(name in set_names(p) and fitting(p, {name: value}) for p in parameter_sets(search.space))


def limits(given: dict[str, str | None]) -> LimitChanges:
    """Return the limits that were given as text; `none` lifts one that may be None.

    Raises:
        Usage: naming every option whose value is wrong.
    """
    from eventhpo.controller.requests import limit_kind  # noqa: PLC0415  the help must not load what it loads

    read: dict[str, int | float | None] = {}
    wrong = []
    for name, text in given.items():
        if text is None:
            continue
        value = None if text.lower() == "none" else scalar(text)
        try:
            read[name] = limit_kind(name).read(value)
        except Wrong as error:
            wrong.append(f"{option(name)}: found {text}, expected {error}")
        except OverflowError:
            wrong.append(f"{option(name)}: found {text}, expected {limit_kind(name).expected}")
    if wrong:
        raise Usage("\n".join(wrong))
    return LimitChanges(**read)  # type: ignore[arg-type]


def gpus(text: str) -> Gpus:
    """Return the devices of each slot that *text* names, as `0,1` or `[[0, 1], [2, 3]]`; none for `none`.

    Raises:
        Usage: it names none.
    """
    if text.lower() == "none":
        return ()
    listed = text if text.lstrip().startswith("[") else f"[{text}]"
    try:
        value = tomllib.loads(f"value = {listed}")["value"] if "\n" not in listed else None
        return kind_of_gpus().read(value)
    except (tomllib.TOMLDecodeError, RecursionError, ValueError):
        raise Usage(f"--gpus: found {text}, expected {EXPECTED}, or none") from None


def head(text: str) -> Head:
    """Return the head that `SEQ:HASH` names.

    Raises:
        Usage: it is none.
    """
    seq, _, digits = text.partition(":")
    if not (seq.isascii() and seq.isdigit() and int(seq) >= 1) or len(digits) != 32 or not _is_hex(digits):
        raise Usage(f"--head {text}: expected SEQ:HASH, as `eventhpo status` writes it: a number and 32 hex digits")
    return Head(int(seq), digits)


def _is_hex(text: str) -> bool:
    return all(c in "0123456789abcdef" for c in text)
