"""The generator against its publication, and draws against the distribution they should follow."""

import torch

from r1cli.backend.randomness import draw, mix, uniforms
from r1cli.backend.rows import KEY, Rows


def chi_square(counts: torch.Tensor, probabilities: torch.Tensor) -> float:
    """Chi-square per degree of freedom over the cells that can occur; a cell that can't must be empty."""
    total, possible = counts.sum(), probabilities > 0
    assert (counts[~possible] == 0).all()
    expected = total * probabilities[possible]
    return float(((counts[possible] - expected) ** 2 / expected).sum() / (possible.sum() - 1))


def test_frequencies_follow_the_distribution():
    """The inverse CDF draws softmax(logits / T), or its renormalised nucleus, and never a token of probability 0."""
    torch.manual_seed(3)
    logits = 1.5 * torch.randn(12)
    logits[[0, 5, 11]] = -torch.inf
    many = 200_000
    chances = uniforms(mix(torch.arange(many)), torch.arange(many) % 7)
    rows = logits.expand(many, -1)
    temperatures = torch.full((many,), 0.7, dtype=torch.float64)
    bounds = torch.full((many,), 0.8, dtype=torch.float64)
    for temperature, top_p, bound in ((0.7, 1.0, 2), (temperatures, 1.0, 2), (0.7, 0.8, 0.8), (0.7, bounds, 0.8)):
        tokens, logprobs = draw(rows, chances, temperature, top_p)
        full = (logits / 0.7).softmax(-1)
        ordered, order = full.sort(descending=True)
        kept = order[ordered.cumsum(0) - ordered < bound]
        nucleus = torch.zeros(12).index_copy(0, kept, full[kept])
        # 1% of good samplers exceed 2.5 with so few degrees of freedom; the seeds are fixed.
        assert chi_square(tokens.bincount(minlength=12), nucleus / nucleus.sum()) < 2.5
        torch.testing.assert_close(logprobs, full.log()[tokens])


def test_draw_at_the_ends_of_the_unit_interval():
    """The smallest and the largest uniform fall on possible tokens, not on a neighbour of probability 0."""
    logits = torch.tensor([[-torch.inf, 0.0, 0.0, -torch.inf, 1.0, -torch.inf, -torch.inf]]).expand(2, -1)
    chances = torch.tensor([0.0, 1 - 2.0**-52], dtype=torch.float64)
    assert draw(logits, chances, 1.0, 1.0)[0].tolist() == [1, 4]
    assert draw(logits, chances, 1.0, 0.7)[0].tolist() == [4, 1]


def test_uniforms_are_splitmix64():
    """The published first outputs of SplitMix64 with seed 1234567, and uniforms that look uniform and unrelated."""
    golden = 0x9E3779B97F4A7C15 - 2**64
    state = torch.tensor([1234567]) + torch.arange(1, 4) * golden
    published = [6457827717110365317, 3203168211198807973, 9817491932198370423]
    assert [value % 2**64 for value in mix(state).tolist()] == published
    table = uniforms(mix(torch.arange(300))[:, None], torch.arange(300)[None])
    assert table.min() >= 0 and table.max() < 1
    assert abs(table.mean() - 0.5) < 0.005 and abs(table.var() - 1 / 12) < 0.002
    correlation = torch.corrcoef(table) - torch.eye(300)
    assert correlation.abs().max() < 0.35


def test_neighbouring_keys_give_unrelated_streams():
    """Keys that differ by the generator's own increment would give one stream, shifted, were they used as they come."""
    rows = Rows(torch.device("cpu"))
    keys = [5 + step * 0x9E3779B97F4A7C15 for step in range(8)]
    rows.append(prompt_length=1, clock=0, limit=9, keys=keys, temperature=1.0, top_p=1.0)
    streams = uniforms(rows.column(KEY)[:, None], torch.arange(30)[None])
    assert streams.unique().numel() == streams.numel()
