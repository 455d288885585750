"""Which examples go into which update, when a training validates, saves and stops: on an engine in this process."""

import json
import math

import numpy as np
import pytest
from conftest import run_r1
from sft_work import sums, training

from r1cli.algorithms.sft_settings import SftSettings
from r1cli.backend.base import EngineOptions
from r1cli.backend.checkpoint import read_config
from r1cli.backend.engine import Engine
from r1cli.backend.finetuning import Order, train
from r1cli.backend.sft_input import read_data
from r1cli.backend.tokenizer import Tokenizer
from r1cli.errors import InputError
from r1cli.runs import Run


def lines(data: bytes, name: str = "x.jsonl"):
    return [(line, f"{name}:{number}") for number, line in enumerate(data.splitlines(), 1)]


def work(folder, data, *, held=None, notes=None, handling=None, **settings):
    """Trains the run on the lines in this process; returns its metrics."""
    said = [] if notes is None else notes
    run = Run.open(folder)
    request = {"settings": settings, **(handling or {})}
    with run.lock():
        latest = run.latest()
        read = Tokenizer.load(latest), read_config(latest)
        data = read_data(run, *read, request, lines(data), held and lines(held, "held.jsonl"), said.append)
        return list(train(Engine(latest, run, EngineOptions(), said.append), data, request))


def test_the_order_is_a_function_of_seed_and_epoch():
    """Every example once an epoch, in another order each time; batches by number or by tokens, none above it."""
    lengths, rows = np.array([5, 40, 7, 9, 3, 8, 11, 2, 6, 30]), np.array([0, 1, 2, 3, 4, 5, 6, 8, 9])
    for settings, most in ((SftSettings(batch=4), None), (SftSettings(batch_tokens=20), 20)):
        order = Order(lengths, rows, settings)
        epochs = [order.epoch(0), order.epoch(1)]
        for updates in epochs:
            assert sorted(np.concatenate(updates)) == sorted(rows)
            for update in updates:
                assert len(update) <= 4 if most is None else len(update) == 1 or lengths[update].sum() <= most
        assert order.counts() == [len(updates) for updates in epochs]
        first = [list(update) for update in epochs[0]]
        assert first == [list(update) for update in Order(lengths, rows, settings).epoch(0)]
        assert first != [list(update) for update in epochs[1]]
        shuffled = Order(lengths, rows, SftSettings(batch=4, shuffle_seed=1)).epoch(0)
        assert first != [list(update) for update in shuffled]
    # By hand: no update stops while the next example would still fit.
    order = Order(lengths, rows, SftSettings(batch_tokens=20))
    flat = np.concatenate(order.epoch(0))
    for one, after in zip(order.epoch(0), order.epoch(0)[1:], strict=False):
        assert lengths[one].sum() + lengths[after[0]] > 20
    assert len(flat) == 9


def test_metrics_and_saves_of_a_training(run):
    """Epochs, counts and the schedule in the records; a step on disk at the end of each epoch, the newest two kept."""
    metrics = work(run, sums(30), epochs=3, batch=8, lr=1e-3, warmup_steps=2)
    assert [record["step"] for record in metrics] == list(range(1, 13))
    assert [record["epoch"] for record in metrics[:5]] == [0.25, 0.5, 0.75, 1.0, 1.25]
    assert [record["samples"] for record in metrics[:4]] == [8, 8, 8, 6]
    assert [record["saved"] for record in metrics] == [False, False, False, True] * 3
    expected = [5e-4, 1e-3, *(1e-3 * (0.1 + 0.45 * (1 + math.cos(math.pi * step / 10))) for step in range(10))]
    assert [record["lr"] for record in metrics] == pytest.approx(expected, rel=1e-6)
    assert metrics[-1]["loss"] < metrics[0]["loss"] and "validation_loss" not in metrics[0]
    stored = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert stored == metrics
    assert Run.open(run).steps() == [0, 8, 12]


