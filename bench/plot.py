"""A plot without a plotting library: bars of processor time per token as SVG, one panel for each piece of work. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from bench.rounds import Measured
from bench.summary import Spread, spread

_COLORS = {"runtime": "#7fb3d5", "served": "#1f618d", "CTranslate2": "#e59866", "PyTorch": "#aeb6bf"}
_COLUMNS, _WIDTH, _LABEL, _BAR, _GAP = 3, 380, 120, 16, 5


def bars(measured: Sequence[Measured]) -> str:
    """Less is better; the thin line spans the quartiles. Each panel has its own scale, and its numbers beside the bars."""
    height = 34 + max((len(one.samples) for one in measured), default=0) * (_BAR + _GAP) + 16
    panels = [
        f'<g transform="translate({index % _COLUMNS * _WIDTH},{40 + index // _COLUMNS * height})">{_panel(one)}</g>'
        for index, one in enumerate(measured)
    ]
    rows = -(-len(measured) // _COLUMNS)
    total = 40 + rows * height
    title = (
        '<text x="8" y="24" font-size="15">Processor milliseconds per generated token (less is better)</text>'
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_COLUMNS * _WIDTH} {total}" font-family="sans-serif">'
        f'<rect width="100%" height="100%" fill="white"/>{title}{"".join(panels)}</svg>\n'
    )


def _panel(one: Measured) -> str:
    spreads = {name: spread([s.processor for s in samples]) for name, samples in one.samples.items()}
    scale = (_WIDTH - _LABEL - 80) / max(value.upper for value in spreads.values())
    title = f'<text x="8" y="20" font-size="12" font-weight="bold">{escape(f"{one.work.shape}, {one.work}")}</text>'
    return title + "".join(_bar(row, name, value, scale) for row, (name, value) in enumerate(spreads.items()))


def _bar(row: int, name: str, value: Spread, scale: float) -> str:
    top = 34 + row * (_BAR + _GAP)
    middle = top + _BAR / 2
    lower, upper = (_LABEL + edge * scale for edge in (value.lower, value.upper))
    return (
        f'<text x="{_LABEL - 6}" y="{top + 12}" font-size="11" text-anchor="end">{escape(name)}</text>'
        f'<rect x="{_LABEL}" y="{top}" width="{value.median * scale:.1f}" height="{_BAR}" fill="{_COLORS[name.split(maxsplit=1)[0]]}"/>'
        f'<line x1="{lower:.1f}" x2="{upper:.1f}" y1="{middle}" y2="{middle}" stroke="black"/>'
        f'<text x="{upper + 6:.1f}" y="{top + 12}" font-size="11">{value.median:.3g}</text>'
    )
