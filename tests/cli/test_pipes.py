"""The manners of a Unix filter, through real pipes, real signals and full disks."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import ENVIRONMENT, R1, run_r1, shell

SMALL = "--questions 2 --group 3 --max-tokens 8"
ROLLOUT = {"id": "a", "prompt": "1 + 1", "answer": "2", "completion": "<think>1</think><answer>2</answer>"}

JUDGED = {**ROLLOUT, "rewards": {"accuracy": 1.0}, "reward": 1.0}


@pytest.fixture
def many(tmp_path):
    """A file of records that does not fit into a pipe's buffer."""
    file = tmp_path / "many.jsonl"
    file.write_text("".join(json.dumps({**ROLLOUT, "id": str(n), "pad": "x" * 200}) + "\n" for n in range(4000)))
    return file


def test_head_ends_the_pipe_in_peace(served, tmp_path):
    """A reader that has enough is no error, for none of the stages."""
    done = shell(
        f"r1 sample {served} --questions 8 --group 16 | head -3 | jq -r .completion; echo ${{PIPESTATUS[@]}}",
        cwd=tmp_path,
    )
    assert done.stdout.splitlines()[-1] == "0 0 0"
    assert done.stderr == ""


STREAMING = [
    "prompts sum --limit 100000",
    "prompts many.jsonl",
    "reward --format many.jsonl",
    "show many.jsonl",
    "sample RUN --questions 32 --group 16",
]


@pytest.mark.parametrize("command", STREAMING)
def test_reader_that_leaves(served, many, command):
    """Exit 0 and not a word, wherever in the stream the reader goes away."""
    done = shell(
        f"set -o pipefail; r1 {command.replace('RUN', str(served))} | head -c 1000 | wc -c; echo ${{PIPESTATUS[0]}}",
        cwd=many.parent,
    )
    assert done.stdout.split() == ["1000", "0"]
    assert done.stderr == ""


@pytest.mark.parametrize("command", ["eval -", "grpo-step", "--help", "sample --help", "--version"])
def test_reader_that_was_never_there(served, tmp_path, command):
    """Nobody reads: the first write finds out, and that is no error either."""
    read, write = os.pipe()
    os.close(read)
    judged = _judged(served) if command == "grpo-step" else json.dumps(JUDGED).encode() + b"\n"
    done = subprocess.run([*R1, *command.split()], input=judged, stdout=write, stderr=subprocess.PIPE, env=ENVIRONMENT)
    os.close(write)
    assert (done.returncode, done.stderr) == (0, b"")


def _judged(run, *options):
    rollouts = run_r1("sample", run, *SMALL.split(), *options, check=0).stdout
    return run_r1("reward", "--format", "--accuracy", "-q", stdin=rollouts, check=0).stdout


FULL = [
    "prompts sum", "prompts many.jsonl", "reward --format many.jsonl", "show many.jsonl", "eval - < one.jsonl", "plot two.jsonl",
    "--help", "--version", f"sample RUN {SMALL}",
]  # fmt: skip


@pytest.mark.parametrize("command", FULL)
def test_full_disk(served, many, command):
    """The device's own words, and failure."""
    (many.parent / "one.jsonl").write_text(json.dumps(JUDGED) + "\n")
    (many.parent / "two.jsonl").write_text('{"step":1,"reward":0.1}\n{"step":2,"reward":0.3}\n')
    done = shell(f"r1 {command.replace('RUN', str(served))} > /dev/full; echo $?", cwd=many.parent)
    assert done.stdout == "1\n"
    assert "No space left on device" in done.stderr and done.stderr.count("\n") == 1


def test_full_disk_after_an_update(served):
    """The metrics could not be written, but the update is there, and a retry gives them."""
    judged = _judged(served)
    with open("/dev/full", "wb") as full:
        done = subprocess.run([*R1, "grpo-step"], input=judged, stdout=full, stderr=subprocess.PIPE, env=ENVIRONMENT)
    assert done.returncode == 1 and b"No space left" in done.stderr
    latest = os.readlink(served / "latest")
    again = run_r1("grpo-step", stdin=judged, check=0)
    assert json.loads(again.stdout)["step"] == int(latest.removeprefix("step-"))
    assert os.readlink(served / "latest") == latest


