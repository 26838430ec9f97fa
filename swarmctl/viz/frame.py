"""Frames of a film: the picture is built once, then what moves is drawn on a kept background."""

from __future__ import annotations

import math

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import PathCollection
from matplotlib.colors import Normalize, to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from swarmctl.core.errors import ConfigError
from swarmctl.viz import bodies, check, ground, shapes, style
from swarmctl.viz.scene import Scene

_DPI = 100
_TRAIL_AGES = 20


def enlargement(scene: Scene, pixels_per_um: float) -> float:
    """By how much all colloids are drawn larger: 1 if the smallest one is big enough to see."""
    if not scene.count:
        return 1.0
    smallest = float(scene.radii.min()) * pixels_per_um
    if smallest >= scene.style.smallest_radius_px:
        return 1.0
    factor = scene.style.enlarged_radius_px / smallest
    digit = 10.0 ** (math.floor(math.log10(factor)) - 1)
    return round(factor / digit) * digit


class FrameRenderer:
    """Draws frames of one scene.

    Args:
        scene: what does not change.
        size_px: (width, height) of the frames.

    Attributes:
        pixels_per_um: scale of the picture.
        enlargement: by how much colloids are drawn larger than they are; the picture says so.
    """

    def __init__(self, scene: Scene, size_px: tuple[int, int] = (720, 720)) -> None:
        width, height = (int(length) for length in size_px)
        if min(width, height) < 160:
            raise ConfigError(
                f"frame: at least 160 x 160 pixels are needed, got {width} x {height}."
            )
        self.scene = scene
        self.size_px = (width, height)
        self._unit = min(width, height) / 720
        self._figure = Figure(
            figsize=(width / _DPI, height / _DPI), dpi=_DPI, facecolor=style.PAPER
        )
        self._canvas = FigureCanvasAgg(self._figure)
        self._build()

    def _points(self, pixels: float) -> float:
        """Type size in points for a size in pixels at 720, never too small to read."""
        return max(pixels * self._unit, 8.0) * 72 / _DPI

    def _build(self) -> None:
        scene, unit = self.scene, self._unit
        width, height = self.size_px
        bars = (scene.field is not None) + (scene.value_range is not None)
        row = max(26 * unit, 13.0)
        species = len(scene.species_names) > 1 and scene.value_range is None
        top = 14 * unit + row * (1.25 * bool(scene.title) + species)
        bottom = 12 * unit + 2 * row
        left = 18 * unit
        right = left + (max(88 * unit, 56.0) if bars else 0.0)
        x_low, x_high, y_low, y_high = scene.window
        scale = min(
            (width - left - right) / (x_high - x_low), (height - top - bottom) / (y_high - y_low)
        )
        wide, high = scale * (x_high - x_low), scale * (y_high - y_low)
        x = left + (width - left - right - wide) / 2
        y = bottom + (height - top - bottom - high) / 2
        self.pixels_per_um = scale
        self.enlargement = enlargement(scene, scale)
        self._axes = axes = self._figure.add_axes(
            (x / width, y / height, wide / width, high / height)
        )
        line = max(unit, 0.6) * 72 / _DPI
        text, small = self._points(16), self._points(12.5)

        field = ground.draw_field(axes, scene)
        ground.draw_flow(axes, scene)
        ground.draw_walls(axes, scene, 1.4 * line)
        ground.draw_box(axes, scene, 1.2 * line)
        ground.draw_markers(axes, scene, self._points(15))
        scale_y = (y - 0.62 * row) / height
        ground.draw_scale_bar(self._figure, scene, x / width, scale_y, wide / width, text)
        self._draw_bars(field, x + wide + 14 * unit, y, high, small)
        self._draw_head(x, y + high, row, species)
        notes = self._notes()
        self._figure.text(
            x / width,
            (y - 1.5 * row) / height,
            notes,
            fontsize=small,
            color=style.MUTED,
            va="center_baseline",
        )

        def moving(
            x: float, y: float, align: str, size: float, colour: str
        ) -> matplotlib.text.Text:
            return self._figure.text(
                x / width,
                y / height,
                "",
                ha=align,
                va="center_baseline",
                fontsize=size,
                color=colour,
                animated=True,
            )

        self._time = moving(x + wide, y - 0.62 * row, "right", text, style.INK)
        self._outside = moving(x + wide, y - 1.5 * row, "right", small, style.MUTED)
        self._text = axes.text(
            10 * unit,
            high - 10 * unit,
            "",
            transform=None,
            fontsize=self._points(14),
            color=style.INK,
            va="top",
            linespacing=1.35,
            animated=True,
            zorder=9,
            bbox={"boxstyle": "round,pad=0.35", "fc": style.PAPER, "ec": "none", "alpha": 0.8},
        )
        self._text.set_position((x + 12 * unit, y + high - 12 * unit))
        self._trails = PathCollection([], facecolors="none", capstyle="butt", animated=True)
        self._trails.set_transform(axes.transData)
        axes.add_collection(self._trails, autolim=False)
        self._bodies = bodies.BodyPaths(axes, self.pixels_per_um * 72 / _DPI, max(unit, 0.6))
        self._bodies.set_animated(True)
        self._discs = shapes.JanusDiscs(axes, max(1.1 * unit, 0.7) * 72 / _DPI)
        self._discs.set_animated(True)
        axes.add_collection(self._discs, autolim=False)
        if scene.value_range is not None:
            self._value_norm = Normalize(*scene.value_range)
        self._canvas.draw()
        self._background = self._canvas.copy_from_bbox(self._figure.bbox)

    def _draw_bars(
        self, field: ground.ColourScale | None, x: float, y: float, high: float, size: float
    ) -> None:
        scene, (width, height) = self.scene, self.size_px
        scales = [] if field is None else [field]
        self._value_map = style.value_map(scene.style.value_colormap)
        if scene.value_range is not None:
            scales.append(
                ground.ColourScale(self._value_map, *scene.value_range, scene.value_label, "both")
            )
        gap = 34 * self._unit if len(scales) > 1 else 0.0
        each = (high - gap) / max(len(scales), 1)
        for index, scale in enumerate(scales):
            bottom = y + high - (index + 1) * each - index * gap
            place = (x / width, bottom / height, 15 * self._unit / width, each / height)
            ground.draw_colour_bar(self._figure, scale, place, size)

    def _draw_head(self, x: float, top: float, row: float, species: bool) -> None:
        scene, (width, height) = self.scene, self.size_px
        if scene.title:
            y = top + row * (0.62 + species)
            self._figure.text(
                x / width,
                y / height,
                scene.title,
                fontsize=self._points(19),
                color=style.INK,
                weight="bold",
                va="center_baseline",
            )
        if species:
            handles = [
                Line2D(
                    [],
                    [],
                    marker="o",
                    ls="none",
                    ms=self._points(13),
                    mew=0.8,
                    mec=style.INK,
                    color=style.SPECIES_COLOURS[index % len(style.SPECIES_COLOURS)],
                    label=name,
                )
                for index, name in enumerate(scene.species_names)
            ]
            self._figure.legend(
                handles=handles,
                loc="center left",
                bbox_to_anchor=(x / width, (top + 0.5 * row) / height),
                ncols=len(handles),
                frameon=False,
                fontsize=self._points(14),
                handletextpad=0.1,
                columnspacing=1.2,
                borderpad=0,
                borderaxespad=0,
                handlelength=1.4,
            )

    def _notes(self) -> str:
        scene, notes = self.scene, []
        if self.enlargement != 1.0:
            notes.append(f"colloids enlarged ×{self.enlargement:g}")
        if scene.dimension == 3:
            notes.append("3D, seen along z (paler: deeper)")
            if scene.field is not None:
                notes.append(f"{scene.field_label} at z = {scene.size[2] / 2:g} µm")
        return "  ·  ".join(notes)

    def to_pixel(self, points: np.ndarray) -> np.ndarray:
        """Columns and rows [...,2], from the top left, where points [...,2] µm are drawn."""
        points = np.asarray(points, float)[..., :2]
        places = self._axes.transData.transform(points.reshape(-1, 2)).reshape(points.shape)
        places[..., 1] = self.size_px[1] - places[..., 1]
        return places

    def draw(
        self,
        position: np.ndarray,
        director: np.ndarray,
        *,
        time: float,
        trails: np.ndarray | None = None,
        values: np.ndarray | None = None,
        text: str | None = None,
        present: np.ndarray | None = None,
        beads: np.ndarray | None = None,
        field_values: np.ndarray | None = None,
    ) -> np.ndarray:
        """Draw one frame.

        Args:
            position: [N,D] µm; wrapped into the box along periodic axes if they are not.
            director: [N,D]; a row of zeros or NaN means that the heading is not known.
            time: s.
            trails: [K,N,D] µm, earlier positions, the oldest first; NaN where unknown.
            values: [N], shown as colours over the scene's `value_range`; else species colours.
            text: shown in the upper left corner of the picture.
            present: bool [N]; what is not present is not drawn. All if left out.
            beads: [B,D] µm, beads of the scene's bodies, those of a body not torn apart by a
                periodic face.
            field_values: means of the field over equal cells of the box [X,Y] or [X,Y,Z], for a
                scene with a `field_range`.

        Returns:
            uint8 [H,W,3], a copy.

        Raises:
            ConfigError: a shape is wrong, a present position is not finite, or values come
                without a range.
        """
        scene = self.scene
        shape = (scene.count, scene.dimension)
        position = check.array("draw: position", position, shape, finite=False)
        director = check.array("draw: director", director, shape, finite=False)
        if present is None:
            present = np.ones(scene.count, bool)
        present = check.array("draw: present", present, (scene.count,), dtype=bool)
        if not np.isfinite(position[present]).all():
            raise ConfigError("draw: the position of a present colloid is not finite.")
        if trails is not None:
            trails = check.array("draw: trails", trails, ("K", *shape), finite=False)
        if scene.bodies and beads is not None:
            beads = check.array("draw: beads", beads, (scene.beads, scene.dimension), finite=False)
        rgba = self._colours(position, values, present)
        if field_values is not None:
            self._set_field(field_values)

        self._canvas.restore_region(self._background)
        self._set_trails(trails, position, present, values is not None)
        self._bodies.place(scene, beads if scene.bodies else None)
        self._set_discs(position, director, present, rgba)
        self._time.set_text(f"t = {time:.{scene.style.time_decimals}f} s")
        self._text.set_text(text or "")
        moving = (self._trails, self._bodies, self._discs)
        for artist in (*moving, self._time, self._outside, self._text):
            if artist is not self._text or text:
                self._figure.draw_artist(artist)
        return np.asarray(self._canvas.buffer_rgba())[..., :3].copy()

    def _set_field(self, values: np.ndarray) -> None:
        """Show other values of the field, and keep the new background."""
        ground.set_field(self._axes, self.scene, values)
        self._canvas.draw()
        self._background = self._canvas.copy_from_bbox(self._figure.bbox)

    def _colours(
        self, position: np.ndarray, values: np.ndarray | None, present: np.ndarray
    ) -> np.ndarray:
        scene = self.scene
        rgba = np.ones((scene.count, 4))
        if values is None:
            assert scene.species is not None
            palette = np.array([style.species_rgb(i) for i in range(len(scene.species_names))])
            rgba[:, :3] = palette[scene.species]
        else:
            if scene.value_range is None:
                raise ConfigError(
                    "draw: values are given but the scene has no value_range; set "
                    "Scene(value_range=(low, high)) so that colours mean the same in every frame."
                )
            values = check.array("draw: values", values, (scene.count,), finite=False)
            if not np.isfinite(values[present]).all():
                raise ConfigError("draw: the value of a present colloid is not finite.")
            rgba[:, :3] = self._value_map(self._value_norm(np.nan_to_num(values)))[:, :3]
        if scene.dimension == 3:
            depth = position[:, 2] / scene.size[2]
            depth = np.mod(depth, 1.0) if scene.periodic[2] else depth
            rgba[:, 3] = 0.3 + 0.7 * np.clip(np.nan_to_num(depth), 0, 1)
        return rgba

    def _set_discs(
        self, position: np.ndarray, director: np.ndarray, present: np.ndarray, rgba: np.ndarray
    ) -> None:
        scene = self.scene
        shown = np.flatnonzero(present)
        assert scene.aspects is not None
        radius = scene.radii * self.enlargement
        reach = radius * np.maximum(scene.aspects, 1.0)
        place, index = shapes.periodic_images(
            position[shown], reach[shown], scene.size, scene.periodic
        )
        index = shown[index]
        if scene.dimension == 3:
            height = position[:, 2]
            height = np.mod(height, scene.size[2]) if scene.periodic[2] else height
            order = np.argsort(height[index], kind="stable")
            place, index = place[order], index[order]
        inches = radius[index] * self.pixels_per_um / _DPI
        self._discs.set_discs(place, inches, director[index], rgba[index], scene.aspects[index])
        x_low, x_high, y_low, y_high = scene.window
        main = position[shown, :2]
        flags, size = np.array(scene.periodic[:2]), np.array(scene.size[:2])
        main = np.where(flags, np.mod(main, size), main)
        inside = ((main >= (x_low, y_low)) & (main <= (x_high, y_high))).all(axis=1)
        out = int((~inside).sum())
        self._outside.set_text(f"{out} colloid{'s' * (out != 1)} out of view" if out else "")

    def _set_trails(
        self, trails: np.ndarray | None, position: np.ndarray, present: np.ndarray, grey: bool
    ) -> None:
        scene = self.scene
        if trails is None or not len(trails):
            self._trails.set_paths([])
            return
        points = np.concatenate([trails, position[None]])
        points = np.where(present[:, None], points, np.nan)
        segments, age, colloid = shapes.trail_segments(points, scene.size, scene.periodic)
        steps = len(points) - 1
        ages = min(_TRAIL_AGES, steps)
        assert scene.species is not None
        kinds = len(scene.species_names)
        group = (age * ages // steps) * kinds + scene.species[colloid]
        fresh = (np.repeat(np.arange(ages), kinds) + 1) / ages
        colours = [to_rgb(style.INK) if grey else style.species_rgb(i) for i in range(kinds)]
        rgba = np.ones((ages * kinds, 4))
        rgba[:, :3] = np.tile(style.mix(np.array(colours), style.INK, 0.15), (ages, 1))
        rgba[:, 3] = 0.05 + 0.6 * fresh**1.5
        broad = np.clip(
            0.5 * self.pixels_per_um * self.enlargement * float(scene.radii.min()), 1.0, 2.4
        )
        widths = (0.4 + 0.6 * fresh) * broad * 72 / _DPI
        shapes.draw_groups(self._trails, segments, group, rgba, widths)
