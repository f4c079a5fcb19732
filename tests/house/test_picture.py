"""The picture of the architecture in `docs/design.md` and the imports say the same."""

from __future__ import annotations

import re
from pathlib import Path

from tests.house.test_structure import ROOT, imported, modules

DESIGN = ROOT / "docs" / "design.md"
KNOWN_BY_ALL = {"eventhpo.errors", "eventhpo.own_files", "eventhpo.replay_package"}  # they import nothing of ours
FRONT = "eventhpo"  # its __init__ names what users import, and loads it when it is asked for

Arrow = tuple[str, str]


def parts_drawn(picture: str) -> dict[str, str]:
    """Return the part that each module or package of a label belongs to: dotted name -> part."""
    parts = {}
    for part, label in re.findall(r'^ *(\w+)\["([^"]+)"\]$', picture, flags=re.M):
        parts |= {path.replace("/", "."): part for path in label.split("<br>")}
    return parts


def arrows_drawn(picture: str) -> set[Arrow]:
    """Return the solid arrows; a dotted one is no import."""
    return set(re.findall(r"^ *(\w+) --> (\w+)$", picture, flags=re.M))


def part_of(name: str, parts: dict[str, str]) -> str | None:
    """Return the part whose name is the longest beginning of *name*, None if no part holds it."""
    pieces = name.split(".")
    beginnings = (".".join(pieces[:n]) for n in range(len(pieces), 0, -1))
    return next((parts[b] for b in beginnings if b in parts), None)


def module_name(path: Path) -> str:
    name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    return name.removesuffix(".__init__")


def our_imports() -> set[Arrow]:
    """Return module and imported name for each import of ours by ours, without those that all may have."""
    pairs = {(module_name(p), name) for top in ("eventhpo", "replay") for p in modules(top) for name in imported(p)}
    return {
        (module, name)
        for module, name in pairs
        if name.split(".")[0] in ("eventhpo", "replay") and name != FRONT
        if module != FRONT and not any((name + ".").startswith(known + ".") for known in KNOWN_BY_ALL)
    }


def arrows_between(imports: set[Arrow], parts: dict[str, str]) -> set[Arrow]:
    ends = {(part_of(module, parts), part_of(name, parts)) for module, name in imports}
    return {(a, b) for a, b in ends if a is not None and b is not None and a != b}


def reached(arrows: set[Arrow]) -> set[Arrow]:
    """Return the transitive closure of *arrows*."""
    closure = set(arrows)
    while True:
        longer = {(a, d) for a, b in closure for c, d in arrows if b == c} - closure
        if not longer:
            return closure
        closure |= longer


def picture() -> str:
    (block,) = re.findall(r"^```mermaid\n(.*?)^```", DESIGN.read_text(), flags=re.M | re.S)
    return str(block)


def differences(drawn: str, imports: set[Arrow]) -> list[str]:
    """Return what *drawn* and *imports* do not agree on, and the circles of either."""
    parts, arrows = parts_drawn(drawn), arrows_drawn(drawn)
    real = arrows_between(imports, parts)
    problems = [f"in no part: {m}" for m in sorted({m for m, _ in imports} - KNOWN_BY_ALL) if not part_of(m, parts)]
    problems += [f"not a part: {end}" for end in sorted({e for arrow in arrows for e in arrow} - set(parts.values()))]
    problems += [f"not drawn: {a} --> {b}" for a, b in sorted(real - reached(arrows))]
    problems += [f"not imported: {a} --> {b}" for a, b in sorted(arrows - real)]
    problems += [f"in a circle: {a}" for a, b in sorted(reached(real | arrows)) if a == b]
    return problems


def test_the_picture_shows_the_imports_and_nothing_else() -> None:
    assert differences(picture(), our_imports()) == []


def test_what_all_may_import_imports_only_itself() -> None:
    for known in KNOWN_BY_ALL:
        names = set(imported(ROOT / (known.replace(".", "/") + ".py")))
        ours = {name for name in names if name.split(".")[0] in ("eventhpo", "replay")}
        assert all(any((name + ".").startswith(k + ".") for k in KNOWN_BY_ALL) for name in ours), known


def test_a_package_that_is_loaded_by_name_only_is_not_drawn_as_imported() -> None:
    by_name = set(re.findall(r"^ *(\w+) -\. by name \.-> (\w+)$", picture(), flags=re.M))
    assert by_name
    assert by_name & arrows_between(our_imports(), parts_drawn(picture())) == set()


def test_the_comparison_sees_what_is_wrong() -> None:
    """Negative control."""
    drawn = 'graph TD\n    top["a/top"]\n    low["a/low<br>a/lower"]\n    side["a/side"]\n    top --> low\n'
    imports = {("a.top.x", "a.lower.y"), ("a.side", "a.side.z")}
    assert differences(drawn, imports) == []
    assert differences(drawn, imports | {("a.side", "a.low")}) == ["not drawn: side --> low"]
    assert differences(drawn + "    low --> side\n    low --> odd\n", imports) == [
        "not a part: odd",
        "not imported: low --> odd",
        "not imported: low --> side",
    ]
    assert differences(drawn, imports | {("a.low", "a.top")}) == [
        "not drawn: low --> top",
        "in a circle: low",
        "in a circle: top",
    ]
    assert differences(drawn, imports | {("b.new", "a.low")}) == ["in no part: b.new"]
