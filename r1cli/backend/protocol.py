"""The words that a resident backend and its clients exchange over a Unix socket, and where that socket is.

One request line, then the client's records, then an end line; back come records and notes, then an end line. Lines that
begin with `{"r1_` are the protocol's, all others are records and are passed on as bytes.
"""

import os
import socket
import tempfile
from pathlib import Path
from typing import Any

import orjson

from r1cli.errors import R1Error
from r1cli.runs import Run

MARK = b'{"r1_'
END = b'{"r1_end":true}\n'


def socket_path(run: Run) -> Path:
    """The run's socket, in a folder that only its owner may enter; short, for the system's limit is 107 bytes."""
    base = os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir()
    folder = Path(base) / f"r1-{os.getuid()}"
    if len(os.fsencode(folder)) > 60:
        folder = Path("/tmp") / f"r1-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    status = folder.lstat()
    if status.st_uid != os.getuid() or status.st_mode & 0o077:
        raise R1Error(f"{folder} must belong to you alone (mode 0700); remove it or fix its mode")
    return folder / f"{run.id}.sock"


def encode(kind: str, value: object) -> bytes:
    """A protocol line: note, end, error."""
    return orjson.dumps({f"r1_{kind}": value}, option=orjson.OPT_SERIALIZE_NUMPY) + b"\n"


def decode(line: bytes) -> tuple[str, Any]:
    """The kind and value of a protocol line."""
    ((key, value),) = orjson.loads(line).items()
    return key.removeprefix("r1_"), value


def process_start(pid: int) -> str | None:
    """When a process of this machine started, as the kernel tells it; None when there is none (pids are reused)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return None


def connect(run: Run) -> socket.socket:
    """A connection to the run's backend; raises R1Error that says what to do when it is gone."""
    file = run.path / "serve.json"
    try:
        info = orjson.loads(file.read_bytes())
        pid, host, start, address = info["pid"], info["host"], info["start"], info["socket"]
    except (OSError, ValueError, KeyError):
        raise R1Error(f"cannot read {file}; r1 serve {run.path} --stop clears it") from None
    if host != socket.gethostname():
        raise R1Error(f"{run.path} is served on {host}; run the command there, or stop it there")
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.connect(address)
    except OSError:
        connection.close()
        alive = start is not None and process_start(pid) == start
        state = "does not answer" if alive else "is gone"
        raise R1Error(
            f"the backend of {run.path} (process {pid}) {state}, see {run.path}/serve.log; "
            f"restart it with r1 serve {run.path} --detach, or go on without it after r1 serve {run.path} --stop"
        ) from None
    return connection
