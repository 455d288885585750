"""What of r1 works on this machine, and what to do about the rest: one finding for each part, tried and not guessed.

It installs nothing and changes nothing. How findings look to a person is commands/doctor.py's business.
"""

from collections.abc import Iterator

from r1cli.doctor.finding import Finding


def examine(quick: bool = False) -> Iterator[Finding]:
    """Yields the findings as they come. With `quick` versions are read, and nothing is imported, started or tried."""
    from r1cli.doctor import machine, packages, trials

    yield from machine.findings()
    yield from packages.findings(quick)
    yield machine.gpu(quick)
    if not quick:
        yield from trials.findings()
    yield from machine.programs()
