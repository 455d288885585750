"""What r1 show makes of records: lines that fit, tables, groups, differences, tokens, and a page that cannot run."""

import itertools
import json
import math
from html.parser import HTMLParser

import pytest

from r1cli.errors import InputError
from r1cli.showing import ansi, differences, groups, page_html, pages, table
from r1cli.showing.layout import Columns, Span, fold, width
from r1cli.showing.tokens import Painter

PLAIN = ansi.Look(colour=False, columns=80)


def lines(*spans, room):
    return ["".join(span.text for span in line) for line in fold(spans, room)]


def test_lines_are_folded_at_spaces():
    """By hand: at the last space that fits, inside a word only where there is none; line ends stay."""
    assert lines(Span("one two three"), room=8) == ["one two", "three"]
    assert lines(Span("one two"), Span("three", "dim"), room=8) == ["one", "twothree"]
    assert lines(Span("abcdefghij"), room=4) == ["abcd", "efgh", "ij"]
    assert lines(Span("a\n\nb"), room=4) == ["a", "", "b"]
    assert lines(Span("abcd ef"), room=4) == ["abcd", "ef"]
    assert lines(Span("一二三"), room=4) == ["一二", "三"]
    assert [list(line) for line in fold([Span("ab cd", "bad")], 2)] == [[Span("ab ", "bad")], [Span("cd", "bad")]]
    assert width("一a\u0301") == 3


def test_columns_stand_side_by_side():
    """Two stacks of 38 columns and a rule; below each other where there is no room."""
    stack = (pages.paragraph("left " * 10),), (pages.paragraph("一" * 20),)
    text = ansi.render([Columns(stack)], PLAIN)
    assert text == (
        "left left left left left left left     │ 一一一一一一一一一一一一一一一一一一一\n"
        "left left left                         │ 一\n\n"
    )
    narrow = ansi.render([Columns(stack)], PLAIN._replace(columns=50)).splitlines()
    assert narrow[0] == ("left " * 10).strip() and narrow[2] == "一" * 20


def test_table_aligns_numbers_right_and_text_left():
    """Line ends and tabs are written out: a record is one line, whatever it holds."""
    records = [
        {"id": "a", "n": 1, "r": {"x": 0.123456}, "t": "two\nlines\tand a tab"},
        {"id": "bcd", "n": 100, "r": {"x": None}, "t": "一"},
    ]
    assert list(table.table(["id", "n", "r.x", "t"], records)) == [
        "id     n     r.x  t",
        "a      1  0.1235  two\\nlines\\tand a tab",
        "bcd  100       -  一",
    ]
    assert list(table.table(["t"], records, longest=5)) == ["t", "two\\…", "一"]
    assert list(table.table(["none"], [])) == ["none"]


def test_table_holds_only_what_it_measures():
    """An endless stream has a table too; a longer cell further down is written in full."""
    endless = ({"n": 10**6 if n == table.MEASURED else 1} for n in itertools.count())
    rows = list(itertools.islice(table.table(["n"], endless), table.MEASURED + 3))
    assert rows[:2] == ["n", "1"] and rows[-2:] == ["1000000", "1"]


def test_fields_that_no_record_has_are_known():
    """Of all records, not of the first; null is a value, and an empty stream has nothing to say."""
    absent = table.Absent(["id", "r.acuracy", "none", "late", "id"])
    records = [{"id": None, "r": {"accuracy": 1}}, {"late": 0}]
    assert list(absent.watch(records)) == records
    assert list(absent.lines()) == [
        "of 2 records none has a field r.acuracy; did you mean r.accuracy?",
        "of 2 records none has a field none; there are id, r, r.accuracy, late",
    ]
    assert list(table.Absent(["id"]).lines()) == []


def sample(name, index, reward, length, size=2, **more):
    group = {"id": name, "index": index, "size": size}
    judged = {"reward": reward, "rewards": {"accuracy": reward}}
    return {"id": name, "prompt": "q", "completion": "x" * length, "completion_ids": [0] * length, "group": group} | (
        judged | more
    )


