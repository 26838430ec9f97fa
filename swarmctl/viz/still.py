"""One picture of a whole episode: where everyone went, and how it compares."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import EllipseCollection, PathCollection
from matplotlib.figure import Figure

from swarmctl.core.errors import ConfigError
from swarmctl.viz import bodies, check, ground, shapes, style
from swarmctl.viz.curves import CURVE_COLOURS
from swarmctl.viz.files import save_figure
from swarmctl.viz.frame import enlargement
from swarmctl.viz.scene import Scene

_WIDTH, _HEIGHT, _DPI = 12.0, 6.9, 150
_TIME_COLOURS = 96
_BASELINE_COLOURS = ("#77838d", "#1d2730", *CURVE_COLOURS[1:])


def still(
    path: str | Path,
    scene: Scene,
    position: np.ndarray,
    director: np.ndarray,
    times: np.ndarray,
    caption: Sequence[str] = (),
    metric: Mapping[str, np.ndarray] | None = None,
    *,
    metric_label: str = "mean distance from the source (µm)",
    present: np.ndarray | None = None,
    also: Sequence[str] = (),
    beads: np.ndarray | None = None,
    field_values: np.ndarray | None = None,
) -> list[Path]:
    """Draw trajectories coloured by time beside a measure of success over time.

    Args:
        path: png, svg or pdf by its suffix.
        scene: box, field, markers, title.
        position: [T,N,D] µm, unwrapped or wrapped.
        director: [N,D] at the end, or [T,N,D].
        times: [T] s, ascending.
        caption: lines below the curves; long ones are wrapped.
        metric: label -> [T], the first one (of this episode) in colour, others for comparison.
        metric_label: what the metric is, with units.
        present: bool [T,N]; all if left out.
        also: further formats to write.
        beads: [T,B,D] µm, beads of the scene's bodies; drawn pale at the start.
        field_values: the field at the end, as for `FrameRenderer.draw`.

    Returns the paths written. Raises ConfigError for wrong shapes.
    """
    times = check.array("still: times", times, ("T",))
    steps, shape = len(times), (scene.count, scene.dimension)
    if steps < 2 or (np.diff(times) <= 0).any():
        raise ConfigError(f"still: times must ascend and be at least 2, got {steps}.")
    position = check.array("still: position", position, (steps, *shape), finite=False)
    director = np.asarray(director, float)
    if director.ndim == 3:
        director = check.array("still: director", director, (steps, *shape), finite=False)[-1]
    director = check.array("still: director", director, shape, finite=False)
    if present is None:
        present = np.ones((steps, scene.count), bool)
    present = check.array("still: present", present, (steps, scene.count), dtype=bool)
    if scene.bodies and beads is not None:
        wanted = (steps, scene.beads, scene.dimension)
        beads = check.array("still: beads", beads, wanted, finite=False)
    curves = {
        label: check.array(f"still: metric {label!r}", curve, (steps,), finite=False)
        for label, curve in (metric or {}).items()
    }

    figure = Figure(figsize=(_WIDTH, _HEIGHT), dpi=_DPI, facecolor=style.PAPER)
    shown = np.where(present[..., None], position, np.nan)
    _draw_panel(figure, scene, shown, director, times, beads, field_values)
    left, width = 0.605, 0.365
    title = textwrap.fill(scene.title, 38)
    figure.text(
        left - 0.045,
        0.955,
        title,
        fontsize=15.5,
        weight="bold",
        color=style.INK,
        va="top",
        linespacing=1.25,
    )
    head = 0.045 * (title.count("\n") + 1) if title else 0.0
    lines = [text for line in caption for text in (textwrap.wrap(line, 64) or [""])]
    top, floor = 0.905 - head, 0.06 + 0.034 * len(lines)
    if curves:
        bottom = max(floor + 0.1, 0.26)
        if top - bottom < 0.2:
            raise ConfigError(f"still: {len(lines)} lines of caption leave no room for the curves.")
        _draw_curves(
            figure.add_axes((left, bottom, width, top - bottom)), curves, times, metric_label
        )
        start = bottom - 0.12
    else:
        start = top
    figure.text(
        left - 0.045,
        start,
        "\n".join(lines),
        fontsize=10.5,
        color=style.INK,
        va="top",
        linespacing=1.5,
    )
    return save_figure(figure, path, also)


def _draw_panel(
    figure: Figure,
    scene: Scene,
    position: np.ndarray,
    director: np.ndarray,
    times: np.ndarray,
    beads: np.ndarray | None,
    field_values: np.ndarray | None,
) -> None:
    x_low, x_high, y_low, y_high = scene.window
    room = (0.02, 0.13, 0.445, 0.845)
    scale = min(
        room[2] * _WIDTH / (x_high - x_low), room[3] * _HEIGHT / (y_high - y_low)
    )  # inch per µm
    wide, high = scale * (x_high - x_low) / _WIDTH, scale * (y_high - y_low) / _HEIGHT
    x, y = room[0] + (room[2] - wide) / 2, room[1] + (room[3] - high) / 2
    axes = figure.add_axes((x, y, wide, high))
    field = ground.draw_field(axes, scene)
    if field_values is not None:
        ground.set_field(axes, scene, field_values)
    ground.draw_flow(axes, scene)
    ground.draw_walls(axes, scene, 1.1)
    ground.draw_box(axes, scene, 1.0)
    ground.draw_markers(axes, scene, 12)

    if scene.bodies and beads is not None:
        for when, alpha, order in ((0, 0.3, 2.0), (-1, 1.0, 4.5)):
            paths = bodies.BodyPaths(axes, scale * 72, 0.8)
            paths.set_zorder(order)
            paths.place(scene, beads[when], alpha)
    segments, age, _ = shapes.trail_segments(position, scene.size, scene.periodic)
    middle = (times[:-1] + times[1:]) / 2
    colours = ((middle - times[0]) / (times[-1] - times[0]) * _TIME_COLOURS).astype(int)
    group = np.clip(colours, 0, _TIME_COLOURS - 1)[age]
    rgba = style.TIME_MAP(np.linspace(0, 1, _TIME_COLOURS))
    rgba[:, 3] = 0.9
    lines = PathCollection([], facecolors="none", capstyle="round", zorder=3)
    lines.set_transform(axes.transData)
    axes.add_collection(lines, autolim=False)
    crowd = np.clip(1.7 - 0.004 * scene.count, 0.8, 1.7)
    shapes.draw_groups(lines, segments, group, rgba, np.full(_TIME_COLOURS, crowd))

    enlarged = enlargement(scene, scale * 72)
    radius = scene.radii * enlarged
    start = np.isfinite(position[0]).all(axis=1)
    assert scene.aspects is not None
    reach = radius * np.maximum(scene.aspects, 1.0)
    place, index = shapes.periodic_images(
        position[0][start], reach[start], scene.size, scene.periodic
    )
    diameter = 2 * radius[start][index]
    axes.add_collection(
        EllipseCollection(
            diameter,
            diameter,
            np.zeros(len(index)),
            units="xy",
            offsets=place,
            facecolors="none",
            offset_transform=axes.transData,
            edgecolors=style.TIME_MAP(0.0),
            linewidths=1.1,
            zorder=4,
        ),
        autolim=False,
    )
    end = np.isfinite(position[-1]).all(axis=1)
    place, index = shapes.periodic_images(position[-1][end], reach[end], scene.size, scene.periodic)
    index = np.flatnonzero(end)[index]
    discs = shapes.JanusDiscs(axes, 0.7)
    discs.set_zorder(5)
    assert scene.species is not None
    front = np.array([[*style.species_rgb(kind), 1.0] for kind in scene.species]).reshape(-1, 4)
    aspects = scene.aspects[index]
    discs.set_discs(place, radius[index] * scale, director[index], front[index], aspects)
    axes.add_collection(discs, autolim=False)

    ground.draw_scale_bar(figure, scene, x, y - 0.037, wide, 12)
    notes = ["open circles: start", "filled: end, light side in front"]
    if enlarged != 1.0:
        notes.append(f"colloids enlarged ×{enlarged:g}")
    if scene.dimension == 3:
        notes.append("3D, seen along z")
    strip, broad = (x, wide) if wide > 0.3 else (room[0], room[2])
    figure.text(strip, y - 0.098, "  ·  ".join(notes), fontsize=9.5, color=style.MUTED, va="center")
    time = ground.ColourScale(style.TIME_MAP, float(times[0]), float(times[-1]), "")
    ground.draw_colour_bar(
        figure, time, (strip + 0.56 * broad, y - 0.045, 0.44 * broad, 0.016), 10, horizontal=True
    )
    figure.text(
        strip + 0.545 * broad,
        y - 0.037,
        "time (s)",
        fontsize=10,
        color=style.INK,
        ha="right",
        va="center",
    )
    if field is not None:
        ground.draw_colour_bar(figure, field, (x + wide + 0.008, y, 0.011, high), 10)


def _draw_curves(
    axes: Axes, curves: Mapping[str, np.ndarray], times: np.ndarray, label: str
) -> None:
    for index, (name, curve) in enumerate(curves.items()):
        if index == 0:
            axes.plot(times, curve, color=CURVE_COLOURS[0], lw=2.4, label=name, zorder=4)
        else:
            colour = _BASELINE_COLOURS[(index - 1) % len(_BASELINE_COLOURS)]
            dashes = ((0, (1.2, 1.5)), (0, (5, 2)))[(index - 1) % 2]
            axes.plot(times, curve, color=colour, lw=1.7, ls=dashes, label=name, zorder=3)
    low, high = axes.get_ylim()
    if low > 0 and low < 0.5 * high:
        axes.set_ylim(bottom=0)
    axes.set_xlim(float(times[0]), float(times[-1]))
    style.quiet_axes(axes, 10)
    axes.set_xlabel("time (s)", fontsize=11, color=style.INK, labelpad=4)
    axes.set_ylabel(label, fontsize=11, color=style.INK, labelpad=6)
    if sum(len(name) + 7 for name in curves) < 62:
        axes.legend(
            loc="lower left",
            bbox_to_anchor=(-0.01, 1.0),
            ncols=len(curves),
            frameon=False,
            fontsize=10,
            labelcolor=style.INK,
            handlelength=1.9,
            columnspacing=1.4,
            borderaxespad=0.2,
        )
    else:
        axes.legend(loc="best", fontsize=9, labelcolor=style.INK, edgecolor="none", framealpha=0.85)
