"""The language reward: the share of the thinking's words that are in the wanted language (DeepSeek-R1, section 2.3.2).

The paper leaves "word" and "in the language" open. Here scripts decide, which is exact, fast and needs no package:
a word is a run of two or more Latin letters, a run of letters of another alphabet, or two characters of Chinese or
Japanese. Code, formulas, TeX commands, addresses and tags are no words. For a language in the Latin script only words
in other scripts are wrong, unless the optional detector is asked to look at whole sentences as well.
"""

from __future__ import annotations

import re
from collections import Counter
from functools import lru_cache
from typing import Any

from r1cli.errors import InputError
from r1cli.rewards.extract import completion_of, split_thinking, was_prefilled
from r1cli.rewards.verdict import Options, Verdict, not_applicable

MIN_WORDS = 5
MIN_SENTENCE = 4
MIN_CONFIDENCE = 0.5

_LATIN_LANGUAGES = str.split(
    "en de fr es it pt nl pl sv da nb fi cs sk hr sl ro hu et lt lv tr id vi ca gl eu is ga sw af"
)
_SCRIPTS = {
    "zh": ("han",), "yue": ("han",), "ja": ("han", "kana"), "ko": ("hangul",), "el": ("greek",), "he": ("hebrew",),
    "th": ("thai",), "ka": ("georgian",), "hy": ("armenian",),
}  # fmt: skip
_SCRIPTS |= dict.fromkeys(str.split("ru uk be bg sr mk kk"), ("cyrillic",))
_SCRIPTS |= dict.fromkeys(str.split("ar fa ur"), ("arabic",))
_SCRIPTS |= dict.fromkeys(str.split("hi mr ne"), ("devanagari",))
_SCRIPTS |= dict.fromkeys(_LATIN_LANGUAGES, ("latin",))
LANGUAGES = tuple(sorted(_SCRIPTS))
# What a script stands for when the prompt decides.
_DEFAULTS = {
    "latin": "latin", "han": "zh", "kana": "ja", "hangul": "ko", "cyrillic": "ru", "arabic": "ar", "devanagari": "hi",
    "greek": "el", "hebrew": "he", "thai": "th", "georgian": "ka", "armenian": "hy",
}  # fmt: skip

_LETTERS = {
    "latin": "A-Za-z\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u024f\u0300-\u036f\u1e00-\u1eff\uff21-\uff3a\uff41-\uff5a",
    "han": "\u3005\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af",
    "kana": "\u3041-\u3096\u309d-\u309f\u30a1-\u30fa\u30fc-\u30ff\u31f0-\u31ff\uff66-\uff9f",
    "hangul": "\u1100-\u11ff\u3130-\u318f\uac00-\ud7af",
    "cyrillic": "\u0400-\u052f",
    "greek": "\u0370-\u03ff\u1f00-\u1fff",
    "arabic": "\u0620-\u065f\u066e-\u06d3\u06fa-\u06ff\u0750-\u077f\ufb50-\ufdff\ufe70-\ufefe",
    "hebrew": "\u0590-\u05ff",
    "devanagari": "\u0900-\u097f",
    "thai": "\u0e00-\u0e7f",
    "georgian": "\u10a0-\u10ff",
    "armenian": "\u0530-\u058f",
}
# A single letter of these is more often a name in a formula than a word.
_AT_LEAST_TWO = ("latin", "greek")
# Scripts without spaces are counted by the character: about this many make a word.
_PER_WORD = {"han": 2, "kana": 2, "thai": 4}

# Text until needed. Every pattern stops at the next opening of its own kind, so the scans stay linear.
_INLINE_CODE = r"`[^`\n]*`"
_INLINE_MATH = r"\$(?! )[^$\n]{1,500}(?<! )\$(?![0-9])"
_ADDRESS = r"(?:https?://|www\.)\S+"
_TAG = r"</?[A-Za-z][^<>\n]{0,100}>"
_COMMAND = r"\\[A-Za-z]+\*?"
_SENTENCE = r"[^.!?。！？\n]+"


def score(record: dict, options: Options) -> Verdict:
    """The share in [0, 1]; not applicable without thinking, with fewer than five words, or without a target.

    Raises InputError for a language code that is not known and for a detector that is not installed.
    """
    completion = completion_of(record)
    thinking = split_thinking(completion, was_prefilled(record)).thinking
    target = options.language if options.language != "auto" else prompt_language(record)
    if target is None:
        return not_applicable("no_target")
    scripts = scripts_of(target)
    if thinking is None:
        return not_applicable("no_thinking")
    text = strip_non_words(thinking)
    counts = count_words(text)
    total = sum(counts.values())
    if total < MIN_WORDS:
        return not_applicable("few_words")
    right = sum(counts.get(script, 0) for script in scripts)
    if options.language_detector and scripts == ("latin",) and target != "latin":
        right -= _foreign_words(text, target.partition("-")[0])
    return Verdict(right / total, "share", extra={"language": target})


def check_target(language: str) -> None:
    """Raises InputError for a language that is neither auto nor known."""
    if language != "auto":
        scripts_of(language)


