"""The sandbox's own behaviour: what a program sees, what ends it, and that nothing outlives the judge."""

import os
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest

from r1cli.errors import InputError, R1Error
from r1cli.rewards.sandbox import slot as slots
from r1cli.rewards.sandbox import watch
from r1cli.rewards.sandbox.messages import Run
from r1cli.rewards.sandbox.slot import KINDS, Slot, choose

MISSING = {"bubblewrap": not shutil.which("bwrap"), "landlock": sys.platform != "linux", "none": False}
HERE = [kind for kind in (*KINDS, "none") if os.environ.get("CI") or not MISSING[kind]]


@pytest.fixture(scope="module", params=HERE)
def slot(request):
    slot = Slot(request.param)
    assert slot.start(), slot.problem
    yield slot
    slot.close()


def run(slot, source, given="", *, cpu=2.0, memory=256, output=1 << 20):
    return slot.run(Run(textwrap.dedent(source).encode(), given.encode(), cpu, memory, output))


def test_input_output_and_exit_code(slot):
    result = run(slot, "import sys; print(input()[::-1]); print('e', file=sys.stderr); sys.exit(3)", "abc\n")
    assert (result.state, result.code, result.stdout, result.stderr) == ("done", 3, b"cba\n", b"e\n")


def test_megabytes_of_input_and_output_pass_whole(slot):
    text = "0123456789abcde\n" * (3 << 16)
    result = run(slot, "import sys; sys.stdout.write(sys.stdin.read())", text, output=4 << 20)
    assert (result.state, result.stdout) == ("done", text.encode())


def test_output_beyond_the_limit_ends_the_program(slot):
    result = run(slot, "while True: print('x' * 1000)", output=5000)
    assert (result.state, len(result.stdout)) == ("output", 5000)


@pytest.mark.parametrize("first", ["from __future__ import annotations", "'''text'''", "# -*- coding: utf-8 -*-"])
def test_exit_and_quit_are_there_as_in_any_script(slot, first):
    result = run(slot, f"{first}\nprint(__name__, 'é')\nexit(0)\nprint('not reached')")
    assert (result.state, result.code, result.stdout.decode()) == ("done", 0, "__main__ é\n")


def test_runs_do_not_depend_on_random_hashes(slot):
    outputs = {run(slot, "print(set('abcdefghij'), hash('x'))").stdout for _ in range(2)}
    assert len(outputs) == 1


def test_a_program_finds_nothing_of_the_one_before(slot):
    write = "import os\nfor d in ('.', '/tmp', '/dev/shm'):\n    try: open(d + '/left', 'w').write('x')\n"
    run(slot, write + "    except OSError: pass")
    if slot.kind != "none":  # without a sandbox, only its own folder is emptied
        assert run(
            slot, "import os; print([os.path.exists(d + '/left') for d in ('.', '/tmp', '/dev/shm')])"
        ).stdout == (b"[False, False, False]\n")
    else:
        assert run(slot, "import os; print(sorted(os.listdir('.')))").stdout == b"['main.py']\n"
        for path in ("/tmp/left", "/dev/shm/left"):
            os.unlink(path)


def test_the_limit_is_cpu_time_so_a_busy_machine_changes_nothing(slot):
    """0.3 seconds of work within a limit of 1 pass although three others per processor want the same one."""
    busy = [
        subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(3 * len(os.sched_getaffinity(0)))
    ]
    try:
        source = "import time\nwhile time.process_time() < 0.3: pass\nprint('done')"
        result = run(slot, source, cpu=1.0)
    finally:
        for process in busy:
            process.kill()
            process.wait()
    assert (result.state, result.stdout) == ("done", b"done\n")
    assert 0.3 <= result.cpu < 1.0


def test_more_cpu_than_the_limit_is_a_timeout_even_when_it_ends_by_itself(slot):
    source = "import time\nwhile time.process_time() < 0.25: pass\nprint('done')"
    assert run(slot, source, cpu=0.2).state == "timeout"


def test_cpu_time_of_children_counts(slot):
    if slot.kind == "landlock":
        assert run(slot, "import os; os.fork()").code == 1  # there are none
        return
    source = """
        import os, time
        for _ in range(4):
            if os.fork() == 0:
                while time.process_time() < 0.4: pass
                os._exit(0)
        for _ in range(4): os.wait()
        """
    assert run(slot, source, cpu=0.8).state == "timeout"


def test_memory_over_the_limit(slot):
    assert run(slot, "x = bytearray(10**9)", memory=64).state == "memory"
    assert run(slot, "x = b'x' * (150 << 20)", memory=64).state == "memory"
    assert run(slot, "x = b'x' * (30 << 20); print(1)", memory=64).state == "done"


def test_a_large_input_is_not_the_programs_memory(slot):
    result = run(slot, "import sys; print(len(sys.stdin.buffer.read(1000)))", "x" * (80 << 20), memory=64)
    assert (result.state, result.stdout) == ("done", b"1000\n")
    assert run(slot, "x = b'x' * (200 << 20)", memory=64).state == "memory"


