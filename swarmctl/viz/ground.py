"""What lies under the colloids: field, flow, walls, box, markers, scale bar, colour bars."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Colormap, Normalize, to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke
from matplotlib.ticker import FuncFormatter, MaxNLocator

from swarmctl.core.errors import ConfigError
from swarmctl.viz import check, style
from swarmctl.viz.scene import Scene


@dataclass(frozen=True)
class ColourScale:
    """A colour map, its range and meaning; `extend` is matplotlib's, for values out of range."""

    colormap: Colormap
    low: float
    high: float
    label: str
    extend: str = "neither"

    @property
    def norm(self) -> Normalize:
        """Linear from `low` to `high`."""
        return Normalize(self.low, self.high)


def draw_field(axes: Axes, scene: Scene, samples: int = 240) -> ColourScale | None:
    """Draw the scene's field with contour lines; return its colour scale, None without a field.

    A narrow peak (a point source) would leave the rest of the picture in one colour: if the
    highest value is more than four times the 99th percentile, colours end at that percentile and
    the colour bar shows it.
    """
    if scene.field is None:
        return None
    x_low, x_high, y_low, y_high = scene.window
    if scene.view is not None and any(scene.periodic[:2]):
        x_low, x_high = max(x_low, 0.0), min(x_high, scene.size[0])
        y_low, y_high = max(y_low, 0.0), min(y_high, scene.size[1])
    x = x_low + (np.arange(samples) + 0.5) * (x_high - x_low) / samples
    y = y_low + (np.arange(samples) + 0.5) * (y_high - y_low) / samples
    grid = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
    values = scene.evaluate_field(grid).reshape(samples, samples)
    finite = values[np.isfinite(values)]
    if not len(finite):
        raise ConfigError("scene: field(points) is finite nowhere in view.")
    low, high, extend = float(finite.min()), float(finite.max()), "neither"
    most = float(np.percentile(finite, 99))
    if scene.field_range is not None:
        low, high = scene.field_range
    elif low >= 0 and high > 4 * most > 0:
        high, extend = most, "max"
    if not high > low:
        low, high = low - 0.5 * abs(low) - 1e-12, high + 0.5 * abs(high) + 1e-12
    units = f" ({scene.field_units})" if scene.field_units else ""
    scale = ColourScale(style.FIELD_MAP, low, high, scene.field_label + units, extend)
    axes.imshow(
        values,
        extent=(x_low, x_high, y_low, y_high),
        origin="lower",
        cmap=scale.colormap,
        norm=scale.norm,
        interpolation="bicubic",
        aspect="auto",
        zorder=0,
    )
    if scene.field_range is None and np.ptp(np.clip(values, low, high)) > 0:
        levels = np.linspace(low, high, 9)[1:-1]
        # Below flows and walls.
        axes.contour(x, y, values, levels, colors="#ffffff", linewidths=0.7, alpha=0.75, zorder=0.5)
    return scale


