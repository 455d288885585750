"""Continuous-batching sampler in plain PyTorch: groups in, whole groups of samples with exact log-probabilities out.

Each prompt runs through the model once for all samples of its group; then every active row gains one token a step.
Rows that end leave at once, queued samples take their place. It does not load weights, make seeds or know about
prompts as text.
"""

from collections import deque

import numpy as np
import torch
from torch import Tensor

from r1cli.backend.cascade import Block, Cascade
from r1cli.backend.jobs import Job, Prompt, Row
from r1cli.backend.model import Transformer
from r1cli.backend.randomness import draw, uniforms
from r1cli.backend.rows import DEADLINE, KEY, OFFSET, START, TOKEN, Rows
from r1cli.backend.sampling import Group, Sample, SamplingParams, check_group
from r1cli.backend.stepping import Stepper
from r1cli.backend.tokenizer import Tokenizer
from r1cli.errors import InputError, R1Error

__all__ = ["Group", "Sample", "SamplingParams", "TorchSampler"]

# Tokens of one prompt pass, padding included: enough to fill a device, little enough to keep activations small.
PREFILL_TOKENS = 16384
# Elements of one [rows, vocabulary] block while drawing, which is held about five times over.
LOGIT_BLOCK = 1 << 24


class TorchSampler:
    """Samples from `model` with up to `slots` rows at a time; `max_context` lowers the model's own context.

    `model` may be replaced or its weights changed whenever `busy` is false; while it is true, `model` may be replaced
    by an equal one, whose weights then have to stand still instead.
    """

    def __init__(self, model: Transformer, tokenizer: Tokenizer, *, slots: int = 256, max_context: int | None = None):
        if slots < 1:
            raise InputError(f"the sampler needs at least 1 slot, got {slots}")
        self.model, self.tokenizer, self.slots, self.max_context = model, tokenizer, slots, max_context
        self._queue: deque[Job] = deque()
        self._rows: list[Row] = []
        self._prompt: Prompt | None = None
        self._cache: Cascade | None = None
        self._stepper: Stepper | Transformer | None = None
        self._followed: Transformer | None = None
        self._clock = 0

    @property
    def context(self) -> int:
        """Most tokens that a prompt and its completion may have together."""
        return min(self.model.config.context, self.max_context or self.model.config.context)

    @property
    def busy(self) -> bool:
        """Whether samples are queued or active."""
        return bool(self._queue or self._rows)

    def validate(self, group: Group) -> None:
        """Raises InputError when a group can't be sampled (prompt as long as the context, bad settings)."""
        check_group(group, context=self.context, vocabulary=self.model.config.vocab_size)

    def add(self, group: Group) -> None:
        """Queues a group; raises InputError as validate does."""
        self.validate(group)
        params, size = group.params, len(group.seeds)
        # A token may hold as little as one byte of a stop string, and cut ones decode badly: four more for the first
        # character.
        tail = max((len(stop.encode()) + 4 for stop in params.stop), default=0)
        limit = min(params.max_tokens, self.context - len(group.prompt_ids))
        self._queue.append(Job(group, limit, tail, samples=[None] * size, missing=size))

    def cancel(self, key: object) -> None:
        """Forgets the groups of that key, queued or active; no one gets their samples."""
        if self._queue and self._queue[0].entered and self._queue[0].group.key == key:
            self._prompt = None
        self._queue = deque(job for job in self._queue if job.group.key != key)
        with torch.inference_mode():
            self._drop([index for index, row in enumerate(self._rows) if row.job.group.key == key])

    def release(self) -> None:
        """Gives the cache's memory back; the next step allocates it anew. Only when not busy."""
        if self.busy:
            raise R1Error("the sampler's memory can't be released while samples are under way")
        self._cache = None

    @torch.inference_mode()
    def step(self) -> list[tuple[Group, list[Sample]]]:
        """One token for every active row, after queued samples have taken the free slots.

        Returns the groups that this made whole, their samples in the order of their seeds. Whatever it raises, the
        sampler is empty afterwards; R1Error when the device's memory or the model's weights are at fault.
        """
        try:
            return self._step() if self.busy else []
        except BaseException:
            # Half a step leaves rows and cache at odds, and going on would give wrong samples in silence.
            self._queue.clear()
            self._rows.clear()
            self._prompt = self._cache = self._stepper = self._followed = None
            raise

    def _step(self) -> list[tuple[Group, list[Sample]]]:
        if not self._rows:
            self._prepare()
        hidden = [self._decode()] if self._rows else []
        hidden += self._admit()
        table = self._table
        tokens, logprobs = self._draw(hidden[0] if len(hidden) == 1 else torch.cat(hidden))
        table.reserve(table.count, self._clock - self._oldest + 1)
        table.record(self._clock, tokens, logprobs)
        at_end = self._is_end[tokens]
        ended = (at_end | (table.column(DEADLINE) <= self._clock)).nonzero()[:, 0].tolist()
        stopped = self._stopped() if self._with_stops else set()
        whole = self._collect(sorted(stopped.union(ended)), stopped) if ended or stopped else []
        self._clock += 1
        if not self._rows:
            self._stepper = self._followed = None  # the update needs the memory of the copies
        return whole

    def _prepare(self) -> None:
        """Before the first row enters: a cache, and tables, that fit the model as it is now."""
        weight, config = self.model.head_weight, self.model.config
        cache = self._cache
        if cache is None or (cache.config, cache.dtype, cache.device) != (config, weight.dtype, weight.device):
            self._cache = Cascade(
                config, dtype=weight.dtype, device=weight.device, max_rows=self.slots, max_context=self.context
            )
            self._table = Rows(weight.device)
        self._cache.clear()
        self._follow()
        self._clock = 0
        self._is_end = torch.zeros(config.vocab_size, dtype=torch.bool, device=weight.device)
        self._ends = {token for token in self.tokenizer.end_tokens if token < config.vocab_size}
        self._is_end[list(self._ends)] = True
        self._survey()

    def _follow(self) -> None:
        """Takes copies of the weights for the steps, where those are faster; called whenever they may have changed."""
        self._followed = self.model
        self._stepper = Stepper(self.model) if Stepper.suits(self.model) else self.model

    def _survey(self) -> None:
        """What the hot path wants to know of the active rows, worked out whenever they change."""
        rows = self._rows
        temperatures = {row.job.group.params.temperature for row in rows}
        nuclei = {row.job.group.params.top_p for row in rows}
        # One number where all rows agree, which they mostly do and which is faster; else None.
        self._temperature = temperatures.pop() if len(temperatures) == 1 else None
        self._top_p = nuclei.pop() if len(nuclei) == 1 else None
        self._with_stops = [index for index, row in enumerate(rows) if row.job.tail]
        self._oldest = min((row.start for row in rows), default=0)
        self._cache.arrange([row.block for row in rows], [row.start for row in rows])

    def _decode(self) -> Tensor:
        """Hidden states [rows, C] after the newest token of every active row."""
        if self._followed is not self.model:
            self._follow()
        table = self._table
        positions = table.column(OFFSET) + self._clock
        return self._stepper.hidden(table.column(TOKEN), positions, self._cache.decoding(self._clock))

    def _admit(self) -> list[Tensor]:
        """Lets queued samples into the free slots; their prompts' last hidden states [entered, C] in parts."""
        free = self.slots - len(self._rows)
        # A prompt pass for a single free slot would cost as much as a whole step: wait for a few.
        if not self._queue or (self._rows and free < max(1, self.slots // 16)):
            return []
        parts = []
        while self._queue and free:
            if self._prompt is not None:
                count = min(free, len(self._queue[0].group.seeds) - self._queue[0].entered)
                blocks = self._cache.add([len(self._queue[0].group.prompt_ids)], [count])
                self._cache.paste(self._prompt.cache, blocks[0])
                parts.append(self._prompt.hidden.expand(count, -1))
                self._enter(blocks)
            else:
                parts.append(self._prefill(free))
            free = self.slots - len(self._rows)
        self._survey()
        return parts

    def _prefill(self, free: int) -> Tensor:
        """One packed pass over the prompts at the head of the queue, written to blocks for their samples."""
        lengths: list[int] = []
        counts: list[int] = []
        for job in self._queue:
            longest = max([*lengths, len(job.group.prompt_ids)])
            if not free or (lengths and longest * (len(lengths) + 1) > PREFILL_TOKENS):
                break
            lengths.append(len(job.group.prompt_ids))
            counts.append(min(free, len(job.group.seeds)))
            free -= counts[-1]
        device, blocks = self._cache.device, self._cache.add(lengths, counts)
        queued = [job.group for job, _ in zip(self._queue, lengths, strict=False)]
        tokens = torch.tensor([token for group in queued for token in group.prompt_ids]).to(device)
        positions = torch.cat([torch.arange(length) for length in lengths]).to(device)
        hidden = self.model.hidden(tokens, positions, self._cache.filling(blocks))
        last = hidden[(torch.tensor(lengths).cumsum(0) - 1).to(device)]
        self._enter(blocks)
        if counts[-1] < len(queued[-1].seeds):
            self._prompt = Prompt(self._cache.keep(blocks[-1][-1]), last[-1:].clone())
        return last.repeat_interleave(torch.tensor(counts, device=device), 0)

    def _enter(self, blocks: list[list[Block]]) -> None:
        """Fills blocks[i] with the next samples of the i-th queued group; groups that are all in leave the queue."""
        for own in blocks:
            job = self._queue[0]
            places = [block for block in own for _ in range(block.rows)]
            group, chosen = job.group, range(job.entered, job.entered + len(places))
            self._table.append(
                prompt_length=len(group.prompt_ids),
                clock=self._clock,
                limit=job.limit,
                keys=[group.seeds[index] for index in chosen],
                temperature=group.params.temperature,
                top_p=group.params.top_p,
            )
            self._rows.extend(Row(job, index, self._clock, block) for index, block in zip(chosen, places, strict=True))
            job.entered += len(places)
            if job.entered == len(group.seeds):
                self._queue.popleft()
                self._prompt = None

    def _draw(self, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens and log-probabilities [rows] from hidden states [rows, C]."""
        table = self._table
        chances = uniforms(table.column(KEY), self._clock - table.column(START))
        rows = max(1, LOGIT_BLOCK // self.model.config.vocab_size)
        blocks = []
        for begin in range(0, table.count, rows):
            block = slice(begin, min(begin + rows, table.count))
            temperature = table.knobs[block, 0] if self._temperature is None else self._temperature
            top_p = table.knobs[block, 1] if self._top_p is None else self._top_p
            blocks.append(draw(self.model.logits(hidden[block]), chances[block], temperature, top_p))
        if len(blocks) == 1:
            return blocks[0]
        return torch.cat([tokens for tokens, _ in blocks]), torch.cat([logprobs for _, logprobs in blocks])

    def _stopped(self) -> set[int]:
        """Rows whose newest token completed one of their stop strings."""
        rows = [self._rows[index] for index in self._with_stops]
        tails = self._table.tails(self._with_stops, self._clock, max(row.job.tail for row in rows))
        stopped = set()
        for index, row, tail in zip(self._with_stops, rows, tails, strict=True):
            text = self.tokenizer.decode(tail[-row.job.tail :])
            if any(stop in text for stop in row.job.group.params.stop):
                stopped.add(index)
        return stopped

    def _collect(self, ended: list[int], stopped: set[int]) -> list[tuple[Group, list[Sample]]]:
        """Turns ended rows into samples and frees their slots; returns the groups that this made whole."""
        width = self._clock - min(self._rows[index].start for index in ended) + 1
        ids, logprobs = self._table.outputs(ended, width)
        whole = []
        for at, index in enumerate(ended):
            row = self._rows[index]
            job, length = row.job, self._clock - row.start + 1
            values = logprobs[at, :length].copy()
            if not np.isfinite(values).all():
                raise R1Error("the model gave log-probabilities that are not finite; are its weights damaged?")
            tokens = ids[at, :length].tolist()
            finish = "stop" if index in stopped or tokens[-1] in self._ends else "length"
            job.samples[row.index] = Sample(tokens, values, finish)
            job.missing -= 1
            if not job.missing:
                whole.append((job.group, job.samples))
        self._drop(ended)
        return whole

    def _drop(self, gone: list[int]) -> None:
        """Removes rows (ascending); the last active ones move into the gaps, so that the active ones stay in front."""
        if not gone:
            return
        rows, away = self._rows, set(gone)
        for index in gone:
            rows[index].block.rows -= 1
        left = len(rows) - len(gone)
        targets = [index for index in gone if index < left]
        sources = [index for index in range(left, len(rows)) if index not in away]
        if targets:
            to, origin = (torch.tensor(indices, device=self._cache.device) for indices in (targets, sources))
            self._table.move(origin, to)
            self._cache.move(origin, to, self._clock)
            for target, source in zip(targets, sources, strict=True):
                rows[target] = rows[source]
        del rows[left:]
        self._table.count = left
        self._survey()
