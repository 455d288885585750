"""DeepSpeed's ZeRO as the trainer uses it: how it is loaded and configured, and the few places inside its optimizers.

DeepSpeed reduces, clips and steps in one call; the trainer has to know the norm, and whether all ranks go on, in
between. So what lies between a backward pass and a step is done here, on the attributes of deepspeed 0.19. It knows no
model and no loss (trainer_deepspeed.py).
"""

import contextlib
import io
import logging
import os
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from r1cli.errors import InputError

# Elements that are reduced or gathered at a time: DeepSpeed's own 5e8 costs gigabytes of buffers.
BUCKET = 50_000_000


@dataclass(slots=True, frozen=True)
class ZeroSettings:
    """What is spread over ranks (stage 1 optimizer, 2 gradients too, 3 weights too) and kept in host memory.

    `offload` is none, optimizer (its state and update), or all (the weights too; stage 3).
    """

    stage: int = 2
    offload: str = "none"
    gradient_checkpointing: bool = False


def load_deepspeed(device: torch.device) -> ModuleType:
    """Imports DeepSpeed, with its chatter off and nothing that it would compile at its first use."""
    os.environ.setdefault("DS_ACCELERATOR", device.type)
    try:
        import deepspeed
    except ImportError as error:
        raise InputError(f"cannot import deepspeed ({error}): pip install 'r1-pipes[deepspeed]'") from None
    from deepspeed.utils import logger

    logger.setLevel(logging.ERROR)
    for handler in logger.handlers:
        handler.setStream(sys.stderr)
    # It calls collectives by the names of torch 2.11, which newer ones warn of at every call.
    warnings.filterwarnings("ignore", "`torch.distributed", FutureWarning)
    # Its all-reduce over shared memory takes a minute of compiler at the first start and leaves files in /dev/shm.
    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    return deepspeed


def start_engine(deepspeed: ModuleType, **arguments: Any) -> Any:
    """A DeepSpeed engine, without the memory figures that some of its optimizers print to stdout as they start."""
    with contextlib.redirect_stdout(io.StringIO()):
        return deepspeed.initialize(**arguments)[0]


def configuration(settings: ZeroSettings, *, dtype: torch.dtype, device: torch.device, whole: int) -> dict[str, Any]:
    """DeepSpeed's configuration; tensors of at most `whole` elements are kept whole on every rank at stage 3."""
    host = {"device": "cpu", "pin_memory": device.type == "cuda"}
    zero: dict[str, Any] = {
        "stage": settings.stage,
        "reduce_bucket_size": BUCKET,
        "allgather_bucket_size": BUCKET,
        # At stage 1 the gradient is reduced once, after the last micro-batch: nothing to overlap with.
        "overlap_comm": settings.stage > 1,
    }
    if settings.stage == 3:
        zero |= {"stage3_param_persistence_threshold": whole, "stage3_prefetch_bucket_size": BUCKET}
    if settings.offload != "none":
        zero["offload_optimizer"] = host
    if settings.offload == "all":
        zero["offload_param"] = host
    return {
        "train_micro_batch_size_per_gpu": 1,
        "gradient_accumulation_steps": 1,
        "gradient_clipping": 0.0,
        "bf16": {"enabled": dtype == torch.bfloat16},
        "data_types": {"grad_accum_dtype": "fp32"},
        "communication_data_type": "fp32",
        "zero_optimization": zero,
        "zero_allow_untested_optimizer": True,
        "zero_force_ds_cpu_optimizer": False,
        "steps_per_print": 2**31,
    }


class PartitionedAdamW(torch.optim.Optimizer):
    """AdamW over the flat fp32 partitions that ZeRO puts in the place of parameters; the update of optimizer_state.py.

    Its groups carry the numbers of an update, as DeepSpeed hands groups, not arguments, around. One group holds the
    matrices, one the vectors, which do not decay.
    """

    def __init__(self, groups: list[dict[str, Any]]):
        numbers = {"steps": 0, "lr": 0.0, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "weight_decay": 0.0, "scale": 1.0}
        super().__init__(groups, numbers)

    def moments(self, partition: Tensor) -> dict[str, Tensor]:
        """The state of a partition, made when it is first asked for."""
        state = self.state[partition]
        for kind in () if state else ("exp_avg", "exp_avg_sq"):
            state[kind] = torch.zeros_like(partition)
        return state

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        for group in self.param_groups:
            for partition in group["params"]:
                state, device = self.moments(partition), partition.device
                # In one pass, which decides how long an update on the host takes, and without a compiler.
                torch._fused_adamw_(
                    [partition.data],
                    [partition.grad],
                    [state["exp_avg"]],
                    [state["exp_avg_sq"]],
                    [],
                    [torch.tensor(float(group["steps"]), device=device)],
                    lr=group["lr"],
                    beta1=group["beta1"],
                    beta2=group["beta2"],
                    weight_decay=group["weight_decay"],
                    eps=group["eps"],
                    amsgrad=False,
                    maximize=False,
                    grad_scale=torch.tensor(1.0 / group["scale"], device=device),
                )