def set_field(axes: Axes, scene: Scene, values: np.ndarray) -> None:
    """Show other values of a field with a `field_range`: means [X,Y(,Z)] over cells of the box."""
    if not axes.images or scene.field is None or scene.field_range is None:
        raise ConfigError(
            "picture: field_values are given but the scene has no field_range; set "
            "Scene(field=..., field_range=(low, high)) so that colours mean the same in every "
            "frame."
        )
    values = check.array("picture: field_values", values, ("X", "Y", "Z")[: scene.dimension])
    if values.ndim == 3:
        values = values[:, :, values.shape[2] // 2]
    x_low, x_high, y_low, y_high = scene.window
    axes.images[0].set_data(values.T)
    axes.images[0].set_extent((0.0, scene.size[0], 0.0, scene.size[1]))
    axes.set_xlim(x_low, x_high)
    axes.set_ylim(y_low, y_high)


def draw_flow(axes: Axes, scene: Scene, across: int = 15) -> None:
    """Draw arrows of the flow at time 0, `across` of them along the longer side of the view."""
    if scene.flow is None:
        return
    x_low, x_high, y_low, y_high = scene.window
    step = max(x_high - x_low, y_high - y_low) / across
    counts = [max(1, round(length / step)) for length in (x_high - x_low, y_high - y_low)]
    x = x_low + (np.arange(counts[0]) + 0.5) * (x_high - x_low) / counts[0]
    y = y_low + (np.arange(counts[1]) + 0.5) * (y_high - y_low) / counts[1]
    points = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
    if scene.solid is not None:
        points = points[~scene.solid(points)]
    velocity = scene.evaluate_flow(points)
    fastest = float(np.hypot(*velocity.T).max(initial=0.0))
    if not fastest > 0:
        return
    arrows = axes.quiver(
        *points.T,
        *velocity.T,
        angles="xy",
        units="xy",
        scale_units="xy",
        scale=fastest / (0.85 * step),
        width=0.045 * step,
        headwidth=4,
        headlength=4.5,
        headaxislength=4,
        minlength=0.5,
        pivot="middle",
        color=style.ARROW,
        zorder=1,
    )
    arrows.set_clip_on(True)


def draw_walls(axes: Axes, scene: Scene, line: float, samples: int = 600) -> None:
    """Fill the material of walls and draw their surfaces. `line` in points."""
    x_low, x_high, y_low, y_high = scene.window
    if scene.solid is not None:
        longer = max(x_high - x_low, y_high - y_low)
        counts = [max(2, round(samples * d / longer)) for d in (x_high - x_low, y_high - y_low)]
        x = x_low + (np.arange(counts[0]) + 0.5) * (x_high - x_low) / counts[0]
        y = y_low + (np.arange(counts[1]) + 0.5) * (y_high - y_low) / counts[1]
        grid = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
        filled = np.asarray(scene.solid(grid), bool).reshape(counts[1], counts[0])
        picture = np.zeros((*filled.shape, 4))
        picture[..., :3] = to_rgb(style.WALL)
        picture[..., 3] = filled
        axes.imshow(
            picture,
            extent=(x_low, x_high, y_low, y_high),
            origin="lower",
            interpolation="bilinear",
            aspect="auto",
            zorder=1.5,
        )
    for outline in scene.outlines:
        axes.plot(*np.asarray(outline).T, color=style.WALL_EDGE, lw=line, zorder=1.6)


def draw_box(axes: Axes, scene: Scene, line: float) -> None:
    """Set the limits and draw the box: dashed where it is periodic. `line` in points."""
    x_low, x_high, y_low, y_high = scene.window
    axes.set_xlim(x_low, x_high)
    axes.set_ylim(y_low, y_high)
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set(color=style.HAIRLINE, linewidth=line)
    dashes = {True: (0, (5, 3)), False: "solid"}
    if scene.view is None:
        for sides, periodic in zip(
            (("left", "right"), ("bottom", "top")), scene.periodic, strict=False
        ):
            for side in sides:
                axes.spines[side].set(color=style.MUTED, linestyle=dashes[periodic])
        return
    x, y = scene.size[:2]
    edges = ((((0, 0), (0, y)), ((x, x), (0, y))), (((0, x), (0, 0)), ((0, x), (y, y))))
    for lines, periodic in zip(edges, scene.periodic, strict=False):
        for along in lines if periodic or scene.walls else ():
            axes.plot(*along, color=style.MUTED, lw=line, ls=dashes[periodic], zorder=1)


def draw_markers(axes: Axes, scene: Scene, size: float) -> None:
    """Draw markers as stars, labelled on the side with more room. `size` of type in points."""
    x_low, x_high, y_low, y_high = scene.window
    halo = [withStroke(linewidth=0.28 * size, foreground=style.PAPER)]
    for marker in scene.markers:
        x, y = marker.position[:2]
        axes.plot(
            [x],
            [y],
            marker="*",
            markersize=1.35 * size,
            color=style.INK,
            mec=style.PAPER,
            mew=0.9,
            zorder=6,
        )
        right = (x - x_low) / (x_high - x_low) < 0.7
        down = (y - y_low) / (y_high - y_low) > 0.95
        axes.annotate(
            marker.label,
            (x, y),
            xytext=((0.8 if right else -0.8) * size, (-0.75 if down else 0) * size),
            textcoords="offset points",
            ha="left" if right else "right",
            va="center",
            fontsize=size,
            color=style.INK,
            path_effects=halo,
            zorder=6,
        )


def draw_scale_bar(
    figure: Figure, scene: Scene, left: float, y: float, width: float, size: float
) -> None:
    """Draw a scale bar with its length beside it.

    Args:
        figure: where.
        scene: gives the length of the view in µm.
        left: left end, as a share of the figure's width.
        y: height of the bar's centre, as a share of the figure's height.
        width: width of the view, as a share of the figure's width.
        size: of the text in points.
    """
    x_low, x_high, *_ = scene.window
    length = style.round_length(0.25 * (x_high - x_low))
    end = left + width * length / (x_high - x_low)
    thick = 0.28 * size / 72 / figure.get_figheight()
    figure.add_artist(
        Rectangle(
            (left, y - thick / 2),
            end - left,
            thick,
            transform=figure.transFigure,
            fc=style.INK,
            ec="none",
        )
    )
    gap = 0.5 * size / 72 / figure.get_figwidth()
    figure.text(
        end + gap, y, f"{length:g} µm", fontsize=size, color=style.INK, va="center_baseline"
    )


def draw_colour_bar(
    figure: Figure,
    scale: ColourScale,
    place: tuple[float, float, float, float],
    size: float,
    horizontal: bool = False,
) -> None:
    """Draw a labelled colour bar at `place`: left, bottom, width, height, shares of the figure."""
    axes = figure.add_axes(place)
    bar = figure.colorbar(
        ScalarMappable(scale.norm, scale.colormap),
        cax=axes,
        extend=scale.extend,
        orientation="horizontal" if horizontal else "vertical",
        ticks=MaxNLocator(5),
        format=FuncFormatter(lambda value, _: f"{value:.3g}"),
    )
    bar.outline.set(linewidth=0.5, edgecolor=style.MUTED)
    bar.ax.tick_params(labelsize=0.88 * size, length=2.5, width=0.6, color=style.MUTED)
    bar.ax.tick_params(labelcolor=style.INK)
    bar.set_label(scale.label, fontsize=size, color=style.INK, labelpad=0.35 * size)
