"""r1 show"""

import json
import sys
from typing import Annotated, Any

from r1cli import options, ui
from r1cli.options import Option

DIM, BOLD, GREEN, RED, YELLOW, OFF = "\x1b[2m", "\x1b[1m", "\x1b[32m", "\x1b[31m", "\x1b[33m", "\x1b[0m"


def show(
    files: options.Files = None,
    limit: Annotated[int | None, Option("--limit", "-n", metavar="N", min=0, help="At most N records.")] = None,
    field: Annotated[
        list[str] | None,
        Option("--field", "-f", metavar="NAME", help="A table of these fields, one record a line; repeatable."),
    ] = None,
    skip_bad: options.SkipBad = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> None:
    """Show rollouts to a person: question, thinking, verdicts.

    Of prompts and metrics it shows the fields. Text for people, not records: it ends a pipe. Colours on a terminal
    only.

    \b
    Examples:
      r1 sample ckpt | r1 reward --format --accuracy | r1 show | less
      jq -c 'select(.reward == 0)' rewarded.jsonl | r1 show -n 5
      r1 show -f step -f reward -f kl ckpt/metrics.jsonl
    """
    ui.setup("show", quiet, verbose)
    from itertools import islice

    from r1cli import stream

    paint = ui.colour(sys.stdout)
    with stream.Writer() as out:
        lines = islice(stream.read(files or [], skip_bad=skip_bad), limit)
        if field:
            for row in table(field, [line.record for line in lines]):
                out.write(row.encode("utf-8", "backslashreplace") + b"\n")
            return
        for line in lines:
            out.write(page(line.record, paint).encode("utf-8", "backslashreplace"))


def page(record: dict[str, Any], paint: bool) -> str:
    """One record as text, with a blank line after it."""
    from r1cli.records import whole_answer

    style = _painter(paint)
    if not isinstance(record.get("completion"), str):
        return "".join(f"{style(BOLD, _text(key))}: {_text(value)}\n" for key, value in record.items()) + "\n"
    lines = [style(BOLD, _headline(record))]
    if verdict := _verdict(record, style):
        lines.append(verdict)
    lines += [style(BOLD, "Q ") + _text(question(record)), ""]
    lines.append(_completion(whole_answer(record), style).strip("\n"))
    if "answer" in record:
        lines += ["", style(DIM, f"expected: {_text(record['answer'])}")]
    return "\n".join(lines) + "\n\n"


def table(fields: list[str], records: list[dict[str, Any]]) -> list[str]:
    """Rows under a header, each column as wide as its widest cell; dotted names reach into objects."""
    rows = [fields]
    for record in records:
        row = []
        for name in fields:
            value: Any = record
            for part in (name,) if name in record else name.split("."):
                value = value.get(part) if isinstance(value, dict) else None
            row.append("-" if value is None else f"{value:.4g}" if isinstance(value, float) else _text(value))
        rows.append(row)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]


def question(record: dict[str, Any]) -> str:
    """What was asked: the prompt, or the last message."""
    if isinstance(record.get("prompt"), str):
        return record["prompt"]
    messages = record.get("messages")
    last = messages[-1] if isinstance(messages, list) and messages else None
    return str(last.get("content", "")) if isinstance(last, dict) else ""


def _headline(record: dict[str, Any]) -> str:
    parts = [record.get("id", "?")]
    group, policy = record.get("group"), record.get("policy")
    if isinstance(group, dict):
        index = group.get("index")
        parts.append(f"sample {index + 1 if isinstance(index, int) else index} of {group.get('size')}")
    if isinstance(policy, dict):
        parts.append(f"step {policy.get('step')}")
    if isinstance(record.get("completion_ids"), list):
        cut = ", cut off" if record.get("finish") == "length" else ""
        parts.append(f"{len(record['completion_ids'])} tokens{cut}")
    return _text("── " + " · ".join(map(str, parts)) + " ──")


def _verdict(record: dict[str, Any], style: Any) -> str:
    if "reward" not in record and not isinstance(record.get("rewards"), dict):
        return ""
    reward, rewards, info = record.get("reward"), record.get("rewards"), record.get("reward_info")
    good = isinstance(reward, int | float) and reward > 0
    shown = [style(YELLOW if reward is None else GREEN if good else RED, f"reward {_number(reward)}")]
    for name, value in rewards.items() if isinstance(rewards, dict) else ():
        told = info.get(name) if isinstance(info, dict) else None
        reason = told.get("reason") if isinstance(told, dict) else None
        shown.append(f"{_text(name)} {_number(value)}" + (f" ({_text(reason)})" if reason else ""))
    if record.get("dropped"):
        shown.append(style(YELLOW, f"dropped: {_text(record['dropped'])}"))
    return "  ".join(shown)


def _completion(text: str, style: Any) -> str:
    """The completion with its thinking dimmed and the rest as it is."""
    before, tag, rest = text.partition("<think>")
    if not tag:
        return _text(text)
    thought, end, after = rest.partition("</think>")
    return _text(before) + style(DIM, _text(tag + thought + end)) + ("\n" if after.strip() else "") + _text(after)


def _number(value: Any) -> str:
    return "null" if value is None else f"{value:g}" if isinstance(value, int | float) else _text(value)


def _painter(paint: bool) -> Any:
    return (lambda code, text: f"{code}{text}{OFF}") if paint else (lambda code, text: text)


def _text(value: Any) -> str:
    return ui.printable(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
