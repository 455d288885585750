"""One update of supervised fine-tuning, against Hugging Face's model and torch's AdamW on the same data."""

import dataclasses
import math
import random

import pytest
import torch
from trainer_oracle import VOCABULARY, distance, make_pair

from r1cli.algorithms.sft_settings import SftSettings
from r1cli.backend.packing import plan
from r1cli.backend.sft import Example, sft_step, sft_sums
from r1cli.backend.trainer_torch import TorchTrainer
from r1cli.errors import InputError, R1Error

FIXED = SftSettings(lr=1e-3, decay="constant", warmup_steps=0).over(100)


def make_examples(count: int, *, seed: int = 0, turns: bool = True) -> list[Example]:
    """Ragged examples, some of which share a prompt, some with gaps in what is trained."""
    draw = random.Random(seed)

    def ids(most: int) -> list[int]:
        return [draw.randrange(VOCABULARY) for _ in range(draw.randint(1, most))]

    prompts = [ids(9) for _ in range(max(1, count // 2))]
    found = []
    for _ in range(count):
        group = draw.randrange(len(prompts))
        completion = ids(14)
        trained = None
        if turns and draw.random() < 0.5:
            trained = [draw.random() < 0.5 for _ in completion]
            trained[0] = trained[-1] = True
        found.append(Example(prompts[group], completion, trained, group))
    return found


def naive_terms(model: torch.nn.Module, example: Example) -> torch.Tensor:
    """-log p of the trained tokens of one example, from one plain forward pass of its own."""
    ids = torch.tensor([example.prompt + example.completion])
    labels = ids.clone()
    labels[0, : len(example.prompt)] = -100
    for place, trained in enumerate(example.trained or ()):
        if not trained:
            labels[0, len(example.prompt) + place] = -100
    logits = model(ids, use_cache=False).logits
    terms = torch.nn.functional.cross_entropy(logits[0, :-1], labels[0, 1:], reduction="none", ignore_index=-100)
    return terms[labels[0, 1:] != -100]


def naive_loss(model: torch.nn.Module, examples: list[Example], normalize: str) -> torch.Tensor:
    terms = [naive_terms(model, example) for example in examples]
    return torch.cat(terms).mean() if normalize == "token" else torch.stack([term.mean() for term in terms]).mean()


def naive_losses(model: torch.nn.Module, batches: list[list[Example]], settings: SftSettings) -> list[float]:
    """Token-mean losses of a plain loop: one example at a time, torch's AdamW, the schedule written out anew."""
    matrices = [p for p in model.parameters() if p.ndim > 1]
    others = [p for p in model.parameters() if p.ndim <= 1]
    optimizer = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": settings.weight_decay}, {"params": others, "weight_decay": 0.0}],
        betas=(settings.beta1, settings.beta2),
        eps=settings.adam_eps,
    )
    losses = []
    for step, batch in enumerate(batches):
        optimizer.zero_grad()
        naive_loss(model, batch, settings.normalize).backward()
        with torch.no_grad():
            losses.append(naive_loss(model, batch, "token").item())
        torch.nn.utils.clip_grad_norm_(model.parameters(), settings.grad_clip)
        if step < 2:  # warm-up
            rate = settings.lr * (step + 1) / 2
        else:  # half a cosine from lr to a tenth of it
            rate = settings.lr * (0.1 + 0.45 * (1 + math.cos(math.pi * (step - 2) / (len(batches) - 2))))
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.step()
    return losses


@pytest.mark.parametrize("micro_tokens", [1, 16384], ids=["unpacked", "packed"])
@pytest.mark.parametrize(("kind", "normalize"), [("qwen2", "token"), ("qwen3", "sequence"), ("llama", "token")])
def test_twenty_losses_equal_a_plain_loop(kind, normalize, micro_tokens):
    """The promise of the whole: same data, same settings, same losses, on the three architectures."""
    theirs, ours = make_pair(kind)
    batches = [make_examples(6, seed=step) for step in range(20)]
    settings = SftSettings(
        lr=2e-3, normalize=normalize, weight_decay=0.1, beta2=0.95, warmup_steps=2, micro_tokens=micro_tokens
    ).over(20)
    expected = naive_losses(theirs, batches, settings)
    trainer = TorchTrainer(ours)
    found = [sft_step(trainer, batch, settings, step=step)["loss"] for step, batch in enumerate(batches)]
    assert found == pytest.approx(expected, rel=1e-5)
    assert max(abs(one - other) for one, other in zip(found[1:], found, strict=False)) > 0.1  # they do move


class Cancelled(Exception):
    """Stops before the update."""


def gradient(trainer: TorchTrainer, examples: list[Example], settings: SftSettings) -> dict[str, torch.Tensor]:
    found = {}

    def stop() -> None:
        found.update({name: p.grad.clone() for name, p in trainer.model.named_parameters()})
        raise Cancelled

    with pytest.raises(Cancelled):
        sft_step(trainer, examples, settings, step=0, on_update=stop)
    return found


@pytest.mark.parametrize("normalize", ["token", "sequence"])
def test_gradient_is_independent_of_micro_batches_and_order(normalize):
    """Accumulation is exact: cut anywhere, in any order, the gradient is that of the whole batch."""
    theirs, ours = make_pair()
    examples = make_examples(11)
    naive_loss(theirs, examples, normalize).backward()
    expected = {name: p.grad for name, p in theirs.named_parameters()}
    for budget in (1, 30, 77, 16384):
        settings = dataclasses.replace(FIXED, normalize=normalize, micro_tokens=budget)
        for batch in (examples, examples[::-1]):
            assert distance(gradient(TorchTrainer(ours), batch, settings), expected) < 1e-5


def test_packed_samples_do_not_see_each_other():
    """The loss of an example is the same beside others as alone, whatever the others are."""
    _, ours = make_pair()
    trainer, examples = TorchTrainer(ours), make_examples(9, seed=3)
    alone = [sft_sums(trainer, [example], FIXED)[0] for example in examples]
    assert sft_sums(trainer, examples, FIXED)[0] == pytest.approx(sum(alone), rel=1e-6)
    others = [Example([5], [place % 7] * 40, None, f"o{place}") for place in range(5)]
    beside = sft_sums(trainer, [examples[0], *others], FIXED)[0]
    assert beside - sft_sums(trainer, others, FIXED)[0] == pytest.approx(alone[0], abs=2e-4)


def test_metrics_of_an_update():
    """Token counts by hand, and a loss in tokens whatever the update normalises over."""
    theirs, ours = make_pair()
    examples = [Example([1, 2], [3, 4, 5], [True, False, True], 0), Example([1, 2], [6], None, 0)]
    expected = naive_loss(theirs, examples, "token").item()
    found = sft_step(TorchTrainer(ours), examples, dataclasses.replace(FIXED, normalize="sequence"), step=0)
    assert (found["tokens"], found["labelled_tokens"], found["samples"]) == (8, 3, 2)
    assert found["loss"] == pytest.approx(expected, rel=1e-5) and found["lr"] == 1e-3 and found["grad_norm"] > 0
    assert 0 < found["entropy"] <= math.log(VOCABULARY) and found["seconds"].keys() == {"gradient", "optimizer"}


def test_refused_updates_change_nothing():
    """No trained token, a loss that is not finite: one line, no weight moved, no gradient left."""
    _, ours = make_pair()
    trainer = TorchTrainer(ours)
    before = {name: p.clone() for name, p in ours.named_parameters()}
    for batch in ([], [Example([1], [2], [False], 0)]):
        with pytest.raises(InputError, match="no trained token"):
            sft_step(trainer, batch, FIXED, step=0)
    assert all(torch.equal(p, before[name]) and p.grad is None for name, p in ours.named_parameters())
    with torch.no_grad():
        ours.model.norm.weight[0] = math.inf
    with pytest.raises(R1Error, match="update 3: loss nan"):
        sft_step(trainer, make_examples(3), FIXED, step=2)
    assert trainer.optimizer.steps == 0 and all(p.grad is None for p in ours.parameters())


class Twice(TorchTrainer):
    """Two ranks played by one process, one after the other: what one leaves out the other computes."""

    def deal(self, prompts, completions, groups, budget):
        micro_batches = plan(prompts, completions, groups, budget)
        share = micro_batches[self.rank :: 2]
        return share + [[]] * (-(-len(micro_batches) // 2) - len(share))

    def total(self, values):
        self.sums[self.rank] = values
        return sum(self.sums.values())


def test_ranks_add_up_to_one_gradient():
    """Dealt out over ranks, an empty share included, the gradients sum to that of one process."""
    _, ours = make_pair()
    examples = make_examples(5, seed=2)
    settings = dataclasses.replace(FIXED, micro_tokens=20)
    whole = gradient(TorchTrainer(ours), examples, settings)
    parts, trainer = [], Twice(ours)
    trainer.sums = {0: 0.0, 1: 0.0}
    for trainer.rank in (0, 1):
        parts.append(gradient(trainer, examples, settings))
    assert distance({name: parts[0][name] + parts[1][name] for name in whole}, whole) < 1e-5
    lonely = [Example([1], [2, 3], None, 0)]
    trainer.rank = 1
    assert all(not value.any() for value in gradient(trainer, lonely, settings).values())


def test_settings_of_a_schedule():
    """The warm-up as a share or a number; one that leaves no update is refused."""
    assert (SftSettings(warmup_ratio=0.1).over(50).warmup_steps, SftSettings().over(20).warmup_steps) == (5, 0)
    assert SftSettings(warmup_steps=3, warmup_ratio=0.5).over(20).warmup_steps == 3
    with pytest.raises(ValueError, match="only 3 updates"):
        SftSettings(warmup_steps=3).over(3)
