"""The tiny base's tokenizer: single characters, and one token for each phrase that the corpus repeats.

It is an ordinary Hugging Face tokenizer.json (BPE without merges, added tokens), read by the same code as any other. The whole
prefix of the R1-Zero template is one token: that makes prompts ten times shorter and says nothing about any question.
"""

import string

from tokenizers import AddedToken, Tokenizer, decoders, models

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
CHARACTERS = (*string.digits, *CHINESE, MAKES["zh"], " ", "\n", *string.ascii_letters, *string.punctuation)


def build_tokenizer() -> Tokenizer:
    """The tokenizer: pad, end and unknown first, then the phrases, then the characters."""
    names = (PAD, END, UNKNOWN, *PHRASES, *CHARACTERS)
    vocabulary = {name: index for index, name in enumerate(names)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[], unk_token=UNKNOWN))
    # Without a decoder the library would put spaces between tokens.
    tokenizer.decoder = decoders.Fuse()
    tokenizer.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in (PAD, END, UNKNOWN)])
    tokenizer.add_tokens([AddedToken(phrase, special=False, normalized=False) for phrase in PHRASES])
    return tokenizer


def tokenizer_config(context: int) -> dict:
    """What Hugging Face wants to know besides tokenizer.json."""
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": END,
        "pad_token": PAD,
        "unk_token": UNKNOWN,
        "model_max_length": context,
        "clean_up_tokenization_spaces": False,
    }
