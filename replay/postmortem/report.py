"""All that a log tells of its search, in one pass over its rows."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from eventhpo.core.fold.events import Head, Recorded
from eventhpo.core.fold.evolve import begin, evolve
from eventhpo.core.fold.state import State
from eventhpo.core.scheduler import rank
from eventhpo.views import statuses as jobs
from eventhpo.views import top
from eventhpo.views.top import RankedTrial
from replay.next_step import Next, what_next
from replay.postmortem.controllers import Controllers, Epoch
from replay.postmortem.ending import SearchEnd, end
from replay.postmortem.files_on_disk import UNSEEN, FilesOnDisk
from replay.postmortem.jobs import Trouble, Troubles
from replay.postmortem.progress import Gains, Progress
from replay.postmortem.slots import Slots, SlotTime
from replay.postmortem.spending import Spending, spending


class Postmortem(msgspec.Struct, frozen=True, kw_only=True):
    """What happened in a search; all of it is about the rows up to `head`, which are verified."""

    search_id: str
    name: str
    damage: list[str]
    head: Head
    began: int  # `at` of the first and of the last row, microseconds since 1970
    ended: int
    end: SearchEnd
    controllers: list[Epoch]
    trials: dict[str, int]
    imported: int  # of the trials
    jobs: dict[str, int]
    trouble: Trouble
    spending: Spending
    slots: Slots
    winner: RankedTrial | None
    progress: Progress | None  # None with several objectives
    next: Next


def postmortem(
    rows: Sequence[Recorded],
    scene: FilesOnDisk,
    damage: Sequence[str] = (),
    *,
    cut: bool = False,
    goes_on: bool = False,
) -> tuple[Postmortem, State]:
    """Return what *rows*, which fold, tell of their search, and their state.

    *scene* is what lies beside the log; *damage* what is wrong with it, and *cut* says
    that rows behind these are missing; *goes_on*, that the log goes on behind them.
    """
    if goes_on:  # what lies beside the log now tells nothing of that time
        scene = UNSEEN
    state = begin(rows[0])
    controllers, slots, gains, troubles = Controllers(), SlotTime(), Gains(), Troubles()
    for row in rows[1:]:
        controllers.before(state, row)
        slots.before(state, row)
        troubles.before(state, row)
        state = evolve(state, row)
        gains.after(state, row)
    held = scene.holder is not None and scene.holder.epoch == state.epoch
    epochs = controllers.close(state, held=held, cut=cut, goes_on=goes_on)
    winner = next(iter(rank.top(state, 1, only_completed=True)), None)
    found = Postmortem(
        search_id=state.search_id,
        name=state.search.name,
        damage=list(damage),
        head=state.head,
        began=rows[0].at,
        ended=rows[-1].at,
        end=end(state, rows[-1], epochs, scene, cut=cut),
        controllers=epochs,
        trials=jobs.trial_counts(state),
        imported=state.imported,
        jobs=jobs.job_counts(state),
        trouble=troubles.close(state),
        spending=spending(state),
        slots=slots.close(),
        winner=None if winner is None else top.row(state, winner),
        progress=gains.close(state),
        next=what_next(state),
    )
    return found, state
