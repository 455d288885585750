"""Which processes a backend has on which machines, from the options of `r1 serve`; and the launcher's command line.

DeepSpeed's launcher starts them. What it would only find out in a traceback is checked here first, without importing
anything heavy.
"""

import base64
import json
import os
import random
import re
import shutil
import socket
import sys
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from r1cli import ui
from r1cli.backend import trainers
from r1cli.backend.base import EngineOptions
from r1cli.errors import InputError

# Below the ports that a system gives to connections by itself, so that none of these can take it meanwhile.
PORTS = range(20000, 32000)


class Layout(NamedTuple):
    """Nodes in order, each with the devices of its ranks; which one this is, and where rank 0 listens."""

    nodes: dict[str, list[str | int]]
    node: int
    host: str
    port: int
    hostfile: Path | None = None


def plan(options: EngineOptions, *, lora: bool = False) -> Layout | None:
    """The layout that the options ask for; None when that is this process alone.

    Raises InputError for options that contradict each other or can't be honoured here.
    """
    together = {"--nnodes": options.nnodes, "--node-rank": options.node_rank, "--rendezvous": options.rendezvous}
    given = [name for name, value in together.items() if value is not None]
    if options.hostfile is not None:
        if given or options.gpus is not None:
            other = given[0] if given else "--gpus"
            raise InputError(f"--hostfile says which machines take part with how many GPUs; leave out {other}")
        layout = _by_hostfile(options.hostfile)
    elif given:
        if len(given) < len(together):
            missing = next(name for name in together if name not in given)
            raise InputError(f"{' and '.join(given)} without {missing}: several machines need all three")
        layout = _by_rendezvous(options)
    else:
        layout = Layout({"localhost": _devices(options.gpus or 1)}, 0, "127.0.0.1", _free_port())
    world = sum(map(len, layout.nodes.values()))
    trainers.pick(options, world, lora=lora)
    if world == 1:
        return None
    if options.device not in (None, "cpu", "cuda"):
        raise InputError(f"--device {options.device} is one device, and every rank has its own; give cpu or cuda")
    return layout


def launcher_command(layout: Layout) -> list[str]:
    """DeepSpeed's command line for this machine, or for all that a hostfile names; the module and its word follow."""
    where = [f"--master_addr={layout.host}", f"--master_port={layout.port}"]
    # The module needs no --local_rank: it reads the environment. What goes wrong is said by the ranks themselves.
    how = ["--module", "--no_local_rank", f"--log_level={'info' if ui.verbose() else 'critical'}"]
    if layout.hostfile is not None:
        return [sys.executable, "-u", "-m", "deepspeed.launcher.runner", f"--hostfile={layout.hostfile}", *where, *how]
    world = base64.urlsafe_b64encode(json.dumps(layout.nodes).encode()).decode()
    launch = [sys.executable, "-u", "-m", "deepspeed.launcher.launch", f"--world_info={world}"]
    return [*launch, f"--node_rank={layout.node}", *where, *how]


def _devices(count: int) -> list[str | int]:
    """Names of the first GPUs that this process may use; the launcher would take the machine's first."""
    visible = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name.strip()]
    if not visible:
        return list(range(count))
    if len(visible) < count:
        raise InputError(f"--gpus {count}, and CUDA_VISIBLE_DEVICES has {len(visible)}")
    return visible[:count]


def _by_rendezvous(options: EngineOptions) -> Layout:
    host, _, port = options.rendezvous.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise InputError(f"--rendezvous {options.rendezvous}: expected HOST:PORT of the machine with node rank 0")
    if options.node_rank >= options.nnodes:
        raise InputError(f"--node-rank {options.node_rank}: of {options.nnodes} nodes the last is {options.nnodes - 1}")
    devices = _devices(options.gpus or 1)
    return Layout({f"node{number}": devices for number in range(options.nnodes)}, options.node_rank, host, int(port))


def _by_hostfile(path: Path) -> Layout:
    try:
        lines = [line.strip() for line in path.read_text().splitlines()]
    except OSError as error:
        raise InputError(f"--hostfile {path}: {error.strerror}") from None
    nodes: dict[str, list[str | int]] = {}
    for number, line in enumerate(lines, 1):
        if not line or line.startswith("#"):
            continue
        found = re.match(r"(\S+)\s+slots=(\d+)", line)
        if not found or found[1] in nodes or found[2] == "0":
            raise InputError(f"{path}:{number}: expected a line `HOST slots=N` for each machine, found {line!r}")
        nodes[found[1]] = list(range(int(found[2])))
    if not nodes:
        raise InputError(f"{path}: no line `HOST slots=N`")
    first = next(iter(nodes))
    if not _is_here(first):
        raise InputError(
            f"{path}: its first machine is {first}, where rank 0 talks to clients, and this is {socket.gethostname()}; "
            f"run r1 serve on {first}"
        )
    for program in ("ssh", "pdsh") if len(nodes) > 1 else ():
        if shutil.which(program) is None:
            raise InputError(f"--hostfile starts the other machines by {program}, which is not installed here")
    return Layout(nodes, 0, first, _free_port(), path.resolve())


def _is_here(host: str) -> bool:
    """Whether a name is this machine's: only then can one of its addresses be bound."""
    if host in ("localhost", socket.gethostname()):
        return True
    with suppress(OSError):
        for family, kind, protocol, _, address in socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM):
            with suppress(OSError), socket.socket(family, kind, protocol) as probe:
                probe.bind(address)
                return True
    return False


def _free_port() -> int:
    dice = random.SystemRandom()
    while True:
        port = dice.choice(PORTS)
        with suppress(OSError), socket.socket() as probe:
            probe.bind(("", port))
            return port
