"""Run directories: whatever fails while a step is published, the run is the old one or the new one, and whole."""

import errno
import os
import resource
import subprocess
from contextlib import suppress
from pathlib import Path

import orjson
import pytest
from conftest import ENVIRONMENT, R1, run_r1

from r1cli import atomic, history
from r1cli.creation import create_run
from r1cli.errors import InputError, R1Error
from r1cli.history import State
from r1cli.runs import Run


class Crash(BaseException):
    """The process ends here: nothing that follows runs."""


@pytest.fixture
def fresh(tmp_path) -> Run:
    """A run whose weights are one small file."""
    base = tmp_path / "base"
    base.mkdir()
    (base / "config.json").write_text("{}")
    (base / "model.safetensors").write_text("step 0")
    return create_run(tmp_path / "run", base, "base", {"keep": 0}, None)


def after(state: State, **changes) -> State:
    """The state one update later."""
    step = state.step + 1
    return state.advance([f"batch {step}"], [{"step": step, "loss": 0.5}], cursor=8 * step, **changes)


def write(state: State):
    """A writer of a step's files, whose content tells the step."""

    def fill(folder: Path) -> None:
        (folder / "model.safetensors").write_text(f"step {state.step}")
        (folder / "trainer" / "optimizer.safetensors").write_text(f"step {state.step}")

    return fill


def publish(run: Run, state: State, keep: int = 0) -> State:
    run.publish(state, write(state), keep=keep)
    run.append_metrics(state.applied[-1]["metrics"])
    return state


def listed(run: Run, name: str = "metrics.jsonl") -> list[int]:
    path = run.path / name
    return [orjson.loads(line)["step"] for line in path.read_bytes().splitlines()] if path.exists() else []


def check_whole(run: Run, *, at: tuple[int, ...]) -> State:
    """The run stands at one of these steps, with all its files, and the next writer finds everything in agreement."""
    with run.lock():
        state = run.state()
        assert state.step in at
        assert (run.latest() / "model.safetensors").read_text() == f"step {state.step}"
        if state.step:
            assert (run.latest() / "trainer" / "optimizer.safetensors").read_text() == f"step {state.step}"
        assert listed(run) == list(range(1, state.step + 1))
        assert run.steps()[-1] == state.step
        assert os.readlink(run.path / "reference") == run.reference(state).name
        assert not [entry for entry in run.path.iterdir() if entry.is_dir() and "." in entry.name]
    return state


class Failing:
    """Lets the first `count` calls of the patched functions through and fails in the next one, for good or once."""

    def __init__(self, monkeypatch, count: int, error: BaseException, *, after: bool):
        self.left, self.error, self.after, self.failed = count, error, after, False
        for module, name in (
            (os, "rename"), (os, "replace"), (os, "fsync"), (os, "symlink"), (os, "mkdir"), (os, "unlink"),
            (os, "rmdir"), (os, "open"),
        ):  # fmt: skip
            monkeypatch.setattr(module, name, self.wrap(getattr(os, name)))
        for name in ("write_bytes", "write_text", "open"):
            monkeypatch.setattr(Path, name, self.wrap(getattr(Path, name)))

    def wrap(self, function):
        def call(*arguments, **options):
            self.left -= 1
            mine = self.left == 0  # what it calls itself counts too
            self.failed = self.failed or mine
            if mine and not self.after:
                raise self.error
            try:
                return function(*arguments, **options)
            finally:
                if mine:
                    raise self.error

        return call


def each_step(fresh: Run, monkeypatch, error: BaseException, caught: type, *, after_call: bool):
    """Publishes step 2 (which moves the reference) with a failure at the nth file-system call, for every n."""
    one = publish(fresh, after(fresh.state()))
    two = after(one, refreshed=True)
    outcomes = []
    for count in range(1, 200):
        with monkeypatch.context() as patch:
            failing = Failing(patch, count, error, after=after_call)
            with suppress(caught):
                publish(fresh, two)
            failed = failing.failed
        assert fresh.state() in (one, two)
        yield two
        outcomes.append(check_whole(fresh, at=(1, 2)).step)
        if outcomes[-1] == 2:
            fresh.rollback(1)
            (fresh.path / "metrics.lost.jsonl").unlink()
        if not failed:
            break
    assert len(outcomes) > 15, "the failures were not injected"
    assert outcomes[-1] == 2 and outcomes == sorted(outcomes), "once published, a later failure must not undo it"


