"""A plot without a plotting library: panels of bars as SVG. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from bench.rounds import Measured
from bench.summary import Spread, percentile, spread

_COLORS = {
    "runtime": "#7fb3d5",
    "served": "#1f618d",
    "streamed": "#2e86c1",
    "CTranslate2": "#e59866",
    "PyTorch": "#aeb6bf",
    "optimum-onnx": "#b7950b",
    "OpenVINO": "#af7ac5",
    "onnxruntime": "#73c6b6",
    "alone": "#7fb3d5",
    "disturbed": "#1f618d",
}
_COLUMNS, _WIDTH, _LABEL, _BAR, _GAP = 3, 380, 120, 16, 5


@dataclass(frozen=True, slots=True)
class Panel:
    """Bars with a scale of their own; the color is that of a name's first word."""

    title: str
    bars: Mapping[str, Spread]


def point(value: float) -> Spread:
    """A figure that has no quartiles."""
    return Spread(value, value, value)


def scaled(value: Spread, factor: float) -> Spread:
    return Spread(factor * value.median, factor * value.lower, factor * value.upper)


def disturbance(alone: Sequence[float], disturbed: Sequence[float]) -> dict[str, Spread]:
    """Bars of the p50 and the p99 in milliseconds, of seconds alone and beside something else."""
    return {
        f"{name} {label}": point(1e3 * percentile(values, share))
        for label, share in (("p50", 0.5), ("p99", 0.99))
        for name, values in (("alone", alone), ("disturbed", disturbed))
    }


def closed(measured: Sequence[Measured[Any]], unit: str = "generated token") -> str:
    """Processor time of closed batches for each `unit`, a panel for each piece of work."""
    panels = [
        Panel(
            f"{one.work.shape}, {one.work}",
            {name: spread([s.processor for s in samples]) for name, samples in one.samples.items()},
        )
        for one in measured
    ]
    return bars(f"Processor milliseconds per {unit} (less is better)", panels)


def bars(title: str, panels: Sequence[Panel]) -> str:
    """The thin line spans the quartiles; the numbers stand beside the bars."""
    height = 34 + max((len(one.bars) for one in panels), default=0) * (_BAR + _GAP) + 16
    drawn = [
        f'<g transform="translate({index % _COLUMNS * _WIDTH},{40 + index // _COLUMNS * height})">{_panel(one)}</g>'
        for index, one in enumerate(panels)
    ]
    total = 40 + -(-len(panels) // _COLUMNS) * height
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_COLUMNS * _WIDTH} {total}" font-family="sans-serif">'
        f'<rect width="100%" height="100%" fill="white"/><text x="8" y="24" font-size="15">{escape(title)}</text>'
        f"{''.join(drawn)}</svg>\n"
    )


def _panel(one: Panel) -> str:
    scale = (_WIDTH - _LABEL - 80) / max(value.upper for value in one.bars.values())
    title = f'<text x="8" y="20" font-size="12" font-weight="bold">{escape(one.title)}</text>'
    return title + "".join(
        _bar(row, name, value, scale) for row, (name, value) in enumerate(one.bars.items())
    )


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
