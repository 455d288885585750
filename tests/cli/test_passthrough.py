"""What belongs to the user leaves as it came: keys, order, spacing, big integers, odd floats and escapes."""

import json

from conftest import run_r1

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
