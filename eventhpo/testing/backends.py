"""What `contract` needs of a backend: what its jobs do, and a place that counts them."""

from __future__ import annotations

import secrets
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Literal, TypeAlias, get_args

import msgspec

from eventhpo.core.search.spec import Objective, Scalar
from eventhpo.jobs.protocol import BoundJob, JobBackend

Then: TypeAlias = Literal["exit 0", "exit 1", "hang"]


class Behaviour(msgspec.Struct, frozen=True):
    """What a job does: it reports so many points, then exits with 0 or with 1, or hangs until it is stopped.

    The parameters of the job say it: `General/points`, an integer, and `General/then`.
    """

    points: int
    then: Then = "exit 0"

    @classmethod
    def of(cls, params: Mapping[str, Scalar]) -> Behaviour:
        """Return what a job with these parameters is to do."""
        points, then = params["General/points"], params["General/then"]
        for known in get_args(Then):
            if isinstance(points, int) and then == known:
                return cls(points, known)
        raise ValueError(f"no behaviour: {points!r} points, then {then!r}")

    @property
    def params(self) -> dict[str, Scalar]:
        """The parameters of a job that does this."""
        return {"General/points": self.points, "General/then": self.then}

    @property
    def reports(self) -> tuple[tuple[int, float], ...]:
        """Iteration and value of each point, in order: iterations from 0, values an eighth of them."""
        return tuple((i, i / 8) for i in range(self.points))


class Place(ABC):
    """A backend under test and the world in which its jobs run, new for each test.

    Its jobs do what `Behaviour.of` their parameters says. Each reports its points as
    those of `objective`; where `runs` needs it, a job first leaves a mark that it began.
    All keys of a test begin with `eventhpo:<search_id>:`. The fixture that
    gives the place ends what still runs after the test.
    """

    objective = Objective("validation", "accuracy", "max")

    def __init__(self, search_id: str = "") -> None:
        self.search_id = search_id or secrets.token_hex(6)

    @abstractmethod
    def backend(self) -> JobBackend:
        """Return the backend as a controller opens it.

        A second call gives the backend after a crash: it remembers nothing of the
        backends before it, which are not closed.
        """

    @abstractmethod
    def runs(self, key: str) -> int:
        """Return how often the job with *key* has begun to run, counted by the jobs and not by the backend."""

    @abstractmethod
    def made(self, key: str) -> int:
        """Return how many jobs with *key* exist, started or not."""

    def spoil(self, job: BoundJob) -> BoundJob:
        """Change *job*, a draft, so that the backend fails with it, and return it.

        By default the job gets an id that no draft has given.
        """
        return msgspec.structs.replace(job, job_id=f"{job.job_id}-of-nobody")
