"""Time, CPU and memory over size as one SVG that is legible on light and dark pages."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from table import latency_bound

Result = Mapping[str, Any]
Points = Sequence[tuple[float, float]]
WIDTH, HEIGHT = 330, 260
LEFT, RIGHT, TOP, BOTTOM = 56, 22, 34, 62
STYLE = """
text{font:12px sans-serif;fill:#24292f}.title{font-weight:bold;font-size:13px}
.grid{stroke:#8c959f;stroke-opacity:.35}.axis{stroke:#57606a}
.first{stroke:#0969da;fill:none;stroke-width:2}.second{stroke:#bc4c00;fill:none;stroke-width:2}
.bound{stroke:#6e7781;fill:none;stroke-dasharray:5 4;stroke-width:1.5}
circle.first{fill:#0969da}circle.second{fill:#bc4c00}
.third{stroke:#1a7f37;fill:none;stroke-width:2}circle.third{fill:#1a7f37}
@media (prefers-color-scheme:dark){text{fill:#e6edf3}.axis{stroke:#9198a1}
.first{stroke:#58a6ff}.second{stroke:#f0883e}circle.first{fill:#58a6ff}circle.second{fill:#f0883e}.bound{stroke:#9198a1}}
"""


@dataclass(frozen=True)
class Panel:
    """One diagram: lines by name (the class of their style), over entities or what `across` says.

    `logarithmic` is about the y axis. `ticks` are those of the x axis; by default powers of ten.
    """

    title: str
    unit: str
    lines: Mapping[str, Points]
    logarithmic: bool = True
    across: str = "entities"
    ticks: Sequence[float] = ()


def svg(results: Mapping[str, Result]) -> str:
    """Return the whole picture for these sizes."""
    sizes = sorted(results.values(), key=lambda result: int(result["entities"]))
    panels = [
        Panel("Time", "seconds", {
            "first": _over(sizes, lambda r: r["first"]["seconds"]),
            "second": _over(sizes, lambda r: r["second"]["seconds"]),
            "bound": _over(sizes, lambda r: latency_bound(r, "second")),
        }),
        Panel("CPU, all processes", "seconds", {
            "first": _over(sizes, lambda r: r["first"]["cpu"]),
            "second": _over(sizes, lambda r: r["second"]["cpu"]),
            "bound": _linear(sizes),
        }),
        Panel("Peak memory, all processes", "MiB", {
            "first": _over(sizes, lambda r: r["first"]["peak_mib"]),
            "second": _over(sizes, lambda r: r["second"]["peak_mib"]),
        }, logarithmic=False),
    ]  # fmt: skip
    legend = legend_of(("first", "first sync"), ("second", "second sync, nothing changed"),
                     ("bound", "time: GitLab's latency ÷ connections; CPU: linear from the smallest size"))  # fmt: skip
    return picture(panels, legend, "Time, CPU and memory of a sync over the number of entities")


def picture(panels: Sequence[Panel], legend: str, label: str) -> str:
    """Return panels side by side above a legend; `label` says what they show."""
    drawn = "".join(f'<g transform="translate({n * WIDTH},0)">{_panel(panel)}</g>' for n, panel in enumerate(panels))
    width, height = WIDTH * len(panels), HEIGHT + 30
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" '
        f'aria-label="{escape(label)}">'
        f"<style>{STYLE}</style>{drawn}{legend}</svg>\n"
    )


def _over(sizes: Sequence[Result], figure: Callable[[Result], float]) -> Points:
    return [(float(result["entities"]), float(figure(result))) for result in sizes]


def _linear(sizes: Sequence[Result]) -> Points:
    """What the first sync's CPU would be if every entity cost what it does in the smallest world."""
    each = sizes[0]["first"]["cpu"] / sizes[0]["entities"]
    return _over(sizes, lambda r: r["entities"] * each)


def _panel(panel: Panel) -> str:
    points = [point for line in panel.lines.values() for point in line]
    x_ticks = panel.ticks or _powers([x for x, _ in points])
    y_ticks = _powers([y for _, y in points]) if panel.logarithmic else _steps(max(y for _, y in points))
    across = _scale(x_ticks, LEFT, WIDTH - RIGHT, logarithmic=True)
    upward = _scale(y_ticks, HEIGHT - BOTTOM, TOP, logarithmic=panel.logarithmic)
    parts = [_text(WIDTH / 2, 18, panel.title, "title")]
    for tick in x_ticks:
        x = across(tick)
        parts.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/>')
        parts.append(_text(x, HEIGHT - BOTTOM + 16, _short(tick)))
    for tick in y_ticks:
        y = upward(tick)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(_text(LEFT - 6, y + 4, _short(tick), anchor="end"))
    parts.append(f'<path class="axis" fill="none" d="M{LEFT} {TOP}V{HEIGHT - BOTTOM}H{WIDTH - RIGHT}"/>')
    parts.append(_text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - BOTTOM + 34, panel.across))
    middle = (TOP + HEIGHT - BOTTOM) / 2
    parts.append(f'<g transform="rotate(-90 14 {middle})">{_text(14, middle, panel.unit)}</g>')
    for name, line in panel.lines.items():
        placed = [(across(x), upward(y)) for x, y in line]
        parts.append(f'<polyline class="{name}" points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in placed)}"/>')
        if name != "bound":
            parts += [f'<circle class="{name}" cx="{x:.1f}" cy="{y:.1f}" r="3"/>' for x, y in placed]
    return "".join(parts)


def legend_of(*entries: tuple[str, str]) -> str:
    """Return the names of lines (classes) and what they stand for, in a row."""
    parts: list[str] = []
    x = 20.0
    for name, text in entries:
        parts.append(f'<line class="{name}" x1="{x}" x2="{x + 26}" y1="{HEIGHT + 10}" y2="{HEIGHT + 10}"/>')
        parts.append(_text(x + 32, HEIGHT + 14, text, anchor="start"))
        x += 60 + 6.6 * len(text)
    return "".join(parts)


def _scale(ticks: Sequence[float], start: float, end: float, *, logarithmic: bool) -> Callable[[float], float]:
    def place(value: float) -> float:
        return math.log10(value) if logarithmic else value

    low, high = place(ticks[0]), place(ticks[-1])
    return lambda value: start + (place(value) - low) / (high - low) * (end - start)


def _powers(values: Sequence[float]) -> list[float]:
    """Powers of ten around all values, two at least; a little beyond one counts as on it."""
    low, high = math.floor(math.log10(min(values)) + 0.02), math.ceil(math.log10(max(values)) - 0.02)
    return [10.0**power for power in range(low, max(high, low + 1) + 1)]


def _steps(highest: float) -> list[float]:
    """Round numbers from 0 to beyond the highest value."""
    step = next(step for step in (10, 20, 50, 100, 200, 500, 1000, 2000, 5000) if step * 6 >= highest)
    return [float(n * step) for n in range(math.ceil(highest / step) + 1)]


def _short(value: float) -> str:
    if value >= 1_000_000:
        return f"{value / 1_000_000:g} M"
    return f"{value / 1000:g} k" if value >= 10_000 else f"{value:g}"


def _text(x: float, y: float, text: str, style: str = "", anchor: str = "middle") -> str:
    named = f' class="{style}"' if style else ""
    return f'<text{named} x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
