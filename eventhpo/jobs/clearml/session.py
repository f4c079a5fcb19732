"""Send one request to a ClearML server; it is never repeated when its answer is lost.

The session is the SDK's (configuration, credentials, login); the transport is ours. The
SDK's own transport repeats a request whose answer was lost, even a clone, and can do so
for ever: on 503, on half an answer, on an answer without meta.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any, Generic, Protocol, TypeVar

import msgspec

from eventhpo.core.validation.redaction import without_passwords
from eventhpo.errors import Unanswered, Usage
from eventhpo.jobs.clearml.credentials import CREDENTIALS

T = TypeVar("T")

MARK = "X-Eventhpo-Door"  # the header that tells our requests from those of the SDK
API = (2, 34)  # the newest version of the server's calls that we know
CONNECT, READ, TOTAL = 5.0, 20.0, 60.0  # seconds; a poll of 100 long curves takes the server one or two
LONGEST = 256 * 2**20  # bytes of an answer: 100 curves of 6,000 points are 20 MiB
PIECE = 2**16
UNAUTHORIZED = 401
BROKEN = 500  # from this code on the server itself failed: it may have done what was asked
KEYS = "its keys are api.credentials in clearml.conf, or CLEARML_API_ACCESS_KEY and CLEARML_API_SECRET_KEY"
WHICH = (
    "api.api_server in clearml.conf, or CLEARML_API_HOST, names the API (often port 8008, or a name with api.), "
    "not the web page (8080) nor the files server (8081)"
)
NEVER_SENT = ("NewConnectionError", "ConnectTimeoutError", "NameResolutionError")


class Nothing(msgspec.Struct):
    """An answer whose data is not read."""


class Silent(Exception):
    """There is no usable answer; with `in_doubt`, the server may have done what was asked."""

    def __init__(self, text: str, *, in_doubt: bool) -> None:
        super().__init__(text)
        self.in_doubt = in_doubt


class Denied(Exception):
    """The server refused and did nothing; `code` and `subcode` are those of its answer."""

    def __init__(self, code: int, subcode: int, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.subcode = subcode


@dataclass(frozen=True)
class ServerAnswer(Generic[T]):
    """The answer of the server: `data`, and its clock in microseconds since 1970."""

    data: T
    clock: int


class _Meta(msgspec.Struct):
    result_code: int
    result_subcode: int = 0
    result_msg: str | None = ""


class _Envelope(msgspec.Struct):
    meta: _Meta
    data: msgspec.Raw = msgspec.Raw(b"{}")


class _Got(msgspec.Struct, frozen=True):
    """A response in the form that the SDK's login needs, read in full."""

    status_code: int
    reason: str
    body: bytes
    headers: Mapping[str, str]

    def json(self) -> Any:
        """Return the body as JSON."""
        return json.loads(self.body)


class Calls(Protocol):
    """Something that sends one request and returns its answer, or raises."""

    def call(self, endpoint: str, body: Mapping[str, object], kind: type[T]) -> ServerAnswer[T]:
        """Return the answer to one request."""
        ...


class Server:
    """The ClearML server that the SDK is configured for; each request carries *mark*.

    No request is sent before the first `call`.
    """

    def __init__(self, mark: str) -> None:
        self._mark = mark
        self._session: Any = None

    @property
    def web(self) -> str:
        """The address of the server's web page, by the SDK; empty before the first call."""
        return "" if self._session is None else without_passwords(str(self._session.get_app_server_host()))

    def call(self, endpoint: str, body: Mapping[str, object], kind: type[T]) -> ServerAnswer[T]:
        """Send one request and return its answer, with its data decoded as *kind*; no error names a key.

        Raises:
            Silent: there is no usable answer. Denied: the server refused.
            Usage: the SDK has no configuration, or is in offline mode.
        """
        try:
            return self._answered(endpoint, body, kind)
        except Silent as error:
            raise Silent(CREDENTIALS.hide(str(error)), in_doubt=error.in_doubt) from None  # the causes have them still
        except Denied as error:
            raise Denied(error.code, error.subcode, CREDENTIALS.hide(str(error))) from None

    def _answered(self, endpoint: str, body: Mapping[str, object], kind: type[T]) -> ServerAnswer[T]:
        if self._session is None:
            self._session = _connected(self._mark)
        got = _sent(self._session, endpoint, body)
        envelope = _envelope(endpoint, got)
        if max(envelope.meta.result_code, got.status_code) >= BROKEN:
            raise Silent(f"{endpoint}: HTTP {got.status_code}: {envelope.meta.result_msg or got.reason}", in_doubt=True)
        if envelope.meta.result_code != 200 or got.status_code != 200:
            raise Denied(
                envelope.meta.result_code, envelope.meta.result_subcode, envelope.meta.result_msg or got.reason
            )
        return ServerAnswer(_read(endpoint, envelope.data, kind), _clock(endpoint, got))


