"""The language reward: words by script, what is no word, the prompt's script, and the optional detector."""

import sys
import types

import pytest

from r1cli.errors import InputError
from r1cli.rewards import Options, language

ENGLISH = "First we add the two numbers and then we divide by two"  # 12 words
FRENCH = "Nous devons d'abord calculer la somme des deux nombres"  # 9 words of two letters or more, and "d"
CHINESE = "首先我们计算两个数的和然后再除以二"  # 17 characters: 8.5 words


def share(thinking, target="auto", **record):
    record = {"prompt": "What is the sum?", "completion": f"<think>{thinking}</think> <answer>1</answer>", **record}
    return language.score(record, Options(language=target))


@pytest.mark.parametrize(
    ("thinking", "target", "value"),
    [
        (ENGLISH, "en", 1.0),
        (f"{ENGLISH}. {CHINESE}", "en", 12 / 20.5),
        (CHINESE, "zh", 1.0),
        (f"{CHINESE} Cauchy", "zh", 8.5 / 9.5),
        (ENGLISH, "zh", 0.0),
        ("먼저 두 수를 더한 다음 둘로 나눕니다", "ko", 1.0),
        ("Сначала складываем два числа и делим", "ru", 1.0),
        ("まず二つの数を足してから二で割ります", "ja", 1.0),
        ("まず二つの数を足してから二で割ります", "zh", 5 / 18),
        (FRENCH, "fr", 1.0),
        (f"{CHINESE} and {CHINESE}", "zh-CN", 17 / 18),
        ("one two three 一二三四五六", "en", 0.5),
    ],
)
def test_the_share_of_words_in_the_target(thinking, target, value):
    """The paper's ratio, with words counted by script: two Chinese characters are one word."""
    assert share(thinking, target).value == pytest.approx(value)


@pytest.mark.parametrize(
    "noise",
    [
        "```python\nprint(数数数数数数)\n```",
        "`数数数数数数`",
        "$数数数数数数$",
        "$$数数\n数数数数$$",
        "\\(数数数数数\\)",
        "\\[数数数数数数\\]",
        "\\begin{align}数数数数数\\end{align}",
        "https://example.org/数数数数数数",
        "\\alpha\\beta\\gamma\\delta\\sum\\int",
        "<b title='数数数数数'>",
        "x y z 12 3.5 + = ?",
    ],
)
def test_code_formulas_and_addresses_are_no_words(noise):
    """They look the same in every language, so they must not count for or against one."""
    assert share(f"{ENGLISH} {noise}", "en").value == 1.0
    assert share(f"{CHINESE} {noise}", "zh").value == 1.0
    assert share(noise, "en") == language.not_applicable("few_words")


def test_an_amount_of_money_is_no_formula():
    """Two dollar signs in prose must not swallow the words between them."""
    assert share("He pays $5 for 首先我们计算两个数 and gets $6 back now", "en").value < 0.7


@pytest.mark.parametrize(
    ("completion", "reason"),
    [
        ("<think>one two three four</think>x", "few_words"),
        ("no thinking here at all, none whatsoever", "no_thinking"),
        ("<think>```\nall of this is code\n```</think>x", "few_words"),
    ],
)
def test_nothing_to_measure_is_not_applicable(completion, reason):
    """A share of nothing is no number, and must not count as 0 or 1."""
    verdict = language.score({"prompt": "Hello there", "completion": completion}, Options())
    assert (verdict.value, verdict.state, verdict.reason) == (None, "not-applicable", reason)


def test_an_open_or_repeated_thought_is_measured_whole():
    """Text must not escape the measure by leaving the thought open or by opening a second one."""
    for completion in (f"<think>{CHINESE}", f"<think>{ENGLISH}</think><think>{CHINESE}</think>x"):
        assert language.score({"prompt": "Hello there", "completion": completion}, Options()).value < 0.6


@pytest.mark.parametrize(
    ("prompt", "target"),
    [
        ("What is 2+2?", "latin"),
        ("两个数的和是多少？", "zh"),
        ("二つの数の和はいくつですか", "ja"),
        ("두 수의 합은?", "ko"),
        ("Чему равна сумма?", "ru"),
        ("用 Cauchy 不等式证明下面的结论", "zh"),
        ("2+2=?", None),
    ],
)
def test_auto_takes_the_prompts_script(prompt, target):
    """With auto a Chinese question asks for Chinese thinking; a prompt without words asks for nothing."""
    assert language.prompt_language({"prompt": prompt}) == target
    assert language.prompt_language({"messages": [{"role": "user", "content": prompt}]}) == target
    if target is None:
        assert share(ENGLISH, prompt=prompt).reason == "no_target"


def test_an_unknown_language_is_refused():
    """A misspelled code would otherwise score 0 for ever."""
    with pytest.raises(InputError, match="unknown language 'xx'"):
        share(ENGLISH, "xx")


def test_a_detector_that_is_not_installed_is_named(monkeypatch):
    """The default needs no package; who asks for the detector is told how to get it."""
    monkeypatch.setitem(sys.modules, "py3langid.langid", None)
    language._detector.cache_clear()
    record = {"prompt": "q", "completion": f"<think>{ENGLISH}</think>x"}
    with pytest.raises(InputError, match=r"r1-pipes\[lang\]"):
        language.score(record, Options(language="fr", language_detector=True))


def test_the_detector_judges_whole_sentences(monkeypatch):
    """Only sentences of four words or more count, and only where the detector is sure."""

    class Identifier:
        labels = ("en", "fr")

        @classmethod
        def from_model_file(cls, file, norm_probs):
            assert norm_probs
            return cls()

        def set_languages(self, languages):
            assert set(languages) == {"en", "fr"}

        def classify(self, text):
            return ("fr", 0.9) if "Nous" in text else ("fr", 0.4) if "maybe" in text else ("en", 0.9)

    fake = types.ModuleType("py3langid.langid")
    fake.MODEL_FILE, fake.LanguageIdentifier = "model", Identifier
    monkeypatch.setitem(sys.modules, "py3langid", types.ModuleType("py3langid"))
    monkeypatch.setitem(sys.modules, "py3langid.langid", fake)
    language._detector.cache_clear()
    record = {"prompt": "q", "completion": f"<think>{ENGLISH}. {FRENCH}. maybe not so sure. Nous ici.</think>x"}
    verdict = language.score(record, Options(language="en", language_detector=True))
    language._detector.cache_clear()
    assert verdict.value == pytest.approx((12 + 4 + 2) / (12 + 9 + 4 + 2))
