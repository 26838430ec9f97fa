"""Results over seeds: learning curves and comparisons, with bootstrap intervals."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from swarmctl.core.errors import ConfigError
from swarmctl.core.statistics import bootstrap_band
from swarmctl.viz import check, style
from swarmctl.viz.files import save_figure

CURVE_COLOURS = ("#0072b2", "#e8590c", "#009e73", "#a4458f", "#7a5230", "#56b4e9")
_REFERENCE_COLOURS = ("#77838d", "#b8860b", "#1d2730", "#8a5a83", "#3f7f5f", "#a05a3c")
_REFERENCE_DASHES: tuple[Any, ...] = (
    (0, (1.2, 1.6)),
    (0, (5, 2)),
    (0, (6, 1.6, 1.2, 1.6)),
    (0, (2.5, 1.2)),
)


def short_number(value: float) -> str:
    """A number for an axis of steps.

    >>> [short_number(x) for x in (0, 500, 20_000, 1.5e6)]
    ['0', '500', '20k', '1.5M']
    """
    for limit, suffix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= limit:
            return f"{value / limit:.4g}{suffix}"
    return f"{value:.4g}"


def learning_curve(
    path: str | Path,
    curves: Mapping[str, tuple[Any, Any]],
    references: Mapping[str, tuple[float, float, float]] | None = None,
    *,
    xlabel: str,
    ylabel: str,
    title: str = "",
    also: Sequence[str] = (),
) -> list[Path]:
    """Draw the mean over seeds with its band, a thin line per seed, and horizontal references.

    The band is a bootstrap 95 % interval of the mean, point by point.

    Args:
        path: png, svg or pdf by its suffix.
        curves: label -> (steps [K], values [S,K]), S seeds; one seed has no band.
        references: label -> (mean, low, high); low and high may be NaN.
        xlabel: with units.
        ylabel: with units.
        title: one line.
        also: further formats to write.

    Returns the paths written. Raises ConfigError for wrong shapes or values that are not finite.
    """
    if not curves:
        raise ConfigError("learning_curve: there are no curves.")
    figure = Figure(figsize=(9.2, 4.6), facecolor=style.PAPER)
    axes = figure.add_axes((0.085, 0.17, 0.575, 0.72))
    seeds = set()
    for index, (label, (steps, values)) in enumerate(curves.items()):
        steps = check.array(f"learning_curve: steps of {label!r}", steps, ("K",))
        values = check.array(f"learning_curve: values of {label!r}", values, ("S", len(steps)))
        seeds.add(len(values))
        mean, low, high = bootstrap_band(values, resamples=4000)
        colour = CURVE_COLOURS[index % len(CURVE_COLOURS)]
        if len(values) > 1:
            axes.plot(steps, values.T, color=colour, lw=0.6, alpha=0.35, zorder=2)
            axes.fill_between(steps, low, high, color=colour, alpha=0.2, lw=0, zorder=2.5)
        axes.plot(
            steps,
            mean,
            color=colour,
            lw=2.2,
            label=_wrapped(label),
            zorder=4,
            marker="o" if len(steps) == 1 else None,
        )
    for index, (label, reference) in enumerate((references or {}).items()):
        centre, low, high = check.array(
            f"learning_curve: reference {label!r}", reference, (3,), finite=False
        )
        colour = _REFERENCE_COLOURS[index % len(_REFERENCE_COLOURS)]
        axes.axhline(
            centre,
            color=colour,
            lw=1.5,
            ls=_REFERENCE_DASHES[index % len(_REFERENCE_DASHES)],
            label=_wrapped(label),
            zorder=3,
        )
        if np.isfinite([low, high]).all():
            axes.axhspan(low, high, color=colour, alpha=0.14, lw=0, zorder=1)
    axes.margins(x=0.01)
    axes.xaxis.set_major_locator(MaxNLocator(6))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: short_number(value)))
    _label(axes, xlabel, ylabel)
    figure.text(0.085, 0.935, title, fontsize=13, weight="bold", color=style.INK)
    axes.legend(
        loc="upper left",
        bbox_to_anchor=(1.02, 1.02),
        frameon=False,
        fontsize=10,
        labelcolor=style.INK,
        handlelength=2.2,
        labelspacing=0.8,
    )
    figure.text(0.085, 0.02, _explain(seeds), fontsize=8.5, color=style.MUTED)
    return save_figure(figure, path, also)


def _explain(seeds: set[int]) -> str:
    count = f"{min(seeds)}" if len(seeds) == 1 else f"{min(seeds)} to {max(seeds)}"
    if max(seeds) == 1:
        return "One seed: no interval can be given."
    return (
        f"Thick: mean of {count} seeds; thin: each seed; band: bootstrap 95 % interval of the mean."
    )


def _wrapped(label: str, width: int = 26) -> str:
    return textwrap.fill(label, width, break_on_hyphens=False)


def _label(axes: Axes, xlabel: str, ylabel: str) -> None:
    style.quiet_axes(axes, 10)
    axes.set_xlabel(xlabel, fontsize=11, color=style.INK, labelpad=5)
    axes.set_ylabel(ylabel, fontsize=11, color=style.INK, labelpad=6)


def comparison(
    path: str | Path,
    results: Mapping[str, tuple[float, float, float]],
    ylabel: str,
    *,
    title: str = "",
    highlight: str | None = None,
    also: Sequence[str] = (),
) -> list[Path]:
    """Draw one bar from zero per label, its interval as a whisker, and the numbers beside it.

    Args:
        path: png, svg or pdf by its suffix.
        results: label -> (mean, low, high), the ends of a 95 % interval; they may be NaN.
        ylabel: the quantity, with units (it stands below the horizontal bars).
        title: one line.
        highlight: the label to be drawn in colour.
        also: further formats to write.

    Returns the paths written. Raises ConfigError for wrong shapes or an unknown label to highlight.
    """
    if not results:
        raise ConfigError("comparison: there are no results.")
    if highlight is not None and highlight not in results:
        raise ConfigError(f"comparison: highlight {highlight!r} is not among {', '.join(results)}.")
    rows = [
        check.array(f"comparison: {label!r}", row, (3,), finite=False)
        for label, row in results.items()
    ]
    table = np.array(rows)
    check.array("comparison: means", table[:, 0], ("M",))
    height = 1.65 + 0.46 * len(table)
    figure = Figure(figsize=(8.0, height), facecolor=style.PAPER)
    axes = figure.add_axes((0.25, 0.72 / height, 0.5, 1 - 1.6 / height))
    place = np.arange(len(table))
    most = float(np.nanmax(np.abs(table)))
    decimals = min(max(1 - int(np.floor(np.log10(most))), 0), 8) if most > 0 else 0

    def number(value: float) -> str:
        return f"{value:.{decimals}f}".replace("-", "−")

    for y, (label, (mean, low, high)) in enumerate(zip(results, table, strict=True)):
        colour = CURVE_COLOURS[0] if label == highlight else "#b4c0ca"
        axes.barh(y, mean, height=0.6, color=colour, zorder=2)
        text = number(mean)
        if np.isfinite([low, high]).all():
            axes.plot([low, high], [y, y], color=style.INK, lw=1.6, solid_capstyle="butt", zorder=3)
            axes.plot([low, high], [y, y], color=style.INK, ls="none", marker="|", ms=8, zorder=3)
            text += f"  [{number(low)}, {number(high)}]"
        axes.text(
            1.03,
            y,
            text,
            transform=axes.get_yaxis_transform(),
            va="center",
            fontsize=10,
            color=style.INK,
            weight="bold" if label == highlight else "normal",
        )
    axes.axvline(0, color=style.MUTED, lw=0.8)
    axes.set_yticks(place, [_wrapped(label, 24) for label in results])
    axes.set_ylim(len(table) - 0.45, -0.55)
    axes.margins(x=0.06)
    _label(axes, ylabel, "")
    axes.grid(False)
    axes.grid(axis="x", color=style.HAIRLINE, linewidth=0.6, alpha=0.7)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    figure.text(
        0.02, 1 - 0.3 / height, title, fontsize=13, weight="bold", color=style.INK, va="center"
    )
    if np.isfinite(table[:, 1:]).any():
        figure.text(
            0.765,
            1 - 0.74 / height,
            "mean  [95 % interval]",
            fontsize=8.5,
            color=style.MUTED,
            va="center",
        )
    return save_figure(figure, path, also)
