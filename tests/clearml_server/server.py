"""The server as a test holds it: in this process, on a port of its own."""

from __future__ import annotations

import json
import re
import shutil
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from tests.clearml_server import auth, curves, events, files, people, projects, query, queues, running, tasks, workers  # noqa: F401
from tests.clearml_server.clock import Clock
from tests.clearml_server.counting import Request, Requests
from tests.clearml_server.endpoints import ENDPOINTS, Api, Body, Options, check_needed, unknown_fields
from tests.clearml_server.environment import environment
from tests.clearml_server.errors import ApiError, error
from tests.clearml_server.failing import Effect, Fault, How, When, chosen
from tests.clearml_server.http import Listener, envelope
from tests.clearml_server.scripted import Script, Scripted
from tests.clearml_server.state import Document, State

# What changes nothing is not worth writing the state for.
READS = re.compile(r"^(auth\.|debug\.|files\.get)|\.(get_(?!next)|scalar_|multi_|peek_|ping)")
Answer = tuple[int, bytes, str]


class ClearmlServer:
    """A ClearML server at `url`: api, web and files in one.

    Args: *port* 0 takes a free one; *state* a file that keeps everything over restarts; *queues* made at the start;
    *options* as in `endpoints.Options`: `without` endpoints, `repeats`, keys, life of a token.
    """

    def __init__(
        self, *, port: int = 0, state: Path | None = None, queues: Sequence[str] = ("default",), **options: Any
    ) -> None:
        self._file, self._names = state, queues
        self.clock = Clock()
        self.api = Api(self._load(), self.clock, Options(**options))
        self.clock.set_off(self.api.state.clock_offset)
        self.requests = Requests()
        self.refused: list[str] = []
        self.user = people.User(self.call)
        self.scripted: Scripted | None = None
        self._faults: list[Fault] = []
        self._lock = threading.RLock()
        self._listener: Listener | None = None
        self._port = port
        self._home: Path | None = None

    # -- up and down

    def start(self) -> ClearmlServer:
        with self._lock:
            known = {queue["name"] for queue in self.state.queues.values()}
            for name in self._names:
                if name not in known:
                    tags = ["default"] if name == "default" else []
                    queues.make_queue(self.api, name, system_tags=tags)
        self.up()
        return self

    def up(self) -> None:
        """Listen, at the port that it had."""
        if self._listener is None:
            self._listener = Listener(("127.0.0.1", self._port), self)
            self._port = self._listener.server_address[1]
            loop = threading.Thread(target=self._listener.serve_forever, args=(0.02,), daemon=True)
            loop.start()

    def down(self) -> None:
        """Refuse connections; those open are closed."""
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.stop()

    def restart(self) -> None:
        """Down and up again with what it keeps; tokens stay good."""
        self.down()
        with self._lock:
            self.save()
            self.api.state = self._load() if self._file else State.from_json(self.state.to_json())
        self.up()

    def close(self) -> None:
        for fault in self._faults:
            fault.cancel()
        self.down()
        self.save()
        if self._home is not None:
            shutil.rmtree(self._home, ignore_errors=True)

    def __enter__(self) -> ClearmlServer:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, what: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    @property
    def state(self) -> State:
        return self.api.state

    def _load(self) -> State:
        if self._file is not None and self._file.exists():
            return State.from_json(self._file.read_text())
        return State()

    def save(self) -> None:
        if self._file is not None:
            self.state.clock_offset = self.clock.offset
            self.state.save(self._file)

    # -- what a test asks and does

    def environment(self, **more: str) -> dict[str, str]:
        """The variables (and the clearml.conf they name) with which the SDK uses this server and nothing else."""
        if self._home is None:
            self._home = Path(tempfile.mkdtemp(prefix="clearml-server-"))
        return environment(self.url, self._home, self.api.options) | more

    def call(self, endpoint: str, /, **body: Any) -> Any:
        """The endpoint without HTTP; not counted, never failing. Raises: ApiError."""
        with self._lock:
            result = self._run(endpoint, body)
            if not READS.search(endpoint):
                self.save()
            return json.loads(json.dumps(result))

    def task(self, task_id: str) -> Document:
        """The task as it is."""
        return dict(self.call("tasks.get_by_id", task=task_id)["task"])

    def make_task(self, name: str = "base", *, project: str = "eventhpo", **fields: Any) -> str:
        """A task to clone; parameters as hyperparams={"General": {"lr": 0.1}}. Gives back its id."""
        with self._lock:
            given = fields.pop("hyperparams", {})
            project_id = projects.find_or_create(self.api, project)["id"]
            fields["hyperparams"] = {
                section: {key: hyperparam(section, key, value) for key, value in names.items()}
                for section, names in given.items()
            }
            fields.setdefault("type", "training")
            return str(self.call("tasks.create", name=name, project=project_id, **fields)["id"])

    def queue(self, name: str = "default") -> str:
        """The id of the queue of that name."""
        return next(str(queue["id"]) for queue in self.state.queues.values() if queue["name"] == name)

    def count(self, endpoint: str | None = None, header: str | tuple[str, str] | None = None) -> int:
        return self.requests.count(endpoint, header)

    def fail(
        self, when: When, how: How, *, effect: Effect = "before", times: int | None = 1, seconds: float | None = None
    ) -> Fault:
        """Fail requests, see `failing.Fault`; the first fault that matches acts."""
        fault = Fault(when, how, effect, times, seconds)
        self._faults.append(fault)
        return fault

    def heal(self) -> None:
        """No more faults; what waits goes on."""
        for fault in self._faults:
            fault.cancel()
        self._faults.clear()

    def expire_tokens(self) -> None:
        """Every token given so far is answered with 401 from now on."""
        with self._lock:
            self.state.token_generation += 1

    def script(
        self,
        play: Callable[[Document], Script | None],
        *,
        on: str | None = "tasks.get_all",
        slots: int | None = None,
        slow: bool = False,
    ) -> Scripted:
        """Play *play*(task) for every task that is queued: a step at each request *on* (None: only by `advance`)."""
        self.scripted = Scripted(play, on, slots, slow=slow)
        return self.scripted

    def advance(self, steps: int = 1) -> None:
        """Let the scripted jobs go on."""
        with self._lock:
            for _ in range(steps):
                if self.scripted is not None:
                    self.scripted.step(self.api)
            self.save()

    def watchdog(self, *task_ids: str, seconds: float = people.WATCHDOG_SECONDS) -> list[str]:
        with self._lock:
            return people.watchdog(self.api, task_ids, seconds=seconds)

    def simulate_user(self, what: str, *args: Any, **named: Any) -> None:
        """Do as `people.User` does: abort, delete, archive, reset, dequeue, tag, enqueue_again, ..."""
        getattr(self.user, what)(*args, **named)

    # -- what HTTP asks

    def answer(
        self, name: str, version: str, headers: Mapping[str, str], data: bytes, query_: Mapping[str, str], method: str
    ) -> tuple[Fault | None, Callable[[], Answer]]:
        """The fault that this request meets, if any, and what answers it (and has its effect)."""
        body, bad = _body(name, headers, data, query_)
        fault = self._count(Request(0, name, version, body, headers, method))

        def finish() -> Answer:
            with self._lock:
                result, status = self._answer(name, version, headers.get("authorization"), body, bad)
                return status, json.dumps(result).encode(), "application/json"

        return fault, finish

    def file(
        self, path: str, name: str, headers: Mapping[str, str], data: bytes
    ) -> tuple[Fault | None, Callable[[], Answer]]:
        fault = self._count(Request(0, name, "", {"path": path}, headers))

        def finish() -> Answer:
            with self._lock:
                answer = files.serve(self.state, path, name, headers.get("content-type", ""), data)
                if not READS.search(name):
                    self.save()
                return answer

        return fault, finish

    def _count(self, request: Request) -> Fault | None:
        with self._lock:
            request = Request(self.requests.total + 1, *_rest(request))
            self.requests.add(request)
            return chosen(self._faults, request)

    def _answer(self, name: str, version: str, authorization: str | None, body: Body, bad: str) -> tuple[Document, int]:
        found = ENDPOINTS.get(name)
        try:
            self._check(name, version)
            auth.authorize(self.api, authorization, name)
            if bad:
                raise ApiError(400, 0, bad)  # noqa: TRY301 - answered below like the others
            if self.scripted is not None and self.scripted.on == name:
                self.scripted.step(self.api)
            data = self._run(name, body)
        except ApiError as wrong:
            return envelope(name, version, wrong, actual=found.version if found else "1.0"), wrong.code
        if not READS.search(name) or self.scripted is not None:
            self.save()
        return envelope(name, version or auth.API_VERSION, ApiError(200, 0, "OK"), data, ENDPOINTS[name].version), 200

    def _check(self, name: str, version: str) -> None:
        """Raises: 404 if this server has no such endpoint in that version, 400 if it has no such version."""
        found = ENDPOINTS.get(name)
        if found is None:
            self.refused.append(f"{name}: no such endpoint")
        if version and _version(version) > _version(auth.API_VERSION):
            raise ApiError(400, 0, f"Invalid API version (max. supported version is {auth.API_VERSION})")
        missing = found is None or name in self.api.options.without
        if found is None or missing or (version and _version(version) < _version(found.version)):
            raise ApiError(404, 0, f"Unable to find endpoint for name {name} and version {version}")

    def _run(self, name: str, body: Body) -> Any:
        found = ENDPOINTS[name]
        unknown = [] if name == "events.add_batch" else unknown_fields(found, body)
        if unknown:
            self.refused.append(f"{name}: {', '.join(unknown)}")
            raise error(12, "this test server does not know the fields", fields=unknown)
        if name != "events.add_batch":
            check_needed(found, body)
        return found.run(self.api, {key: value for key, value in body.items() if key != "method"})