def test_groups_come_as_soon_as_they_are_complete():
    """Also when two are interleaved; what stays incomplete comes at the end."""
    stream = iter([sample("a", 0, 1, 1), sample("b", 0, 1, 1), sample("b", 1, 1, 1), sample("a", 1, 1, 1)])
    found = groups.groups(itertools.chain(stream, [sample("c", 0, 1, 1)]))
    assert [record["id"] for record in next(found)] == ["b", "b"]
    assert next(stream)["group"] == {"id": "a", "index": 1, "size": 2}  # not yet read
    assert [[r["id"] for r in group] for group in found] == [["a"], ["c"]]


@pytest.mark.parametrize(
    ("samples", "heads", "spread"),
    [
        (
            [(1, 9), (0, 1), (1, 5), (0, 7)],
            ["best: sample 3 · 5 tokens", "worst: sample 4 · 7 tokens"],
            "rewards 1 x2, 0 x2  mean 0.5, sd 0.5  1 to 9 tokens",
        ),
        (
            [(1, 9), (1, 3)],
            ["shortest: sample 2 · 3 tokens", "longest: sample 1 · 9 tokens"],
            "rewards 1 x2  mean 1, sd 0  all the same: no gradient  3 to 9 tokens",
        ),
        ([(None, 1), (2, 3)], ["only one: sample 2 · 3 tokens"], "rewards 2 x1  mean 2, sd 0  1 without a verdict"),
    ],
)
def test_a_group_shows_its_ends(samples, heads, spread):
    """The shortest of the best beside the longest of the worst."""
    page = groups.page([sample("a", i, r, n, size=len(samples)) for i, (r, n) in enumerate(samples)])
    assert [stack[0].spans[0].text for stack in page[-1].stacks] == heads
    assert page[1].spans[0].text.startswith(spread)


def compare(a, b):
    tally = differences.Tally()
    shown = list(differences.compared(differences.pairs(a, b), tally, ("A", "B")))
    return ["".join(ansi.render(page, PLAIN)) for page in shown], tally.line()


def test_differences_are_found_in_any_order():
    """Equal records are only counted, whatever their order; those of one side too."""
    a = [sample("a", 0, 1, 3), sample("b", 0, 0, 3), sample("c", 0, 1, 3)]
    b = [sample("d", 0, 1, 3), sample("b", 0, 1, 3), sample("a", 0, 1, 3)]
    shown, line = compare(a, b)
    assert (
        line
        == "1 the same, 1 differ (1 with a higher reward, 0 with a lower), 1 in the first only, 1 in the second only"
    )
    assert len(shown) == 1 and "A  reward 0  accuracy 0\nB  reward 1  accuracy 1\n" in shown[0]
    assert shown[0].count("xxx") == 1  # the same answer, judged anew


def test_differing_answers_stand_side_by_side_with_what_they_share_dimmed():
    a, b = ({**sample("a", 0, 1, 0), "completion": f"the same, then {word}"} for word in ("one", "two"))
    shown, _ = compare([a], [b])
    assert "the same, then one                     │ the same, then two" in shown[0]
    (page,) = differences.compared(differences.pairs([a], [b]), differences.Tally(), ("A", "B"))
    assert [span.style for span in page[-1].stacks[0][-1].spans] == ["dim", ""]
    assert page[-1].stacks[0][-1].spans[0].text == "the same, then "


def test_streams_in_order_are_compared_as_they_come():
    """Nothing is held of two endless streams; questions that repeat are paired one by one."""
    pairs = differences.pairs(
        ({"id": "same", "n": n} for n in itertools.count()), ({"id": "same", "n": 0} for _ in itertools.count())
    )
    assert [(a["n"], b["n"]) for a, b in itertools.islice(pairs, 3)] == [(0, 0), (1, 0), (2, 0)]


def test_metrics_and_prompts_differ_by_their_fields():
    shown, line = compare(
        [{"step": 1, "kl": 1, "seconds": 2}, {"id": "p"}], [{"step": 1, "kl": 2, "seconds": 3}, {"id": "p"}]
    )
    assert shown == ["── step 1 ──\nkl: 1 → 2\n\n"] and line == "1 the same, 1 differ"


