"""What r1 plot makes of records: kinds, axes, names, smoothing, labels; and its pictures."""

import re
import sys
import xml.etree.ElementTree as XML
from itertools import pairwise

import pytest

from r1cli import stream
from r1cli.errors import InputError
from r1cli.plotting import curves, drawing, picture, sources
from r1cli.plotting.curves import Curve, Panel, Point


def source(*records, name="run"):
    return sources.collect(name, [stream.Line(b"", record, f"{name}:{i}") for i, record in enumerate(records, 1)])


def update(step, **values):
    return {"step": step, "reward": step / 10, "tokens": 100, "seconds": {"gradient": 1.5, "optimizer": 0.5}} | values


def drawn(panels):
    return {panel.title: [(c.label, [(p.x, p.y) for p in c.points]) for c in panel.curves] for panel in panels}


def test_axes_add_up_what_the_updates_took():
    """Tokens and seconds are sums over the updates so far; an evaluation lies where the updates up to it end."""
    result = {"task": "sum", "pass@1": 0.5, "ci95": [0.4, 0.6], "step": 2}
    run = source(update(1), update(2), update(3), {**result, "step": 0}, result)
    for axis, places in (("step", [1, 2, 3]), ("tokens", [100, 200, 300]), ("seconds", [2, 4, 6])):
        found = drawn(curves.panels([run], ["a"], ["reward", "pass@1"], axis))
        assert found["reward"] == [("a", list(zip(places, [0.1, 0.2, 0.3], strict=True)))]
        assert found["pass@1"] == [("a", [(0, 0.5), (places[1], 0.5)])]
    (panel,) = curves.panels([run], ["a"], ["pass@1"], "step")
    assert panel.curves[0].points[0].interval == (0.4, 0.6) and panel.curves[0].sparse


def test_supervised_tokens_are_those_that_are_learnt():
    """Beside reinforcement learning the prompts of examples do not count."""
    taught = source({"step": 1, "loss": 1.0, "tokens": 100, "labelled_tokens": 40})
    assert drawn(curves.panels([taught], ["a"], ["loss"], "tokens")) == {"loss": [("a", [(40, 1.0)])]}


def test_what_is_drawn_without_being_asked():
    """What runs have of the usual numbers; the losses of supervised runs only, as a policy's says nothing."""
    run = source(update(1, rewards={"accuracy": 0, "mine": 1}, kl=None, loss=3.0, entropy=0.1, length_mean=7, lr=1))
    assert list(drawn(curves.panels([run], ["a"], None, "step"))) == [
        "reward", "accuracy", "rewards.mine", "length (tokens)", "entropy (nats)",
    ]  # fmt: skip
    taught = source({"step": 1, "loss": 2.0}, {"step": 2, "loss": 1.0, "validation_loss": 3})
    assert list(drawn(curves.panels([taught], ["a"], None, "step"))) == ["loss", "validation loss"]
    both = drawn(curves.panels([run, taught], ["a", "b"], None, "step"))
    assert [label for label, _ in both["loss"]] == ["b"] and "reward" in both


def test_runs_keep_their_order_in_every_panel():
    """What the first panel lacks does not come last in the legend."""
    panels = curves.panels([source(update(1)), source(update(1, kl=1))], ["a", "b"], ["kl", "reward"], "step")
    assert [[c.label for c in panel.curves] for panel in panels] == [["b"], ["a", "b"]]
    assert curves.labels_of(panels) == ["a", "b"]


def test_names_may_be_short():
    """accuracy is rewards.accuracy, length is length_mean, clip is clip_fraction; a dot goes into an object."""
    run = source(update(1, rewards={"accuracy": 1}, length_mean=2, clip_fraction=3))
    panels = curves.panels([run], ["a"], ["accuracy", "length", "clip", "seconds.gradient"], "step")
    assert [panel.curves[0].points[0].y for panel in panels] == [1, 2, 3, 1.5]
    with pytest.raises(
        InputError, match="no update has a number named nope; there are reward, accuracy, length, clip, "
    ):
        curves.panels([run], ["a"], ["nope"], "step")


def test_a_wrong_name_has_its_nearest():
    """Among the short names and the full ones; a name that is short for another number stays whole."""
    run = source(update(1, rewards={"accuracy": 1, "kl": 2}, kl=3, length_mean=2), {"step": 1, "pass@1": 0.5})
    for name, meant in (("acuracy", "accuracy"), ("length_maen", "length_mean"), ("pas@1", "pass@1")):
        with pytest.raises(InputError, match=f"named {name}; did you mean {meant}? there are ".replace("?", "[?]")):
            curves.panels([run], ["a"], [name], "step")
    with pytest.raises(InputError, match=r"there are reward, pass@1, accuracy, rewards\.kl, length, kl, sec"):
        curves.panels([run], ["a"], ["nope"], "step")


def test_what_shows_nothing_is_known():
    """Whatever the axis, and however many panels."""
    run, taught = source(update(1)), source({"step": 1, "loss": 2.0})
    both = curves.panels([run, taught, run], ["a", "b", "c"], ["reward", "tokens"], "step")
    assert curves.left_out(both, [run, taught, run]) == [1]
    judged = source({"pass@1": 0.5, "pass@2": 0.7})
    assert curves.left_out(curves.panels([run, judged], ["a", "b"], None, "k"), [run, judged]) == [0]


@pytest.mark.parametrize("value", [None, True, "1", [1], float("nan")])
def test_only_numbers_are_drawn(value):
    run = source(update(1, kl=value), update(2, kl=0.5))
    assert drawn(curves.panels([run], ["a"], ["kl"], "step")) == {"KL to the reference": [("a", [(2, 0.5)])]}