def test_output_file_appears_whole(tmp_path):
    """While the work goes on the old file stands; at the end the new one is there and no .part."""
    out = tmp_path / "out.jsonl"
    out.write_text("old\n")
    process = subprocess.Popen(
        [*R1, "reward", "--format", "-q", "-o", out], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=ENVIRONMENT
    )
    process.stdin.write(json.dumps(ROLLOUT).encode() + b"\n")
    process.stdin.flush()
    part = tmp_path / "out.jsonl.part"
    _until(lambda: part.exists() and part.stat().st_size > 0)
    assert out.read_text() == "old\n"
    assert process.communicate(timeout=20)[0] == b""
    assert process.returncode == 0
    assert json.loads(out.read_text())["rewards"] == {"format": 1.0}
    assert sorted(os.listdir(tmp_path)) == ["out.jsonl"]


def test_output_file_after_a_failure(tmp_path):
    """The old file is kept, and what was written stays beside it."""
    out = tmp_path / "out.jsonl"
    out.write_text("old\n")
    done = run_r1("reward", "--format", "-o", out, stdin=json.dumps(ROLLOUT).encode() + b"\n{torn")
    assert done.returncode == 2
    assert out.read_text() == "old\n"
    assert json.loads((tmp_path / "out.jsonl.part").read_text())["rewards"] == {"format": 1.0}


def test_output_to_a_device_or_a_link(tmp_path):
    """-o writes into a device, a pipe or a link's file; it never puts a file in their place."""
    line = json.dumps(ROLLOUT).encode() + b"\n"
    done = run_r1("reward", "--format", "-q", "-o", "/dev/stdout", stdin=line, check=0)
    assert json.loads(done.stdout)["reward"] == 1.0
    run_r1("reward", "--format", "-q", "-o", "/dev/null", stdin=line, check=0)
    assert not Path("/dev/null").is_file() and Path("/dev/stdout").is_symlink()
    (tmp_path / "link").symlink_to("target")
    run_r1("reward", "--format", "-q", "-o", tmp_path / "link", stdin=line, check=0)
    assert os.readlink(tmp_path / "link") == "target"
    assert json.loads((tmp_path / "target").read_text())["reward"] == 1.0
    assert sorted(os.listdir(tmp_path)) == ["link", "target"]
    full = run_r1("reward", "--format", "-o", "/dev/full", stdin=line)
    assert full.returncode == 1 and b"/dev/full: No space left" in full.stderr


def test_output_that_cannot_be_made(tmp_path):
    """Known before anything is computed."""
    done = run_r1("reward", "--format", "-o", tmp_path / "no" / "out.jsonl")
    assert done.returncode == 1
    assert done.stderr.decode() == f"r1 reward: cannot write {tmp_path}/no/out.jsonl.part: No such file or directory\n"


@pytest.mark.parametrize(
    ("redirection", "code", "words"),
    [
        (">&-", 1, "standard output is closed"),
        ("-q -o out.jsonl >&-", 0, ""),
        ("2>&-", 0, ""),
        ("-q -o out.jsonl 2>&- >&-", 0, ""),
        ("<&-", 2, "standard input is closed"),
    ],
)
def test_closed_descriptors(tmp_path, redirection, code, words):
    """Cron and daemons start programs without some of the three; no file may slip into the gap."""
    (tmp_path / "in.jsonl").write_text(json.dumps(ROLLOUT) + "\n")
    done = shell(f"cat in.jsonl | (r1 reward --format {redirection}); echo $?", cwd=tmp_path)
    assert done.stdout.splitlines()[-1] == str(code), done.stderr
    assert words in done.stderr
    if "-o" in redirection:
        assert json.loads((tmp_path / "out.jsonl").read_text())["reward"] == 1.0


CHATTERER = """
import os, time
print("hello from a library", flush=True)
os.write(1, b"hello from C\\n")
os.system("echo hello from a child")
if os.fork() == 0:
    time.sleep(30)
    os._exit(0)
MODEL_FILE = ""
class LanguageIdentifier:
    labels = ["en"]
    @classmethod
    def from_model_file(cls, *_, **__):
        return cls()
    def set_languages(self, languages):
        print("hello again", flush=True)
    def classify(self, text):
        return "en", 1.0
    def rank(self, text):
        return [("en", 1.0)]
"""


