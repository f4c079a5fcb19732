"""tasks.get_all: which tasks, in what order, which of their fields."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from copy import deepcopy
from typing import Any

from tests.clearml_server.clock import parsed
from tests.clearml_server.endpoints import Api, Body, documented, endpoint, new_id
from tests.clearml_server.errors import error
from tests.clearml_server.state import Document

PAGE_SIZE = 500  # more are not given, whatever is asked

documented(
    "tasks.get_all: lists with __$all, __$and, __$any, __$or, __$not, __$nop and a leading -",
    "tasks.get_all: an empty list asks for nothing, so every task matches",
    "tasks.get_all: ranges of numbers and times",
    "tasks.get_all: scroll_id with size",
    "tasks.get_all: hidden tasks only with search_hidden or an id",
    "tasks.get_all: tasks without the value that orders come last",
)

LISTS = ("id", "user", "tags", "system_tags", "type", "status", "project", "parent", "execution.queue")
RANGES = ("created", "started", "active_duration", "last_iteration")
TIMES = ("status_changed", "last_update", "last_change")
PATTERNS = ("name", "comment")
TAKES = (*LISTS, *RANGES, *TIMES, *PATTERNS, "only_fields", "projection", "search_hidden", "order_by", "page")
TAKES = (
    *TAKES,
    "page_size",
    "scroll_id",
    "size",
    "refresh_scroll",
    "include_subprojects",
    "allow_public",
    "search_text",
)
PREFIXES = ("hyperparams.", "last_metrics.", "runtime.")


@endpoint("tasks.get_all", *TAKES, "_all_", "_any_", prefixes=PREFIXES)
def get_all(api: Api, body: Body) -> Document:
    found = ordered([task for task in api.state.tasks.values() if matches(task, body)], body.get("order_by"))
    start, size, more = _page(api, body)
    found = found[start : start + size]
    if more:
        api.state.scrolls[more["scroll_id"]] = start + len(found)
    only = body.get("projection") or body.get("only_fields") or []
    return {"tasks": [projected(task, only) for task in found], **more}


def _page(api: Api, body: Body) -> tuple[int, int, Document]:
    if "scroll_id" in body:
        size = body.get("size")
        if not isinstance(size, int) or size < 1:
            raise error(12, "Integer size parameter greater than 1 should be provided when working with scroll")
        scroll = body["scroll_id"] if body["scroll_id"] in api.state.scrolls else new_id()
        start = api.state.scrolls.get(scroll, 0)
        if body.get("refresh_scroll"):
            start, size = 0, max(start, size)
        return start, size, {"scroll_id": scroll}
    page, size = body.get("page") or 0, body.get("page_size", PAGE_SIZE)
    if page < 0:
        raise error(12, "page must be >=0", field="page")
    if size is None or size < 1:
        raise error(12, "page_size must be >0", field="page_size")
    size = min(size, PAGE_SIZE)
    return page * size, size, {}


def matches(task: Document, body: Body) -> bool:
    if "hidden" in task["system_tags"] and not body.get("search_hidden") and not body.get("id"):
        return False
    return (
        all(_has_pattern(task, key, body[key]) for key in PATTERNS if body.get(key))
        and all(_in_list(task, key, body[key]) for key in body if _is_list(key) and body[key] is not None)
        and all(_in_range(task, key, body[key]) for key in body if _is_range(key) and body[key] is not None)
        and all(_at(task, key) == body[key] for key in body if key.startswith("runtime."))
        and all(_several(task, key, body[key]) for key in ("_all_", "_any_") if key in body)
    )


def _several(task: Document, key: str, asked: Document) -> bool:
    """A pattern looked for in several fields: in all of them, or in any."""
    hits = [re.search(asked["pattern"], str(_at(task, name) or ""), re.IGNORECASE) for name in asked["fields"]]
    return not hits or (all(hits) if key == "_all_" else any(hits))


def _is_list(key: str) -> bool:
    return key in LISTS or key.startswith("hyperparams.")


def _is_range(key: str) -> bool:
    return key in RANGES or key in TIMES or key.startswith("last_metrics.")


def _has_pattern(task: Document, key: str, pattern: str) -> bool:
    try:
        return re.search(pattern, task.get(key) or "") is not None
    except re.error as bad:
        raise error(16, "failed parsing query field", error=bad, field=key) from None


def _at(task: Document, path: str) -> Any:
    found: Any = task
    while path:
        if not isinstance(found, dict):
            return None
        # a name of a parameter can contain dots and slashes: the longest key that fits
        key = next(
            (key for key in sorted(found, key=len, reverse=True) if path == key or path.startswith(key + ".")), ""
        )
        if not key:
            return None
        found, path = found[key], path[len(key) + 1 :]
    return found


def _in_list(task: Document, key: str, asked: Any) -> bool:
    """The server's grammar of lists: operators, then values; groups joined by the first operator, else by and."""
    asked = asked if isinstance(asked, list) else [asked]
    value = _at(task, key)
    have = set(value if isinstance(value, list) else [] if value is None else [value])
    groups: dict[str, list[str]] = {}
    join, context, legacy, negate, empty = None, "in", True, False, False
    for term in asked:
        if term is None:
            empty = True
        elif term == "__$nop":
            context, legacy, negate = "in", True, False
        elif term == "__$not":
            negate = True
            join = join or "and"
        elif term in _OPERATORS:
            context, legacy = _OPERATORS[term], False
            join = join or ("and" if context == "all" else "or")
        elif isinstance(term, str) and term.startswith("__$"):
            raise error(16, "Unsupported operator", field=key, operator=term)
        else:
            join = join or "and"
            if not negate and legacy and isinstance(term, str) and term.startswith("-"):
                term, negate = term[1:], True  # noqa: PLW2901 - the value without its sign
            groups.setdefault("nin" if negate else context, []).append(term)
            negate = False
    tests = [_GROUPS[name](have, set(values)) for name, values in groups.items()]
    fits = (all(tests) if join != "or" else any(tests)) if tests else not empty
    return fits or (empty and not have)


