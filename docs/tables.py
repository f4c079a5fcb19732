"""Write the tables of events into docs/log-format.md, from the types themselves.

python docs/tables.py
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from eventhpo.core.fold import clocks, event_families, event_parts
from eventhpo.core.fold.codec import TYPES
from eventhpo.core.search import spec

PAGE = Path(__file__).with_name("log-format.md")
FAMILIES = {
    "User inputs": event_families.UserInput,
    "Receipts": event_families.Receipt,
    "Observations": event_families.Observation,
    "Ticks": event_families.Tick,
    "Decisions": event_families.Decision,
    "Notes": event_families.Note,
}
PARTS = (
    event_parts.Verdict,
    event_parts.Attr,
    event_parts.OtherSeries,
    event_parts.ExactValue,
    event_parts.BadLine,
    clocks.BootClock,
    event_parts.Provenance,
    event_parts.ImportedTrial,
    event_parts.EarlierLog,
    event_parts.NotImported,
    event_parts.AdoptedCurve,
    event_parts.JobExtras,
    spec.ComponentConfig,
    spec.UserClassConfig,
)


def fields(kind: type[msgspec.Struct]) -> str:
    """Return the fields of *kind*, with a question mark after each that has a default."""
    return ", ".join(f"`{f.encode_name}`{'' if f.required else '?'}" for f in msgspec.structs.fields(kind))


def says(kind: type[msgspec.Struct]) -> str:
    """Return the first line of the docstring of *kind*."""
    return (kind.__doc__ or "").splitlines()[0]


def tables() -> str:
    """Return the sections of the families, and the section of the parts."""
    lines = []
    for title, family in FAMILIES.items():
        lines += [f"### {title}", "", "| type | says | fields |", "|---|---|---|"]
        lines += [f"| `{n}` | {says(t)} | {fields(t)} |" for n, t in TYPES.items() if issubclass(t, family)]
        lines.append("")
    lines += ["### Parts of events", "", "| part | JSON | says | fields |", "|---|---|---|---|"]
    for part in PARTS:
        shape = "array" if part.__struct_config__.array_like else "object"
        lines.append(f"| `{part.__name__}` | {shape} | {says(part)} | {fields(part)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Replace the sections in the page."""
    text = PAGE.read_text()
    start = text.index("### User inputs\n")
    parts = text.index("### Parts of events\n")
    end = text.index("\n\n", text.index("| `Provenance` |", parts))
    PAGE.write_text(text[:start] + tables() + text[end + 1 :])


if __name__ == "__main__":
    main()
