"""Rank 0's calls to other ranks, and groups spread over them, with ranks that are threads of the test."""

import socket
import threading
from collections import deque
from pathlib import Path

import pytest

from r1cli.backend import ranks as module
from r1cli.backend.learner import EngineLost
from r1cli.backend.links import Link
from r1cli.backend.ranks import Declined, Ranks
from r1cli.backend.sampling import Group, Sample, SamplingParams
from r1cli.backend.spread import Spread
from r1cli.errors import InputError, R1Error


@pytest.fixture
def pair():
    """Ranks 1 and 2 as the far ends of links, and rank 0's hold on them; who was lost is in `lost`."""
    near, far = [], []
    for _ in range(2):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            far.append(Link(socket.create_connection(listener.getsockname())))
            near.append(Link(listener.accept()[0]))
    lost = []
    held = Ranks(near, Path("/run"), lost.append, lambda: lost.append("stop"))
    held.losses = lost
    yield held, far
    for link in (*near, *far):
        link.close()


def answer(link, refused=None, value=None):
    """Answers the next call."""
    message = link.receive()
    link.send({"call": message["call"], "refused": refused, "value": value})
    return message


def raising(error):
    def own():
        raise error

    return own


def answering(far, *replies):
    """Lets every rank answer one call, in the background."""
    threads = [
        threading.Thread(target=answer, args=(link,), kwargs=reply) for link, reply in zip(far, replies, strict=True)
    ]
    for thread in threads:
        thread.start()
    return threads


def test_a_call_gives_the_results_of_all_ranks(pair):
    """Own result first, then by rank."""
    held, far = pair
    answering(far, {"value": 5}, {"value": 6})
    assert held.call("refresh", lambda: 4) == (4, [4, 5, 6])


def test_what_all_refuse_is_refused(pair):
    """A batch that can't be trained on is the client's error; the ranks go on."""
    held, far = pair
    answering(far, {"refused": "no"}, {"refused": "no"})
    with pytest.raises(InputError, match="no signal"):
        held.call("grpo", raising(InputError("no signal")))
    answering(far, {"value": 1}, {"value": 1})
    assert held.call("refresh", lambda: 1)[1] == [1, 1, 1]


def test_a_client_that_went_away_is_no_error_of_ranks(pair):
    """What `on_update` raised here comes out as it was."""
    held, far = pair
    answering(far, {"refused": "cancelled"}, {"refused": "cancelled"})
    with pytest.raises(KeyError):
        held.call("grpo", raising(Declined(KeyError("gone"))))


@pytest.mark.parametrize(("own", "replies"), [(None, ({}, {"refused": "odd"})), ("odd", ({}, {"refused": "odd"}))])
def test_ranks_that_disagree_are_lost(pair, own, replies):
    """When one refuses what another did, their weights are no longer those of one step."""
    held, far = pair
    answering(far, *replies)
    with pytest.raises(EngineLost, match=r"rank \d on 127.0.0.1 and rank 0 disagree: odd"):
        held.call("grpo", raising(R1Error(own)) if own else lambda: 1)


def test_one_that_refuses_alone_ends_a_hang(pair, monkeypatch):
    """Rank 0 waits in a collective for the one that refused: after a while that one is named."""
    monkeypatch.setattr(module, "AGREE_SECONDS", 0.1)
    held, far = pair
    named = threading.Event()
    held.lost = lambda words: (held.losses.append(words), named.set())
    answering(far, {"value": 1}, {"refused": "torn file"})
    with pytest.raises(EngineLost):
        held.call("reset", lambda: named.wait(10))
    assert "rank 2 on 127.0.0.1 failed: torn file" in held.losses[0]


def test_a_failure_here_ends_all(pair, monkeypatch):
    """Without memory for its own part, rank 0 can't go on, whatever the others say."""
    monkeypatch.setattr(module, "BLAME_SECONDS", 0.01)
    held, _ = pair
    with pytest.raises(EngineLost, match=r"rank 0 on .* failed: out of memory"):
        held.call("grpo", raising(MemoryError()))


def test_the_first_cause_is_named_and_not_the_first_message(pair, monkeypatch):
    """Rank 1 says that its connection broke; it broke because rank 2 was killed."""
    monkeypatch.setattr(module, "CAUSE_SECONDS", 0.3)
    held, far = pair
    named = threading.Event()
    held.lost = lambda words: (held.losses.append(words), named.set())
    far[0].send({"failed": "Connection closed by peer"})
    far[1].close()
    assert named.wait(10)
    assert held.losses == ["rank 2 on 127.0.0.1 died; see /run/serve-rank2.log"]


class Own:
    """Rank 0's own sampler: finishes one group a step."""

    def __init__(self):
        self.queue = deque()

    def validate(self, group):
        if not group.prompt_ids:
            raise InputError("no tokens")

    def add(self, group):
        self.queue.append(group)

    def cancel(self, key):
        self.queue = deque(group for group in self.queue if group.key != key)

    @property
    def busy(self):
        return bool(self.queue)

    def step(self):
        group = self.queue.popleft()
        return [(group, [Sample([0], None, "stop") for _ in group.seeds])]


def group(key, size=4):
    return Group(key, [1, 2], list(range(size)), SamplingParams(stop=("x",)))


def test_groups_go_where_the_least_is_to_do_and_wait_when_all_have_enough(pair):
    """Three ranks with 4 slots: a group each, the fourth waits for one that ends; cancelled ones are forgotten."""
    held, far = pair
    spread = Spread(Own(), held, "sampler", slots=4)
    for key in "abcde":
        spread.add(group(key))
    with pytest.raises(InputError):
        spread.add(Group("bad", [], [1], SamplingParams()))
    ((first, _),) = spread.step()
    assert first.key == "a"
    tickets = [link.receive() for link in far]
    assert [message["seeds"] for message in tickets] == [[0, 1, 2, 3]] * 2
    assert tickets[0]["params"] == {"temperature": 1.0, "top_p": 1.0, "max_tokens": 1024, "stop": ["x"]}
    spread.cancel("b")
    assert far[0].receive() == {"verb": "cancel", "call": None, "sampler": "sampler", "ticket": tickets[0]["ticket"]}
    sample = {"ids": [7], "logprobs": [-0.5], "finish": "length"}
    late = {"whole": "sampler", "ticket": tickets[0]["ticket"], "samples": [sample] * 4}  # it had ended already
    far[0].send(late)
    far[1].send(late | {"ticket": tickets[1]["ticket"]})
    found = {}
    while spread.busy:
        for key, samples in ((whole.key, samples) for whole, samples in spread.step()):
            found[key] = samples
            assert len(samples) == 4
        if "d" in found and not spread.own.busy and set(found) >= {"c", "d"}:
            break
    # d and e were given to ranks 0 and 1, which had nothing left to do.
    assert set(found) == {"c", "d"} and found["c"][0].ids == [7] and found["c"][0].logprobs.tolist() == [-0.5]
    assert far[0].receive()["verb"] == "add"
    spread.cancel("e")
    assert not spread.busy and spread._load == [0, 0, 0]