def test_smoothing_is_centred_and_keeps_the_ends():
    """By hand: as many neighbours on the left as on the right, so a straight line stays what it is."""
    points = [Point(x, y) for x, y in enumerate((0, 6, 0, 6, 3))]
    assert [p.y for p in curves.smoothed(points, 3)] == [0, 2, 4, 3, 3]
    line = [Point(x, 2 * x) for x in range(9)]
    assert [p.y for p in curves.smoothed(line, 5)] == [p.y for p in line]
    assert curves.smoothed(points, 1) == points


def judged(question, right):
    return {"id": question, "completion": "x", "rewards": {"accuracy": float(right)}, "task": "sum"}


def test_judged_samples_give_pass_at_k():
    """Two questions of four samples, one and four right: pass@2 is (1 - C(3,2)/C(4,2) + 1) / 2 = 0.75."""
    samples = source(*(judged("p", i == 0) for i in range(4)), *(judged("q", True) for _ in range(4)))
    assert curves.axis_of([samples]) == "k"
    (panel,) = curves.panels([samples], ["a"], None, "k")
    assert [(p.x, round(p.y, 12)) for p in panel.curves[0].points] == [(1, 0.625), (2, 0.75), (4, 1.0)]


def test_results_of_one_source_are_told_apart_by_what_differs():
    """By task or by step, and by the file only where these do not."""
    two = [{"task": "sum", "pass@1": 0.1, "pass@4": 0.3}, {"task": "max", "pass@1": 0.2}]
    assert [c.label for c in curves.panels([source(*two)], ["a"], None, "k")[0].curves] == ["a sum", "a max"]
    steps = [{**two[0], "step": 0}, {**two[0], "step": 9}]
    assert [c.label for c in curves.panels([source(*steps)], ["a"], None, "k")[0].curves] == ["a step 0", "a step 9"]
    files = sources.Source("run", [], [(two[0], "eval-base"), (two[0], "eval-late")])
    assert [c.label for c in curves.panels([files], ["a"], None, "k")[0].curves] == ["a eval-base", "a eval-late"]
    assert curves.axis_of([source(*steps)]) == "step"


@pytest.mark.parametrize(
    ("paths", "labels"),
    [
        (["runs/zero"], ["zero"]),
        (["runs/a", "old/a"], ["runs/a", "old/a"]),
        (["a/metrics.jsonl", "b/metrics.jsonl"], ["a", "b"]),
        (["x/base.jsonl", "trained.json"], ["base", "trained"]),
        (["a.jsonl", "a.json"], ["a.jsonl", "a.json"]),
        (["a", "a"], ["a (1)", "a (2)"]),
        (["\x1b[2J", "b"], ["\\x1b[2J", "b"]),
    ],
)
def test_labels_are_short_and_differ(paths, labels):
    assert drawing.names([sources.Source(path, [], []) for path in paths]) == labels


def test_other_records_are_refused():
    with pytest.raises(InputError, match=r'stdin:1: expected metrics \("step"\), .* found id, prompt'):
        source({"id": "a", "prompt": "b"}, name="stdin")


PANEL = Panel("reward", "step", [Curve("zero", [Point(x, x / 8) for x in range(9)])])


def paths_of(svg, colour):
    """The vertices of each line of a colour in an SVG, in its own coordinates: y grows downwards."""
    root = XML.fromstring(svg)
    found = [node.get("d") for node in root.iter("{http://www.w3.org/2000/svg}path") if colour in node.get("style", "")]
    return [[tuple(map(float, pair)) for pair in re.findall(r"[ML] (\S+) (\S+)", path)] for path in found]


def test_svg_has_the_points_and_is_reproducible():
    """Each point of the data is a vertex, in its place; the same data give the same bytes."""
    for theme in picture.THEMES:
        image = picture.render([PANEL], ".svg", theme, 1)
        assert picture.render([PANEL], ".svg", theme, 1) == image
        (line,) = paths_of(image, picture.THEMES[theme].curves[0])
        xs, ys = zip(*line, strict=True)
        assert len(line) == 9 and line == sorted(line)
        steps = {round(b - a, 3) for values in (xs, ys) for a, b in pairwise(values)}
        assert len(steps) == 2  # evenly on both axes
        assert ys[0] > ys[-1]
        assert f"fill: {picture.THEMES[theme].ground}".encode() in image


def test_png_is_one_and_grows_with_its_panels():
    sizes = []
    for count in (1, 7):
        image = picture.render([PANEL] * count, ".png", "light", None)
        assert image.startswith(b"\x89PNG\r\n")
        sizes.append(tuple(int.from_bytes(image[at : at + 4], "big") for at in (16, 20)))
    assert sizes[1][0] > 2 * sizes[0][0] > 1000


@pytest.mark.parametrize("label", ["_hidden", "a$b$c", "$\\frac{$", "</svg><script>", "九", ""])
def test_any_label_can_be_drawn(label):
    """No name is read as a formula or as markup, and none is left out of the legend."""
    other = Curve("other", PANEL.curves[0].points)
    both = PANEL._replace(curves=[PANEL.curves[0]._replace(label=label), other], title=label)
    lines = paths_of(picture.render([both], ".svg", "light", 1), picture.THEMES["light"].curves[0])
    assert len(lines) == 2  # the curve and its place in the legend


def test_missing_matplotlib_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(InputError, match=r"a picture needs matplotlib .*: pip install 'r1-pipes\[plot\]'"):
        picture.render([PANEL], ".png", "light", None)
