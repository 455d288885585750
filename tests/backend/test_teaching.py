"""Updates with a teacher beside the student, against Hugging Face's models and torch's AdamW on the same data."""

import dataclasses

import pytest
import torch
from models import write_checkpoint
from test_sft import make_examples
from trainer_oracle import VOCABULARY, make_pair

from r1cli.algorithms.sft_settings import SftSettings
from r1cli.backend import logprobs, picked
from r1cli.backend.checkpoint import load_model, read_config
from r1cli.backend.sft import sft_step
from r1cli.backend.teaching import Teaching, read_teaching
from r1cli.backend.tokenizer import Tokenizer
from r1cli.backend.trainer_torch import TorchTrainer
from r1cli.errors import InputError
from r1cli.runs import locate

SETTINGS = SftSettings(lr=2e-3, decay="constant", warmup_steps=0).over(6)


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    """Another family's model of the same vocabulary, with a head that is padded further: (theirs, folder)."""
    folder = tmp_path_factory.mktemp("teacher")
    return write_checkpoint(folder, "llama", seed=5, vocab_size=VOCABULARY + 8), folder


def naive_terms(student, teacher, example, top_k):
    """The losses of one example's trained tokens, from plain forward passes of its own and the whole vocabulary."""
    ids = torch.tensor([example.prompt + example.completion])
    ours = student(ids, use_cache=False).logits[0].log_softmax(-1)
    with torch.no_grad():
        # What stands for no token takes part in a score of given tokens, and in no choice of tokens.
        logits = teacher(ids, use_cache=False).logits[0]
        theirs = (logits if top_k is None else logits[:, :VOCABULARY]).log_softmax(-1)
    terms = []
    for place, token in enumerate(example.completion):
        if example.trained is None or example.trained[place]:
            p, q = ours[len(example.prompt) + place - 1], theirs[len(example.prompt) + place - 1]
            if top_k is None:
                gap = (p[token] - q[token]).detach()
                terms.append((gap, gap * p[token]))
            else:
                order = q.argsort(descending=True)[:top_k]
                chance, mine = q[order].exp(), p[order]
                value = (chance * (q[order] - mine)).sum()
                if top_k < VOCABULARY:
                    rest = 1 - chance.sum()
                    value = value + rest * (rest / (1 - mine.exp().sum())).log()
                terms.append((value.detach(), value))
    return terms


@pytest.mark.parametrize("micro_tokens", [1, 16384], ids=["unpacked", "packed"])
@pytest.mark.parametrize("top_k", [None, 5, VOCABULARY])
def test_losses_equal_a_plain_loop(teacher, top_k, micro_tokens):
    """Reverse KL at given tokens, the likeliest five and a bucket, and the exact KL: the same six losses."""
    theirs, ours = make_pair("qwen3")
    guide, folder = teacher
    batches = [make_examples(5, seed=step) for step in range(6)]
    optimizer = torch.optim.AdamW(theirs.parameters(), lr=SETTINGS.lr, betas=(0.9, 0.999), weight_decay=0.0)
    expected = []
    for batch in batches:
        terms = [term for example in batch for term in naive_terms(theirs, guide, example, top_k)]
        expected.append((sum(value for value, _ in terms) / len(terms)).item())
        optimizer.zero_grad()
        (sum(loss for _, loss in terms) / len(terms)).backward()
        torch.nn.utils.clip_grad_norm_(theirs.parameters(), SETTINGS.grad_clip)
        optimizer.step()
    trainer = TorchTrainer(ours)
    settings = dataclasses.replace(SETTINGS, micro_tokens=micro_tokens)
    beside = trainer.open_teacher(folder)
    teaching = Teaching(str(folder), top_k)
    found = [
        sft_step(trainer, batch, settings, step=step, teaching=teaching, teacher=beside)
        for step, batch in enumerate(batches)
    ]
    assert [record["loss"] for record in found] == pytest.approx(expected, rel=2e-5, abs=1e-6)
    assert all(record[teaching.metric] == record["loss"] for record in found)
    assert max(abs(one - other) for one, other in zip(expected[1:], expected, strict=False)) > 0.02  # they do move


def test_likeliest_tokens_by_chunks(teacher, monkeypatch):
    """A head that is worked on three rows at a time gives the losses of one that is not."""
    _, folder = teacher
    found = []
    for rows in (3, 1000):
        monkeypatch.setattr(picked, "LIMITS", logprobs.Limits(chunk=rows * VOCABULARY))
        _, ours = make_pair("qwen2")
        trainer = TorchTrainer(ours)
        beside, teaching = trainer.open_teacher(folder), Teaching(str(folder), 4)
        for step in range(2):
            record = sft_step(
                trainer, make_examples(6, seed=step), SETTINGS, step=step, teaching=teaching, teacher=beside
            )
            found += [record["loss"], record["entropy"], record["grad_norm"]]
    assert found[:6] == pytest.approx(found[6:], rel=1e-5)


def test_a_teacher_that_can_not_be_followed(teacher):
    """Another tokenizer, more tokens than there are: one line that says what was found."""
    tiny, (_, folder) = locate("tiny")[0], teacher
    own = Tokenizer.load(tiny), read_config(tiny)
    for asked, words in (
        ({"teacher": str(folder)}, "has another tokenizer than the student"),
        ({"teacher": str(folder), "top_k": 3}, "has another tokenizer than the student"),
        ({"teacher": str(tiny), "top_k": 99999}, f"99999 is more than the vocabulary of {own[1].vocab_size}"),
        ({"teacher": "nowhere"}, "nowhere: no such model folder"),
    ):
        with pytest.raises(InputError, match=words):
            read_teaching({"teaching": asked}, *own)
    assert read_teaching({"teaching": {"teacher": str(tiny), "top_k": 3}}, *own) == Teaching(str(tiny), 3)
    assert read_teaching({}, *own) is None


def test_entropy_is_that_of_the_student(teacher):
    """The metric does not change with what is learnt."""
    _, folder = teacher
    _, ours = make_pair("llama")
    trainer, examples = TorchTrainer(ours), make_examples(4)
    still = dataclasses.replace(SETTINGS, lr=0.0)
    beside = load_model(folder, dtype=torch.float32, device="cpu").requires_grad_(False)
    plain = sft_step(trainer, examples, still, step=0)["entropy"]
    taught = [
        sft_step(trainer, examples, still, step=0, teaching=Teaching(str(folder), k), teacher=beside)["entropy"]
        for k in (None, 3)
    ]
    assert taught == pytest.approx([plain, plain], rel=1e-5)
