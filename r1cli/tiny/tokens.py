"""The tiny base's tokenizer: single characters, and one token for each phrase that the corpus repeats.

It is an ordinary Hugging Face tokenizer.json of the Qwen2 kind (byte-level BPE, here without merges, and added tokens),
read by the same code as any other. The whole prefix of the R1-Zero template is one token: that makes prompts ten times
shorter and says nothing about any question.
"""

import string
from collections.abc import Sequence

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

from r1cli.prompts.templates import R1_ZERO
from r1cli.tiny.corpus import CHINESE, MAKES, REPAIR
from r1cli.tiny.task import NAMES

PAD, END, UNKNOWN = "<pad>", "<eos>", "<unk>"
PREFIX = R1_ZERO.split("{prompt}")[0]
PHRASES = (
    *("<think>", "</think>", "<answer>", "</answer>", PREFIX, " Assistant:", "Q: ", " A:", ". Total?"),
    *(f"{NAMES[0]} ", *(f", {name} " for name in NAMES[1:])),
    *(MAKES["en"], REPAIR["en"], REPAIR["zh"]),
    *(". Check: ", ". Yes", ". No. Again: ", "The answer is ", "I guess "),
)
# Bytes of ASCII as the byte-level alphabet spells them; the Chinese digits are whole tokens. Other bytes are unknown.
WHOLE = (*CHINESE, MAKES["zh"])
ASCII = ("Ġ", "Ċ", *string.ascii_letters, *string.punctuation)
CHARACTERS = (*string.digits, *WHOLE, *ASCII)
# Hugging Face's Qwen2 tokenizer brings this pattern whatever a tokenizer.json says; the two must agree.
PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def build_tokenizer(
    phrases: Sequence[str] = PHRASES, characters: Sequence[str] = CHARACTERS, whole: Sequence[str] = WHOLE
) -> Tokenizer:
    """The tokenizer: pad, end and unknown first, then the phrases, then the characters.

    `whole` are those of the characters that are not bytes of ASCII. The defaults are the tiny base's.
    """
    names = (PAD, END, UNKNOWN, *phrases, *characters)
    vocabulary = {name: index for index, name in enumerate(names)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[], unk_token=UNKNOWN))
    tokenizer.normalizer = normalizers.NFC()
    split = pre_tokenizers.Split(Regex(PATTERN), behavior="isolated")
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, byte_level])
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in (PAD, END, UNKNOWN)])
    tokenizer.add_tokens([AddedToken(phrase, special=False, normalized=False) for phrase in (*phrases, *whole)])
    return tokenizer


def tokenizer_config(context: int) -> dict:
    """What Hugging Face wants to know besides tokenizer.json."""
    return {
        "tokenizer_class": "Qwen2Tokenizer",
        "eos_token": END,
        "pad_token": PAD,
        "unk_token": UNKNOWN,
        "model_max_length": context,
        "clean_up_tokenization_spaces": False,
    }
