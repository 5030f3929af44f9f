"""A chart of ratios as SVG, written by hand: one group of bars for each load, on one logarithmic axis.

In: groups of rows, each with ratios of throughput and of efficiency. Out: an SVG document. Bars begin
at 1; to the right of it the first server is better.
"""

from html import escape
from math import ceil, floor, log10
from statistics import median

WIDTH = 900
LABEL_WIDTH = 250
VALUE_WIDTH = 70
TOP = 86
BAR = 9
ROW = 2 * BAR + 12
HEADING = 34
BOTTOM = 34
COLOURS = ("#2563a8", "#d9822b")
INK, GREY, LINE = "#1f2933", "#61707f", "#d5dbe1"
STEPS = (1, 2, 5)


def chart(title, legend, groups):
    """`groups`: pairs of a heading and rows; a row is a label and a list of ratios for each entry of
    the `legend`, the rounds' ratios, possibly none."""
    ratios = [ratio for _, rows in groups for _, series in rows for each in series for ratio in each]
    axis = Axis(min([*ratios, 0.5]), max([*ratios, 2]))
    parts, y = [], TOP
    for heading, rows in groups:
        parts.append(_text(12, y + 20, heading, weight="bold"))
        y += HEADING
        for label, series in rows:
            parts.append(_text(LABEL_WIDTH - 12, y + BAR + 4, label, anchor="end"))
            for index, each in enumerate(series):
                parts += _bar(axis, y + index * BAR, each, COLOURS[index])
            y += ROW
    return _document(y + BOTTOM, [_head(title, legend), *_grid(axis, y), *parts])


class Axis:
    """Places ratios; its ends are round figures outside of all of them."""

    def __init__(self, lowest, highest):
        self.low = floor(log10(lowest) * 3) / 3
        self.high = ceil(log10(highest) * 3) / 3

    def place(self, ratio):
        share = (log10(ratio) - self.low) / (self.high - self.low)
        return LABEL_WIDTH + share * (WIDTH - LABEL_WIDTH - VALUE_WIDTH)

    def ticks(self):
        all_ticks = [step * 10.0**power for power in range(floor(self.low), ceil(self.high) + 1) for step in STEPS]
        return [tick for tick in all_ticks if self.low - 1e-9 <= log10(tick) <= self.high + 1e-9]


def _head(title, legend):
    parts = [_text(12, 26, title, size=17, weight="bold")]
    x = 12
    for name, colour in zip(legend, COLOURS):
        parts.append(f'<rect x="{x}" y="42" width="14" height="10" fill="{colour}"/>')
        parts.append(_text(x + 20, 52, name))
        x += 40 + 7 * len(name)
    parts.append(_text(12, 74, "Median of the rounds; thin lines from the lowest to the highest round.", colour=GREY))
    return "\n".join(parts)


def _grid(axis, bottom):
    for tick in axis.ticks():
        x = axis.place(tick)
        colour, width = (INK, 1.5) if tick == 1 else (LINE, 1)
        yield (
            f'<line x1="{x:.1f}" y1="{TOP}" x2="{x:.1f}" y2="{bottom}" stroke="{colour}" stroke-width="{width}"/>'
        )
        yield _text(x, bottom + 18, f"{tick:g}", anchor="middle", colour=GREY)


def _bar(axis, y, ratios, colour):
    if not ratios:
        return
    one, end = axis.place(1), axis.place(median(ratios))
    low, high = axis.place(min(ratios)), axis.place(max(ratios))
    middle = y + BAR / 2 - 0.5
    yield (
        f'<rect x="{min(one, end):.1f}" y="{y}" width="{max(abs(end - one), 1):.1f}" height="{BAR - 1}" '
        f'fill="{colour}"/>'
    )
    yield f'<line x1="{low:.1f}" y1="{middle}" x2="{high:.1f}" y2="{middle}" stroke="{INK}"/>'
    yield _text(max(one, end, high) + 5, y + BAR - 1, f"{float(f'{median(ratios):.2g}'):g}", size=10)


def _text(x, y, text, size=13, weight="normal", anchor="start", colour=INK):
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" font-weight="{weight}" text-anchor="{anchor}" '
        f'fill="{colour}">{escape(text)}</text>'
    )


def _document(height, parts):
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" '
        f'height="{height}" font-family="sans-serif">'
    )
    return "\n".join([head, f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>', *parts, "</svg>\n"])
