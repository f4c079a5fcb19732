"""A ClearML API server for tests: the one thing that is replaced; the SDK on both sides is the real one.

    from tests.clearml_server import ClearmlServer, Script

    with ClearmlServer(queues=("default", "hpo")) as server:
        base = server.make_task("base", hyperparams={"General": {"lr": 0.1}})
        server.script(lambda task: Script.curve("loss", "val", [0.5, 0.4, 0.3]))   # a job for each queued task
        subprocess.run([sys.executable, "controller.py"], env={**os.environ, **server.environment()})
        assert server.count("tasks.clone", header=("X-Eventhpo-Door", "launch")) == 3
        assert server.refused == []        # endpoints and fields that this server does not know

Scripted jobs go one step at each `tasks.get_all` (before it is answered), or with `script(..., on=None)` only by
`server.advance()`. An `Agent` (agent.py) runs tasks as real processes instead.

    server.fail("tasks.clone", "reset", effect="after")     # the clone is made, its answer is lost
    server.fail(lambda request: request.n > 10, "503", times=None)
    slow = server.fail("tasks.get_all", "slow"); slow.reached.wait(9); slow.release()
    server.down(); server.up(); server.restart(); server.heal()
    server.clock.advance(7200); server.clock.set_off(86_400); server.expire_tokens()
    server.watchdog(); server.user.abort(task); server.user.enqueue_again(task)
    server.call("tasks.get_all", tags=["__$all", "a", "b"])   # without HTTP, not counted
    server.task(task_id); server.queue("hpo"); server.requests.kept; server.state

`ClearmlServer(without=frozenset({"events.multi_task_scalar_metrics_iter_histogram"}))` is an older server;
`repeats="overwrite"` keeps the last of several values at one iteration instead of averaging them.
As a process: `python -m tests.clearml_server --port 0 --state FILE` prints its url; FILE survives kill and restart.

What the recordings in fixtures/clearml_wire do not show is from the documentation and the public server's source, and
listed in `endpoints.FROM_THE_DOCUMENTATION`.
"""

from __future__ import annotations

from tests.clearml_server.endpoints import ENDPOINTS, FROM_THE_DOCUMENTATION
from tests.clearml_server.errors import ApiError
from tests.clearml_server.failing import Fault
from tests.clearml_server.scripted import Script
from tests.clearml_server.server import ClearmlServer, hyperparam

__all__ = ["ENDPOINTS", "FROM_THE_DOCUMENTATION", "ApiError", "ClearmlServer", "Fault", "Script", "hyperparam"]
