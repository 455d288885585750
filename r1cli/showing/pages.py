"""One record as a page: question, thinking, answer, verdicts. Any object can be shown, whatever its types."""

import json
from collections.abc import Callable
from typing import Any

from r1cli import ui
from r1cli.records import completion_tokens, whole_answer
from r1cli.showing.layout import BLANK, Page, Paragraph, Span, paragraph

Record = dict[str, Any]


def page(record: Record, spans: Callable[[Record], tuple[Span, ...]] | None = None) -> Page:
    """A record's page; `spans` makes the completion's text."""
    if not isinstance(record.get("completion"), str):
        return [paragraph(Span(text(key), "bold"), f": {text(value)}") for key, value in record.items()]
    blocks: Page = [paragraph(Span(headline(record), "bold"))]
    if verdict := verdicts(record):
        blocks.append(Paragraph(verdict))
    blocks += [asked(record), BLANK, Paragraph((spans or completion)(record))]
    if "answer" in record:
        blocks += [BLANK, expected(record)]
    return blocks


def asked(record: Record) -> Paragraph:
    """The question, marked as such."""
    return paragraph(Span("Q ", "bold"), text(question(record)))


def expected(record: Record) -> Paragraph:
    """The reference answer."""
    return paragraph(Span(f"expected: {text(record['answer'])}", "dim"))


def question(record: Record) -> str:
    """What was asked: the prompt, or the last message."""
    if isinstance(record.get("prompt"), str):
        return record["prompt"]
    messages = record.get("messages")
    last = messages[-1] if isinstance(messages, list) and messages else None
    return str(last.get("content", "")) if isinstance(last, dict) else ""


def headline(record: Record) -> str:
    """Which sample it is, of which step, and how long."""
    parts = [record.get("id", "?")]
    group = record.get("group")
    if isinstance(group, dict):
        parts.append(f"sample {sample_number(record)} of {group.get('size')}")
    return ruled([*parts, *about(record)])


def about(record: Record) -> list[str]:
    """The policy's step, and the length in tokens; not made safe to show."""
    parts, policy, tokens = [], record.get("policy"), completion_tokens(record)
    if isinstance(policy, dict):
        parts.append(f"step {policy.get('step')}")
    if tokens is not None:
        parts.append(f"{tokens} tokens" + (", cut off" if record.get("finish") == "length" else ""))
    return parts


def sample_number(record: Record) -> Any:
    """Which of its group a sample is, counted from 1."""
    group = record.get("group")
    index = group.get("index") if isinstance(group, dict) else None
    return index + 1 if isinstance(index, int) else index


def ruled(parts: list[Any]) -> str:
    """The line that begins a page."""
    return text(f"── {' · '.join(map(str, parts))} ──")


def verdicts(record: Record) -> tuple[Span, ...]:
    """The reward and what it is made of, with reasons; nothing for what was not judged."""
    if "reward" not in record and not isinstance(record.get("rewards"), dict):
        return ()
    reward, rewards, info = record.get("reward"), record.get("rewards"), record.get("reward_info")
    good = isinstance(reward, int | float) and reward > 0
    shown = [Span(f"reward {number(reward)}", "warn" if reward is None else "good" if good else "bad")]
    for name, value in rewards.items() if isinstance(rewards, dict) else ():
        told = info.get(name) if isinstance(info, dict) else None
        reason = told.get("reason") if isinstance(told, dict) else None
        shown.append(Span(f"  {text(name)} {number(value)}" + (f" ({text(reason)})" if reason else "")))
    if record.get("dropped"):
        shown += [Span("  "), Span(f"dropped: {text(record['dropped'])}", "warn")]
    return tuple(shown)


def completion(record: Record) -> tuple[Span, ...]:
    """The completion with its thinking dimmed and the rest as it is."""
    whole = whole_answer(record).strip("\n")
    before, tag, rest = whole.partition("<think>")
    if not tag:
        return (Span(text(whole)),)
    thought, end, after = rest.partition("</think>")
    # The answer begins a line of its own.
    after = ("\n" if after.strip() else "") + after
    spans = (Span(text(before)), Span(text(tag + thought + end), "dim"), Span(text(after)))
    return tuple(span for span in spans if span.text)


def number(value: Any) -> str:
    """A reward: short where it is a number."""
    return "null" if value is None else f"{value:g}" if isinstance(value, int | float) else text(value)


def text(value: Any) -> str:
    """Any value as text that cannot steer a terminal."""
    return ui.printable(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
