"""What the DeepSpeed trainer refuses before any rank has begun, and what ZeRO 3 asks of the model."""

import sys

import pytest
import torch
from models import write_checkpoint

from r1cli.backend.checkpoint import load_model
from r1cli.backend.packing import pack
from r1cli.backend.trainer_deepspeed import DeepSpeedTrainer
from r1cli.backend.zero import ZeroSettings, load_deepspeed
from r1cli.errors import InputError


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (ZeroSettings(0), "ZeRO stage 0, offload 'none': expected 1, 2 or 3"),
        (ZeroSettings(3, "disk"), "offload 'disk': expected"),
        (ZeroSettings(2, "all"), "offload 'all' at ZeRO stage 2: weights leave the card at stage 3 only"),
    ],
)
def test_settings_that_cannot_be_are_one_error(tmp_path, settings, words):
    """An option that is not honoured is refused, never ignored."""
    with pytest.raises(InputError, match=words):
        DeepSpeedTrainer(tmp_path, settings)


def test_without_the_extra_the_error_names_its_command(monkeypatch):
    """A user without DeepSpeed is told what to install."""
    monkeypatch.setitem(sys.modules, "deepspeed", None)
    with pytest.raises(InputError, match=r"pip install 'r1-pipes\[deepspeed\]'"):
        load_deepspeed(torch.device("cpu"))


class Watched(dict):
    """A module's parameters, with a note of each that is looked at while the module itself is not running."""

    def __init__(self, parameters, module, seen):
        super().__init__(parameters)
        self.module, self.seen = module, seen

    def __getitem__(self, name):
        if not getattr(self.module, "running", False):
            self.seen.append(name)
        return super().__getitem__(name)


@pytest.mark.parametrize("kind", ["qwen2", "qwen3", "llama"])
def test_the_model_looks_at_no_weight_outside_its_module(tmp_path, kind):
    """ZeRO 3 takes such a weight for another module's, and above its prefetch bucket computes with freed memory."""
    write_checkpoint(tmp_path, kind)
    model = load_model(tmp_path, dtype=torch.float32, device="cpu")
    micro = pack([[3, 4, 5]], [[6, 7]], [0], [0])
    seen = []
    for module in model.modules():
        module.register_forward_pre_hook(lambda module, _: setattr(module, "running", True))
        module.register_forward_hook(lambda module, *_: setattr(module, "running", False))
        module._parameters = Watched(module._parameters, module, seen)
    model.hidden(micro.tokens, micro.positions, micro.attend)
    assert not seen
    model.rotation(micro.positions)  # what asks a norm for its dtype
    assert seen
