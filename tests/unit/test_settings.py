"""GrpoSettings: the paper's defaults, one-line refusals, and no torch at import."""

import dataclasses
import subprocess
import sys

import pytest

from r1cli.algorithms.settings import CHOICES, GrpoSettings, refuse_idle, validate


def test_defaults_are_the_papers_and_valid():
    """DeepSeek-R1, Methods: learning rate 3e-6, KL coefficient 0.001, clip ratio 10, one inner epoch."""
    settings = GrpoSettings()
    validate(settings)
    assert (settings.lr, settings.kl, settings.clip_low, settings.clip_high, settings.epochs) == (3e-6, 1e-3, 10, 10, 1)
    assert (settings.loss, settings.normalize, settings.scale, settings.kl_estimator) == (
        "grpo",
        "sequence",
        "group",
        "k3",
    )


def test_settings_do_not_import_torch():
    """A command that checks its options must not pay for torch."""
    code = "import sys, r1cli.algorithms.settings; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_round_trip():
    """What run.json stores comes back equal."""
    settings = GrpoSettings(lr=1e-5, normalize="constant", normalize_constant=48.0, total_steps=60, decay="linear")
    assert GrpoSettings.from_dict(dataclasses.asdict(settings)) == settings


def test_integers_are_good_floats():
    """JSON writers print 2.0 as 2; the setting is a float all the same."""
    settings = GrpoSettings.from_dict({"dual_clip": 3, "kl": 0, "total_steps": None})
    assert type(settings.dual_clip) is float and type(settings.kl) is float and settings.total_steps is None


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"learning_rate": 1.0}, ["'learning_rate'", "allowed are lr, minibatches"]),
        ({"lr": "3e-6"}, ["lr is '3e-6'", "expected float"]),
        ({"minibatches": 2.0}, ["minibatches is 2.0", "expected int"]),
        ({"minibatches": True}, ["minibatches is True", "expected int"]),
        ({"mask_truncated": 1}, ["mask_truncated is 1", "expected bool"]),
        ({"dual_clip": "3"}, ["dual_clip is '3'", "expected float or null"]),
        ({"kl": None}, ["kl is None", "expected float"]),
        ({"loss": 3}, ["loss is 3", "one of grpo, r1, gspo, gspo-token, cispo"]),
    ],
)
def test_from_dict_refuses(values, words):
    """Unknown names and wrong types: one line that says what is allowed."""
    with pytest.raises(ValueError) as error:
        GrpoSettings.from_dict(values)
    assert "\n" not in str(error.value)
    assert all(word in str(error.value) for word in words)


@pytest.mark.parametrize(
    "values",
    [
        {"lr": -1e-6},
        {"lr": float("nan")},
        {"kl": float("inf")},
        {"minibatches": 0},
        {"epochs": 0},
        {"clip_low": -0.1},
        {"clip_high": -0.1},
        {"dual_clip": 1.0},
        {"kl": -0.1},
        {"correction_max": 0.0},
        {"correction_min": -1.0},
        {"correction_min": 3.0},
        {"offpolicy_mask": -0.5},
        {"overlong_cache": -1},
        {"entropy": -0.01},
        {"weight_decay": -0.1},
        {"beta1": 1.0},
        {"beta2": -0.1},
        {"adam_eps": 0.0},
        {"grad_clip": 0.0},
        {"warmup_steps": -1},
        {"total_steps": 0},
        {"decay": "linear"},
        {"decay": "cosine", "total_steps": 10, "warmup_steps": 10},
        {"lr_min_ratio": 1.5},
        {"normalize_constant": 0.0},
        {"micro_tokens": 0},
        {"shuffle_seed": -1},
        {"loss": "cispo", "dual_clip": 3.0},
        {"correction": "token-mask", "old_logprobs": "sampler"},
        {"minibatches": "four"},
        *({name: "nonsense"} for name in CHOICES),
    ],
)
def test_validate_refuses(values):
    """Nonsense is refused in one line that names a setting at fault."""
    with pytest.raises(ValueError) as error:
        validate(GrpoSettings(**values))
    assert "\n" not in str(error.value)
    assert any(name in str(error.value) for name in values)


def test_a_setting_that_does_nothing_is_refused():
    """What was asked for and can't matter beside the others, the run's own included, is no silent success."""
    for name, other in (
        ("correction_max", {"correction": "token-mask"}),
        ("correction_min", {"correction": "token-mask"}),
        ("normalize_constant", {"normalize": "constant"}),
        ("lr_min_ratio", {"decay": "linear"}),
    ):
        with pytest.raises(ValueError, match=f"{name} does nothing with"):
            refuse_idle({name}, GrpoSettings(**{name: 0.5}))
        refuse_idle({name}, GrpoSettings(**{name: 0.5}, **other))
        refuse_idle(set(other), GrpoSettings(**{name: 0.5}))  # the run's, which may wait for its day


def test_every_word_of_the_choices_is_a_valid_setting():
    """No choice is offered that validate then refuses."""
    for name, words in CHOICES.items():
        for word in words:
            validate(GrpoSettings(**{"total_steps": 10, name: word}))