def test_memory_of_children_counts(slot):
    if slot.kind == "landlock":
        return
    source = """
        import os, time
        for _ in range(6):
            if os.fork() == 0:
                kept = b'x' * (60 << 20)
                time.sleep(20)
        time.sleep(20)
        """
    assert run(slot, source, memory=128).state == "memory"


def test_a_killed_keeper_is_replaced_and_the_program_runs_again(slot):
    assert run(slot, "print(1)").stdout == b"1\n"
    os.kill(slot._keeper.pid, signal.SIGKILL)
    assert run(slot, "print(2)").stdout == b"2\n"


def test_files_of_the_host_are_not_the_programs():
    """A look may fall into the moment before a process has its own file system."""
    status = os.statvfs("/")
    assert watch.files(os.getpid(), "/", status.f_blocks * status.f_frsize) == status.f_files - status.f_ffree
    assert watch.files(os.getpid(), "/", 64 << 20) == 0


def test_closing_ends_a_running_program_and_removes_what_was_made(slot):
    other = Slot(slot.kind)
    assert other.start()
    keeper, folder = other._keeper.pid, other._folder
    results = []
    thread = threading.Thread(target=lambda: results.append(run(other, "import time; time.sleep(60)", cpu=30)))
    thread.start()
    while not watch.children(keeper):
        time.sleep(0.01)
    programs = watch.look([keeper]).processes
    other.close()
    thread.join(10)
    assert results[0].state == "broken"
    assert not any(os.path.exists(f"/proc/{pid}") for pid in programs)
    assert not folder or not os.path.exists(folder)


def test_nothing_outlives_a_judge_that_is_killed(slot):
    script = f"""
        import sys, threading, time
        from r1cli.rewards.sandbox.slot import Slot
        from r1cli.rewards.sandbox.messages import Run
        slot = Slot({slot.kind!r})
        assert slot.start()
        print(slot._keeper.pid, slot._folder, flush=True)
        slot.run(Run(b"import time; time.sleep(60)", b"", 30, 128))
        """
    judge = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script)], stdout=subprocess.PIPE, text=True,
        cwd=Path(__file__).parents[2],
    )  # fmt: skip
    keeper, _, folder = judge.stdout.readline().strip().partition(" ")
    while not watch.children(int(keeper)):
        time.sleep(0.01)
    programs = watch.look([int(keeper)]).processes
    judge.kill()
    judge.communicate()
    until = time.monotonic() + 20
    left = lambda: any(map(_alive, programs)) or (folder and os.path.exists(folder))  # noqa: E731
    while left() and time.monotonic() < until:
        time.sleep(0.02)
    assert not left()


def _alive(pid):
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False


def test_auto_takes_the_first_that_works(monkeypatch):
    monkeypatch.setattr(slots.shutil, "which", lambda name: None)
    slot = choose("auto")
    slot.close()
    assert slot.kind == "landlock"
    with pytest.raises(R1Error, match=r"bwrap is not installed.*install bubblewrap") as raised:
        choose("bubblewrap")
    assert not isinstance(raised.value, InputError)


def test_no_sandbox_is_one_error_with_every_reason(monkeypatch, tmp_path):
    old = tmp_path / "bwrap"
    old.write_text("#!/bin/sh\necho bubblewrap 0.6.1\n")
    old.chmod(0o755)
    monkeypatch.setattr(slots.shutil, "which", lambda name: str(old))
    with pytest.raises(R1Error, match=r"bubblewrap 0\.6\.1 is older than 0\.8"):
        choose("bubblewrap")
    monkeypatch.setattr(slots.Slot, "start", lambda slot: setattr(slot, "problem", f"no {slot.kind}"))
    with pytest.raises(R1Error, match=r"bubblewrap: no bubblewrap; landlock: no landlock.*--unsafe-no-sandbox"):
        choose("auto")
    monkeypatch.setattr(slots.seccomp, "supported", lambda: False)
    for unsafe in (False, True):  # nothing to install would help, and nothing to risk
        with pytest.raises(R1Error, match=r"runs programs on Linux \(x86_64, aarch64\) only"):
            choose("auto", unsafe)


def test_a_bubblewrap_that_fails_says_what_it_said(monkeypatch, tmp_path):
    bad = tmp_path / "bwrap"
    bad.write_text(
        '#!/bin/sh\n[ "$1" = --version ] && echo bubblewrap 0.9.0 && exit\necho bwrap: no namespaces >&2; exit 1\n'
    )
    bad.chmod(0o755)
    for folder in (tmp_path, *tmp_path.parents):
        if os.geteuid() == 0 and str(folder) not in ("/", "/tmp"):
            folder.chmod(0o755)  # it runs as another user when this is root
    monkeypatch.setattr(slots.shutil, "which", lambda name: str(bad))
    with pytest.raises(R1Error, match="bwrap: no namespaces"):
        choose("bubblewrap")
