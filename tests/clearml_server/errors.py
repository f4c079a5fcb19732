"""The errors of the API: HTTP status, result_subcode, message and values."""

from __future__ import annotations

from collections.abc import Collection


class ApiError(Exception):
    """Answered with *code* as HTTP status and *subcode* in its meta."""

    def __init__(self, code: int, subcode: int, message: str) -> None:
        super().__init__(message)
        self.code, self.subcode, self.message = code, subcode, message


_TEXTS = {
    (400, 10): "Invalid object id",
    (400, 11): "Missing required fields",
    (400, 12): "Validation error",
    (400, 16): "Invalid value for fields",
    (400, 17): "Batch request contains no items",
    (400, 101): "Invalid task id",
    (400, 110): "Invalid task status",
    (400, 123): "Task cannot be deleted",
    (400, 131): "Events not added",
    (400, 401): "Invalid project id",
    (400, 701): "Invalid queue id",
    (400, 702): "Queue is not empty",
    (400, 703): "Invalid queue id or task not in queue",
    (400, 706): "Failed adding task to queue since task is already queued",
    (400, 707): "No queue is tagged as the default queue for this company",
    (400, 801): "Value combination already exists (unique field already contains this value)",
    (400, 1001): "Invalid worker id",
    (400, 1004): "Worker is not registered",
    (400, 1104): "Invalid scroll id",
    (401, 20): "Unauthorized (missing credentials)",
    (401, 21): "Unauthorized (malformed credentials)",
    (401, 22): "Unauthorized (invalid credentials)",
    (401, 30): "Invalid token",
}


def error(subcode: int, extra: str = "", *, code: int = 400, **values: object) -> ApiError:
    """An error with the server's text: "Text (extra): name=value, ..."."""
    message = _TEXTS[(code, subcode)] + (f" ({extra})" if extra else "")
    if values:
        message += ": " + ", ".join(f"{name}={_said(value)}" for name, value in values.items())
    return ApiError(code, subcode, message)


def _said(value: object) -> str:
    if isinstance(value, Collection) and not isinstance(value, str):
        return f"({', '.join(str(item) for item in value)})"
    return str(value)
