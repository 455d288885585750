"""What the tests of `r1 distill --teacher URL` share: a teacher that is right half of the time. It holds no tests."""

import json

from remote_server import Reply, chat

PROMPTS = "".join(
    json.dumps({"id": f"q{i}", "prompt": f"What is {i}+{i}?", "answer": str(2 * i)}) + "\n" for i in range(6)
).encode()
OPTIONS = ("--sample", "--group 4 --concurrency 2", "--filter", "--correct --per-prompt 2")


def taught(request) -> Reply:
    """A thought and an answer, right or wrong by the request's seed."""
    number = int(request.question.removeprefix("What is ").partition("+")[0])
    right = request.body["seed"] % 2 == 0
    return chat(f"<think>{number} and {number}</think><answer>{2 * number if right else 99}</answer>")


def lines(path):
    """The records of a file."""
    return [json.loads(line) for line in path.read_bytes().splitlines()]
