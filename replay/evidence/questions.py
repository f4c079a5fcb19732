"""The page of a bundle: which question is answered where, and which is not."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

ANSWERED = (
    ("What was searched, and what was to become best?", "`provenance.json`: `search.space`, `search.objectives`"),
    (
        "By which method, with which arguments and seed?",
        "`provenance.json`: `search.sampler`, `search.pruner`, `search.seed`",
    ),
    ("What were the limits?", "`provenance.json`: `search.limits`; later changes are acts in `postmortem.txt`"),
    ("What came of it?", "`trials.csv`: each trial with parameters and value, best first; `postmortem.txt`: `winner`"),
    (
        "How many configurations were tried to get there?",
        "`postmortem.txt`: `trials`, also those that were pruned or failed",
    ),
    ("How was the best one chosen?", "by the objective alone: the first row of `trials.csv`"),
    (
        "What was run: command, script, commit?",
        "`provenance.json`: `attempts`, each with digest of the script, commit and digest of the changes to it",
    ),
    ("Was the code the same for all trials?", "`postmortem.txt`: `code`; `provenance.json`: `attempts`"),
    (
        "On which machines, with which versions?",
        "`provenance.json`: `attempts` (host, GPUs, Python; `packages_sha256` names a list in `texts`), `controllers`",
    ),
    (
        "Which data were used?",
        "`provenance.json`: `data_sha256` of each attempt names a list in `texts`, if the search declared `data`",
    ),
    (
        "Who began it, and who intervened?",
        "`postmortem.txt`: each `act` with name, user id and reason, as they were claimed",
    ),
    ("What did it cost?", "`postmortem.txt`: `budget` (iterations, time of jobs) and `slots`"),
    ("Was anything lost, or run twice?", "`postmortem.txt`: `lost`, `retried`, `ran twice`"),
    ("Why was trial N suggested, pruned, failed?", "`report.html`, or `eventhpo explain search.db N`"),
    ("Would it come out so again?", "`replay.txt`: each decision made again by the version that is named there"),
    ("Is the log whole?", "`verify.txt`; `eventhpo verify search.db` checks it again"),
    (
        "Was it made anew afterwards?",
        "only a signature shows that: `eventhpo evidence BUNDLE --check --signed-by FILE`",
    ),
    ("Which files belong to it?", "`search.db.sig`: each signature names the content of files, if it was told to"),
)
NOT_ANSWERED = (
    ("May the data be used so?", "a log knows the content of declared data, and nothing of its rights"),
    ("Is the best value good on data that no trial saw?", "a search sees its objective only; test the winner apart"),
    ("How much does the value vary from seed to seed?", "each point ran once; `enqueue` repeats one"),
    ("Were the reported numbers measured as they should be?", "the log has what the script reported"),
    ("When was it signed?", "a signature has the signer's own clock"),
    ("How much energy did it take?", "not measured"),
    ("What is the model for, who is affected, who oversees it?", "not the subject of a search"),
)


class LeftOut(msgspec.Struct, frozen=True):
    """A file that a bundle could have and does not, and why."""

    name: str
    why: str


def page(name: str, search_id: str, head: str, files: Sequence[str], left_out: Sequence[LeftOut]) -> str:
    """Return the page of a bundle as Markdown."""
    return "\n".join(_lines(name, search_id, head, files, left_out)) + "\n"


def _lines(name: str, search_id: str, head: str, files: Sequence[str], left_out: Sequence[LeftOut]) -> Iterator[str]:
    yield from (f"# Evidence of the search {name}", "")
    yield f"Search {search_id}, up to event {head}. `eventhpo evidence` made it."
    yield "`manifest.json` has the digest of each file."
    yield "To check it, with nothing but this file and eventhpo: `eventhpo evidence BUNDLE --check`."
    yield from ("", "## What is here", "")
    yield from (f"- `{file}`: {_WHAT[file]}" for file in files)
    yield from (f"- `{left.name}` is not here: {left.why}" for left in left_out)
    yield from ("", "## What is answered, and where", "", "| question | answer |", "|---|---|")
    yield from (f"| {question} | {answer} |" for question, answer in ANSWERED)
    yield from ("", "## What is not answered", "", "| question | why |", "|---|---|")
    yield from (f"| {question} | {answer} |" for question, answer in NOT_ANSWERED)


_WHAT = {
    "search.db": "the log, one quiet SQLite file",
    "search.db.head": "where the log ends, kept apart from it",
    "search.db.sig": "signatures of the log",
    "provenance.json": "what was asked for, and what ran where",
    "trials.csv": "all trials, best first",
    "verify.txt": "the checks of the log where it lay, with the jobs' own reports if they were there",
    "replay.txt": "each decision made again",
    "postmortem.txt": "what happened, in lines",
    "postmortem.json": "the same for programs",
    "report.html": "the search as a page for a browser",
}
