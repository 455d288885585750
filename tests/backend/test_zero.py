"""What the DeepSpeed trainer refuses before any rank has begun."""

import sys

import pytest
import torch

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
