"""Makes the searcher's base: `python -m reflection.pretrain --out DIR`.

The training code is the tiny base's (r1cli/tiny/pretrain.py); corpus, tokenizer and recipe are ours.
"""

import argparse
import string
from pathlib import Path

import torch

from r1cli.tiny.pretrain import DEFAULTS, Recipe, pretrain, write_checkpoint
from r1cli.tiny.tokens import ASCII, PREFIX, build_tokenizer
from reflection.corpus import CORPUS_VERSION, GIVE_UP, NO, WAIT, WANT, YES, Mix, document

WORDS = ("<think>", "</think>", "<answer>", "</answer>", PREFIX, " Assistant:", "Q: ", " A:")
PHRASES = (*WORDS, "Use ", ", ", ". Make ", WANT, YES, NO, WAIT, GIVE_UP, ". The answer is ")
CHARACTERS = (*string.digits, *ASCII)


def searcher_tokenizer():
    """The tiny base's kind of tokenizer, with our phrases."""
    return build_tokenizer(PHRASES, CHARACTERS, ())


def main() -> None:
    """Reads --seed, --steps, --out and makes the checkpoint."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0, help="of the weights and of the corpus")
    parser.add_argument("--steps", type=int, default=1100, help="optimizer updates")
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    options = parser.parse_args()
    torch.set_num_threads(1)
    recipe, mix = Recipe(seed=options.seed, steps=options.steps), Mix()
    tokenizer = searcher_tokenizer()
    model, tokenizer, config = pretrain(recipe, mix, write=document, tokenizer=tokenizer, report_every=100)
    # The tiny base's hyper-parameters suit this one too; its questions come from a file, and thoughts may be long.
    defaults = {name: value for name, value in DEFAULTS.items() if name != "task"}
    defaults["sample"] = {**DEFAULTS["sample"], "max_tokens": 256}
    write_checkpoint(
        options.out, model, tokenizer, config, recipe, mix, name="searcher", version=CORPUS_VERSION, defaults=defaults
    )


if __name__ == "__main__":
    main()
