"""vLLM as the sampler: groups in, whole groups of samples with log-probabilities out.

Every sample is a request of its own with its own seed, so none repeats another. Which token or stop string ends a
sample is decided here, as in the torch sampler. The engines are the business of vllm_engine.py (in this process) and
vllm_fleet.py (in others), their weights that of vllm_weights.py.
"""

import sys
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from r1cli import ui
from r1cli.backend.model import Transformer
from r1cli.backend.sampling import Group, Sample, check_group
from r1cli.backend.tokenizer import Tokenizer
from r1cli.backend.vllm_engine import Part, Request, VllmEngine, first_line, plan
from r1cli.backend.vllm_fleet import VllmFleet
from r1cli.backend.vllm_weights import Weights
from r1cli.errors import InputError, R1Error

LOWEST_TEMPERATURE = 0.01  # vLLM raises what is below, but for 0


@dataclass(slots=True)
class _Job:
    """A group on its way: the samples that ended, and the tokens so far of those that are handed over as they come."""

    group: Group
    tail: int
    samples: list[Sample | None]
    missing: int
    parts: dict[int, tuple[list[int], list[float]]] = field(default_factory=dict)


class VllmSampler:
    """Samples from `model` by vLLM engines with up to `slots` requests side by side each.

    `model` may be replaced or its weights changed whenever `busy` is false: the engines get them before they sample
    again. `folder`, `share` and `sleep` are as in vllm_engine.plan. There are `engines` of them, each over
    `tensor_parallel` devices. One engine on one device runs in this process; in processes of their own run several,
    those over several devices, any where `own_process` says so, and any in a process that has a torch.distributed
    group, which vLLM would take for its own and end. They start at the first sample, or with `start`.
    """

    def __init__(
        self,
        model: Transformer,
        tokenizer: Tokenizer,
        folder: Path,
        *,
        slots: int,
        share: float | None = None,
        sleep: bool = False,
        engines: int = 1,
        tensor_parallel: int = 1,
        own_process: bool = False,
    ):
        self.model, self.tokenizer, self.folder = model, tokenizer, folder
        self.slots, self.share, self.sleep, self.tensor_parallel = slots, share, sleep, tensor_parallel
        if engines * tensor_parallel > 1 or own_process or _grouped():
            device = model.head_weight.device
            self.engine = VllmFleet(engines=engines, width=tensor_parallel, slots=slots, device=device)
        else:
            self.engine = VllmEngine()
        self.weights = Weights(tokenizer)
        self._queue: deque[_Job] = deque()
        self._jobs: dict[str, tuple[_Job, int]] = {}
        self._named = 0

    @property
    def context(self) -> int:
        """Most tokens that a prompt and its completion may have together."""
        return self.model.config.context

    @property
    def busy(self) -> bool:
        """Whether samples are queued or active."""
        return bool(self._queue or self._jobs)

    def start(self) -> None:
        """Starts the engines and gives them their first weights; raises R1Error when one does not come up."""
        if self.engine.running:
            return
        progress = ui.Progress()
        how = plan(
            self.folder,
            self.model,
            slots=self.slots,
            share=self.share,
            sleep=self.sleep,
            tensor_parallel=self.tensor_parallel,
        )
        try:
            self.engine.start(how, progress.update)
            progress.update("giving vLLM the weights")
            self.weights.push(self.engine, self.model)
        finally:
            progress.clear()

    def watch(self, lost: Callable[[], None]) -> None:
        """Calls `lost`, in a thread, as soon as an engine's process ends by itself; `check` then says what happened."""
        self.engine.watch(lost)

    def check(self) -> None:
        """Raises R1Error when an engine is gone."""
        self.engine.check()

    def validate(self, group: Group) -> None:
        """Raises InputError when a group can't be sampled."""
        check_group(group, context=self.context, vocabulary=self.model.config.vocab_size)
        if 0 < group.params.temperature < LOWEST_TEMPERATURE:
            raise InputError(
                f"temperature is {group.params.temperature}; vLLM samples at 0 (greedy) or from {LOWEST_TEMPERATURE} on"
            )

    def add(self, group: Group) -> None:
        """Queues a group; raises InputError as validate does."""
        self.validate(group)
        # As in the torch sampler: a token may hold one byte of a stop string, and cut characters decode badly.
        tail = max((len(stop.encode()) + 4 for stop in group.params.stop), default=0)
        self._queue.append(_Job(group, tail, [None] * len(group.seeds), len(group.seeds)))

    def cancel(self, key: object) -> None:
        """Forgets the groups of that key, queued or active; no one gets their samples."""
        self._queue = deque(job for job in self._queue if job.group.key != key)
        self._abort([name for name, (job, _) in self._jobs.items() if job.group.key == key])

    def sync(self) -> float | None:
        """Gives a running engine the model's weights; returns the gap of its self-check, None when none is running.

        Raises R1Error as the engine's own sync does, and for weights that changed while they were sampled from.
        """
        if not self.engine.running:
            return None
        if self._jobs:
            raise R1Error("the weights changed while vLLM was sampling from those before")
        return self.weights.push(self.engine, self.model)

    def release(self) -> None:
        """Lets a GPU's memory go until the next weights come, where the engine may sleep; only when not busy."""
        if self.busy:
            raise R1Error("the sampler's memory can't be released while samples are under way")
        if self.sleep and self.engine.running:
            self.weights.sleep(self.engine)

    def close(self) -> None:
        """Ends the engine and gives back what it holds."""
        self.engine.close()
        self.weights.held = None

    def step(self) -> list[tuple[Group, list[Sample]]]:
        """Samples on; returns the groups that this made whole, their samples in the order of their seeds.

        Whatever it raises, the sampler is empty afterwards; R1Error when the engine or the model's weights are at
        fault.
        """
        if not self.busy:
            return []
        try:
            self.start()
            if not self.weights.held_of(self.model):
                self.sync()
            if self._queue:
                self._admit()
            return self._collect(self.engine.step())
        except BaseException as error:
            self._queue.clear()
            with suppress(Exception):
                self._abort(list(self._jobs))
            self._jobs.clear()
            if isinstance(error, Exception) and not isinstance(error, R1Error):
                raise R1Error(f"vLLM failed: {first_line(error)} (-v shows what it says)") from error
            raise

    def _admit(self) -> None:
        """Hands queued groups to the engines, as long as one has room."""
        ends = [token for token in self.tokenizer.end_tokens if token < self.model.config.vocab_size]
        while self._queue and self.engine.room():
            job = self._queue.popleft()
            group, params = job.group, job.group.params
            limit = min(params.max_tokens, self.context - len(group.prompt_ids))
            requests = []
            for index, seed in enumerate(engine_seeds(group.seeds)):
                name = f"r1-{self._named}"
                self._named += 1
                self._jobs[name] = job, index
                requests.append(
                    Request(
                        name,
                        group.prompt_ids,
                        temperature=params.temperature,
                        top_p=params.top_p,
                        max_tokens=limit,
                        seed=seed,
                        ends=ends,
                        stream=bool(job.tail),
                    )
                )
            self.engine.add(requests, self.weights.version)

    def _collect(self, parts: Iterable[Part]) -> list[tuple[Group, list[Sample]]]:
        """Makes samples of what the engine put out; returns the groups that this made whole."""
        whole = []
        for part in parts:
            if part.name not in self._jobs:  # it was stopped here, and the engine had gone on by a token
                continue
            job, index = self._jobs[part.name]
            ids, logprobs = job.parts.pop(index, ([], []))
            stopped = False
            for token, value in zip(part.ids, part.logprobs, strict=True):
                ids.append(token)
                logprobs.append(value)
                if job.tail and self._ends_with_stop(job, ids):
                    stopped = True
                    break
            if not (stopped or part.ended):
                job.parts[index] = ids, logprobs
                continue
            if not stopped and part.ended not in ("stop", "length"):
                raise R1Error(f"vLLM gave up a sample ({part.ended})")
            job.samples[index] = self._sample(ids, logprobs, stopped)
            if part.ended:
                del self._jobs[part.name]
            else:
                self._abort([part.name])
            job.missing -= 1
            if not job.missing:
                whole.append((job.group, job.samples))
        return whole

    def _ends_with_stop(self, job: _Job, ids: list[int]) -> bool:
        text = self.tokenizer.decode(ids[-job.tail :])
        return any(stop in text for stop in job.group.params.stop)

    def _sample(self, ids: list[int], logprobs: list[float], stopped: bool) -> Sample:
        values = np.array(logprobs, dtype=np.float32)
        if not np.isfinite(values).all():
            raise R1Error("the model gave log-probabilities that are not finite; are its weights damaged?")
        return Sample(ids, values, "stop" if stopped or ids[-1] in self.tokenizer.end_tokens else "length")

    def _abort(self, names: list[str]) -> None:
        for name in names:
            del self._jobs[name]
        if names:
            self.engine.abort(names)


def _grouped() -> bool:
    """Whether this process has a torch.distributed group that another of our engines here has not made."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return False
    state = sys.modules.get("vllm.distributed.parallel_state")
    return state is None or not state.model_parallel_is_initialized()


def engine_seeds(keys: list[int]) -> list[int]:
    """A seed for each 64-bit key, no two alike: of a CPU generator's seed only 32 bits count."""
    seeds: dict[int, None] = {}
    for key in keys:
        seed = (key ^ key >> 32) & 0xFFFFFFFF
        while seed in seeds:
            seed = (seed + 1) & 0xFFFFFFFF
        seeds[seed] = None
    return list(seeds)
