"""Everything the server knows, as plain JSON: what a restart brings back."""

from __future__ import annotations

import base64
import json
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

COMPANY = "d1bd92a3b039400cbafc60a7a5b1e52b"
COMPANY_NAME = "clearml"
USER = "__search__"
USER_NAME = "eventhpo"

Document = dict[str, Any]


@dataclass
class State:
    """Documents by id. A scalar is [metric, variant, iteration, value, event], in order of arrival."""

    tasks: dict[str, Document] = field(default_factory=dict)
    queues: dict[str, Document] = field(default_factory=dict)
    projects: dict[str, Document] = field(default_factory=dict)
    workers: dict[str, Document] = field(default_factory=dict)
    scalars: dict[str, list[list[Any]]] = field(default_factory=dict)
    logs: dict[str, list[Document]] = field(default_factory=dict)
    plots: dict[str, list[Document]] = field(default_factory=dict)
    scrolls: dict[str, int] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)  # base64
    models: dict[str, Document] = field(default_factory=dict)
    token_generation: int = 0
    clock_offset: float = 0.0

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> State:
        kept = json.loads(text)
        return cls(**{part.name: kept[part.name] for part in fields(cls) if part.name in kept})

    def save(self, path: Path) -> None:
        """Replace *path* whole: a kill leaves the state before or after, never half of one."""
        aside = path.with_name(path.name + ".new")
        aside.write_text(self.to_json())
        aside.replace(path)

    def put_file(self, path: str, content: bytes) -> None:
        self.files[path] = base64.b64encode(content).decode()

    def get_file(self, path: str) -> bytes | None:
        text = self.files.get(path)
        return None if text is None else base64.b64decode(text)
