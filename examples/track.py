#!/usr/bin/env python3
"""Sends the metrics of a run to a tracker: JSON lines on standard input, each as it comes.

    tail -n +1 -F runs/zero/metrics.jsonl | python examples/track.py tensorboard runs/zero/tensorboard
    tail -n +1 -F runs/zero/metrics.jsonl | python examples/track.py trackio my-project --name zero
    tail -n +1 -F runs/zero/metrics.jsonl | python examples/track.py wandb my-project --name zero

Each needs its package (`pip install tensorboard`, trackio or wandb). `tail -n 0 -F` goes on after an interruption.
Objects become names with a slash, as rewards/accuracy; what is no number is left out. It needs nothing of r1.
"""

import argparse
import importlib
import json
import sys


def numbers(record, prefix=""):
    """The numbers of a record by their names."""
    for key, value in record.items():
        if isinstance(value, dict):
            yield from numbers(value, f"{prefix}{key}/")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield prefix + key, value


parser = argparse.ArgumentParser(description="Sends metrics records on standard input to a tracker.")
parser.add_argument("tracker", choices=["tensorboard", "trackio", "wandb"])
parser.add_argument("project", help="the project; for tensorboard the folder")
parser.add_argument("--name", help="the run's name")
arguments = parser.parse_args()

if arguments.tracker == "tensorboard":
    from torch.utils.tensorboard import SummaryWriter

    writer = SummaryWriter(arguments.project)

    def log(found, step):
        for name, value in found.items():
            writer.add_scalar(name, value, step)
        writer.flush()

    finish = writer.close
else:
    tracker = importlib.import_module(arguments.tracker)
    run = tracker.init(project=arguments.project, name=arguments.name)
    if arguments.tracker == "wandb":
        # By the record's own step: wandb's counter refuses to go back, as a run does after r1 rollback.
        run.define_metric("*", step_metric="step")

        def log(found, step):
            tracker.log({**found, "step": step})
    else:

        def log(found, step):
            tracker.log(found, step=step)

    finish = tracker.finish

try:
    for line in sys.stdin:
        record = json.loads(line)
        step = record.pop("step")
        log(dict(numbers(record)), step)
except KeyboardInterrupt:  # how one leaves tail -F
    pass
finally:
    finish()
