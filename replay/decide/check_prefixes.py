"""Checks each prefix of a log: is the next row what today's code would do after these rows?

- A decision must equal what `next_action` gives on the state before it.
- At the first row of a poll, and at the first receipt of a group of effects, no decision may be left to make.
- Other inputs and notes may stand anywhere, and nothing is checked there.

Each check depends only on the recorded rows before it, so several processes can share a log. A share begins at a
decision, because no row before a decision makes another one expected after it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property, partial
from typing import TYPE_CHECKING

from eventhpo.core.fold import codec
from eventhpo.core.fold.event_families import Decision, Input, Note, UserInput
from eventhpo.core.fold.event_parts import AttemptId
from eventhpo.core.fold.events import (
    ClockTicked,
    ControllerStarted,
    EffectFailed,
    Event,
    JobAdopted,
    Recorded,
    SearchCreated,
    TrialSuggested,
    attempt_of,
)
from eventhpo.core.fold.evolve import begin, evolve
from eventhpo.core.fold.progress import OFTEN, tracked
from eventhpo.core.fold.state import State
from eventhpo.core.scheduler import actions
from eventhpo.core.scheduler.candidates import Candidates
from eventhpo.core.scheduler.decide import next_action
from eventhpo.core.search.spec import StudyJobs
from eventhpo.errors import DamagedLog, EventhpoError
from replay.decide import rounding
from replay.decide.answers import Answers
from replay.decide.checked import WHOLE, Checked, WalkShare
from replay.decide.divergence import Divergence
from replay.decide.nearness import Near, near
from replay.decide.rounding import Rounded

if TYPE_CHECKING:
    from optuna.pruners import BasePruner
    from optuna.samplers import BaseSampler

_ANYWHERE = (UserInput, JobAdopted, Note)


def check_prefixes(
    rows: Iterable[Recorded],
    *,
    sampler: BaseSampler | None = None,
    pruner: BasePruner | None = None,
    share: WalkShare = WHOLE,
    oracle: bool = False,
) -> Iterator[Checked]:
    """Yield the checks of one *share* of a log, in the order of its rows.

    After a divergence the check goes on from the recorded row. *sampler* and *pruner* are used where the log was
    recorded with a sampler or pruner that is not Optuna's own. With *oracle*, Optuna's own pruners are asked also
    where a rule on sorted columns gives the same verdict sooner.

    Raises:
        DamagedLog: there is no row, or one does not fit those before it.
        Usage: a sampler or pruner was passed in, and the log names its own; or a package is missing.
    """
    rows = list(rows)
    if is_study(rows):
        from replay.decide.check_study import check_study  # noqa: PLC0415  few logs are of studies

        return check_study(rows, sampler, pruner, share)
    walked = tracked(rows, "deciding again", len(rows), OFTEN)
    return _PrefixCheck(iter(walked), sampler, pruner, share, oracle=oracle).checks()


def is_study(rows: Sequence[Recorded]) -> bool:
    """Whether a log is one of an Optuna study."""
    first = rows[0].event if rows else None
    return isinstance(first, SearchCreated) and isinstance(first.search.jobs, StudyJobs)


class _PrefixCheck:
    def __init__(
        self,
        rows: Iterator[Recorded],
        sampler: BaseSampler | None,
        pruner: BasePruner | None,
        share: WalkShare,
        *,
        oracle: bool,
    ) -> None:
        first = next(rows, None)
        if first is None:
            raise DamagedLog("the log has no event")
        self._rows = rows
        self._state: State = begin(first)
        self._new_answers = partial(Answers, self._state, sampler, pruner, oracle=oracle)
        self._answers = self._new_answers()
        self._candidates = Candidates(self._state)
        self._share = share
        self._recorder: Mapping[str, str] = self._state.fingerprint  # of the controller whose rows these are
        self._poll: int | None = None  # cause of the poll under way
        self._stage: list[AttemptId] = []  # whose receipts of a stage are still to come

    def checks(self) -> Iterator[Checked]:
        decisions = 0
        for row in self._rows:
            decisions += isinstance(row.event, Decision)
            checked = self._check(row) if self._share.holds(decisions) else None
            if checked is not None:
                yield checked
            self._state = evolve(self._state, row)
            self._candidates.tell(row.event)
            self._answers.tell(row.event)
            if isinstance(row.event, ControllerStarted):
                self._recorder = row.event.fingerprint

    @cached_property
    def _here(self) -> Mapping[str, str]:
        from eventhpo.optuna_adapter.fingerprint import fingerprint  # noqa: PLC0415  a log without a difference needs none

        return fingerprint()

    def _check(self, row: Recorded) -> Checked | None:
        if isinstance(row.event, _ANYWHERE) or self._inside(row):
            return None
        self._poll, self._stage = None, []
        action = next_action(self._state, self._candidates)
        if isinstance(row.event, Decision):
            return self._compare(row, action)
        return self._nothing_missing(row, action)

    def _inside(self, row: Recorded) -> bool:
        """Whether *row* belongs to the poll or stage whose first row was checked."""
        if isinstance(row.event, Decision):
            return False
        if self._poll is not None and row.cause == self._poll:
            return True
        if self._stage and _names(row.event) == self._stage[0]:
            self._stage.pop(0)
            return True
        return False

    def _decided(self, action: actions.Action) -> tuple[Event | None, str | None]:
        """Return the decision that *action* leads to, or None and the error that it ended with."""
        if isinstance(action, actions.Decide):
            return action.event, None
        try:
            return self._answers.first(action), None
        except EventhpoError:
            raise
        except Exception as error:  # noqa: BLE001  another Optuna may raise anything, and that is its answer
            self._answers = self._new_answers()  # nothing half-written stays in its view
            return None, f"{type(error).__name__}: {error}"

    def _compare(self, row: Recorded, action: actions.Action) -> Checked:
        skipped = self._answers.not_again(action, row.event)
        if skipped is not None and row.cause == self._state.last_input:
            return Checked(row.seq, True, None, skipped)
        decided, failed = self._decided(action)
        if decided is not None and _same(decided, row.event) and row.cause == self._state.last_input:
            return Checked(row.seq, True, None)
        if getattr(decided, "not_again", None):
            return Checked(row.seq, True, None, "asked twice now, it gave two answers")
        if (rounded := self._rounded(row, action, decided)) is not None:
            return Checked(row.seq, True, None, rounded=rounded)
        return Checked(row.seq, True, self._parted(row, action, decided, failed))

    def _rounded(self, row: Recorded, action: actions.Action, decided: Event | None) -> Rounded | None:
        """Return how *mine* is the recorded decision but for rounding, None if it is another."""
        # Our own rules add up no floats, so only answers of samplers and pruners may be rounded.
        if (
            decided is None
            or not isinstance(action, actions.Suggest | actions.Judge)
            or row.cause != self._state.last_input
        ):
            return None
        because = rounding.because(self._recorder, self._here)
        apart = rounding.apart(row.event, decided, self._state.search.space) if because else None
        return None if apart is None else Rounded(row.seq, row.cause, row.event, decided, apart, because)

    def _nothing_missing(self, row: Recorded, action: actions.Action) -> Checked:
        """Check that the effect or poll that *row* comes from was due, and begin to expect its other rows."""
        of_poll = isinstance(row.event, ClockTicked) or row.cause == row.seq - 1
        match action:
            case actions.Poll() | actions.Wait() if of_poll:
                self._poll = row.cause
                return Checked(row.seq, False, None)
            case actions.Draft(attempts=names) | actions.Launch(attempts=names):
                fits = _names(row.event) == names[0]
            case actions.Stop(attempts=names) | actions.Cancel(attempts=names):
                fits = _names(row.event) == names[0]
            case _:
                return Checked(row.seq, False, self._parted(row, action, *self._decided(action)))
        if fits:
            self._stage = list(names[1:])
            return Checked(row.seq, False, None)
        return Checked(row.seq, False, self._parted(row, action))

    def _parted(
        self, row: Recorded, action: actions.Action, decided: Event | None = None, failed: str | None = None
    ) -> Divergence:
        cause = None if decided is None else self._state.last_input
        return Divergence(
            row.seq,
            row.event,
            row.cause,
            decided,
            cause,
            type(action).__name__,
            failed,
            near=self._near(row.event, decided),
        )

    def _near(self, recorded: Event, decided: Event | None) -> Near | None:
        if not isinstance(recorded, TrialSuggested) or not isinstance(decided, TrialSuggested):
            return None
        return near(self._state, recorded, decided)


def _same(a: Event, b: Event) -> bool:
    """Whether two events are equal to the bit: 1 is not 1.0, and 0.0 not -0.0."""
    return type(a) is type(b) and codec.encode(a) == codec.encode(b)


def _names(event: Event) -> AttemptId | None:
    if isinstance(event, EffectFailed) and event.effect == "poll":
        return None  # it stands in a poll, and in no stage
    return attempt_of(event) if isinstance(event, Input) else None