@lru_cache(maxsize=64)
def scripts_of(language: str) -> tuple[str, ...]:
    """The scripts a language is written in; raises InputError for one we have no table for."""
    if language == "latin":
        return ("latin",)
    scripts = _SCRIPTS.get(language.lower().replace("_", "-").partition("-")[0])
    if scripts is None:
        known = " ".join(LANGUAGES)
        raise InputError(f"unknown language {language!r}: use auto (--language=auto before a file) or one of {known}")
    return scripts


def prompt_language(record: dict) -> str | None:
    """The language that the prompt's script stands for ("latin" for every Latin one), None when it has no words."""
    prompt = record.get("prompt")
    if not isinstance(prompt, str):
        messages = record.get("messages")
        turns = messages if isinstance(messages, list) else []
        texts = [turn.get("content") for turn in turns if isinstance(turn, dict) and turn.get("role") == "user"]
        prompt = texts[-1] if texts and isinstance(texts[-1], str) else ""
    return _text_language(prompt)


@lru_cache(maxsize=512)
def _text_language(text: str) -> str | None:
    counts = count_words(strip_non_words(text))
    if not counts:
        return None
    # Japanese mixes both scripts; a stray kana does not make Chinese Japanese.
    chinese, kana = counts.get("han", 0), counts.get("kana", 0)
    if kana and kana * 10 >= chinese:
        counts["kana"] = kana + chinese
        counts.pop("han", None)
    return _DEFAULTS[max(counts, key=counts.__getitem__)]


def count_words(text: str) -> dict[str, float]:
    """Words by script."""
    if text.isascii():
        words = len(re.findall("[A-Za-z]{2,}", text))
        return {"latin": words} if words else {}
    counts: dict[str, float] = {}
    characters = Counter(text)
    # One pass for each script that occurs is many times faster than one pass with all of them.
    for char, times in characters.items():
        script = _script_of(char)
        per_word = _PER_WORD.get(script)
        if per_word:
            counts[script] = counts.get(script, 0) + times / per_word
        elif script and script not in counts:
            counts[script] = len(re.findall(_word_pattern(script), text))
    return {script: count for script, count in counts.items() if count}


@lru_cache(maxsize=65536)
def _script_of(char: str) -> str:
    for script, letters in _LETTERS.items():
        if re.match(f"[{letters}]", char):
            return script
    return ""


def _word_pattern(script: str) -> str:
    return f"[{_LETTERS[script]}]" + ("{2,}" if script in _AT_LEAST_TWO else "+")


def strip_non_words(text: str) -> str:
    """The text without code, formulas, TeX commands, addresses and tags."""
    if "`" in text:
        text = re.sub(_INLINE_CODE, " ", " ".join(text.split("```")[::2]))
    if "$" in text:
        text = re.sub(_INLINE_MATH, " ", _outside(text, "$$"))
    if "\\" in text:
        text = _between(text, "\\(", "\\)")
        text = _between(text, "\\[", "\\]")
        text = _between(text, "\\begin{", "\\end{")
        text = re.sub(_COMMAND, " ", text)
    if "://" in text or "www." in text:
        text = re.sub(_ADDRESS, " ", text)
    if "<" in text:
        text = re.sub(_TAG, " ", text)
    return text


def _outside(text: str, mark: str) -> str:
    """What stands outside pairs of one mark; an unpaired last mark opens nothing."""
    pieces = text.split(mark)
    kept = pieces[::2]
    if len(pieces) % 2 == 0:
        kept.append(pieces[-1])
    return " ".join(kept)


def _between(text: str, opening: str, closing: str) -> str:
    """Cut everything from each opening to the next closing mark (and the name behind `\\end{`)."""
    out: list[str] = []
    at = 0
    while (begin := text.find(opening, at)) >= 0:
        end = text.find(closing, begin + len(opening))
        if end < 0:
            break
        out.append(text[at:begin])
        at = end + len(closing)
        if closing[-1] == "{":
            brace = text.find("}", at, at + 40)
            at = brace + 1 if brace >= 0 else at
    return " ".join([*out, text[at:]])


def _foreign_words(text: str, target: str) -> int:
    """Latin words of the sentences that the detector is sure are in another language."""
    identifier = _detector()
    wrong = 0
    for sentence in re.findall(_SENTENCE, text):
        words = re.findall(_word_pattern("latin"), sentence)
        if len(words) < MIN_SENTENCE:
            continue
        named, confidence = identifier.classify(" ".join(words))
        if named != target and confidence >= MIN_CONFIDENCE:
            wrong += len(words)
    return wrong


@lru_cache(maxsize=1)
def _detector() -> Any:
    try:
        from py3langid.langid import MODEL_FILE, LanguageIdentifier
    except ImportError:
        raise InputError(
            "the language detector needs the package py3langid: install r1-pipes[lang], or leave the detector out"
        ) from None
    identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    known = set(identifier.labels)
    identifier.set_languages([language for language in _LATIN_LANGUAGES if language in known])
    return identifier
