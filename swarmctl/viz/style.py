"""Colours, type sizes and round lengths that every picture shares."""

from __future__ import annotations

import math

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, LinearSegmentedColormap, ListedColormap, to_rgb

INK = "#1d2730"
MUTED = "#5d6a75"
HAIRLINE = "#c3ccd4"
PAPER = "#ffffff"
WALL = "#c5ccd3"
WALL_EDGE = "#55616c"
ARROW = "#8fa3b5"
BODY_COLOURS = ("#93a5b6", "#c2a878", "#9db59a", "#b39ab5")

# Okabe and Ito's palette, in an order that keeps neighbours apart on the blue-grey field.
SPECIES_COLOURS = (
    "#e8590c",
    "#009e73",
    "#f0c808",
    "#a4458f",
    "#0072b2",
    "#7a5230",
    "#56b4e9",
    "#4d4d4d",
)


def _part_of(name: str, low: float, high: float) -> Colormap:
    full = matplotlib.colormaps[name]
    return ListedColormap(full(np.linspace(low, high, 256)), name=f"{name}_part")


# Pale on purpose: colloids and trails must stand out on it.
FIELD_MAP = LinearSegmentedColormap.from_list(
    "field", ["#fafbfc", "#e3edf4", "#c2d9e8", "#97bfd8", "#6fa3c6"], N=256
)
TIME_MAP = _part_of("plasma", 0.0, 0.82)


def value_map(name: str) -> Colormap:
    """The colour map of per-colloid values, without the palest end, which vanishes on paper."""
    return _part_of(name, 0.0, 0.93)


def species_rgb(index: int) -> np.ndarray:
    """RGB [3] in [0, 1] of species `index`; colours repeat after eight."""
    return np.array(to_rgb(SPECIES_COLOURS[index % len(SPECIES_COLOURS)]))


def mix(rgb: np.ndarray, other: str, share: float) -> np.ndarray:
    """Colours [...,3] moved towards `other` by `share` in [0, 1]."""
    return (1 - share) * np.asarray(rgb) + share * np.array(to_rgb(other))


def round_length(longest: float) -> float:
    """The largest of 1, 2 or 5 times a power of ten that is not above `longest`.

    >>> round_length(37.0)
    20.0
    """
    power = 10.0 ** math.floor(math.log10(longest) + 1e-9)
    return max(
        factor * power for factor in (1.0, 2.0, 5.0) if factor * power <= longest * (1 + 1e-9)
    )


def quiet_axes(axes: Axes, size: float) -> None:
    """Thin axes on the left and below, a grid in the background. `size` of type in points."""
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set(color=MUTED, linewidth=0.8)
    axes.tick_params(labelsize=size, colors=MUTED, labelcolor=INK, width=0.8, length=3.5)
    axes.grid(axis="y", color=HAIRLINE, linewidth=0.6, alpha=0.7)
    axes.set_axisbelow(True)