@pytest.mark.parametrize("after_call", [False, True], ids=["before", "after"])
def test_a_crash_at_any_point_of_publishing_leaves_the_old_or_the_new_step(fresh, monkeypatch, after_call):
    """Nothing half written can ever be the current step, wherever the process dies."""
    for _ in each_step(fresh, monkeypatch, Crash(), Crash, after_call=after_call):
        continue


@pytest.mark.parametrize("after_call", [False, True], ids=["before", "after"])
def test_a_full_disk_at_any_point_leaves_the_run_and_a_retry_succeeds(fresh, monkeypatch, after_call):
    """A resident backend that met a full disk publishes the same step later, from memory."""
    error = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    for two in each_step(fresh, monkeypatch, error, R1Error, after_call=after_call):
        fresh.publish(two, write(two), keep=0)
        assert fresh.state() == two


def test_a_failed_save_says_where_the_run_stands(fresh):
    """One line with the reason, the step that counts and what to do."""

    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(R1Error) as caught:
        fresh.publish(after(fresh.state()), full, keep=0)
    message = str(caught.value)
    assert "No space left on device" in message and "stands at step-000000" in message and "\n" not in message
    assert not list(fresh.path.glob("*.part"))


def test_a_step_renamed_but_not_made_current_is_removed(fresh):
    """A crash between the rename and the flip must not leave a step that rollback or prune take for history."""
    one = publish(fresh, after(fresh.state()))
    orphan = fresh.step_folder(2)
    (orphan / "trainer").mkdir(parents=True)
    (orphan / "trainer" / "state.json").write_bytes(b"{}")
    assert check_whole(fresh, at=(1,)) == one
    assert not orphan.exists()


def test_metrics_that_a_crash_lost_are_kept_aside_and_missing_ones_added(fresh):
    """metrics.jsonl follows the saved state in both directions, and a torn line does not stop it."""
    state = publish(fresh, after(fresh.state()))
    path = fresh.path / "metrics.jsonl"
    with path.open("ab") as file:
        file.write(b'{"step":2,"loss":1}\n{"step":3,"lo')
    check_whole(fresh, at=(1,))
    assert (fresh.path / "metrics.lost.jsonl").read_bytes() == b'{"step":2,"loss":1}\n{"step":3,"lo\n'
    path.unlink()
    check_whole(fresh, at=(1,))
    assert listed(fresh) == [1] and state.step == 1


def test_metrics_are_appended_whole_or_not_at_all(fresh):
    """A disk that fills up in the middle of a record must not leave half of it for the next one to be glued to."""
    publish(fresh, after(fresh.state()))
    before = (fresh.path / "metrics.jsonl").read_bytes()
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 5, limit[1]))
    try:
        with pytest.raises(R1Error, match=r"metrics\.jsonl"):
            fresh.append_metrics([{"step": 2, "loss": 0.25}])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert (fresh.path / "metrics.jsonl").read_bytes() == before


def test_keep_bounds_the_steps_but_spares_references_and_step_0(fresh):
    """Disk use stays bounded, and every kept step can still be rolled back to with its reference."""
    state = fresh.state()
    for step in range(1, 9):
        state = publish(fresh, after(state, refreshed=step in (3, 6)), keep=2)
    assert fresh.steps() == [0, 3, 6, 7, 8]
    assert state.references == (0, 3, 6) and os.readlink(fresh.path / "reference") == "step-000006"
    fresh.rollback(3)
    assert fresh.steps() == [0, 3] and os.readlink(fresh.path / "reference") == "step-000003"


def test_keep_0_keeps_all(fresh):
    """0 means no limit, not none."""
    state = fresh.state()
    for _ in range(4):
        state = publish(fresh, after(state), keep=0)
    assert fresh.steps() == [0, 1, 2, 3, 4]


