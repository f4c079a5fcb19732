"""The API over HTTP without the SDK: what the agent speaks, and tests of the wire."""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit


class Refused(Exception):
    """The server answered with an error."""

    def __init__(self, status: int, answer: Any) -> None:
        super().__init__(f"{status}: {answer['meta']['result_msg']}")
        self.status, self.answer = status, answer
        self.subcode = answer["meta"]["result_subcode"]


class Client:
    """Calls endpoints, a connection for each; logs in when it has to."""

    def __init__(self, environment: Mapping[str, str], version: str = "2.23", seconds: float = 10.0) -> None:
        self._host = urlsplit(environment["CLEARML_API_HOST"]).netloc
        keys = f"{environment['CLEARML_API_ACCESS_KEY']}:{environment['CLEARML_API_SECRET_KEY']}"
        self._basic = "Basic " + base64.b64encode(keys.encode()).decode()
        self._version, self._seconds = version, seconds
        self._token = ""

    def call(self, endpoint: str, /, **body: Any) -> Any:
        """The answer's data. Raises: Refused, OSError."""
        for again in (True, False):
            if not self._token:
                login = self.send("auth.login", {}, {"Authorization": self._basic}, "2.34")
                self._token = self._good(login)["token"]
            status, answer = self.send(endpoint, body, {"Authorization": f"Bearer {self._token}"})
            if status == 401 and again:
                self._token = ""
                continue
            return self._good((status, answer))
        raise AssertionError

    def log(self, lines: list[dict[str, Any]]) -> None:
        data = "\n".join(json.dumps(line) for line in lines).encode()
        self.send("events.add_batch", data, {"Authorization": f"Bearer {self._token}"})

    @staticmethod
    def _good(answer: tuple[int, Any]) -> Any:
        if answer[0] != 200:
            raise Refused(*answer)
        return answer[1]["data"]

    def send(
        self, endpoint: str, body: Any, headers: Mapping[str, str], version: str | None = None, method: str = "POST"
    ) -> tuple[int, Any]:
        """HTTP status and answer; *body* is JSON, or bytes of JSON lines."""
        lines = isinstance(body, bytes)
        kind = "application/json-lines" if lines else "application/json"
        path = f"/v{version or self._version}/{endpoint}"
        content = body if lines else json.dumps(body).encode()
        with contextlib.closing(http.client.HTTPConnection(self._host, timeout=self._seconds)) as connection:
            try:
                connection.request(method, path, content, {**headers, "Content-Type": kind})
                response = connection.getresponse()
                return response.status, json.loads(response.read())
            except http.client.HTTPException as gone:
                raise ConnectionError(str(gone)) from gone
