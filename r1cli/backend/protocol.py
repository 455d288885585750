"""The words that a resident backend and its clients exchange over a Unix socket, and how they find each other.

One request line, then the client's records, then an end line; back come records and notes, then an end line. Lines that
begin with `{"r1_` are the protocol's, all others are records and are passed on as bytes.
"""

import json
import os
import socket
import struct
from pathlib import Path
from typing import Any, NamedTuple

from r1cli.errors import R1Error
from r1cli.records import digest
from r1cli.runs import Run, replace_file

MARK = b'{"r1_'
END = b'{"r1_end":true}\n'


def encode(kind: str, value: object) -> bytes:
    """A protocol line: request, where, part, note, end, error."""
    return json.dumps({f"r1_{kind}": value}, separators=(",", ":")).encode() + b"\n"


def decode(line: bytes) -> tuple[str, Any]:
    """The kind and value of a protocol line; raises ValueError for anything else."""
    message = json.loads(line)
    if not isinstance(message, dict) or len(message) != 1:
        raise ValueError("not a line of the protocol")
    ((key, value),) = message.items()
    return key.removeprefix("r1_"), value


class Home(NamedTuple):
    """A run's backend as RUN/serve.json tells of it; `start` is the process's start time, for pids are reused."""

    pid: int
    host: str
    start: str | None
    socket: str
    path: str

    @property
    def elsewhere(self) -> bool:
        """Whether it is on another machine, about which nothing can be learnt from here."""
        return self.host != socket.gethostname()

    @property
    def alive(self) -> bool:
        """Whether its process still runs on this machine."""
        return self.start is not None and process_start(self.pid) == self.start


def home_file(run: Run, node: int = 0) -> Path:
    """Where a backend says where it is: serve.json; a further machine of one has a file of its own."""
    return run.path / (f"serve-node{node}.json" if node else "serve.json")


def announce(run: Run, address: Path | None, pid: int, node: int = 0) -> None:
    """Writes the file about the process that holds the backend; raises R1Error when the disk refuses."""
    home = Home(pid, socket.gethostname(), process_start(pid), str(address or ""), str(run.path))
    file = home_file(run, node)
    try:
        replace_file(file, json.dumps(home._asdict()).encode())
    except OSError as error:
        raise R1Error(f"cannot write {file}: {error.strerror}") from None


def find_home(run: Run, node: int = 0) -> Home | None:
    """The backend that its file names, None when there is no such file; one that can't be read names a dead one."""
    try:
        return Home(**json.loads(home_file(run, node).read_bytes()))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError):
        return Home(0, socket.gethostname(), None, "", "")


def process_start(pid: int) -> str | None:
    """When a process of this machine started, as the kernel tells it; None when there is none or it has ended."""
    if not Path("/proc/self/stat").exists():
        return _start_by_ps(pid)
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    # A killed process is a zombie before its last thread is gone, and until then its socket and lock are still held.
    over = fields[0] in "ZX" and int(fields[17]) <= 1
    return None if over else fields[19]


def _start_by_ps(pid: int) -> str | None:
    """The same where there is no /proc, as on macOS: to the second."""
    import subprocess  # here, because clients on Linux do without it

    asked = ["ps", "-o", "stat=,lstart=", "-p", str(pid)]
    said = subprocess.run(asked, capture_output=True, text=True, env={**os.environ, "LC_ALL": "C"}).stdout
    state, _, start = said.strip().partition(" ")
    return None if not state or state.startswith("Z") else start.strip()


def peer_user(connection: socket.socket) -> int:
    """The user id of the process at the other end of a Unix socket, as the kernel tells it."""
    if hasattr(socket, "SO_PEERCRED"):
        credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        return struct.unpack("3i", credentials)[1]
    # struct xucred of macOS and the BSDs: its version, the user, the groups; at the level of local sockets, 0.
    return struct.unpack_from("II", connection.getsockopt(0, getattr(socket, "LOCAL_PEERCRED", 1), 76))[1]


def socket_path(run: Run) -> Path:
    """The run's socket, in socket_folder; raises R1Error when that folder is not safe."""
    # A copied run has the same uuid as its original, and both may be served.
    return socket_folder() / f"{digest(run.id, str(run.path))}.sock"


def socket_folder() -> Path:
    """A folder that only its owner may enter; its name is short, for a socket's may have 107 bytes (macOS: 103).

    Raises R1Error when it is not safe.
    """
    import tempfile  # here, because clients do without it

    bases = (Path(os.environ.get("XDG_RUNTIME_DIR") or "/nowhere"), Path(tempfile.gettempdir()), Path("/tmp"))
    base = next(base for base in bases if base.is_dir() and len(os.fsencode(base)) <= 60)
    folder = base / f"r1-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    status = folder.lstat()
    if status.st_uid != os.getuid() or status.st_mode & 0o077:
        raise R1Error(f"{folder} must belong to you alone (mode 0700); remove it or fix its mode")
    return folder


def connect(run: Run) -> socket.socket:
    """A connection to the run's backend; raises R1Error that says what to do when it is gone."""
    home = find_home(run)
    if home is None:
        raise R1Error(f"{run.path} is not being served; start a backend with r1 serve {run.path} --detach")
    if home.alive and home.path != str(run.path):
        raise R1Error(
            f"{run.path} is served under its old path {home.path}; "
            f"restart the backend: r1 serve {run.path} --stop, then --detach"
        )
    if home.elsewhere:
        raise R1Error(
            f"{run.path} is served on {home.host}; run the command there, or stop it there "
            f"(if that machine is no more, remove {run.path}/serve.json)"
        )
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.connect(home.socket)
    except OSError:
        connection.close()
        state = "does not answer" if home.alive else "is gone"
        raise R1Error(
            f"the backend of {run.path} (process {home.pid}) {state}, see {run.path}/serve.log; "
            f"restart it with r1 serve {run.path} --detach, or go on without it after r1 serve {run.path} --stop"
        ) from None
    return connection
