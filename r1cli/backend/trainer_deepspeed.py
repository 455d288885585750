"""The trainer of several processes: DeepSpeed ZeRO 1, 2 and 3, one rank each.

Every rank runs the same algorithm (trainer.py) on the same batch, computes its share of the micro-batches, and adds up
gradients and statistics with the others; torch.distributed is set up before. On CUDA weights are bf16 over an fp32
master copy, on a CPU all is fp32. How ranks are started and spoken to is not its business, nor is what becomes of the
others when one fails: after an error on one rank alone they wait for it, and whoever started them has to end them.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from r1cli.backend import checkpoint, trainer_files
from r1cli.backend.dealing import shares
from r1cli.backend.logprobs import head_logprobs
from r1cli.backend.model import ModelConfig, Transformer, rope_frequencies
from r1cli.backend.packing import MicroBatch, take
from r1cli.backend.trainer import Trainer
from r1cli.backend.zero import (
    PartitionedAdamW,
    Zero,
    ZeroSettings,
    configuration,
    load_deepspeed,
    own_part,
    start_engine,
)
from r1cli.errors import InputError, R1Error


class Join(torch.autograd.Function):
    """Log-probs and entropies [M] as one tensor [2, M], and back without a gradient for entropies nobody used.

    ZeRO's hooks run once for each output that a loss uses, and all ranks must meet as many of them, whatever their
    losses are made of.
    """

    @staticmethod
    def forward(ctx: Any, logp: Tensor, entropy: Tensor) -> Tensor:
        return torch.stack((logp, entropy))

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor | None]:
        return grad[0], grad[1] if grad[1].any() else None


class Head(nn.Module):
    """Output projection and log-probs as a module, whose hooks gather a weight that belongs to another."""

    def __init__(self, policy: Transformer):
        super().__init__()
        # In a tuple: as a submodule of its own the policy would be gathered twice.
        self.policy = (policy,)

    def forward(self, hidden: Tensor, targets: Tensor, scale: Tensor) -> Tensor:
        return Join.apply(*head_logprobs(self.policy[0], hidden, targets, scale))


class Scorer(nn.Module):
    """A policy whose forward pass is token_logprobs (logprobs.py), for ZeRO's hooks to see all use of its weights."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.policy = Transformer(config)
        self.head = Head(self.policy)

    def forward(self, micro: MicroBatch, temperatures: Tensor) -> Tensor:
        hidden = self.policy.hidden(micro.tokens, micro.positions, micro.attend)
        scale = temperatures.reciprocal()[micro.rows]
        return self.head(take(hidden, micro.predictors), micro.targets, scale)

    def named(self) -> dict[str, nn.Parameter]:
        """The parameters by their checkpoint names."""
        return dict(self.policy.named_parameters())


