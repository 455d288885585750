"""Makes a Python process believe that it runs on macOS: put on its path as sitecustomize.

It takes away what Python does not have there (before 3.13, the poorest case), the files of /proc and /sys, and prctl;
what macOS has and Linux has not is added only where the standard library asks for it. The kernel remains Linux.
"""

import ctypes
import ctypes.util  # before the name changes: for macOS it needs a package that Debian's Python has not
import fcntl
import os
import resource
import select
import socket
import sys
import sysconfig
import types

sysconfig.get_config_vars()  # read and kept, for there is no such file for macOS here
sys.platform = "darwin"
sys.modules["_scproxy"] = types.SimpleNamespace(_get_proxy_settings=dict, _get_proxies=dict)

MISSING = {
    os: ("memfd_create", "pidfd_open", "sched_getaffinity", "sched_setaffinity", "waitid", "posix_fallocate", "pipe2",
         "unshare", "setns", "eventfd", "splice", "O_PATH", "O_TMPFILE", "P_PIDFD", "setresuid", "setresgid"),
    socket: ("SO_PEERCRED", "SOCK_CLOEXEC", "SOCK_NONBLOCK", "AF_VSOCK"),
    select: ("epoll",),
    fcntl: ("F_ADD_SEALS", "F_SETPIPE_SZ"),
    resource: ("prlimit", "RLIMIT_MSGQUEUE", "RLIMIT_SIGPENDING"),
}  # fmt: skip
for module, names in MISSING.items():
    for name in names:
        if hasattr(module, name):
            delattr(module, name)

# The kernel is asked as before, under the name and in the shape of macOS.
_getsockopt, _credentials = socket.socket.getsockopt, 17


class _Socket(socket.socket):
    def getsockopt(self, level, option, *size):
        if (level, option) == (0, 1):
            user = int.from_bytes(_getsockopt(self, socket.SOL_SOCKET, _credentials, 12)[4:8], sys.byteorder)
            return b"\0\0\0\0" + user.to_bytes(4, sys.byteorder) + bytes(68)
        return _getsockopt(self, level, option, *size)


socket.socket = _Socket


def _refuse(event, arguments):
    if event in ("open", "os.listdir", "os.scandir") and isinstance(arguments[0], str | bytes):
        path = os.fsdecode(arguments[0])
        if path.startswith(("/proc/", "/sys/", "/dev/shm")):
            raise FileNotFoundError(2, "No such file or directory", path)


sys.addaudithook(_refuse)
_stat = os.stat


def _hidden(path, *rest, **named):
    if isinstance(path, str | os.PathLike) and os.fspath(path).startswith(("/proc/", "/sys/")):
        raise FileNotFoundError(2, "No such file or directory", os.fspath(path))
    return _stat(path, *rest, **named)


os.stat = _hidden


class _Library(ctypes.CDLL):
    def __getattr__(self, name):
        if name in ("prctl", "unshare", "mount", "syscall"):
            raise AttributeError(f"dlsym: symbol not found: {name}")
        return super().__getattr__(name)


ctypes.CDLL = _Library