_OPERATORS = {"__$all": "all", "__$and": "all", "__$any": "in", "__$or": "in"}
_GROUPS: dict[str, Callable[[set[str], set[str]], bool]] = {
    "in": lambda have, asked: bool(have & asked),
    "all": lambda have, asked: asked <= have,
    "nin": lambda have, asked: not have & asked,
}
_SIGNS: tuple[tuple[str, Callable[[Any, Any], bool]], ...] = (
    (">=", lambda a, b: a >= b),
    ("<=", lambda a, b: a <= b),
    (">", lambda a, b: a > b),
    ("<", lambda a, b: a < b),
)


def _in_range(task: Document, key: str, asked: Any) -> bool:
    have, terms = _at(task, key), asked if isinstance(asked, list) else [asked]
    if key in TIMES and any(isinstance(term, str) and term[:1] in "<>" for term in terms):
        return all(_compared(have, term) for term in terms)
    if len(terms) != 2 or terms == [None, None]:
        raise error(12, f"Min and max values should be specified for range field {key}")
    low, high = (_comparable(term) for term in terms)
    if have is None:
        return low is None
    have = _comparable(have)
    return (low is None or have >= low) and (high is None or have <= high)


def _compared(have: Any, term: str) -> bool:
    for sign, holds in _SIGNS:
        if term.startswith(sign):
            return have is not None and holds(parsed(have), parsed(term[len(sign) :]))
    return have is not None and parsed(have) == parsed(term)


def _comparable(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return float(value)
    except ValueError:
        return parsed(value)


def ordered(tasks: list[Document], order_by: Any) -> list[Document]:
    keys: Iterable[str] = ([order_by] if isinstance(order_by, str) else order_by) or []
    keys = [*keys, "id"] if keys and not {"id", "-id"} & set(keys) else keys
    for key in reversed(list(keys)):
        name, reverse = key.lstrip("-"), key.startswith("-")
        having = [task for task in tasks if _at(task, name) is not None]
        without = [task for task in tasks if _at(task, name) is None]
        tasks = sorted(having, key=lambda task: _at(task, name), reverse=reverse) + without
    return tasks


def projected(task: Document, only: list[str]) -> Document:
    """The whole task, or the fields asked for that it has."""
    if not only:
        return deepcopy(task)
    shown: Document = {}
    for path in sorted(only):
        value = _at(task, path)
        if value is None or path.startswith("-"):
            continue
        place, parts = shown, _parts(task, path)
        for part in parts[:-1]:
            place = place.setdefault(part, {})
        place[parts[-1]] = deepcopy(value)
    return shown


def _parts(task: Document, path: str) -> list[str]:
    parts, place = [], task
    while path:
        key = next(key for key in sorted(place, key=len, reverse=True) if path == key or path.startswith(key + "."))
        parts.append(key)
        place, path = place[key], path[len(key) + 1 :]
    return parts