def _rest(request: Request) -> tuple[str, str, Mapping[str, Any], Mapping[str, str], str]:
    return request.endpoint, request.version, request.body, request.headers, request.http_method


def _body(name: str, headers: Mapping[str, str], data: bytes, query_: Mapping[str, str]) -> tuple[Body, str]:
    """The request's body, and what is wrong with it."""
    try:
        if name == "events.add_batch":
            return {"lines": [json.loads(line) for line in data.splitlines() if line.strip()]}, ""
        body = json.loads(data) if data.strip() else {}
    except ValueError as wrong:
        return {}, f"Failed to decode JSON object: {wrong}"
    return {**(body or {}), **{key: _typed(value) for key, value in query_.items()}}, ""


def _typed(text: str) -> Any:
    if text.replace(".", "", 1).isdigit():
        return float(text) if "." in text else int(text)
    return {"true": True, "false": False}.get(text.lower(), text)


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split("."))


def hyperparam(section: str, name: str, value: Any) -> Document:
    """A parameter as the SDK stores it: its value as text, its type beside it."""
    text = json.dumps(value) if isinstance(value, list | tuple | dict) else "" if value is None else str(value)
    kind = {} if value is None else {"type": type(value).__name__}
    return {"section": section, "name": name, "value": text, **kind, "description": ""}
