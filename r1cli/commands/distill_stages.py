"""The stages of r1 distill --teacher before the training: sample, reward and filter, each a file in a folder.

A stage is the command of that name in a process of its own, so what it takes of a GPU is free for the next. Its file
appears whole or not at all; stages.json says what each was made of, and what is there already is not made again.
"""

import hashlib
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from r1cli import ui

# What an option text of a stage may not say, and why.
TAKEN = {
    "-o": "each stage has its file", "--output": "each stage has its file",
    "--questions": "all prompts are sampled: shorten the input, by head or r1 prompts --limit",
}  # fmt: skip


def curate(teacher: str, files: list[Path], texts: dict[str, str], folder: Path, *, skip_bad: bool) -> Path:
    """Samples the teacher on the prompts of some files, judges and filters; the file of what was kept.

    `texts` are the options of sample, reward and filter_ as one writes them in a shell. Raises InputError for options
    that a stage does not take, before anything is sampled, and for a folder that holds another teacher's work; R1Error
    when a stage fails, whose finished groups are then there for the next time.
    """
    from r1cli.backend.base import is_url
    from r1cli.errors import InputError
    from r1cli.prompts.sources import read_prompts
    from r1cli.records import unique_ids
    from r1cli.runs import locate

    options = {name.rstrip("_"): _words(name.rstrip("_"), text) for name, text in texts.items()}
    source = teacher if is_url(teacher) else str(locate(teacher)[0].resolve())
    for name in ("reward", "filter"):
        _try(name, options[name])
    prompts = list(read_prompts(files, skip_bad=skip_bad))
    unique_ids(prompts)
    if not prompts:
        raise InputError("no prompts: the input is empty")
    lines = [prompt.line.rstrip(b"\n") + b"\n" for prompt in prompts]
    with _alone(folder):
        work = Work(folder)
        made = {"teacher": source, "options": options["sample"], "input": _digest(lines)}
        rollouts = work.sample(teacher, lines, [prompt.record["id"] for prompt in prompts], made)
        judged = work.make("reward", options["reward"], rollouts, folder / "rewarded.jsonl")
        return work.make("filter", options["filter"], judged, folder / "kept.jsonl")


class Work:
    """A folder of stages; stages.json has, for each file, what it was made of, written before the making begins."""

    def __init__(self, folder: Path):
        self.folder, self.index = folder, folder / "stages.json"
        self.made: dict[str, Any] = json.loads(self.index.read_bytes()) if self.index.exists() else {}

    def sample(self, teacher: str, prompts: list[bytes], names: list[str], made: dict[str, Any]) -> Path:
        """Makes rollouts.jsonl, or the rest of it: groups that an interrupted one has finished are kept."""
        from r1cli.atomic import replace_file
        from r1cli.errors import InputError

        result, asked = self.folder / "rollouts.jsonl", self.folder / "prompts.jsonl"
        part = _part(result)
        known = self.made.get(result.name)
        if known not in (None, made) and (result.exists() or part.exists()):
            names = {"teacher": "another teacher", "options": "other options of r1 sample", "input": "other prompts"}
            other = " and ".join(words for name, words in names.items() if known[name] != made[name])
            raise InputError(
                f"{result} is there and was made with {other} ({shlex.join([known['teacher'], *known['options']])}); "
                f"name another --work, or remove {self.folder}"
            )
        if result.exists():
            ui.say(f"{result} is there: not sampled again")
            return result
        self._record(result, made)
        replace_file(asked, b"".join(prompts))
        done = _finished(part)
        if done:
            left = [line for line, name in zip(prompts, names, strict=True) if name not in done]
            ui.say(f"{len(names) - len(left)} of {len(names)} prompts were sampled before")
            asked = self.folder / "left.jsonl"
            replace_file(asked, b"".join(left))
        if len(done) < len(names):
            _run(["sample", teacher, str(asked), *made["options"]], result, go_on=bool(done))
        _publish(result)
        return result

    def make(self, command: str, options: list[str], source: Path, result: Path) -> Path:
        """Makes the file of a stage that reads another stage's, unless it is there and made of that."""
        with source.open("rb") as file:
            made = {"options": options, "input": _digest(iter(lambda: file.read(1 << 20), b""))}
        if result.exists() and self.made.get(result.name) == made:
            ui.say(f"{result} is there: r1 {command} is not run again")
            return result
        result.unlink(missing_ok=True)
        self._record(result, made)
        _run([command, str(source), *options], result)
        _publish(result)
        return result

    def _record(self, result: Path, made: dict[str, Any]) -> None:
        from r1cli.atomic import replace_file

        self.made[result.name] = made
        replace_file(self.index, json.dumps(self.made, indent=2).encode() + b"\n")


