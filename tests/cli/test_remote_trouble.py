"""`r1 sample URL` when the server refuses, fails, stalls or hangs up, and how it is reached."""

import json
import threading

import pytest
from conftest import run_r1
from remote_server import FakeServer, Reply, as_json, chat, error
from remote_work import ONE, backends, failure, sample

from r1cli.errors import R1Error


@pytest.fixture
def quick(tmp_path):
    """Backends whose retries do not wait, and prompts."""
    with backends(tmp_path) as work:
        yield work


def test_what_passes_is_tried_again(quick):
    """429, 5xx, cut and missing answers: each sample arrives exactly once all the same."""
    hurdles = [
        error(429, "slow down", Retry_After="0"), error(500, "oops"), error(503, "busy"),
        chat("cut")._replace(cut=5), chat("none")._replace(cut=0), chat("head")._replace(cut=-1),
    ]  # fmt: skip
    make, prompts = quick
    for reply in hurdles:
        with FakeServer(lambda asked, reply=reply: reply if asked.number % 2 == 0 else chat("ok")) as server:
            lines = list(make(server, concurrency=1).sample({"group": 2}, prompts))
        assert [json.loads(line)["completion"] for line in lines] == ["ok"] * 6
        assert len(server.requests) == 12


def test_a_rate_limit_through_the_program():
    """Retry-After is waited for; nothing is said that the user need not know."""
    replies = {0: error(429, "slow down", Retry_After="0.2"), 1: error(502, "Bad Gateway")}
    with FakeServer(lambda asked: replies.get(asked.number, chat("ok"))) as server:
        rollouts, done = sample(server, "--group", 1, "--concurrency", 1)
    assert len(rollouts) == 3 and not done.stderr


def test_how_long_is_waited(quick, monkeypatch):
    """Twice as long each time, up to half of it less by chance; never less than what Retry-After says."""
    make, prompts = quick
    orders = [None, None, None, "25", "Wed, 21 Oct 2015 07:28:00 GMT", "soon"]

    def answer(asked):
        if asked.number >= len(orders):
            return chat("ok")
        order = orders[asked.number]
        return error(503, "busy", **({"Retry_After": order} if order else {}))

    with FakeServer(answer) as server:
        remote = make(server, concurrency=1, attempts=8, pause=1.0)
        waited = []
        monkeypatch.setattr(remote.server._stopping, "wait", lambda seconds: waited.append(seconds))
        assert len(list(remote.sample({"group": 1}, prompts[:1]))) == 1
    for doubled, seconds in zip((1, 2, 4, None, 16, 30), waited, strict=True):
        assert 25 <= seconds <= 28 if doubled is None else doubled / 2 <= seconds <= doubled


def test_a_proxy_of_the_environment_is_used():
    """http_proxy is asked for the server by its whole URL, and not for this machine."""
    with FakeServer(lambda _: chat("ok")) as proxy, FakeServer(lambda _: chat("direct")) as server:
        env = {"http_proxy": proxy.url.removesuffix("/v1"), "no_proxy": ""}
        arguments = ("-", "--model", "m", "--group", 1)
        done = run_r1("sample", "http://model.invalid:8000/v1", *arguments, stdin=ONE, check=0, env=env)
        assert json.loads(done.stdout)["completion"] == "ok"
        assert [request.path for request in proxy.requests] == ["http://model.invalid:8000/v1/chat/completions"]
        assert sample(server, "--group", 1, prompts=ONE, env=env)[0][0]["completion"] == "direct"


def test_an_insecure_server_is_not_asked_again():
    """https:// to a server that speaks plain HTTP can only fail; a certificate that is wrong likewise."""
    with FakeServer(lambda _: chat("x")) as server:
        done = run_r1("sample", server.url.replace("http:", "https:"), "-", stdin=ONE, check=1)
    assert "no secure connection" in failure(done) and not server.requests


def test_an_idle_connection_that_the_server_closed_is_no_failure(quick):
    """Servers close idle connections without a word; the next request must not count that as a try."""
    make, prompts = quick
    with FakeServer(lambda _: chat("ok")._replace(close=True)) as server:
        lines = list(make(server, concurrency=1, attempts=1).sample({"group": 2}, prompts))
    assert len(lines) == 6 and len(server.requests) == 6


def test_connections_are_kept(quick):
    make, prompts = quick
    with FakeServer(lambda _: chat("ok")) as server:
        list(make(server, concurrency=2).sample({"group": 4}, prompts))
    assert len({request.client for request in server.requests}) <= 2


def test_requests_at_a_time_are_limited(quick):
    """Never more than --concurrency under way; a barrier shows that they really run side by side."""
    make, prompts = quick
    barrier = threading.Barrier(3, timeout=20)

    def answer(_):
        barrier.wait()
        return chat("ok")

    with FakeServer(answer) as server:
        assert len(list(make(server, concurrency=3).sample({"group": 3}, prompts))) == 9
    assert server.most_busy == 3


