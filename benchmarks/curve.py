"""A chart of latency against load as an SVG text, without a plotting library."""

from __future__ import annotations

import math
from collections.abc import Iterable
from html import escape

WIDTH, HEIGHT = 760, 420
LEFT, RIGHT, TOP, BOTTOM = 64, 190, 24, 48
COLOURS = ("#0b6e4f", "#3fa37c", "#c8553d", "#5b5f97", "#e0a030", "#8a6d3b", "#777777")

Series = dict[str, list[tuple[float, float]]]


def draw(series: Series, *, x_title: str, y_title: str) -> str:
    """Lines through points (x, y), both axes logarithmic, one colour and label a series.

    :param series: the points by label, each at least one, all values above 0.
    """
    points = [point for line in series.values() for point in line]
    x_axis = _Axis([x for x, _ in points], LEFT, WIDTH - RIGHT)
    y_axis = _Axis([y for _, y in points], HEIGHT - BOTTOM, TOP)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        *_grid(x_axis, y_axis),
        _text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 10, x_title, "middle"),
        f'<text transform="translate(14 {(TOP + HEIGHT - BOTTOM) / 2}) rotate(-90)" '
        f'text-anchor="middle">{escape(y_title)}</text>',
    ]
    for number, (label, line) in enumerate(series.items()):
        parts += _line(label, line, x_axis, y_axis, number)
    return "\n".join([*parts, "</svg>"]) + "\n"


class _Axis:
    """Maps values to pixels from `start` to `end`, by their logarithm."""

    def __init__(self, values: list[float], start: float, end: float) -> None:
        self.start, self.end = start, end
        self.low = math.log10(min(values) * 0.85)
        self.high = math.log10(max(values) * 1.2)

    def place(self, value: float) -> float:
        share = (math.log10(value) - self.low) / (self.high - self.low)
        return round(self.start + share * (self.end - self.start), 1)

    def ticks(self) -> Iterable[float]:
        for power in range(math.floor(self.low), math.ceil(self.high) + 1):
            for step in (1, 2, 5):
                value = step * 10.0**power
                if self.low <= math.log10(value) <= self.high:
                    yield value


def _grid(x_axis: _Axis, y_axis: _Axis) -> list[str]:
    parts = []
    for value in x_axis.ticks():
        x = x_axis.place(value)
        parts.append(_path(x, y_axis.start, x, y_axis.end))
        parts.append(_text(x, y_axis.start + 16, f"{value:g}", "middle"))
    for value in y_axis.ticks():
        y = y_axis.place(value)
        parts.append(_path(x_axis.start, y, x_axis.end, y))
        parts.append(_text(x_axis.start - 6, y + 4, f"{value:g}", "end"))
    return parts


def _line(
    label: str, line: list[tuple[float, float]], x_axis: _Axis, y_axis: _Axis, number: int
) -> list[str]:
    colour = COLOURS[number % len(COLOURS)]
    placed = [(x_axis.place(x), y_axis.place(y)) for x, y in line]
    joined = " ".join(f"{x},{y}" for x, y in placed)
    y = TOP + 12 + 20 * number
    x = WIDTH - RIGHT + 14
    return [
        f'<polyline points="{joined}" fill="none" stroke="{colour}" stroke-width="2"/>',
        *(f'<circle cx="{x}" cy="{y}" r="3" fill="{colour}"/>' for x, y in placed),
        f'<rect x="{x}" y="{y - 9}" width="12" height="10" fill="{colour}"/>',
        _text(x + 18, y, label, "start"),
    ]


def _path(x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}" stroke="#dddddd"/>'


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x}" y="{y}" text-anchor="{anchor}">{escape(text)}</text>'
