"""One vLLM engine, in whatever process it is asked for: what knows vLLM is here and in vllm_worker.py.

It starts without weights, takes those that it is handed, and samples requests. Whose weights they are, and whether it
computes with them, is vllm_weights.py's business; engines in processes of their own are vllm_fleet.py's. Written for
vLLM 0.26 (GPU) and 0.32 (CPU).
"""

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from r1cli import ui
from r1cli.backend.model import Transformer
from r1cli.backend.vllm_worker import Parcel, Seal
from r1cli.errors import R1Error

# Tokens of one pass at most, but never less than a whole context: see plan.
STEP_TOKENS = 8192
# Prompts share their cache by whole blocks, and vLLM's own 128 on a CPU is longer than most prompts.
BLOCK = 32
CACHE_BYTES = 4 << 30  # of the cache on a CPU, where vLLM would take half of the machine
SETTINGS = {
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # in the process that asks: no other one between it and the weights
    "VLLM_WORKER_MULTIPROC_METHOD": "spawn",  # a forked worker would hold what its parent has open
    "VLLM_LOGGING_STREAM": "ext://sys.stderr",
    "VLLM_NO_USAGE_STATS": "1",
}
# Compiling costs half a minute at each start and gains nothing on small models; the threads are the trainer's.
CPU_SETTINGS = {"TORCH_COMPILE_DISABLE": "1", "VLLM_CPU_OMP_THREADS_BIND": "nobind"}


class Plan(NamedTuple):
    """How an engine is started: the arguments of vLLM, and whether it computes on a CPU."""

    arguments: dict[str, Any]
    cpu: bool


class Request(NamedTuple):
    """One sample to draw; with `stream`, its tokens are handed over as they come instead of at its end."""

    name: str
    prompt_ids: list[int]
    temperature: float
    top_p: float
    max_tokens: int
    seed: int
    ends: list[int]
    stream: bool


class Part(NamedTuple):
    """New tokens of a request with their log-probabilities; `ended` says why it is over, "" while it is not."""

    name: str
    ids: list[int]
    logprobs: list[float]
    ended: str