class DeepSpeedTrainer(Trainer):
    """Holds this rank's part of a policy and of its optimizer state; all methods but `deal` are collective."""

    def __init__(
        self,
        folder: Path | str,
        settings: ZeroSettings,
        *,
        device: torch.device | str = "cpu",
        dtype: torch.dtype | None = None,
    ):
        """Loads a folder's weights, the fp32 master copy when there is one, and its optimizer state when it has one.

        `dtype` is what forward and backward passes compute in: bf16 on CUDA and fp32 on a CPU unless said. Raises
        InputError for settings that can't be, or a folder that can't be read.
        """
        if settings.stage not in (1, 2, 3) or settings.offload not in ("none", "optimizer", "all"):
            raise InputError(
                f"ZeRO stage {settings.stage}, offload {settings.offload!r}: expected 1, 2 or 3, and none, "
                "optimizer or all"
            )
        if settings.offload == "all" and settings.stage != 3:
            raise InputError(f"offload 'all' at ZeRO stage {settings.stage}: weights leave the card at stage 3 only")
        self.device = torch.device(device)
        self.dtype = dtype or (torch.bfloat16 if self.device.type == "cuda" else torch.float32)
        self.settings = settings
        self.rank, self.ranks = dist.get_rank(), dist.get_world_size()
        self.steps = 0
        self.deepspeed = load_deepspeed(self.device)
        scorer = self._build(folder)
        scorer.policy.checkpoint_layers = settings.gradient_checkpointing
        parameters = scorer.named().values()
        shapes = [shape(parameter) for parameter in parameters]
        groups = [
            {
                "decays": decays,
                "params": [p for p, size in zip(parameters, shapes, strict=True) if (len(size) > 1) is decays],
            }
            for decays in (True, False)
        ]
        self.model = start_engine(
            self.deepspeed, model=scorer, optimizer=PartitionedAdamW(groups), config=self._configuration()
        )
        self.zero = Zero(self.model, settings.stage)
        self.parameters = scorer.named()
        self.collected = False
        if (Path(folder) / "trainer" / trainer_files.HEADER).exists():
            self.load(Path(folder) / "trainer")
        else:
            self._fill(checkpoint.read_weights(folder, self.shapes(), master=True))

    def _configuration(self) -> dict[str, Any]:
        return configuration(self.settings, dtype=self.dtype, device=self.device, whole=self.whole)

    def _build(self, folder: Path | str) -> Scorer:
        """The model without its weights; at stage 3 no rank ever holds it whole."""
        config = checkpoint.read_config(folder)
        # Vectors stay whole everywhere: gathering them costs more time than they cost memory.
        self.whole = max(config.hidden_size, config.intermediate_size, config.heads * config.head_dim)
        if self.settings.stage == 3:
            with self.deepspeed.zero.Init(config_dict_or_path=self._configuration(), dtype=self.dtype):
                scorer = Scorer(config)
            self.deepspeed.zero.register_external_parameter(scorer.head, scorer.policy.head_weight)
        else:
            with torch.device("meta"):
                scorer = Scorer(config)
            scorer = scorer.to(self.dtype).to_empty(device=self.device)
        # Made anew: without memory it has no values, and under ZeRO's Init it was rounded.
        scorer.policy.frequencies = rope_frequencies(config).to(self.device)
        return scorer

    def logprobs(self, model: nn.Module, micro: MicroBatch, temperatures: Tensor) -> tuple[Tensor, Tensor]:
        logp, entropy = model(micro, temperatures[micro.sequences])
        return logp, entropy

    def backward(self, loss: Tensor) -> None:
        self.collected = True
        # DeepSpeed takes the mean over ranks; the shares of a loss add up.
        self.model.backward(loss * self.ranks)

    def norm(self) -> float:
        if not self.collected:
            self.backward(self.idle(self.model))
        self.zero.reduce()
        return self.zero.norm(self.device)

    def update(self, *, lr: float, beta1: float, beta2: float, eps: float, weight_decay: float, scale: float) -> None:
        self.steps += 1
        numbers = {"lr": lr, "beta1": beta1, "beta2": beta2, "eps": eps, "weight_decay": weight_decay, "scale": scale}
        self.zero.step(steps=self.steps, **numbers)

    def clear(self) -> None:
        self.collected = False
        self.zero.discard()

    def shapes(self) -> dict[str, tuple[int, ...]]:
        return {name: shape(parameter) for name, parameter in self.parameters.items()}

    def weights(self, dtype: torch.dtype = torch.float32) -> Iterator[tuple[str, Tensor]]:
        from deepspeed.utils import safe_get_full_fp32_param

        for name, parameter in self.parameters.items():
            if dtype == torch.float32 or dtype != self.dtype:
                yield name, safe_get_full_fp32_param(parameter).to(dtype)
            else:
                # What is computed with is the rounded master copy, and nearer at hand.
                with self.deepspeed.zero.GatheredParameters([parameter], enabled=self.settings.stage == 3):
                    yield name, parameter.detach().clone()

    def moments(self) -> Iterator[tuple[str, Tensor]]:
        from deepspeed.utils import safe_get_full_optimizer_state

        for kind in trainer_files.KINDS:
            for name, parameter in self.parameters.items():
                yield f"{kind}.{name}", safe_get_full_optimizer_state(parameter, kind)

    def save(self, folder: Path | str) -> None:
        trainer_files.save(self, Path(folder))

    def publish(self, folder: Path | str, dtype: torch.dtype) -> None:
        trainer_files.publish(self, Path(folder), dtype)

    def load(self, folder: Path | str) -> None:
        error = saved = None
        try:
            saved = trainer_files.open_saved(Path(folder), self.shapes())
        except R1Error as failure:
            error = str(failure)
        self.agree(error)
        self.steps = saved.steps
        for kind, name, value in saved.moments():
            self._set(name, value, kind)
        self._fill(saved.weights())

    def _fill(self, weights: Iterator[tuple[str, Tensor]]) -> None:
        for name, value in weights:
            self._set(name, value.float())
        self.zero.publish()

    def _set(self, name: str, value: Tensor, kind: str | None = None) -> None:
        """Sets this rank's part of a weight's fp32 copy, or of a moment of it."""
        from deepspeed import utils

        parameter, more = self.parameters[name], (kind,) if kind else ()
        if self.settings.stage == 3:
            # Not the call for whole tensors, which fails where the last rank's part is padded.
            put = utils.safe_set_local_optimizer_state if kind else utils.safe_set_local_fp32_param
            put(parameter, own_part(value, parameter), *more)
        else:
            put = utils.safe_set_full_optimizer_state if kind else utils.safe_set_full_fp32_param
            put(parameter, value, *more)

    def open_reference(self, folder: Path | str) -> nn.Module:
        scorer = self._build(folder).requires_grad_(False)
        parameters = scorer.named()
        shapes = {name: shape(parameter) for name, parameter in parameters.items()}
        with torch.no_grad():
            for name, value in checkpoint.read_weights(folder, shapes, master=True):
                if self.settings.stage == 3:
                    parameters[name].ds_tensor.copy_(own_part(value, parameters[name]))
                else:
                    parameters[name].copy_(value)
        if self.settings.stage < 3:
            return scorer
        return start_engine(self.deepspeed, model=scorer, config=self._configuration())

    def deal(self, prompts: list[list[int]], completions: list[list[int]], groups: Any, budget: int) -> list[list[int]]:
        return shares(prompts, completions, groups, budget, self.ranks)[self.rank]

    def total(self, values: Tensor) -> Tensor:
        dist.all_reduce(values)
        return values

    def gather(self, stats: dict[str, Tensor]) -> list[dict[str, Tensor]]:
        found: list[Any] = [None] * self.ranks
        dist.all_gather_object(found, {name: value.cpu() for name, value in stats.items()})
        return found

    def agree(self, error: str | None) -> None:
        found: list[str | None] = [None] * self.ranks
        dist.all_gather_object(found, error)
        said = next((text for text in found if text is not None), None)
        if said is not None:
            raise R1Error(said)

    def begin(self, on_update: Callable[[], None] | None) -> None:
        """Calls `on_update` on every rank; when it raises on one, the others raise R1Error with its message."""
        raised = None
        try:
            super().begin(on_update)
        except BaseException as error:
            raised = error
        try:
            self.agree(None if raised is None else str(raised) or type(raised).__name__)
        except R1Error as said:
            raise raised or said from None


def shape(parameter: Tensor) -> tuple[int, ...]:
    """The shape of a parameter, also of one that is spread over ranks."""
    return tuple(getattr(parameter, "ds_shape", parameter.shape))