def _words(name: str, text: str) -> list[str]:
    """The words of a stage's options."""
    from r1cli.errors import InputError

    try:
        words = shlex.split(text)
    except ValueError as error:
        raise InputError(f"--{name} {text!r}: {error}") from None
    for word in words:
        if word.partition("=")[0] in TAKEN:
            raise InputError(f"--{name} can't have {word}: {TAKEN[word.partition('=')[0]]}")
    return words


def sampling_of(student: str, text: str) -> dict[str, Any]:
    """What options of r1 sample, written as in a shell, ask of a backend; those that say more than how are refused."""
    from r1cli.arguments import parse
    from r1cli.commands.sample import sample
    from r1cli.errors import InputError
    from r1cli.prompts import templates

    known = ("group", "temperature", "top_p", "max_tokens", "stop", "few_shot", "prefill", "seed", "model")
    values = parse(sample, [student, *_words("sample", text)])
    if values is None or any(value for name, value in values.items() if name not in (*known, "checkpoint")):
        options = ", ".join(f"--{name.replace('_', '-')}" for name in known)
        raise InputError(f"--sample {text!r}: with --on-policy it takes {options}; see r1 sample --help")
    chosen = {name: values[name] for name in known}
    return {**chosen, "few_shot": templates.read_shots(values["few_shot"]) if values["few_shot"] else None}


def _command(words: list[str]) -> list[str]:
    return [sys.executable, "-m", "r1cli", *words]


def _try(command: str, options: list[str]) -> None:
    """Runs a stage on nothing, so that a mistake in its options is found before the teacher has worked for days."""
    from r1cli.errors import InputError

    done = subprocess.run(_command([command, os.devnull, *options]), stdin=subprocess.DEVNULL, capture_output=True)
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines() or [f"exit code {done.returncode}"]
        raise InputError(f"--{command}: {said[-1].removeprefix(f'r1 {command}: ')}")


def _run(words: list[str], result: Path, *, go_on: bool = False) -> None:
    """Runs a command of the program and writes its records beside the file that they will be."""
    from r1cli.errors import InputError, R1Error

    part = _part(result)
    ui.say(f"+ r1 {shlex.join(words)} {f'>> {part}' if go_on else f'> {result}'}")
    manners = ["-q"] if ui.quiet() else ["-v"] if ui.verbose() else []
    # By way of a pipe: if this process is killed, the stage finds its reader gone and ends.
    process = subprocess.Popen(_command([*words, *manners]), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    try:
        with part.open("ab" if go_on else "wb") as out:
            for line in process.stdout:
                out.write(line)
                out.flush()
        code = process.wait()
    except BaseException:
        process.terminate()
        process.wait()
        raise
    if code:
        how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
        kept = f"; what it has sampled stays in {part}, and the same command goes on" if words[0] == "sample" else ""
        raise (InputError if code == 2 else R1Error)(f"r1 {words[0]} {how}{kept}")


def _finished(part: Path) -> set[str]:
    """The ids of prompts all of whose samples are in a file; what comes after the last of them is cut off."""
    import orjson

    done: set[str] = set()
    open_groups: dict[str, int] = {}
    end = place = 0
    try:
        file = part.open("rb")
    except FileNotFoundError:
        return done
    names: dict[str, str] = {}
    with file:
        for line in file:
            place += len(line)
            if not line.endswith(b"\n"):
                break
            record = orjson.loads(line)
            group = record["group"]
            names[group["id"]] = record["id"]
            left = open_groups.pop(group["id"], group["size"]) - 1
            if left:
                open_groups[group["id"]] = left
            if not open_groups:
                end = place
                done.update(names.values())
                names.clear()
    os.truncate(part, end)
    return done


def _part(result: Path) -> Path:
    return result.with_name(result.name + ".part")


def _publish(result: Path) -> None:
    from r1cli.atomic import sync

    sync(_part(result))
    os.replace(_part(result), result)


def _digest(parts: Any) -> str:
    found = hashlib.blake2b(digest_size=8)
    for part in parts:
        found.update(part)
    return found.hexdigest()


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Makes the folder and keeps other processes out of it; raises R1Error when one is at work there."""
    import fcntl

    from r1cli.errors import R1Error

    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / "lock").open("a")
    except OSError as error:
        raise R1Error(f"cannot write to {folder}: {error.strerror}") from None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise R1Error(f"{folder} is in use by another r1 distill; try again when it is done") from None
        yield
