"""Pages as one HTML file to send to a colleague: nothing is loaded from anywhere, and nothing in it can run."""

from html import escape

from r1cli.showing.layout import Columns, Page, Paragraph
from r1cli.ui import printable

HEAD = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width"><style>
:root {{ color-scheme: light dark; --ink: #1f2328; --ground: #fff; --rule: #d8dee4; --dim: #6e7781;
  --good: #1a7f37; --bad: #cf222e; --warn: #9a6700; --p50: #fff3c4; --p10: #ffd3a8; --p01: #ff9d9d }}
@media (prefers-color-scheme: dark) {{ :root {{ --ink: #e6edf3; --ground: #0d1117; --rule: #30363d; --dim: #848d97;
  --good: #3fb950; --bad: #f85149; --warn: #d29922; --p50: #4d3b00; --p10: #6b3300; --p01: #8b1a1a }} }}
body {{ max-width: 66rem; margin: 2rem auto; padding: 0 1rem; font: 15px/1.5 system-ui, sans-serif;
  color: var(--ink); background: var(--ground) }}
article {{ border-top: 1px solid var(--rule); padding: .8rem 0 1.2rem }}
p {{ margin: .35rem 0; white-space: pre-wrap; overflow-wrap: anywhere }}
.columns {{ display: grid; grid-auto-flow: column; grid-auto-columns: 1fr; gap: 1.5rem }}
.bold {{ font-weight: 600 }} .dim {{ color: var(--dim) }}
.good {{ color: var(--good) }} .bad {{ color: var(--bad) }} .warn {{ color: var(--warn) }}
.p50 {{ background: var(--p50) }} .p10 {{ background: var(--p10) }} .p01 {{ background: var(--p01) }}
@media (max-width: 45rem) {{ .columns {{ grid-auto-flow: row }} }}
</style></head><body>
"""
TAIL = "</body></html>\n"


def head(title: str) -> str:
    """What the file begins with."""
    return HEAD.format(title=escape(printable(title)))


def render(page: Page) -> str:
    """One page; blank paragraphs, which are for terminals, are left out."""
    return f"<article>{''.join(map(_block, page))}</article>\n"


def _block(block: Paragraph | Columns) -> str:
    if isinstance(block, Columns):
        stacks = ("".join(map(_block, stack)) for stack in block.stacks)
        return f'<div class="columns">{"".join(f"<div>{stack}</div>" for stack in stacks)}</div>'
    spans = (
        f'<span class="{span.style}">{escape(span.text)}</span>' if span.style else escape(span.text)
        for span in block.spans
    )
    inner = "".join(spans).strip("\n")
    return f"<p>{inner}</p>" if inner else ""
