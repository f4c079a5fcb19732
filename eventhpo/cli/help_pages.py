"""The help of each command in one place: its summary in the list of commands, and its examples.

They stand here and not in the commands' modules, so that `eventhpo --help` loads none of these.
"""

from __future__ import annotations

from typing import NamedTuple


class HelpPage(NamedTuple):
    """What the help shows of a command next to its docstring and options.

    `summary` is one sentence that fits a line of the list of commands at 80 columns. Each of `examples` is a command
    line that can be typed as it stands. `reads` is true if it only shows what a log or a file holds.
    """

    summary: str
    examples: tuple[str, ...]
    reads: bool = False


PAGES = {
    # Run a search
    "new": HelpPage(
        "Write search files and scripts to begin with.",
        ("eventhpo new mysearch", "cd mysearch && eventhpo run search.toml"),
    ),
    "demo": HelpPage(
        "Run a real search on scikit-learn's digits, under a minute.",
        ("eventhpo demo", "eventhpo demo --folder try"),
    ),
    "check": HelpPage(
        "Say what a search file would do; create nothing.",
        (
            "eventhpo check search.toml",
            "eventhpo check wider.toml --from search.db",
            "eventhpo check search.toml --json",
        ),
        reads=True,
    ),
    "run": HelpPage(
        "Run the new search that a search file describes.",
        (
            "eventhpo run search.toml",
            "eventhpo run wider.toml --from search.db",
            "eventhpo run search.toml --log search.db --on-end 'mail -s done me@host'",
            "nohup eventhpo run search.toml --log search.db &",
        ),
    ),
    "resume": HelpPage(
        "Carry a search on, also with other limits.",
        (
            "eventhpo resume search.db",
            "eventhpo resume search.db --total-max-jobs 48 --wall-time-limit 8h",
            "eventhpo resume search.db --gpus 2,3",
        ),
    ),
    "stop": HelpPage(
        "End a search for good, and its running jobs.",
        ("eventhpo stop search.db", "eventhpo stop search.db --why 'a typo in the space'"),
    ),
    "enqueue": HelpPage(
        "Have a point of your own tried next.",
        ("eventhpo enqueue search.db lr=0.01 width=64", "eventhpo enqueue search.db General/lr=0.01 --why 'a paper'"),
    ),
    "cancel": HelpPage(
        "End one trial; it is not tried again.",
        ("eventhpo cancel search.db 3", "eventhpo cancel search.db 3 --why 'its data are wrong'"),
    ),
    "pause": HelpPage(
        "Start nothing more until `eventhpo unpause`.",
        ("eventhpo pause search.db", "eventhpo pause search.db --why 'the GPUs are needed until noon'"),
    ),
    "unpause": HelpPage("Let a paused search go on.", ("eventhpo unpause search.db",)),
    "note": HelpPage(
        "Write something down about a trial.",
        ("eventhpo note search.db 3 'its loss falls as it should'",),
    ),
    # Read a log
    "status": HelpPage(
        "Say where a search stands.",
        ("eventhpo status search.db", "eventhpo status search.db --at 120", "eventhpo status search.db --json"),
        reads=True,
    ),
    "watch": HelpPage(
        "Watch a search while it runs.",
        ("eventhpo watch search.db", "eventhpo watch search.db --json"),
        reads=True,
    ),
    "top": HelpPage(
        "List the best trials, best first.",
        ("eventhpo top search.db", "eventhpo top search.db -k 3 --only-completed", "eventhpo top search.db --json"),
        reads=True,
    ),
    "events": HelpPage(
        "List the events of a log, or follow them.",
        (
            "eventhpo events search.db --trial 3",
            "eventhpo events search.db --type JobPruned --json",
            "eventhpo events search.db --after 100 --follow",
        ),
        reads=True,
    ),
    "verify": HelpPage(
        "Check that a log is whole and was not changed.",
        ("eventhpo verify search.db", "eventhpo verify search.db --decide"),
        reads=True,
    ),
    # Replay a log
    "explain": HelpPage(
        "Say why a trial was suggested, pruned, retried or failed.",
        ("eventhpo explain search.db 3", "eventhpo explain search.db 3 --all-verdicts"),
        reads=True,
    ),
    "replay": HelpPage(
        "Let today's code decide a log again, and compare.",
        ("eventhpo replay search.db", "eventhpo replay monday.db tuesday.db --all --processes 4"),
        reads=True,
    ),
    "postmortem": HelpPage(
        "Say what happened in a search, and what comes next.",
        ("eventhpo postmortem search.db", "eventhpo postmortem search.db --at 2026-11-24T10:00"),
        reads=True,
    ),
    "diff": HelpPage(
        "Find the first decision in which two searches differ.",
        ("eventhpo diff monday.db tuesday.db", "eventhpo diff monday.db tuesday.db --json"),
        reads=True,
    ),
    "whatif": HelpPage(
        "Say what another pruner, budget or fewer workers would do.",
        (
            "eventhpo whatif search.db",
            "eventhpo whatif search.db --pruner HyperbandPruner:reduction_factor=3",
            "eventhpo whatif search.db --num-concurrent-workers 2 --orders 20",
        ),
        reads=True,
    ),
    # Show a search
    "report": HelpPage(
        "Write a search as one HTML page, for people to read.",
        ("eventhpo report search.db -o report.html", "eventhpo report search.db --at 120 -o then.html"),
    ),
    "plot": HelpPage(
        "Draw one chart of a search as SVG or PNG.",
        ("eventhpo plot search.db history -o history.svg", "eventhpo plot search.db curves -o curves.png --scale 3"),
    ),
    "web": HelpPage(
        "Serve the report live, for a browser on this machine.",
        ("eventhpo web search.db", "eventhpo web . --port 0"),
    ),
    "evidence": HelpPage(
        "Put a log and all that an auditor needs into one zip file.",
        (
            "eventhpo evidence search.db -o bundle.zip",
            "eventhpo evidence bundle.zip --check --signed-by allowed_signers",
        ),
    ),
    # Query a log
    "prunes": HelpPage(
        "List the pruner's verdicts, each with its reason.",
        ("eventhpo prunes search.db --pruned", "eventhpo prunes search.db --trial 3"),
        reads=True,
    ),
    "sql": HelpPage(
        "Answer one SELECT over the tables of a log.",
        ("eventhpo sql search.db 'select * from leaderboard limit 5'",),
        reads=True,
    ),
    "tables": HelpPage(
        "Write a log as plain tables, in SQLite or CSV.",
        ("eventhpo tables search.db -o tables.db", "eventhpo tables search.db --csv tables"),
    ),
    # An Optuna study
    "serve": HelpPage(
        "Serve an Optuna study to workers on any machine.",
        ("eventhpo serve study.db --port 13000",),
    ),
    "import": HelpPage(
        "Write a study of Optuna's own storages into a new log.",
        ("eventhpo import sqlite:///old.db my-study -o study.db",),
    ),
    "dashboard": HelpPage(
        "Show a log in optuna-dashboard, as it grows.",
        ("eventhpo dashboard study.db --port 8081",),
    ),
    # Keep a log
    "backup": HelpPage(
        "Copy a log whole, also while a controller writes it.",
        ("eventhpo backup search.db copy.db",),
    ),
    "seal": HelpPage(
        "Make a log one quiet file that can be copied and sent.",
        ("eventhpo seal search.db",),
    ),
    "salvage": HelpPage(
        "Copy what is left of a damaged log.",
        ("eventhpo salvage search.db saved.db",),
    ),
    "sign": HelpPage(
        "Sign a log with an SSH key, and files that belong to it.",
        ("eventhpo sign search.db --key ~/.ssh/id_ed25519 --artifact model.pt",),
    ),
}


def epilog(name: str) -> str | None:
    """Return the examples of the command *name* as click shows them below its options, None if it has none."""
    if name not in PAGES:
        return None
    return "\n".join(["\b", "Examples:", *(f"  {example}" for example in PAGES[name].examples)])
