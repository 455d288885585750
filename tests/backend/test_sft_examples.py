"""From records to tokens and what is trained of them, worked by hand on small templates; and how they are kept."""

import json

import numpy as np
import pytest
from models import EOS, TURN, write_tokenizer

from r1cli.backend.conversations import Drafter
from r1cli.backend.examples import Reader, split
from r1cli.backend.tokenizer import Tokenizer
from r1cli.errors import InputError
from r1cli.prompts.templates import R1_ZERO

# A ChatML-like template whose turns end with <|turn|>, and a line break that the model never writes.
PLAIN = (
    "{% for m in messages %}[{{ m.role }}]\n{{ m.content | trim }}<|turn|>\n{% endfor %}"
    "{% if add_generation_prompt %}[assistant]\n{% endif %}"
)
# As Qwen3's: thinking is cut from all turns but the last. As DeepSeek-R1's: it is cut from every turn.
FORGETFUL = PLAIN.replace(
    "{{ m.content | trim }}",
    "{% if loop.last %}{{ m.content }}{% else %}{{ m.content.split('</think>')[-1] }}{% endif %}",
)
CUTTING = PLAIN.replace("{{ m.content | trim }}", "{{ m.content.split('</think>')[-1] }}")
NO_SYSTEM = PLAIN.replace("{% for m in messages %}", "{% for m in messages if m.role != 'system' %}")
# As DeepSeek-R1's: the generation prompt opens the thought.
OPENED = PLAIN.replace("[assistant]\n", "[assistant]\n<think>")
BARE = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}{% if add_generation_prompt %}assistant: {% endif %}"  # noqa: E501


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("tokenizer")
    write_tokenizer(path)
    return path


@pytest.fixture
def load(folder, tmp_path):
    """The tokenizer with a chat template and end tokens; ids 1 and 2 are <|end|> and <|turn|>."""

    def make(chat=PLAIN, ends=(2, 1)):
        settings = json.loads((folder / "tokenizer_config.json").read_text())
        (tmp_path / "tokenizer_config.json").write_text(json.dumps({**settings, "chat_template": chat}))
        (tmp_path / "tokenizer.json").write_bytes((folder / "tokenizer.json").read_bytes())
        (tmp_path / "generation_config.json").write_text(json.dumps({"eos_token_id": list(ends)}))
        return Tokenizer.load(tmp_path)

    return make


def read(tokenizer, *records, template="chat", notes=None, loss="completion", context=400, **options):
    chosen = {"max_length": None, "skip_bad": False, **options}
    retokenize = chosen.pop("retokenize", False)
    reader = Reader(Drafter(tokenizer, template, 320, retokenize=retokenize), context, loss=loss, **chosen)
    lines = [(json.dumps(record).encode(), f"x.jsonl:{number}") for number, record in enumerate(records, 1)]
    said = [] if notes is None else notes
    return reader.read(lines, said.append)


def shown(tokenizer, examples, row=0):
    """What is read and what is written, as text: [(trained, text)]."""
    example = examples.example(row)
    mask = [False] * len(example.prompt) + (example.trained or [True] * len(example.completion))
    ids, parts = example.prompt + example.completion, []
    for token, trained in zip(ids, mask, strict=True):
        if not parts or parts[-1][0] != trained:
            parts.append((trained, []))
        parts[-1][1].append(token)
    return [(trained, tokenizer.decode(part)) for trained, part in parts]


def chat(*turns):
    return {"messages": [{"role": role, "content": content} for role, content in turns]}


