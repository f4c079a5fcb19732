"""The file server: a form's files are kept under their field's name, and given back by GET."""

from __future__ import annotations

from email import message_from_bytes
from email.policy import HTTP

from tests.clearml_server.endpoints import documented
from tests.clearml_server.state import State

documented("files: upload by form, download, delete")

Answer = tuple[int, bytes, str]


def serve(state: State, path: str, method: str, kind: str, data: bytes) -> Answer:
    if method in ("files.post", "files.put"):
        return _upload(state, path, kind, data)
    content = state.get_file(path.strip("/"))
    if content is None:
        return 404, b"Not Found", "text/plain"
    if method == "files.delete":
        del state.files[path.strip("/")]
        return 200, b"", "text/plain"
    return 200, content, "application/octet-stream"


def _upload(state: State, path: str, kind: str, data: bytes) -> Answer:
    if not kind.startswith("multipart/"):
        state.put_file(path.strip("/"), data)
        return 200, path.strip("/").encode(), "text/plain"
    form = message_from_bytes(b"Content-Type: " + kind.encode() + b"\r\n\r\n" + data, policy=HTTP)
    names = []
    for part in form.iter_parts():
        name = part.get_param("name", header="content-disposition") or part.get_filename() or ""
        names.append(str(name).strip("/"))
        state.put_file(names[-1], part.get_payload(decode=True) or b"")
    return 200, "\n".join(names).encode(), "text/plain"