@pytest.fixture(scope="module")
def letters(tmp_path_factory):
    """A model folder whose tokens are single bytes."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    folder = tmp_path_factory.mktemp("letters")
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({letter: place for place, letter in enumerate(alphabet)}, []))
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "config.json").write_text("{}")
    return folder, lambda text: tokenizer.encode(text).ids


def painted(letters, text, probabilities, **more):
    folder, encode = letters
    logprobs = [math.log(p) for p in probabilities]
    record = {"completion": text, "completion_ids": encode(text), "logprobs": logprobs, "policy": {"path": str(folder)}}
    return Painter().spans(record | more)


def test_unlikely_tokens_are_marked(letters):
    """Limits by hand, .5, .1 and .01; the bytes of one letter go together, by the least likely of them."""
    assert painted(letters, "abcd", [0.6, 0.4, 0.05, 0.001]) == (
        Span("a"), Span("b", "p50"), Span("c", "p10"), Span("d", "p01"),
    )  # fmt: skip
    assert painted(letters, "九a", [0.9, 0.3, 0.9, 0.9]) == (Span("九", "p50"), Span("a"))
    assert painted(letters, "\x1b[2J", [1, 1, 1, 1]) == (Span("\\x1b[2J"),)


def test_tokens_keep_the_thinking_dimmed(letters):
    """As on a page without --tokens, also where the template has opened the thought; the answer has its own line."""
    text = "ab</think>c"
    spans = painted(letters, text, [1, 0.2] + [1] * 9, sampling={"prefill": "<think>"})
    assert spans == (Span("<think>a", "dim"), Span("b", "p50"), Span("</think>", "dim"), Span("\nc"))


@pytest.mark.parametrize(
    "more", [{"logprobs": None}, {"logprobs": [0.0, 0.0]}, {"completion_ids": ["a"]}, {"logprobs": ["x"]}]
)
def test_without_logprobs_the_text_is_shown(letters, more):
    assert painted(letters, "a", [1], **more) == (Span("a"),)


def test_without_a_tokenizer_the_error_says_what_to_name(tmp_path):
    record = {"completion": "a", "completion_ids": [1], "logprobs": [0.0]}
    with pytest.raises(InputError, match="does not name its policy; name the tokenizer with --tokenizer CKPT"):
        Painter().spans(record)
    with pytest.raises(InputError, match=r"no checkpoint /gone.* name another with --tokenizer"):
        Painter().spans(record | {"policy": {"path": "/gone"}})


EVIL = '</p></script><script>alert(1)</script><img src=x onerror="a()">&lt;\x1b[2J\x9b\x00\u2028\ud800"\'--><style>'


class Page(HTMLParser):
    """What a browser would make of a page: its tags with their attributes, and its text."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.text = set(), ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.add((tag, *sorted(name for name, _ in attrs)))

    def handle_data(self, data):
        self.text += data


def test_html_cannot_be_broken_out_of():
    """Whatever keys and values say, there are only our own tags, nothing is loaded, and the text is whole."""
    record = {
        "id": EVIL, "prompt": EVIL, "answer": EVIL, "completion": f"<think>{EVIL}</think>{EVIL}", "reward": EVIL,
        "rewards": {EVIL: EVIL}, "reward_info": {EVIL: {"reason": EVIL}}, "dropped": EVIL, "policy": {"step": EVIL},
    }  # fmt: skip
    group = [record | {"group": {"id": "g", "index": i}, "reward": i} for i in range(2)]
    made = [pages.page(record), pages.page({EVIL: {EVIL: EVIL}}), groups.page(group)]
    made += differences.compared(
        differences.pairs([record], [{**record, "completion": EVIL}]), differences.Tally(), ("a", "b")
    )
    html = page_html.head(EVIL) + "".join(map(page_html.render, made)) + page_html.TAIL
    page = Page(html)
    assert page.tags == {
        ("html", "lang"), ("head",), ("meta", "charset"), ("title",), ("meta", "content", "http-equiv"),
        ("meta", "content", "name"), ("style",), ("body",), ("article",), ("p",), ("span", "class"), ("div",),
        ("div", "class"),
    }  # fmt: skip
    assert "://" not in html and "url(" not in html and "default-src 'none'" in html
    assert all(letter.isprintable() or letter in "\n\t" for letter in html)
    assert '<script>alert(1)</script><img src=x onerror="a()">&lt;\\x1b[2J\\x9b\\x00\\x2028\\xd800' in page.text


def test_page_of_json_values():
    """Values that are no text are shown as JSON."""
    assert ansi.render(pages.page({"a": [1, {"b": None}]}), PLAIN) == f"a: {json.dumps([1, {'b': None}])}\n\n"