def test_library_that_prints_and_forks(tmp_path):
    """What a library prints lands on stderr, and its orphan does not hold the pipe open."""
    package = tmp_path / "py3langid"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "langid.py").write_text(CHATTERER)
    thought = "we add the numbers and see what comes out of it in the end, which is easy enough for everyone here"
    record = {**ROLLOUT, "completion": f"<think>{thought}</think><answer>2</answer>"}
    (tmp_path / "in.jsonl").write_text(json.dumps(record) + "\n")
    began = time.monotonic()
    with (
        (tmp_path / "err").open("wb") as err,
        subprocess.Popen(
            [*R1, "reward", "--language", "en", "--language-detector", "-q", "in.jsonl"],
            cwd=tmp_path,  # where the fake package is found
            env=ENVIRONMENT,
            stdout=subprocess.PIPE,
            stderr=err,
        ) as process,
    ):
        out = process.stdout.read()
    assert time.monotonic() - began < 20
    assert process.returncode == 0
    assert len(out.splitlines()) == 1 and json.loads(out)["reward"] == 1.0
    said = (tmp_path / "err").read_text().splitlines()
    assert said == ["hello from a library", "hello from C", "hello from a child", "hello again"]


def _until(condition, seconds=20):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def _start(arguments, **kwargs):
    """A process group of its own, as a terminal's foreground job is one."""
    return subprocess.Popen(
        arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=ENVIRONMENT, start_new_session=True, **kwargs
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signal_kills_by_itself(number):
    """Death by the signal and silence, so that whoever waits can tell it from a failure."""
    process = _start([*R1, "reward", "--format"], stdin=subprocess.PIPE)
    process.stdin.write(json.dumps(ROLLOUT).encode() + b"\n")
    process.stdin.flush()
    process.stdout.readline()  # it is at work
    process.send_signal(number)
    out, err = process.communicate(timeout=20)
    assert (process.returncode, out, err) == (-number, b"", b"")


def test_ctrl_c_stops_a_bash_loop(served, tmp_path):
    """A command that exits with 130 instead would let the loop go on to its next round."""
    loop = f'for i in 1 2 3 4 5; do echo $i; "{sys.executable}" -m r1cli sample {served} --group 512 > /dev/null; done'
    process = _start(["bash", "-c", loop], cwd=tmp_path)
    assert process.stdout.readline() == b"1\n"
    time.sleep(0.6)
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert process.returncode == -signal.SIGINT
    assert (out, err) == (b"", b"")
    status = json.loads(run_r1("serve", served, "--status", check=0).stdout)
    assert (status["sampling"], status["waiting"]) == (0, 0)


def test_ctrl_c_while_libraries_load(run):
    """Torch takes a second to import: a Ctrl-C in the middle of it is no traceback."""
    for delay in (0.3, 0.8):
        process = _start([*R1, "sample", str(run)])
        time.sleep(delay)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
        assert (process.returncode, out, err) == (-signal.SIGINT, b"", b"")


def test_signal_that_was_ignored_stays_ignored(tmp_path):
    """nohup's SIGHUP, and the SIGINT of a shell's background jobs."""
    done = shell(
        f"trap '' HUP; (sleep 1; echo '{json.dumps(ROLLOUT)}') | "
        f'"{sys.executable}" -m r1cli reward --format -q & sleep 0.5; kill -HUP $!; wait $!; echo $?',
        cwd=tmp_path,
    )
    assert done.stdout.splitlines()[-1] == "0"
    assert json.loads(done.stdout.splitlines()[0])["reward"] == 1.0


def test_pipefail_sees_the_stage_that_failed(served, tmp_path):
    """An error upstream reaches the shell, and the trainer does not train on the half that arrived."""
    latest = os.readlink(served / "latest")
    done = shell(
        f"set -o pipefail; r1 sample {served} {SMALL} > a.jsonl; echo '{{torn' >> a.jsonl\n"
        "head -3 a.jsonl > half.jsonl; tail -1 a.jsonl >> half.jsonl\n"
        "cat half.jsonl | r1 reward --format --accuracy | r1 grpo-step; echo ${PIPESTATUS[@]}",
        cwd=tmp_path,
    )
    assert done.stdout == "0 2 2\n"
    first, second = sorted(done.stderr.splitlines())
    assert first.startswith("r1 grpo-step: ") and "missing" in first
    assert second.startswith("r1 reward: stdin:4: not JSON")
    assert os.readlink(served / "latest") == latest


def test_files_are_read_in_turn(tmp_path):
    """FILE..., - among them; an error names its file and its own line number."""
    for name in ("a", "b"):
        (tmp_path / name).write_text(json.dumps({**ROLLOUT, "id": name}))  # without a newline at the end
    line = json.dumps({**ROLLOUT, "id": "-"}).encode()
    done = run_r1("reward", "--format", "b", "-", "a", stdin=line, cwd=tmp_path, check=0)
    assert [json.loads(line)["id"] for line in done.stdout.splitlines()] == ["b", "-", "a"]
    (tmp_path / "b").write_text("\n\nno\n")
    done = run_r1("reward", "--format", "-q", "a", "b", cwd=tmp_path)
    assert done.returncode == 2 and done.stderr.startswith(b"r1 reward: b:3: not JSON")


def test_line_numbers_reach_through_a_backend(served, tmp_path):
    """The client forwards lines unparsed: the backend still names the file and the line in it."""
    lines = _judged(served).splitlines(keepends=True)
    (tmp_path / "a.jsonl").write_bytes(b"".join(lines[:2]) + b"\n\n" + b"".join(lines[2:4]))
    (tmp_path / "b.jsonl").write_bytes(lines[4] + b"\n" + lines[5].replace(b'"finish"', b'"fin"'))
    done = run_r1("grpo-step", "a.jsonl", "b.jsonl", cwd=tmp_path)
    assert done.returncode == 2 and done.stderr.startswith(b'r1 grpo-step: b.jsonl:3: missing "finish"')
    (tmp_path / "a.jsonl").write_bytes(b"".join(lines[:2]) + b"\n\n" + lines[2] + b"no\n")
    done = run_r1("grpo-step", "a.jsonl", "b.jsonl", cwd=tmp_path)
    assert done.returncode == 2 and done.stderr.startswith(b"r1 grpo-step: a.jsonl:6: not JSON")


def test_several_batches_are_one_update(served, tmp_path):
    """cat a b, in any order; a cut one among them is refused."""
    a, b = _judged(served), _judged(served, "--draw", "1")
    before = (served / "metrics.jsonl").read_bytes() if (served / "metrics.jsonl").exists() else b""
    (tmp_path / "a").write_bytes(a)
    (tmp_path / "b").write_bytes(b)
    cut = shell("cat a <(head -5 b) | r1 grpo-step; echo $?", cwd=tmp_path)
    assert cut.stdout == "2\n" and "missing 1 rollouts" in cut.stderr
    done = shell("cat a b | shuf | r1 grpo-step", cwd=tmp_path)
    (update,) = (json.loads(line) for line in done.stdout.splitlines())
    assert update["step"] == len(before.splitlines()) + 1
    tokens = sum(len(json.loads(line)["completion_ids"]) for line in (a + b).splitlines())
    assert update["tokens"] == tokens
    assert len((served / "metrics.jsonl").read_bytes().splitlines()) == update["step"]


ODD = (
    rb'{ "z":1, "big":123456789012345678901234567890 ,"f":1.50,"e":1E+2,"minus":-0.0,"u":"\u00e9\u4e2d\ud83d\ude00",'
    b' "raw":"\xc3\xa9","nested":{"b":[1,  2],"a":null},"dup":1,"dup":2'
    rb',"completion":"<think>a</think><answer>2</answer>","answer":"2","long":0.1234567890123456789012345}'
)


def test_unknown_keys_pass_byte_for_byte():
    """reward appends to the line as it came: order, spacing, big integers, odd floats and escapes included."""
    done = run_r1("reward", "--accuracy", "-q", stdin=ODD + b"\n", check=0)
    assert done.stdout.startswith(ODD[:-1] + b',"rewards":{"accuracy":1.0},"reward":1.0,')
    assert done.stdout.endswith(b"}\n")


def test_unknown_keys_pass_a_second_judge():
    """Earlier verdicts are replaced by the new sum, wherever they stand; all else stays as it came."""
    first, rest = ODD[1:-1].split(b',"f":', 1)
    judged = (
        b'{"reward":1.0,' + first + b', "reward_info":{"accuracy":{"reason":"same","weight":1.0}} ,"rewards":'
        b'{"accuracy":1.0},"f":' + rest + b"}"
    )
    done = run_r1("reward", "--format", "-q", stdin=judged + b"\n", check=0)
    assert done.stdout.startswith(ODD[:-1] + b',"rewards":{"accuracy":1.0,"format":1.0},"reward":2.0,"reward_info":')
    again = run_r1("reward", "--format", "-q", stdin=done.stdout, check=0)
    assert again.stdout == done.stdout


def test_prompts_pass_byte_for_byte():
    """A prompt loses what a rollout added, gains an id if it has none, and is otherwise the line that came."""
    line = b'{"prompt":"\\u00e9" , "big":123456789012345678901234567890,"x":1.50,"reward":0.5,"group":{"id":"g"}}\n'
    done = run_r1("prompts", "-", stdin=line, check=0)
    head, _, tail = done.stdout.partition(b",")
    assert set(json.loads(head + b"}")) == {"id"}
    assert tail == b'"prompt":"\\u00e9" , "big":123456789012345678901234567890,"x":1.50}\n'
    assert run_r1("prompts", "-", stdin=done.stdout, check=0).stdout == done.stdout


def test_users_keys_survive_the_whole_pipe(served, tmp_path):
    """From a prompts file through sampling and judging, in place and in order."""
    (tmp_path / "p.jsonl").write_text('{"zeta":[1,{"k":null}],"prompt":"1 + 1","answer":"2","alpha":"\\u00e9"}\n')
    done = shell(f"r1 sample {served} p.jsonl --group 2 --max-tokens 8 | r1 reward --accuracy -q", cwd=tmp_path)
    for line in done.stdout.splitlines():
        record = json.loads(line)
        keys = list(record)
        assert keys[:5] == ["id", "zeta", "prompt", "answer", "alpha"]
        assert keys[-3:] == ["rewards", "reward", "reward_info"]
        assert (record["zeta"], record["alpha"]) == ([1, {"k": None}], "é")
    assert len(done.stdout.splitlines()) == 2


def test_quiet_and_verbose(tmp_path):
    """By default one closing line; -q says nothing; -v shows where an error came from."""
    line = json.dumps(ROLLOUT).encode() + b"\n"
    usual = run_r1("reward", "--format", stdin=line, check=0)
    assert usual.stderr == b"r1 reward: 1 records, mean reward 1.000, format 1.000\n"
    assert run_r1("reward", "--format", "-q", stdin=line, check=0).stderr == b""
    for option, lines in (("-q", 1), ("-v", 2)):
        failed = run_r1("reward", "--format", option, stdin=b"no\n")
        assert failed.returncode == 2
        assert failed.stderr.startswith(b"r1 reward: stdin:1: not JSON")
        assert (failed.stderr.count(b"\n") >= lines) and (b"Traceback" in failed.stderr) == (option == "-v")


def test_error_is_one_line_whatever_the_file_name(tmp_path):
    """A newline or an escape sequence in a name can neither forge a second line nor steer the terminal."""
    done = run_r1("reward", "--format", "a\nr1 reward: fine\x1b[2J", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr == b"r1 reward: cannot read a r1 reward: fine\\x1b[2J: No such file or directory\n"


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["sample", "--temprature", "2"], "no such option --temprature; did you mean --temperature or --template? see"),
        (["sample"], "missing argument 'CKPT'; see"),
        (["sample", "ckpt", "--group"], "option '--group' requires an argument; see"),
        (["sample", "ckpt", "--group", "0"], "invalid value for '--group': 0 is not in the range x>=1; see"),
        (["rollback", "ckpt"], "missing option '--to'; see"),
        (["smaple"], "no such command 'smaple'; did you mean 'sample'? see"),
        (["--nothing"], "no such option --nothing; see"),
    ],
)
def test_usage_error_is_one_line(arguments, line):
    command = "r1 sample" if arguments[0] == "sample" else "r1 rollback" if arguments[0] == "rollback" else "r1"
    done = run_r1(*arguments)
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr.decode() == f"{command}: {line} {command} --help\n"
