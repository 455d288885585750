"""The connection between ranks: who gets in, what arrives, and its end."""

import queue
import socket
import threading

import numpy as np
import pytest

from r1cli.backend.links import HEADER, Link, greet, pack, welcome
from r1cli.errors import R1Error

TOKEN = bytes(range(32))


def connected():
    """Two ends of a TCP connection on this machine."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        near = socket.create_connection(listener.getsockname())
        return listener.accept()[0], near


def meet(zero_token, rank_token):
    """Both sides of a greeting: what rank 0 and rank 3 make of it."""
    zero, other = connected()
    found = []
    thread = threading.Thread(target=lambda: found.append(welcome(zero, zero_token)))
    thread.start()
    try:
        mine = greet(other, rank_token, 3)
    except R1Error as error:
        mine = error
    thread.join()
    return found[0], mine


def test_ranks_that_share_a_token_meet():
    """Each knows the other, and messages arrive as they were: floats of 32 bits, seeds of 64, any length."""
    (rank, zero), other = meet(TOKEN, TOKEN)
    assert rank == 3
    heard = queue.Queue()
    other.listen(heard.put, lambda: heard.put("ended"))
    values = np.array([-1.1, 3e-40, 1 / 3], dtype=np.float32)
    for message in ({"seeds": [2**64 - 1, 0], "values": values}, {"text": "é" * (1 << 20)}):
        zero.send(message)
    first, second = heard.get(timeout=10), heard.get(timeout=10)
    assert first["seeds"] == [2**64 - 1, 0] and (np.array(first["values"], dtype=np.float32) == values).all()
    assert second == {"text": "é" * (1 << 20)}
    zero.close()
    assert heard.get(timeout=10) == "ended"
    other.send({"into": "nothing"})  # is no error: the reader has told


def test_a_stranger_does_not_get_in():
    """Another token fails on both sides; nothing that it sends is taken for a message."""
    found, mine = meet(TOKEN, b"another token")
    assert found is None and isinstance(mine, R1Error)


def test_a_rank_does_not_obey_a_stranger():
    """Who answers in the place of rank 0 has to know the token too."""
    zero, other = connected()

    def pretend():
        link = Link(zero)
        link.send({"nonce": "0"})
        link.receive()
        link.send({"proof": "0" * 64})

    threading.Thread(target=pretend, daemon=True).start()
    with pytest.raises(R1Error, match="does not know the run's token"):
        greet(other, TOKEN, 1)


@pytest.mark.parametrize("words", [b"GET / HTTP/1.1\r\n\r\n", HEADER.pack(3) + b"[1]", HEADER.pack(2) + b"{}", b""])
def test_what_is_no_greeting_is_turned_away(words):
    """A port scanner, a web client or one that hangs up: rank 0 goes on waiting for its ranks."""
    zero, other = connected()
    other.sendall(words)
    other.shutdown(socket.SHUT_WR)
    assert welcome(zero, TOKEN) is None


def test_a_message_cut_in_the_middle_is_an_end():
    """Half a message is never handed on."""
    zero, other = connected()
    heard = queue.Queue()
    Link(other).listen(heard.put, lambda: heard.put("ended"))
    data = pack({"verb": "grpo"})
    zero.sendall(HEADER.pack(len(data)) + data[:-1])
    zero.close()
    assert heard.get(timeout=10) == "ended"