class Beforehand:
    """A server that is asked before a search begins: any failure ends the command."""

    def __init__(self, server: Server) -> None:
        self._server = server

    def call(self, endpoint: str, body: Mapping[str, object], kind: type[T]) -> ServerAnswer[T]:
        """Send one request and return its answer.

        Raises:
            Unanswered: the server does not answer. Usage: it refuses.
        """
        try:
            return self._server.call(endpoint, body, kind)
        except Silent as error:
            raise Unanswered(f"the ClearML server does not answer, so nothing was begun: {error}") from error
        except Denied as error:
            raise Usage(f"the ClearML server refuses {endpoint}: {error}") from error


# ---------------------------------------------------------------- the SDK's session, with a transport of its own


def _connected(mark: str) -> Any:
    from clearml.backend_api.session.defs import MissingConfigError  # noqa: PLC0415  half a second

    kind = _session_class(mark)
    if kind._offline_mode:
        raise Usage(
            "ClearML is in offline mode, where there is no server to run jobs: "
            "run them on this machine with jobs=LocalJobs(command=[...]), or with `command = [...]` in a search file"
        )
    try:
        return kind(http_retries_config={"total": 0, "connect": 0, "read": 0, "status": 0, "redirect": 0})
    except MissingConfigError as error:
        raise Usage(
            "ClearML is not configured here: there is no clearml.conf, nor CLEARML_API_HOST, CLEARML_API_ACCESS_KEY "
            "and CLEARML_API_SECRET_KEY; run `clearml-init`, or run jobs on this machine with LocalJobs"
        ) from error
    except Exception as error:
        raise _login_failed(error) from error


def _login_failed(error: Exception) -> Exception:
    """Return the error that a failed login means: the SDK wraps every cause in one class."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, Silent):
            return Silent(str(cause), in_doubt=False)
        cause = cause.__cause__ or cause.__context__
    if type(error).__name__ == "LoginError":
        return Denied(UNAUTHORIZED, 0, f"it does not let us in ({KEYS}): {error}")
    return Denied(UNAUTHORIZED, 0, f"the SDK makes no session: {error!r}")


def _session_class(mark: str) -> Any:
    from clearml.backend_api.session.session import Session as Sdk  # noqa: PLC0415

    class Session(Sdk):  # type: ignore[misc]
        """The SDK's session, which sends each request once and leaves the settings of this process alone."""

        def _send_request(  # the SDK's signature
            self,
            service: str,
            action: str,
            version: str | None = None,
            method: str | None = None,
            headers: Mapping[str, str] | None = None,
            auth: object = None,
            data: object = None,
            json: object = None,
            refresh_token_if_unauthorized: bool = True,
            params: object = None,
        ) -> _Got:
            url = f"{self.host}/v{version}/{service}.{action}" if version else f"{self.host}/{service}.{action}"
            own_headers = dict.fromkeys(self._WORKER_HEADER, self.worker) | dict.fromkeys(
                self._CLIENT_HEADER, self.client
            )
            sent = {**(headers or {}), **own_headers, MARK: mark}
            CREDENTIALS.remember(auth, sent)
            got = _once(
                self._Session__http_session,
                url,
                {"headers": sent, "auth": auth, "data": data, "json": json, "params": params},
            )
            if service == "auth" and got.status_code != UNAUTHORIZED:
                _check_login(got, str(self.host))
            return got

        def _get_token(self) -> str:
            return str(
                self.raw_token
            )  # never checked by our clock, which may be off: the server says when it is too old

        def _load_vaults(self) -> None:
            return None

        def _apply_config_sections(self, local_logger: object) -> None:
            return None

    return Session


def _check_login(got: _Got, host: str) -> None:
    """Raise unless this is an answer of a ClearML server: the SDK takes anything else for a refusal.

    Raises:
        Silent: the server failed, or the answer does not come from a ClearML API.
    """
    if got.status_code >= BROKEN:
        raise Silent(f"auth.login: HTTP {got.status_code} {got.reason}", in_doubt=False)
    try:
        _envelope("auth.login", got)
    except Silent as error:
        raise Silent(f"{host} is not the API of a ClearML server: {error}. {WHICH}", in_doubt=False) from None