def test_every_assistant_turn_is_learnt_with_its_end(load):
    """By hand: headers, questions and the line breaks after an end token are read, the turns and their ends written."""
    tokenizer = load()
    talk = chat(("system", "Be kind"), ("user", "1 + 1"), ("assistant", " 2 "), ("user", "and 2"), ("assistant", "42"))
    examples = read(tokenizer, talk)
    assert shown(tokenizer, examples) == [
        (False, f"[system]\nBe kind{TURN}\n[user]\n1 + 1{TURN}\n[assistant]\n"),
        (True, f"2{TURN}"),
        (False, f"\n[user]\nand 2{TURN}\n[assistant]\n"),
        (True, f"42{TURN}"),
    ]
    assert examples.labels == sum(len(tokenizer.encode(text, False)) + 1 for text in ("2", "42"))
    every = read(tokenizer, talk, loss="all")
    assert shown(tokenizer, every)[1] == (True, tokenizer.render_chat(talk["messages"], False)[1:-1])


def test_a_turn_is_cut_where_the_model_begins_to_write(load):
    """Tokens never lie across the border: prompt and answer are those of sampling, though the whole text has others."""
    tokenizer = load(PLAIN.replace("[assistant]\n", "[assistant]The quick bro"))
    talk = chat(("user", "1"), ("assistant", "wn fox"))
    with pytest.raises(InputError, match="renders message 2 otherwise"):
        read(tokenizer, talk)
    prompt = tokenizer.encode(tokenizer.render_chat(talk["messages"][:1]), False)
    examples = read(tokenizer, {**chat(("user", "1")), "completion": "wn fox"})
    assert examples.example(0).prompt == prompt
    assert examples.example(0).completion == [*tokenizer.encode("wn fox", False), 2]
    assert prompt + examples.example(0).completion[:-1] != tokenizer.encode(
        "[user]\n1<|turn|>\n[assistant]The quick brown fox", False
    )