def plan(
    folder: Path, model: Transformer, *, slots: int, share: float | None, sleep: bool, tensor_parallel: int = 1
) -> Plan:
    """How to start an engine of this model with up to `slots` requests side by side.

    `folder` is a model folder of the same architecture. `share` is the part of a GPU's memory that the engine takes,
    `sleep` lets it give that back between two uses, `tensor_parallel` is the number of devices it computes on.
    """
    config, weight = model.config, model.head_weight
    arguments = {
        "model": str(folder),
        "load_format": "dummy",  # the weights come from memory
        "skip_tokenizer_init": True,
        "generation_config": "vllm",
        "dtype": str(weight.dtype).removeprefix("torch."),
        "max_model_len": config.context,
        "max_num_seqs": slots,
        "max_num_batched_tokens": max(config.context, STEP_TOKENS, slots),
        "enable_prefix_caching": True,
        # log_softmax(logits / temperature), as the stream defines it; of the nucleus only where top_p < 1.
        "logprobs_mode": "processed_logprobs",
        "worker_extension_cls": "r1cli.backend.vllm_worker.WeightReceiver",
        "disable_log_stats": True,
        "seed": 0,
    }
    if tensor_parallel > 1:
        arguments |= {"tensor_parallel_size": tensor_parallel, "distributed_executor_backend": "mp"}
    if weight.device.type == "cuda":
        share = {} if share is None else {"gpu_memory_utilization": share}
        return Plan(arguments | share | {"enable_sleep_mode": sleep}, cpu=False)
    token = 2 * config.layers * -(-config.kv_heads // tensor_parallel) * config.head_dim * weight.element_size()
    least, most = token * (config.context + 2 * BLOCK), token * config.context * slots
    on_cpu = {
        "enforce_eager": True,
        # A seeded request whose prompt is split over two passes crashes vLLM's CPU runner (0.32): it rewinds the
        # generator, which a CPU's can't. So prompts are never split; that is why a pass takes a whole context.
        "enable_chunked_prefill": False,
        "block_size": BLOCK,
        "kv_cache_memory_bytes": max(least, min(most, CACHE_BYTES)),
    }
    return Plan(arguments | on_cpu, cpu=True)


class VllmEngine:
    """An engine in this process."""

    def __init__(self) -> None:
        self._llm: Any = None

    @property
    def running(self) -> bool:
        """Whether the engine was started."""
        return self._llm is not None

    @property
    def busy(self) -> bool:
        """Whether requests are under way."""
        return self._llm is not None and self._llm.has_unfinished_requests()

    def start(self, plan: Plan, note: Callable[[str], None]) -> None:
        """Starts the engine, without weights yet; raises R1Error when it does not come up."""
        note("starting vLLM")
        set_threads = torch.set_num_threads
        try:
            with ui.hushed():
                self._llm = _engine(plan)
                if plan.cpu and plan.arguments.get("tensor_parallel_size", 1) > 1:
                    # The workers have mapped what they share; without its names nothing stays in /dev/shm, not even
                    # after a kill -9 (vLLM 0.32 leaves it there at every end).
                    for path in {path for held in self._llm.collective_rpc("r1_segments") for path in held}:
                        Path(path).unlink(missing_ok=True)
        except Exception as error:
            raise R1Error(f"vLLM did not start: {first_line(error)} (-v shows what it says)") from error
        finally:
            torch.set_num_threads = set_threads  # vLLM's CPU worker puts one that does nothing in its place

    def take(
        self, tensors: Iterable[tuple[str, Tensor]] | Parcel, seals: dict[str, Seal], version: int, *, asleep: bool
    ) -> None:
        """Loads weights into the idle engine, which then holds `version`; raises R1Error when it did not take them."""
        try:
            if asleep:
                self._llm.wake_up()
            problems = self._llm.collective_rpc("r1_take", args=(tensors, seals, version))
            cleared = self._llm.reset_prefix_cache()
        except Exception as error:
            raise R1Error(f"vLLM did not take the new weights: {first_line(error)}") from error
        for problem in filter(None, problems):
            raise R1Error(f"vLLM did not take the new weights: {problem.splitlines()[0]}")
        if cleared is False:
            raise R1Error("vLLM did not drop what it had cached of the old weights")

    def probe(self, request: Request, version: int) -> list[Part]:
        """The sample of one request by the idle engine, of each engine where there are several."""
        try:
            self.add([request], version)
            parts: list[Part] = []
            while not parts and self.busy:
                parts = self.step()
        except R1Error:
            raise
        except Exception as error:
            raise R1Error(f"vLLM failed with the new weights: {first_line(error)}") from error
        return parts

    def room(self) -> bool:
        """Whether a group that is added now is in the right place: with one engine there is no other."""
        return True

    def add(self, requests: list[Request], version: int) -> None:
        """Queues requests; which ids end them is ours to say, and no text is made there.

        Raises R1Error unless every worker holds the weights of that version, all of them.
        """
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        held = self._llm.collective_rpc("r1_version")
        if any(one != version for one in held):
            stale = next(one for one in held if one != version)
            raise R1Error(f"vLLM holds weights of version {stale}, expected {version}: it is stale")
        # One object a sample instead of two a token, where this vLLM can.
        flat = {"flat_logprobs": True} if hasattr(SamplingParams, "flat_logprobs") else {}
        for request in requests:
            params = SamplingParams(
                temperature=request.temperature,
                top_p=request.top_p,
                max_tokens=request.max_tokens,
                seed=request.seed if request.temperature else None,
                logprobs=0,
                stop_token_ids=request.ends,
                ignore_eos=True,
                detokenize=False,
                output_kind=RequestOutputKind.DELTA if request.stream else RequestOutputKind.FINAL_ONLY,
                **flat,
            )
            self._llm.add_request(request.name, {"prompt_token_ids": request.prompt_ids}, params)

    def step(self) -> list[Part]:
        """One token for every request that runs; what is to be handed over of them."""
        return [_part(output) for output in self._llm.step()]

    def abort(self, names: list[str]) -> None:
        """Ends requests that nobody wants any more."""
        self._llm.abort_request(names)

    def sleep(self) -> None:
        """Lets the idle engine's memory on a GPU go until it takes weights again."""
        self._llm.sleep(level=1)

    def check(self) -> None:
        """Raises R1Error when a worker of the engine is gone."""
        if getattr(self._llm.model_executor, "is_failed", False):
            raise R1Error("a worker process of vLLM has died")

    def watch(self, lost: Callable[[], None]) -> None:
        """An engine in this process does not die alone: nothing to watch."""

    def close(self) -> None:
        """Ends the engine and gives back what it holds."""
        if not self.running:
            return
        with ui.hushed():
            from vllm.distributed.parallel_state import destroy_distributed_environment, destroy_model_parallel

            self._llm.engine_core.shutdown()
            self._llm = None
            destroy_model_parallel()
            destroy_distributed_environment()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def _engine(plan: Plan) -> Any:
    """A running engine; the environment variables that steer vLLM are set before it is imported."""
    os.environ.update(SETTINGS)
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "INFO" if ui.verbose() else "CRITICAL")
    if plan.cpu:
        os.environ.update(CPU_SETTINGS)
    from vllm import EngineArgs
    from vllm.v1.engine.llm_engine import LLMEngine

    return LLMEngine.from_engine_args(EngineArgs(**plan.arguments))


def _part(output: Any) -> Part:
    (completion,) = output.outputs
    ids, found = list(completion.token_ids), completion.logprobs
    if hasattr(found, "logprobs"):
        logprobs = list(found.logprobs)
    else:
        logprobs = [entry[token].logprob for token, entry in zip(ids, found, strict=True)]
    return Part(output.request_id, ids, logprobs, (completion.finish_reason or "?") if output.finished else "")


def first_line(error: BaseException) -> str:
    """What an error says, on one line."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