def test_complete_groups_are_kept_when_the_server_gives_up(quick):
    """One question that can't be answered: the others' groups leave first, then one error ends the command."""
    make, prompts = quick
    with FakeServer(lambda asked: error(500, "no luck") if "2+2" in asked.question else chat("ok")) as server:
        lines = make(server, concurrency=2).sample({"group": 2}, prompts)
        got = []
        with pytest.raises(R1Error, match=r"HTTP 500: no luck \(tried 3 times\)"):
            for line in lines:
                got.append(json.loads(line)["id"])
        assert got == ["q0", "q0", "q1", "q1"]
        assert sum("2+2" in request.question for request in server.requests) <= 6


def test_what_is_under_way_when_one_fails_still_arrives(quick):
    """A group that only waits for its last sample is not thrown away for another's failure; nothing new is begun."""
    make, prompts = quick
    turned_away = threading.Event()

    def answer(asked):
        if "0+0" in asked.question:
            threading.Timer(0.3, turned_away.set).start()
            return error(400, "no")
        assert turned_away.wait(20)
        return chat("ok")

    with FakeServer(answer) as server:
        lines = make(server, concurrency=2).sample({"group": 1}, prompts)
        assert json.loads(next(lines))["id"] == "q1"
        with pytest.raises(R1Error, match="HTTP 400"):
            list(lines)
    assert len(server.requests) <= 3


def test_a_slow_server_times_out(quick):
    make, prompts = quick
    over = threading.Event()
    with FakeServer(lambda _: over.wait(20) and chat("late")) as server:
        with pytest.raises(R1Error, match="no answer in time"):
            list(make(server, read_seconds=0.05, attempts=2).sample({"group": 1}, prompts[:1]))
        over.set()


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (error(400, "maximum context\nlength is 4096"), "HTTP 400: maximum context length is 4096"),
        (Reply(b'{"detail":"Not Found"}', 404), "HTTP 404: Not Found (a server's URL usually ends in /v1)"),
        (Reply(b"", 302, {"Location": "https://x.example/v1"}), "https://x.example/v1: give that URL"),
        (Reply(b"<html>hello"), "no JSON object: '<html>hello'"),
        (Reply(b"[1]"), "no JSON object"),
        (as_json({"choices": []}), "no choices"),
        (as_json({"choices": [{"finish_reason": "stop"}]}), "without a message"),
        (as_json({"error": {"message": "model is loading"}}), "model is loading"),
        (error(429, "come back tomorrow", Retry_After="86400"), "it asks to wait 86400 seconds"),
    ],
)
def test_an_error_is_one_line_with_the_servers_words(reply, said):
    with FakeServer(lambda _: reply) as server:
        _, done = sample(server, "--group", 1, prompts=ONE, check=1)
    assert said in failure(done) and server.url in failure(done)


def test_parameters_that_a_server_does_not_take(quick):
    """max_tokens under its newer name, and no seed where it is refused, which the rollouts then do not claim."""
    make, prompts = quick

    def answer(asked):
        if "max_tokens" in asked.body:
            return error(400, "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead.")
        if "seed" in asked.body:
            return Reply(json.dumps({"detail": [{"loc": ["body", "seed"], "msg": "Extra inputs"}]}).encode(), 422)
        return chat(str(asked.body["max_completion_tokens"]))

    with FakeServer(answer) as server:
        lines = list(make(server).sample({"group": 2, "max_tokens": 5}, prompts))
    assert [json.loads(line)["completion"] for line in lines] == ["5"] * 6
    assert {json.loads(line)["sampling"]["seed"] for line in lines} == {None}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("http://127.0.0.1:9/v1",), "no questions of its own"),
        (("http://127.0.0.1:9/v1", "-", "--threads", "2"), "--threads can't be set from here"),
        (("http://127.0.0.1:9/v1", "-", "--device", "cpu", "--slots", "2"), "--device and --slots"),
        (("http://me:secret@127.0.0.1/v1", "-"), "R1_API_KEY"),
        (("http://127.0.0.1:x/v1", "-"), "no URL of a server"),
        (("https://", "-"), "no URL of a server"),
        (("tiny", "-", "--model", "x"), "--model is for the URL of a server"),
        (("tiny", "-", "--concurrency", "4"), "--concurrency is for the URL of a server"),
    ],
)
def test_options_that_cannot_be_honoured(arguments, said):
    with FakeServer(lambda _: chat("x")) as server:
        mine = [argument.replace("http://127.0.0.1:9/v1", server.url) for argument in arguments]
        done = run_r1("sample", *mine, stdin=ONE, check=2)
    assert said in failure(done) and "secret" not in failure(done)