def test_rollback_repairs_a_run_whose_latest_step_is_gone(fresh):
    """The errors about a broken run send people to rollback, which must then not fail for the same reason."""
    state = publish(fresh, publish(fresh, after(fresh.state())) and after(fresh.state()))
    atomic.discard(fresh.step_folder(2))
    with pytest.raises(R1Error, match="rollback"):
        fresh.state()
    fresh.rollback(1)
    assert check_whole(fresh, at=(1,)).step == state.step - 1


def test_rollback_names_the_steps_there_are(fresh):
    """A step that was pruned or never was is a usage error that says what is there."""
    publish(fresh, after(fresh.state()))
    with pytest.raises(InputError, match=r"no step 7; it has 0, 1"):
        fresh.rollback(7)


def test_a_second_writer_is_refused_and_named(fresh):
    """Two writers never meet; the message says who holds the run."""
    with fresh.lock(), pytest.raises(R1Error, match=f"process {os.getpid()}"), fresh.lock():
        raise AssertionError("locked twice")
    with fresh.lock():
        assert (fresh.path / "lock").read_text()


def test_a_reader_is_not_disturbed_by_files_of_others(fresh):
    """A rollout file that is being written into the run's folder is not a left-over of ours."""
    (fresh.path / "rollouts.jsonl.part").write_text("in use")
    check_whole(fresh, at=(0,))
    assert (fresh.path / "rollouts.jsonl.part").exists()


def test_versions_tell_histories_apart():
    """The same batch with another learning rate gives other weights, so rollouts of one are not those of the other."""
    base = State(version="v")
    slow = base.advance(["b"], [{"step": 1, "lr": 0.1, "seconds": {"gradient": 1.0}}], cursor=8)
    fast = base.advance(["b"], [{"step": 1, "lr": 0.2, "seconds": {"gradient": 1.0}}], cursor=8)
    again = base.advance(["b"], [{"step": 1, "lr": 0.1, "seconds": {"gradient": 2.0}}], cursor=8)
    assert slow.version != fast.version and slow.version == again.version


def test_a_batch_is_found_only_as_a_whole():
    """A retried batch gives its metrics; one that holds more than was applied is refused, not trained on in part."""
    state = State(version="v").advance(["a", "b"], [{"step": 1}], samples="x", cursor=8)
    assert state.find_applied({"b", "a"}, "x") == [{"step": 1}]
    assert state.find_applied({"c"}, "x") is None
    with pytest.raises(InputError, match="applied at step 1, with other rollouts"):
        state.find_applied({"a", "b"}, "half")
    with pytest.raises(InputError, match="batch a was applied at step 1"):
        state.find_applied({"a", "c"}, "x")


def test_memory_of_batches_is_bounded():
    """State files do not grow with the length of a run."""
    state = State(version="v")
    for _ in range(history.REMEMBERED + 10):
        state = after(state)
    assert len(state.applied) == len(state.history) == history.REMEMBERED


def test_a_torn_state_is_one_clear_error(fresh):
    """A damaged file sends the user to rollback instead of to a traceback."""
    publish(fresh, after(fresh.state()))
    (fresh.latest() / "trainer" / "state.json").write_bytes(b'{"step":')
    with pytest.raises(R1Error, match=r"state\.json.*rollback"):
        fresh.state()


def test_init_that_fails_leaves_nothing(tmp_path):
    """A run directory is there whole or not at all."""
    limited = subprocess.run(
        [*R1, "init", str(tmp_path / "run"), "--from", "tiny"],
        capture_output=True, text=True, env=ENVIRONMENT,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000)),
    )  # fmt: skip
    assert limited.returncode == 1
    assert limited.stderr.count("\n") == 1 and "cannot make" in limited.stderr
    assert list(tmp_path.iterdir()) == []


def test_init_refuses_an_existing_path(run):
    """A second init can't damage a run."""
    done = run_r1("init", run, "--from", "tiny", check=2)
    assert b"exists" in done.stderr
