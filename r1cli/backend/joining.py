"""How the processes that a launcher has started become ranks that know each other.

Rank 0 opens torch.distributed's store at the rendezvous and says there what it was started with; the token by which
its links are opened lies in the run's folder, readable by its owner alone. So a rank that sees another folder than
rank 0 never gets in, and says so. What ranks then do is said in ranks.py and follower.py.
"""

import json
import os
import secrets
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.distributed as dist

from r1cli import __version__, ui
from r1cli.backend.base import EngineOptions
from r1cli.backend.links import Link, greet, welcome
from r1cli.errors import InputError, R1Error
from r1cli.runs import Run

WAIT_SECONDS = 600.0  # machines of one job do not start in the same second
PATIENCE_SECONDS = 15.0
SHARED_SECONDS = 60.0  # what one machine writes, another may see only after a while
# A collective waits for the slowest rank, which may be writing a large model to a slow disk. That one of them has died
# is learnt from the links and not by waiting.
COLLECTIVE = timedelta(days=1)
START, TROUBLE = "r1/start", "r1/trouble"


class Place(NamedTuple):
    """Which rank of how many this process is, in all and on its machine, and where rank 0 is found."""

    rank: int
    world: int
    local: int
    near: int
    host: str
    port: int

    @classmethod
    def from_environment(cls) -> "Place":
        """What the launcher has set."""
        names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_SIZE")
        return cls(
            *(int(os.environ[name]) for name in names), os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
        )

    @property
    def loopback(self) -> bool:
        """Whether all ranks are on this machine by the rendezvous' own words."""
        return self.host == "localhost" or self.host.startswith("127.") or self.host == "::1"

    def device(self, name: str | None) -> str:
        """The device of this rank; raises InputError when the machine has no such GPU."""
        there = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if name == "cpu" or (name is None and not there):
            return "cpu"
        if self.near > there:
            raise InputError(f"{self.near} ranks on {socket.gethostname()}, which has {there} GPUs")
        return f"cuda:{self.local}"


def open_store(place: Place) -> dist.TCPStore:
    """The store at the rendezvous; raises R1Error when it can't be opened or rank 0 does not come."""
    try:
        return dist.TCPStore(
            place.host,
            place.port,
            place.world,
            is_master=place.rank == 0,
            timeout=timedelta(seconds=WAIT_SECONDS),
            wait_for_workers=False,
        )
    except RuntimeError as error:
        what = "can't be listened on" if place.rank == 0 else f"rank 0 did not answer in {WAIT_SECONDS:.0f} s"
        raise R1Error(f"rendezvous {place.host}:{place.port}: {what} ({_first_line(error)})") from None


def gather(place: Place, store: dist.TCPStore, run: Run, options: EngineOptions) -> list[Link]:
    """Rank 0: waits for all other ranks; their links, that of rank 1 first.

    Raises R1Error with its own words when one of them can't take part, or when not all have come in time.
    """
    token = secrets.token_bytes(32)
    start = secrets.token_hex(8)
    links: dict[int, Link] = {}
    with _listener(place) as listener, _key(run, start, token):
        said = {"id": start, "port": listener.getsockname()[1], "world": place.world, "version": __version__}
        store.set(START, json.dumps(said | {"options": plain(options)}))
        listener.settimeout(0.2)
        began = time.monotonic()
        told, deadline = False, began + WAIT_SECONDS
        while len(links) < place.world - 1:
            if not told and time.monotonic() > began + PATIENCE_SECONDS:
                told = True
                ui.say(
                    f"waiting at {place.host}:{place.port} for {place.world - 1 - len(links)} of {place.world} ranks"
                )
            if store.check([TROUBLE]):
                raise R1Error(store.get(TROUBLE).decode())
            if time.monotonic() > deadline:
                missing = sorted(set(range(1, place.world)) - set(links))
                raise R1Error(f"ranks {missing} of {place.world} did not come in {WAIT_SECONDS:.0f} s")
            with suppress(TimeoutError):
                found = welcome(listener.accept()[0], token)
                if found is not None:
                    links[found[0]] = found[1]
    return [links[rank] for rank in range(1, place.world)]


