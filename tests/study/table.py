"""Run each sampler killed and left alone, and write the table of studies in docs/determinism.md.

python -m tests.study.table
"""

from __future__ import annotations

import signal
import sys
import tempfile
from pathlib import Path

import msgspec

from eventhpo.core.fold.evolve import fold
from eventhpo.core.fold.study_events import PointJudged
from eventhpo.log.reader import read
from eventhpo.optuna_adapter.fingerprint import fingerprint
from replay import redecide
from tests.study.scripts import run, trials

PAGE = Path(__file__).parents[2] / "docs" / "determinism.md"
BEGIN, END = "<!-- made by tests/study/table.py -->\n", "<!-- end of the studies -->\n"
SAMPLERS = (
    "tpe", "tpe in groups", "random", "grid", "brute force", "nsga2", "nsga3", "sobol", "halton", "cma-es", "fixed",
)  # fmt: skip
PRUNER_OF = {"flat": "median", "conditional": "hyperband", "two": "none"}  # of each space
SPACES = {
    "flat": "flat, `MedianPruner`",
    "conditional": "depends on a choice, `HyperbandPruner`",
    "two": "two objectives",
}
KILLS = (1, 9, 16, 21)  # steps of the objective: before a suggestion, between two, between two reports
HEAD = ("sampler", "space and pruner", "left alone: again", "killed: run", "killed: again", "attempts lost", "pruned")


class StudyCase(msgspec.Struct, frozen=True):
    """What came of one sampler on one space; `differences` are in words, none if all is equal."""

    alone: int  # decisions of the undisturbed log, decided again
    trials: int  # of the killed study, compared with those of the undisturbed one
    killed: int  # decisions of the killed log, decided again
    lost: int
    pruned: int
    kills: int
    differences: tuple[str, ...]


def cases() -> list[tuple[str, str]]:
    """Return the pairs of sampler and space; CMA-ES has one objective."""
    return [(s, space) for s in SAMPLERS for space in SPACES if (s, space) != ("cma-es", "two")]


def measured(sampler: str, space: str, folder: Path) -> StudyCase:
    """Run a study undisturbed, and once more killed at four steps of its objective; compare, and decide both again."""
    asked = {"sampler": sampler, "space": space, "pruner": PRUNER_OF[space]}
    alone, killed = folder / "alone.db", folder / "killed.db"
    undisturbed = trials(alone, **asked)
    kills = sum(run(killed, kill_at=step, **asked)[0] == -signal.SIGKILL for step in KILLS)
    resumed = trials(killed, **asked)
    reports = [redecide(log, raise_on_divergence=False) for log in (alone, killed)]
    differences = [f"row {d.seq} is decided otherwise" for report in reports for d in report.divergences]
    if resumed != undisturbed:
        differences.append("other trials than undisturbed")
    rows = read(killed).rows
    return StudyCase(
        alone=reports[0].decisions,
        trials=len(resumed),
        killed=reports[1].decisions,
        lost=sum(len(trial.attempts) - 1 for trial in fold(rows).trials),
        pruned=sum(isinstance(row.event, PointJudged) and row.event.prune is True for row in rows),
        kills=kills,
        differences=tuple(differences),
    )


def line(sampler: str, space: str, case: StudyCase) -> str:
    """Return the line of a case: numbers are of what was compared, all of it equal; else the difference in bold."""
    told = [f"**{case.differences[0]}**"] if case.differences else [str(case.trials)]
    numbers = [str(case.alone), *told, str(case.killed), str(case.lost), str(case.pruned)]
    return f"| {sampler} | {SPACES[space]} | {' | '.join(numbers)} |"


def written(text: str, found: dict[tuple[str, str], StudyCase], versions: dict[str, str]) -> str:
    """Return the page *text* with the table of *found* between its marks."""
    start, end = text.index(BEGIN) + len(BEGIN), text.index(END)
    decisions = sum(case.alone + case.killed for case in found.values())
    red = sum(bool(case.differences) for case in found.values())
    of = ", ".join(f"{name} {versions[name]}" for name in ("eventhpo", "optuna", "numpy", "python"))
    kills = sum(case.kills for case in found.values())
    says = f"{len(found)} studies, {kills} kills, {decisions:,} decisions compared, {red} studies differ ({of})."
    head = [f"| {' | '.join(HEAD)} |", "|---|---|--:|--:|--:|--:|--:|"]
    table = "\n".join([says, "", *head, *(line(*names, case) for names, case in found.items())])
    return f"{text[:start]}{table}\n{text[end:]}"


def main() -> int:
    """Write the table; return 1 if a case differs."""
    found = {}
    for sampler, space in cases():
        with tempfile.TemporaryDirectory() as folder:
            found[sampler, space] = case = measured(sampler, space, Path(folder))
        sys.stderr.write(f"{sampler}, {space}: {', '.join(case.differences) or 'equal'}\n")
    PAGE.write_text(written(PAGE.read_text(), found, fingerprint()))
    return int(any(case.differences for case in found.values()))


if __name__ == "__main__":
    sys.exit(main())