class Zero:
    """The ZeRO optimizer of a DeepSpeed engine between backward and step."""

    def __init__(self, engine: Any, stage: int):
        self.engine, self.stage = engine, stage
        self.optimizer = engine.optimizer
        # bf16 weights with fp32 accumulation at stage 1 are an optimizer of their own in DeepSpeed.
        self.separate = type(self.optimizer).__name__ == "BF16_Optimizer"
        self.offload = bool(getattr(self.optimizer, "cpu_offload" if stage < 3 else "offload_optimizer", False))
        engine.set_gradient_accumulation_boundary(False)
        inner = self.optimizer.optimizer
        for partition in self.partitions():
            inner.moments(partition)
        if stage < 3:
            self.optimizer._lazy_init_hp_params_optimizer_state()

    def partitions(self) -> list[Tensor]:
        """This rank's flat fp32 weights."""
        if self.separate:
            return self.optimizer.fp32_groups_flat_partition
        if self.stage < 3:
            return self.optimizer.single_partition_of_fp32_groups
        return self.optimizer.fp32_partitioned_groups_flat

    def reduce(self) -> None:
        """Completes the sum of gradients over micro-batches and ranks; every rank has had a backward pass."""
        self.engine.set_gradient_accumulation_boundary(True)
        if self.stage == 1:
            self.engine.allreduce_gradients()
        else:
            self.optimizer.finalize_gradient_accumulation_boundary()

    def gradients(self) -> Iterator[Tensor]:
        """This rank's parts of the reduced gradient."""
        if self.separate:
            yield from self.optimizer.fp32_groups_gradient_flat_partition
        elif self.offload:
            yield from (partition.grad for partition in self.partitions())
        else:
            for group in self.optimizer.averaged_gradients.values():
                yield from group

    def norm(self, device: torch.device) -> float:
        """Global 2-norm of the reduced gradient, the same on every rank."""
        total = torch.zeros((), dtype=torch.float64, device=device)
        for part in self.gradients():
            total += torch.linalg.vector_norm(part).double().square().to(device)
        dist.all_reduce(total)
        return total.sqrt().item()

    def step(self, **numbers: float) -> None:
        """Updates every rank's partition and spreads the weights that they belong to."""
        for group in self.optimizer.param_groups:
            group.update(numbers, weight_decay=numbers["weight_decay"] if group["decays"] else 0.0)
        self.optimizer.step()

    def discard(self) -> None:
        """Forgets the gradients of this rank, without a word to the others."""
        optimizer = self.optimizer
        self.engine.set_gradient_accumulation_boundary(False)
        optimizer.zero_grad()
        if self.separate:
            return
        optimizer.micro_step_id = -1 if self.stage < 3 else 0
        for store in (optimizer.averaged_gradients, getattr(optimizer, "all_grad_tensors", {})):
            for group in store:
                store[group] = None
        if self.offload:
            optimizer.reset_cpu_buffers()

    def publish(self) -> None:
        """Gives the model the values of the fp32 partitions, after somebody has set these; collective."""
        optimizer = self.optimizer
        if self.stage < 3:
            optimizer.update_lp_params()
            return
        optimizer._partition_all_parameters()
        for group in range(len(optimizer.fp16_groups)):
            optimizer._reassign_or_swap_out_partitioned_parameters(group)
        if optimizer.persistent_parameters:
            optimizer.persistent_parameters[0].all_gather(optimizer.persistent_parameters)


def own_part(value: Tensor, parameter: Tensor) -> Tensor:
    """This rank's share of a whole tensor at stage 3: an equal slice of its flat elements, the last one padded."""
    size = parameter.ds_tensor.numel()
    part = torch.zeros(size, dtype=value.dtype)
    start = size * dist.get_rank()
    mine = value.flatten()[start : start + size]
    part[: mine.numel()] = mine
    return part
