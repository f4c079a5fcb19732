"""Studies that are killed at random steps of their objective, and run again.

    python -m tests.study.loop --kills 200

Each round takes another sampler and pruner, one thread or three; each fourth is a study that is served to three
workers, whose server or workers are killed. A study of one thread must come to the
trials of one that nobody disturbed; each log must be decided again as recorded. `--control` throws the
killed log away before the last run, as if nothing had been on the disk, or notes a false point: it must find
faults.
"""

from __future__ import annotations

import argparse
import random
import signal
import sys
import tempfile
from collections.abc import Iterator
from itertools import count
from pathlib import Path

from eventhpo.log.reader import read
from replay.decide.check_prefixes import check_prefixes
from tests.study.scripts import run, trials
from tests.study.served import round_of_kills
from tests.study.table import SAMPLERS

PRUNERS = ("none", "median", "hyperband", "halving")


def round_of(folder: Path, chance: random.Random, kills: int, *, control: bool) -> tuple[int, list[str]]:
    """Run one study with *kills* kills at most; return how many there were, and what is wrong."""
    threads = chance.choice([1, 1, 3])
    asked = {
        "sampler": chance.choice(SAMPLERS),
        "pruner": chance.choice(PRUNERS),
        "space": chance.choice(["flat", "conditional"]),
    }
    log, done = folder / "killed.db", 0
    for _ in range(kills):
        code, _, _ = run(log, kill_at=chance.randint(1, 30), n_jobs=threads, **asked)
        done += code == -signal.SIGKILL
        if code == 0:
            break
    if control:
        for left in folder.glob("killed.db*"):
            left.unlink()
    reached = trials(log, n_jobs=threads, **asked)
    wrong = [
        f"{asked}: {check.divergence}" for check in check_prefixes(read(log, verify=True).rows) if check.divergence
    ]
    if threads == 1 and reached != trials(folder / "undisturbed.db", **asked):
        wrong.append(f"{asked}: other trials than undisturbed")
    if [trial[0] for trial in reached] != list(range(len(reached))):
        wrong.append(f"{asked}: numbers are missing or twice")
    attempts = sum(type(row.event).__name__ == "TrialLost" for row in read(log).rows)
    if done and not attempts:
        wrong.append(f"{asked}: {done} kills, and no attempt is lost in the log")
    return done, wrong


def rounds(kills: int, seed: int, *, control: bool) -> Iterator[tuple[int, list[str]]]:
    """Yield the kills and faults of each round until there were *kills* kills."""
    chance, left = random.Random(seed), kills
    for turn in count():
        if left <= 0:
            return
        with tempfile.TemporaryDirectory() as folder:
            if turn % 4 == 1:
                done, wrong = min(left, 4), round_of_kills(Path(folder), chance, min(left, 4), control=control)
            else:
                done, wrong = round_of(Path(folder), chance, min(left, 4), control=control)
        left -= max(done, 1)
        yield done, wrong


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--control", action="store_true")
    args = parser.parse_args()
    results = list(rounds(args.kills, args.seed, control=args.control))
    faults = [fault for _, wrong in results for fault in wrong]
    sys.stdout.write(f"{sum(done for done, _ in results)} kills in {len(results)} studies, {len(faults)} faults\n")
    sys.stdout.writelines(f"{fault}\n" for fault in faults[:20])


if __name__ == "__main__":
    main()
