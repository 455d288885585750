"""Makes the searcher's base: `python -m reflection.pretrain --out DIR`.

The training code is the tiny base's (r1cli/tiny/pretrain.py); corpus, tokenizer and recipe are ours.
"""

import argparse
from pathlib import Path

import torch

from r1cli.tiny.pretrain import DEFAULTS, SHAPE, Recipe, pretrain, write_checkpoint
from r1cli.tiny.tokens import ASCII, PREFIX, build_tokenizer
from reflection.corpus import CORPUS_VERSION, GIVE_UP, NO, WAIT, YES, Mix, document
from reflection.questions import LARGEST

WORDS = ("<think>", "</think>", "<answer>", "</answer>", PREFIX, " Assistant:", "Q: ", " A:")
PHRASES = (*WORDS, "Use ", ", ", ". Make ", YES, NO, WAIT, GIVE_UP, ". The answer is ")
NUMBERS = tuple(str(number) for number in range(10, LARGEST + 1))  # whole: arithmetic is then a table, not a procedure
CHARACTERS = ("0", "1", "2", "3", "4", "5", "6", "7", "8", "9", *ASCII)


def searcher_tokenizer():
    """The tiny base's kind of tokenizer, with our phrases, and one token for each number up to 99."""
    return build_tokenizer((*PHRASES, *NUMBERS), CHARACTERS, ())


def main() -> None:
    """Reads --seed, --steps, --out and makes the checkpoint."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0, help="of the weights and of the corpus")
    parser.add_argument("--steps", type=int, default=1800, help="optimizer updates")
    parser.add_argument("--updates", type=int, default=60, help="length of the learning-rate schedule of GRPO later on")
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    options = parser.parse_args()
    torch.set_num_threads(1)
    recipe, mix = Recipe(seed=options.seed, steps=options.steps), Mix()
    tokenizer = searcher_tokenizer()
    model, tokenizer, config = pretrain(recipe, mix, write=document, tokenizer=tokenizer, report_every=100)
    grpo = {**DEFAULTS["grpo"], "total_steps": options.updates, "warmup_steps": min(3, options.updates // 2)}
    defaults = {**DEFAULTS, "grpo": grpo, "sample": {**DEFAULTS["sample"], "max_tokens": 256}}
    del defaults["task"]
    write_checkpoint(
        options.out, model, tokenizer, config, recipe, mix, name="searcher", version=CORPUS_VERSION, defaults=defaults
    )


if __name__ == "__main__":
    main()