def test_validation_of_a_file_and_of_a_share(run, tmp_path):
    """Every N updates and at the end; the loss is that of examples that are not trained on, wherever they come from."""
    held, notes = sums(12, seed=9), []
    metrics = work(run, sums(40), held=held + sums(3), notes=notes, batch=8, epochs=2, validate_every=4)
    assert [record["validation_loss"] is not None for record in metrics] == [
        number in (4, 8, 10) for number in range(1, 11)
    ]
    assert metrics[-1]["validation_loss"] < metrics[3]["validation_loss"] and "best_step" not in metrics[-1]
    assert notes == ["warning: 3 of 15 validation examples have a prompt that is trained on"]
    # The same examples give the same loss at a learning rate that trains nothing, in the file or as a share.
    other = tmp_path / "other"
    run_r1("init", other, "--from", "tiny", check=0)
    shared = work(other, sums(40), batch=32, epochs=1, lr=0.0, validation_share=0.3)
    assert sum(record["samples"] for record in shared) < 40 and shared[-1]["validation_loss"] is not None
    alone = work(other, sums(40), held=held, batch=32, epochs=1, lr=0.0)[-1]["validation_loss"]
    assert alone == work(other, sums(20), held=held, batch=16, epochs=1, lr=0.0)[-1]["validation_loss"]


def test_early_stop_publishes_the_best_step(run):
    """Training on wrong answers makes it worse after the first epochs: it stops, with the weights that were best."""
    held = sums(40, seed=9)
    options = {"epochs": 20, "batch": 16, "lr": 3e-3, "decay": "constant", "patience": 3}
    metrics = work(run, sums(24, wrong=True), held=held, **options)
    losses = [record["validation_loss"] for record in metrics if record["validation_loss"] is not None]
    best = losses.index(min(losses))
    assert len(losses) == best + 4 < 20  # three more, none better; two are kept on disk, and the best
    last, best_step = metrics[-1], 2 * (best + 1)
    assert last["best_step"] == best_step < last["step"] and training(run)["finished"]
    tensors = [run / f"step-{step:06d}" / "trainer/master.safetensors" for step in (best_step, last["step"])]
    assert tensors[1].read_bytes() == (run / "latest/trainer/master.safetensors").read_bytes()
    again = work(run, sums(24, wrong=True), held=held, **options)
    assert again == metrics  # nothing is left to do
    # What was published is what the best validation saw.
    check = work(run, sums(16, seed=5), held=held, epochs=1, batch=16, lr=0.0)
    assert check[-1]["validation_loss"] == min(losses)
    assert best_step not in Run.open(run).steps()  # kept as long as it was needed, no longer


@pytest.mark.parametrize(
    ("settings", "held", "words"),
    [
        ({"patience": 2}, None, "--patience needs examples to validate on"),
        ({"validation_share": 0.1}, b'{"prompt": "a", "completion": "b"}', "exclude each other"),
        ({"warmup_steps": 9, "epochs": 1}, None, "warmup_steps is 9, and there are only 1 updates"),
        ({"lr": -1.0}, None, "lr is -1.0"),
        ({}, b"", "no validation examples: the input is empty"),
    ],
)
def test_settings_that_make_no_sense(run, settings, held, words):
    with pytest.raises(InputError, match=words):
        work(run, sums(4), held=held, **settings)
    assert not (run / "metrics.jsonl").exists()


def test_settings_come_from_the_run(run):
    """run.json's defaults, which what is asked overrides; one way to say a thing replaces the other."""
    config = json.loads((run / "run.json").read_text())
    config["defaults"]["sft"] = {"batch_tokens": 150, "lr": 1e-4, "epochs": 1, "decay": "constant"}
    (run / "run.json").write_text(json.dumps(config))
    metrics = work(run, sums(20))
    assert all(record["tokens"] <= 150 for record in metrics) and metrics[-1]["lr"] == 1e-4
    metrics = work(run, sums(20, seed=2), batch=10, lr=1e-5)
    assert [record["samples"] for record in metrics] == [10, 10] and metrics[-1]["lr"] == 1e-5
    config["defaults"]["sft"] = {"learning": 1}
    (run / "run.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match="unknown setting 'learning'"):
        work(run, sums(4))


def test_closing_in_the_middle_saves_what_was_reached(run):
    """Between two updates the state is whole, so who stops there loses nothing."""
    opened = Run.open(run)
    request = {"settings": {"batch": 4, "epochs": 1}, "save_every": 100}
    with opened.lock():
        engine = Engine(opened.latest(), opened, EngineOptions(), print)
        data = read_data(opened, engine.tokenizer, engine.config, request, lines(sums(20)), None, print)
        updates = train(engine, data, request)
        next(updates)
        next(updates)
        updates.close()
    assert training(run)["updates"] == 2 and opened.latest().name == "step-000002"
