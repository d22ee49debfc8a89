"""The picture of latency against load."""

from __future__ import annotations

import io

Series = dict[str, list[tuple[float, float]]]


MARKERS = "osD^v<>PX*phd"


def draw(series: Series, *, x_title: str, y_title: str, emphasized: str) -> str:
    """Draw lines through points (x, y), both axes logarithmic, as the text of an SVG file.

    :param series: the points by label, each at least one, all values above 0. The label is also
        the id of the line's group in the file.
    :param emphasized: how the labels of thicker lines begin.
    """
    # Heavy, and in the extra `dev` only.
    import matplotlib as mpl
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator, NullLocator

    # Texts stay texts, and the same samples give the same file.
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "launcher"}):
        figure = Figure(figsize=(9, 5), layout="constrained")
        axes = figure.add_subplot(xscale="log", yscale="log", xlabel=x_title, ylabel=y_title)
        # Lines next to each other in the legend differ in colour and in the shape of their points.
        colors = mpl.colormaps["tab20"]
        for place, (label, points) in enumerate(series.items()):
            axes.plot(
                *zip(*points, strict=True),
                color=colors((2 * place + 2 * place // 20) % 20),
                marker=MARKERS[place % len(MARKERS)],
                markersize=5,
                linewidth=2.6 if label.startswith(emphasized) else 1.2,
                label=label,
                gid=label,
            )
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axis.set_major_formatter("{x:g}")
            axis.set_minor_locator(NullLocator())
        axes.grid(color="#dddddd")
        figure.legend(loc="outside right upper", frameon=False)
        text = io.StringIO()
        figure.savefig(text, format="svg", metadata={"Date": None})
    return text.getvalue()