def test_templates_without_an_end_token_get_the_model_s(load):
    """Where a template ends turns by a line break, the end token is appended once, after the last turn."""
    tokenizer = load(BARE, ends=(1,))
    examples = read(tokenizer, chat(("user", "1"), ("assistant", "2"), ("user", "3"), ("assistant", "42")))
    assert shown(tokenizer, examples) == [
        (False, "user: 1\nassistant: "), (True, "2"), (False, "\nuser: 3\nassistant: "), (True, f"42{EOS}"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("template", "talk", "words"),
    [
        (FORGETFUL, (("user", "1"), ("assistant", "<think>a</think>2"), ("user", "3"), ("assistant", "4")), "2 other"),
        (CUTTING, (("user", "1"), ("assistant", "<think>a</think>2")), "changes message 2"),
        (NO_SYSTEM, (("system", "Be kind"), ("user", "1"), ("assistant", "2")), "leaves out message 1"),
        (PLAIN + "{{ raise_exception('no!') }}", (("user", "1"), ("assistant", "2")), "template failed: no!"),
        (None, (("user", "1"), ("assistant", "2")), "no chat template"),
        (PLAIN, (("user", "1"), ("robot", "2"), ("assistant", "3")), 'message 2 has the role "robot"'),
        (PLAIN, (("user", "1"), ("assistant", "  ")), "message 2 (assistant) is empty"),
        (PLAIN, (("user", "1"),), "no assistant turn"),
        (PLAIN, (), '"messages" must be a list'),
    ],
)  # fmt: skip
def test_conversations_that_cannot_be_trusted_are_refused(load, template, talk, words):
    """One line with the place; nothing that a template drops or changes is trained in silence."""
    with pytest.raises(InputError) as caught:
        read(load(template), chat(*talk))
    message = str(caught.value)
    assert words in message and message.startswith("x.jsonl:1: ") and "\n" not in message


def test_the_last_turn_alone_can_be_the_completion(load):
    """What the refusal of a forgetful template advises: the turns before as messages, the last one as completion."""
    tokenizer = load(FORGETFUL)
    before = chat(("user", "1"), ("assistant", "<think>a</think>2"), ("user", "3"))
    examples = read(tokenizer, {**before, "completion": "<think>b</think>4"})
    assert shown(tokenizer, examples)[1:] == [(True, f"<think>b</think>4{TURN}")]
    assert shown(tokenizer, examples)[0][1] == tokenizer.render_chat(before["messages"])


def test_a_thought_is_opened_once(load):
    """By the template or by the model, never by both, whoever sampled the completion."""
    opened, closed = load(OPENED), load()
    question, answer = chat(("user", "1")), "a</think>2"
    wanted = [(False, f"[user]\n1{TURN}\n[assistant]\n<think>"), (True, f"a</think>2{TURN}")]
    for record in ({"completion": answer, "sampling": {"prefill": "<think>"}}, {"completion": "<think>" + answer}):
        assert shown(opened, read(opened, {**question, **record})) == wanted
    examples = read(closed, {**question, "completion": answer, "sampling": {"prefill": "<think>"}})
    assert shown(closed, examples)[1] == (True, f"<think>a</think>2{TURN}")
    # The whole conversation under a template that opens the thought, whose content has the tag too.
    tokenizer = load(OPENED.replace("{{ m.content | trim }}", "{{ m.content }}"))
    whole = read(tokenizer, chat(("user", "1"), ("assistant", "<think>a</think>2")))
    assert shown(tokenizer, whole) == wanted


def test_prompt_and_completion_in_the_run_s_template(load):
    """As r1 sample builds it; the end token once, also where the text has it, and not where a limit cut it off."""
    tokenizer, notes = load(ends=(1,)), []
    records = [
        {"prompt": "1 + 1", "completion": " 2"},
        {"prompt": "1 + 1", "completion": f" 2{EOS}"},
        {"prompt": "1 + 1", "completion": " 2", "finish": "length"},
        {"id": 7, "messages": [{"role": "user", "content": "1 + 1"}, {"role": "assistant", "content": " 2"}]},
    ]
    examples = read(tokenizer, *records, template="r1-zero", notes=notes)
    prompt = (False, R1_ZERO.replace("{prompt}", "1 + 1"))
    ended, cut = [prompt, (True, f" 2{EOS}")], [prompt, (True, " 2")]
    assert [shown(tokenizer, examples, row) for row in range(4)] == [ended, ended, cut, ended]
    assert len(set(examples.keys.tolist())) == 1 and len({examples.example(row).group for row in range(4)}) == 1
    assert notes == [
        "warning: 1 completions were cut off by a limit and get no end token; r1 filter --finish-reason stop leaves "
        "them out"
    ]


def test_rollouts_keep_their_ids(load):
    """A sampler's tokens are not the tokenizer's for the same text; the sampler's are trained."""
    tokenizer, notes = load(ends=(1,)), []
    text = "The quick"
    odd = [token for letter in text for token in tokenizer.encode(letter, False)]
    assert tokenizer.decode(odd) == text and odd != tokenizer.encode(text, False)
    rollout = {"prompt": "1", "completion": text, "completion_ids": [*odd, 1], "finish": "stop"}
    other = {**rollout, "prompt_ids": [5, 6]}
    same = {**rollout, "prompt_ids": tokenizer.encode("Q: 1", True)}
    stopped = {**rollout, "completion_ids": odd}  # by a stop string: the model has to learn to stop there
    examples = read(tokenizer, rollout, other, same, stopped, template="Q: {prompt}", notes=notes)
    assert all(examples.example(row).completion == [*odd, 1] for row in range(4))
    assert all(examples.example(row).prompt == tokenizer.encode("Q: 1", True) for row in range(4))
    assert notes == ["1 examples were sampled with another prompt; trained with the run's template"]


def test_ids_of_another_tokenizer(load):
    """Refused, for a mix of tokenizers trains nonsense; with --retokenize the text counts, and it is said."""
    tokenizer = load(ends=(1,))
    good = tokenizer.encode("The quick", False)
    for ids, words in (([*good, 5], "another text"), ([*good, 4000], "4000 is no token"), ([1.5, 2], "integers")):
        record = {"prompt": "1", "completion": "The quick", "completion_ids": ids}
        with pytest.raises(InputError) as caught:
            read(tokenizer, record, template="raw")
        assert words in str(caught.value)
    notes = []
    record = {"prompt": "1", "completion": "The quick", "completion_ids": [*good, 5]}
    examples = read(tokenizer, record, template="raw", notes=notes, retokenize=True)
    assert examples.example(0).completion == [*good, 1]
    assert notes == ["tokenised the text of 1 completions whose ids are of another tokenizer"]


def test_loss_on_all_tokens(load):
    """Everything but the very first token, which nothing precedes, is trained."""
    tokenizer = load(ends=(1,))
    examples = read(tokenizer, {"prompt": "1 + 1", "completion": " 2"}, template="raw", loss="all")
    ids = tokenizer.encode("1 + 1", True)
    example = examples.example(0)
    assert (example.prompt, example.completion[: len(ids) - 1], example.trained) == (ids[:1], ids[1:], None)
    assert examples.labels == len(ids) - 1 + len(tokenizer.encode(" 2", False)) + 1


def test_what_is_left_out_is_said(load):
    """Bad lines, dropped and long examples: each kind counted; nothing left is an error that says why."""
    tokenizer, notes = load(ends=(1,)), []
    good = {"prompt": "1", "completion": "2"}
    records = [good, {"prompt": "1"}, {**good, "dropped": "not best"}, {**good, "completion": "2" * 60}, good]
    examples = read(tokenizer, *records, template="raw", notes=notes, skip_bad=True, max_length=20)
    assert len(examples) == 2
    assert notes == [
        'warning: skipped 1 bad lines; the first: x.jsonl:2: missing "completion" (found prompt)',
        "left out 1 examples that a filter marked as dropped",
        "left out 1 examples longer than 20 tokens",
    ]
    with pytest.raises(InputError, match=r"no examples: 1 bad .*, 1 dropped by a filter, 1 longer than --max-length"):
        read(tokenizer, *records[1:4], template="raw", skip_bad=True, max_length=20)
    with pytest.raises(InputError, match=r"x\.jsonl:1: 62 tokens, the model's context is 40"):
        read(tokenizer, records[3], template="raw", context=40)
    with pytest.raises(InputError, match="no examples: the input is empty"):
        read(tokenizer, template="raw")


def test_examples_are_kept_in_flat_arrays(load):
    """Four bytes a token and two dozen an example, whatever the chunks they were read in; the order is the input's."""
    tokenizer = load(ends=(1,))
    records = [{"prompt": f"{n % 7} + {n}", "completion": f" {n * n}"} for n in range(1300)]
    examples = read(tokenizer, *records, template="raw")
    assert len(examples) == 1300 and shown(tokenizer, examples, 1299)[1] == (True, f" {1299 * 1299}{EOS}")
    assert examples.tokens.dtype == np.int32 and examples.lengths.sum() == len(examples.tokens)
    size = sum(getattr(examples, name).nbytes for name in ("starts", "spans", "span_starts", "keys"))
    assert size <= 33 * 1301
    assert examples.digest() == read(tokenizer, *records, template="raw").digest()
    assert examples.digest() != read(tokenizer, *records[::-1], template="raw").digest()


def test_equal_prompts_stand_on_one_side(load):
    """The split is by prompt, the same each time, and near the share asked for; an empty side is an error."""
    tokenizer = load(ends=(1,))
    records = [{"prompt": f"{n % 499}?", "completion": f" {n}"} for n in range(2000)]
    examples = read(tokenizer, *records, template="raw")
    train, held = split(examples, 0.2)
    assert sorted([*train, *held]) == list(range(2000))
    assert not set(train % 499) & set(held % 499)
    assert 0.15 < len(held) / 2000 < 0.25
    assert len(split(examples, 0.0)[1]) == 0
    one = read(tokenizer, records[0], template="raw")
    with pytest.raises(InputError, match=r"of 1 prompts leaves none for (validation|training)"):
        split(one, 0.5)