def _once(http: Any, url: str, sent: dict[str, Any]) -> _Got:
    """Send one request and read its answer to the end, within `TOTAL` seconds and `LONGEST` bytes."""
    import urllib3  # noqa: PLC0415  with the SDK, and not before

    end = time.monotonic() + TOTAL
    try:
        with http.request("POST", url, timeout=(CONNECT, READ), stream=True, allow_redirects=False, **sent) as answer:
            parts, size = [], 0
            for part in _pieces(answer.raw):
                size += len(part)
                if size > LONGEST:
                    raise Silent(f"{url}: its answer is longer than {LONGEST} bytes", in_doubt=True)
                if time.monotonic() > end:
                    raise Silent(f"{url}: its answer takes longer than {TOTAL:g} s", in_doubt=True)
                parts.append(part)
            return _Got(answer.status_code, str(answer.reason), b"".join(parts), dict(answer.headers))
    except (
        OSError,
        ValueError,
        urllib3.exceptions.HTTPError,
    ) as error:  # requests' errors are OSErrors, but for a bad address
        raise Silent(f"{url}: {_brief(error)}", in_doubt=not _never_sent(error)) from error


def _pieces(raw: Any) -> Iterator[bytes]:
    """Yield a body as it arrives; `read` would wait for a whole piece, however slowly it arrives."""
    if hasattr(raw, "read1"):
        while part := raw.read1(PIECE, decode_content=True):
            yield part
    else:  # urllib3 before 2.1
        yield from raw.stream(PIECE, decode_content=True)


def _never_sent(error: Exception) -> bool:
    """Whether the request cannot have reached the server, since no connection was made."""
    reason = getattr(error.args[0], "reason", None) if error.args else None
    return any(type(e).__name__ in NEVER_SENT for e in (error, reason) if e is not None)


def _brief(error: Exception) -> str:
    text = str(getattr(error.args[0], "reason", error)) if error.args else type(error).__name__
    return text.split(">: ", 1)[-1]


def _sent(session: Any, endpoint: str, body: Mapping[str, object]) -> _Got:
    """Send a request; if it is unauthorised, the server did nothing, and it is sent again with a new token."""
    service, action = endpoint.split(".", 1)
    version = _version(session.api_version)
    for fresh in (False, True):
        if fresh:
            _new_token(session)
        headers = {"Authorization": f"Bearer {session.raw_token}"}
        got: _Got = session._send_request(service, action, version=version, headers=headers, json=body)
        if got.status_code != UNAUTHORIZED:
            break
    return got


def _new_token(session: Any) -> None:
    try:
        session.refresh_token()
    except Exception as error:
        raise _login_failed(error) from error


def _version(offered: str) -> str:
    try:
        server_version = tuple(int(part) for part in str(offered).split(".")[:2])
    except ValueError:
        server_version = API
    return ".".join(map(str, min(server_version, API)))


def _envelope(endpoint: str, got: _Got) -> _Envelope:
    """Return the answer's envelope; what has none comes from something in between, or from a broken server."""
    try:
        return msgspec.json.decode(got.body, type=_Envelope)
    except (msgspec.DecodeError, UnicodeDecodeError):
        begin = got.body[:80].decode("utf-8", "replace")
        text = f"{endpoint}: HTTP {got.status_code} {got.reason} without an answer of ClearML's ({begin!r})"
        raise Silent(text, in_doubt=True) from None


def _read(endpoint: str, data: msgspec.Raw, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(data, type=kind)
    except msgspec.ValidationError:
        whole = _without_nulls(msgspec.json.decode(data))  # a field that is null counts as absent
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Silent(f"{endpoint}: its answer cannot be read ({error})", in_doubt=True) from None
    try:
        return msgspec.convert({} if whole is None else whole, type=kind)
    except msgspec.ValidationError as error:
        raise Silent(f"{endpoint}: its answer cannot be read ({error})", in_doubt=True) from None


def _without_nulls(decoded: Any) -> Any:
    """Return *decoded* without the fields that are null, at any depth; lists keep their length."""
    if isinstance(decoded, dict):
        return {name: _without_nulls(value) for name, value in decoded.items() if value is not None}
    return [_without_nulls(value) for value in decoded] if isinstance(decoded, list) else decoded


def _clock(endpoint: str, got: _Got) -> int:
    """Return the server's clock, by its `Date` header, in microseconds."""
    date = {name.lower(): value for name, value in got.headers.items()}.get("date", "")
    try:
        at = parsedate_to_datetime(date)
    except (TypeError, ValueError):
        raise Silent(f"{endpoint}: its answer carries no Date, which jobs are timed by", in_doubt=True) from None
    return round(at.replace(tzinfo=at.tzinfo or UTC).timestamp() * 1_000_000)