def join(place: Place, store: dist.TCPStore, run: Run, options: EngineOptions) -> tuple[EngineOptions, Link]:
    """Another rank: finds rank 0; the options that it was started with, and the link to it.

    Raises InputError or R1Error, in rank 0 too, for a rank that was started for something else.
    """
    try:
        store.wait([START], timedelta(seconds=WAIT_SECONDS))
        said = json.loads(store.get(START))
        _compare(place, said, options)
        token = _read_key(run, said["id"], place)
        connection = socket.create_connection((place.host, said["port"]), timeout=WAIT_SECONDS)
        return EngineOptions(**said["options"]), greet(connection, token, place.rank)
    except R1Error as error:
        tell(place, store, error)
        raise
    except (OSError, RuntimeError) as error:
        raise R1Error(f"no way to rank 0 at {place.host}: {_first_line(error)}") from None


def tell(place: Place, store: dist.TCPStore, error: Exception) -> None:
    """Tells rank 0 why this rank does not come."""
    store.set(TROUBLE, f"rank {place.rank} on {socket.gethostname()}: {error}")


def form_group(place: Place, store: dist.TCPStore, device: str) -> None:
    """Makes all ranks one torch.distributed group; every rank calls it."""
    backend = "gloo"
    if device != "cpu":
        backend = "nccl"
        torch.cuda.set_device(device)
    if place.loopback:  # a machine's own name may lead gloo to an address that nobody answers at
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    dist.init_process_group(
        backend,
        store=dist.PrefixStore("r1/group", store),
        rank=place.rank,
        world_size=place.world,
        timeout=COLLECTIVE,
    )


def plain(options: EngineOptions) -> dict[str, Any]:
    """Options as JSON takes them."""
    return {name: str(value) if isinstance(value, Path) else value for name, value in options._asdict().items()}


def _compare(place: Place, said: dict[str, Any], options: EngineOptions) -> None:
    if said["version"] != __version__:
        raise R1Error(f"r1 {__version__} here, {said['version']} on rank 0; install one version")
    if said["world"] != place.world:
        raise InputError(
            f"started as one of {place.world} ranks, rank 0 as one of {said['world']}; give all nodes the same "
            "--nnodes and --gpus"
        )
    for name, value in plain(options).items():
        if name != "node_rank" and value is not None and value != said["options"][name]:
            flag, other = f"--{name.replace('_', '-')}", said["options"][name]
            raise InputError(f"{flag} {value} here, {other or 'not given'} on node 0, whose options count on all nodes")


def _listener(place: Place) -> socket.socket:
    if place.loopback:
        return socket.create_server(("127.0.0.1", 0))
    if socket.has_dualstack_ipv6():
        return socket.create_server(("", 0), family=socket.AF_INET6, dualstack_ipv6=True)
    return socket.create_server(("", 0))


@contextmanager
def _key(run: Run, start: str, token: bytes) -> Iterator[None]:
    """Keeps the token in the run's folder while ranks are awaited."""
    path = _key_path(run)
    part = path.with_name(path.name + ".part")
    try:
        part.unlink(missing_ok=True)
        with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            json.dump({"id": start, "token": token.hex()}, file)
        part.rename(path)
    except OSError as error:
        raise R1Error(f"cannot write {path}: {error.strerror}") from None
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def _key_path(run: Run) -> Path:
    return run.path / "serve-ranks.key"


def _read_key(run: Run, start: str, place: Place) -> bytes:
    deadline = time.monotonic() + SHARED_SECONDS
    while time.monotonic() < deadline:
        with suppress(OSError, ValueError, TypeError, KeyError):
            found = json.loads(_key_path(run).read_bytes())
            if found["id"] == start:
                return bytes.fromhex(found["token"])
        time.sleep(0.05)
    raise R1Error(
        f"{run.path} is not the folder that rank 0 at {place.host} serves; a run has to be on a file system that all "
        "machines share"
    )


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
