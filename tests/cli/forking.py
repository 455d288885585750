"""Runs r1 many times at the price of one start: a process that has loaded the commands forks for each line.

As a program it reads orders, an object a line, and answers each with exit code, standard output and error.
"""

import importlib
import json
import os
import subprocess
import sys
import tempfile
import traceback

from conftest import ENVIRONMENT

LOADED = (
    "orjson",
    "r1cli.rewards",
    "r1cli.stream",
    "r1cli.filters.pipeline",
    "r1cli.prompts.dataset",
    "r1cli.evaluation",
)


class Forking:
    """The process that forks; a context manager."""

    def __enter__(self):
        self.process = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            env=ENVIRONMENT | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "COLUMNS": "80"},
        )  # fmt: skip
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait(timeout=60)
        self.process.stdout.close()

    def run(self, words, cwd, stdin=None):
        """Exit code, standard output and standard error of `r1 WORDS`, with stdin from a file."""
        order = {"words": words, "cwd": str(cwd), "stdin": str(stdin or "/dev/null")}
        self.process.stdin.write(json.dumps(order).encode() + b"\n")
        self.process.stdin.flush()
        return tuple(json.loads(self.process.stdout.readline()))


def answer(order):
    """What became of one line."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        child = os.fork()
        if not child:
            try:
                os.chdir(order["cwd"])
                for number, opened in enumerate((os.open(order["stdin"], os.O_RDONLY), out.fileno(), err.fileno())):
                    os.dup2(opened, number)
                sys.argv = ["r1", *order["words"]]
                importlib.import_module("r1cli.app").main()
            finally:  # main() never returns
                traceback.print_exc()
                os._exit(99)
        _, status = os.waitpid(child, 0)
        streams = []
        for file in (out, err):
            file.seek(0)
            streams.append(file.read().decode(errors="replace"))
        return os.waitstatus_to_exitcode(status), *streams


if __name__ == "__main__":
    for name in LOADED:
        importlib.import_module(name)
    replies = os.fdopen(os.dup(1), "wb")
    app = importlib.import_module("r1cli.app")
    for command in app.COMMANDS:
        app.find(command)
    for line in sys.stdin.buffer:
        replies.write(json.dumps(answer(json.loads(line))).encode() + b"\n")
        replies.flush()
