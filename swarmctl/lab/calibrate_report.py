"""What a calibration found, for people: a text and a picture."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from swarmctl.bridge.calibration import (
    Calibration,
    FieldMap,
    Figure,
    PatternMap,
    SpeedLaw,
    TurnLaw,
)
from swarmctl.bridge.microscope.light_law import speed_by_power
from swarmctl.lab.calibrate_bench import Projected
from swarmctl.lab.calibrate_field import Polarity
from swarmctl.lab.calibrate_runs import Response

Floats = npt.NDArray[np.float64]


@dataclass
class Findings:
    """What was measured, for the picture; and whom to tell what is being done.

    projected: spots; speed: powers and speeds [M]; turn: what the law expects for a gain of 1, and
    turn rates [M] rad/s; response: of colloids to light; polarity: of coils; notes: in words.
    """

    say: Callable[[str], None]
    projected: Projected | None = None
    speed: tuple[Floats, Floats] | None = None
    turn: tuple[Floats, Floats] | None = None
    response: Response | None = None
    polarity: Polarity | None = None
    notes: list[str] = field(default_factory=list)


def report_text(calibration: Calibration, notes: list[str]) -> str:
    """Return what a calibration says, line by line."""
    view, delay = calibration.view, calibration.delay
    lines = [
        f"made {calibration.made} by {calibration.operator}, counts until {calibration.expires}",
        f"view: {view.map.pixel_size:.5g} µm per px, from {view.source}, residual "
        f"{view.residual:.3g} px",
    ]
    if calibration.pattern:
        p = calibration.pattern
        lines.append(
            f"pattern of {p.output}: {p.map.pixel_size:.5g} px of it per px of the image, residual "
            f"{p.residual:.3g} px of {p.spots} spots, {p.left_out} left out"
        )
    if calibration.speed:
        lines.append(_speed_line(calibration.speed))
    if calibration.turn:
        t = calibration.turn
        way = "towards" if t.steering > 0 else "away from"
        lines.append(
            f"turn: gain {t.steering:.4g} ± {t.steering_error:.2g}, {way} the light, for a radius "
            f"of {t.radius:g} µm"
        )
    if calibration.field:
        lines.append(_field_line(calibration.field))
    names = {
        "exposure → frame": delay.frame,
        "frame → order": delay.command,
        f"order → light ({delay.light_from})": delay.light,
        "light → motion": delay.motion,
    }
    lines += [f"delay, {name}: {_figure(value)}" for name, value in names.items()]
    if delay.rise_time is not None:
        lines.append(f"rise time of the response: {1e3 * delay.rise_time:.3g} ms")
    return "\n".join(lines + notes) + "\n"


def _speed_line(law: SpeedLaw) -> str:
    top = (
        "no saturation seen up to"
        if law.speed_max_error is None
        else f"saturates ({law.saturation}) at ±{law.speed_max_error:.2g}"
    )
    return (
        f"speed: slope {law.slope:.4g} ± {law.slope_error:.2g} µm/s per unit of power, threshold "
        f"{law.threshold:.4g} ± {law.threshold_error:.2g}, {top} {law.speed_max:.4g} µm/s"
    )


def _field_line(field: FieldMap) -> str:
    rows = "; ".join(" ".join(f"{x:.4g}" for x in row) for row in field.matrix)
    error = (
        "its directions were not looked at"
        if field.polarity_error is None
        else f"directions seen differ by {math.degrees(field.polarity_error):.2g}°"
    )
    return f"field of {field.output}: rows {rows} mT/A; {error}"


def _figure(value: Figure | None) -> str:
    if value is None:
        return "not measured"
    sure = ""
    if value.interval is not None:
        low, high = (1e3 * end for end in value.interval)
        sure = f" (95 % interval {low:.3g} to {high:.3g} ms)"
    return (
        f"median {1e3 * value.median:.3g} ms{sure}, 99th percentile {1e3 * value.p99:.3g} ms of "
        f"{value.count}"
    )


def draw_report(path: Path, calibration: Calibration, findings: Findings) -> None:
    """Draw what was measured this time beside what was fitted, as PNG."""
    from matplotlib.figure import Figure as Canvas

    panels: list[Callable[[Any], None]] = []
    if findings.projected is not None and calibration.pattern is not None:
        panels.append(partial(_draw_spots, calibration.pattern, findings.projected))
    if findings.speed is not None and calibration.speed is not None:
        panels.append(partial(_draw_speed, calibration.speed, findings.speed))
    if findings.turn is not None and calibration.turn is not None:
        panels.append(partial(_draw_turn, calibration.turn, findings.turn))
    if findings.response is not None:
        panels.append(partial(_draw_response, findings.response))
    if findings.polarity is not None:
        panels.append(partial(_draw_polarity, findings.polarity))
    if not panels:
        panels.append(_draw_nothing)
    rows = 1 if len(panels) < 3 else 2
    columns = math.ceil(len(panels) / rows)
    figure = Canvas(figsize=(5.2 * columns, 3.8 * rows), layout="constrained")
    every = figure.subplots(rows, columns, squeeze=False).flat
    for axes, draw in zip_longest(every, panels):
        if draw is None:
            axes.set_axis_off()
        else:
            draw(axes)
    figure.savefig(path, dpi=120)


def _draw_nothing(axes: Any) -> None:
    axes.set_title("nothing with a picture was measured this time", fontsize=10)
    axes.set_axis_off()


def _draw_spots(pattern: PatternMap, projected: Projected, axes: Any) -> None:
    expected = pattern.map.to_image(projected.asked)
    used = projected.fit.used
    axes.plot(*expected[used].T, "o", mfc="none", color="0.4", label="where the map puts them")
    axes.plot(*projected.seen[used].T, "+", color="C1", label="spots seen")
    if not used.all():
        axes.plot(*projected.seen[~used].T, "x", color="C3", label="left out")
    axes.invert_yaxis()
    axes.set_aspect("equal")
    axes.set(xlabel="x (px)", ylabel="y (px)", title="Pattern in the image")
    axes.legend(fontsize=8, loc="center left", bbox_to_anchor=(1.02, 0.5))


def _draw_speed(law: SpeedLaw, measured: tuple[Floats, Floats], axes: Any) -> None:
    power, speed = measured
    line = np.linspace(0, float(power.max()), 200)
    axes.plot(power, speed, ".", ms=3, alpha=0.4, color="0.4")
    axes.plot(line, speed_by_power(line, law), color="C1")
    axes.set(xlabel="power", ylabel="speed (µm/s)", title="Speed by power")


def _draw_turn(law: TurnLaw, measured: tuple[Floats, Floats], axes: Any) -> None:
    drive, rate = measured
    line = np.array([drive.min(), drive.max()])
    axes.plot(drive, rate, ".", ms=3, alpha=0.4, color="0.4")
    axes.plot(line, law.steering * line, color="C1")
    axes.set(xlabel="v c/a² (1/s)", ylabel="turn rate (rad/s)", title="Turning by the offset")


def _draw_polarity(polarity: Polarity, axes: Any) -> None:
    asked, seen = (np.degrees(np.arctan2(*p.T[::-1])) for p in (polarity.asked, polarity.seen))
    axes.plot(asked, seen, "o", color="C1")
    axes.set(xlabel="field asked, as known before (°)", ylabel="way colloids turned or rolled (°)",
             title="Directions of the field")  # fmt: skip


def _draw_response(response: Response, axes: Any) -> None:
    axes.plot(response.time, response.way, ".", ms=3, color="0.4")
    axes.axvline(response.lag.median, color="C1", label=f"lag {1e3 * response.lag.median:.0f} ms")
    axes.set(xlabel="time after the light (s)", ylabel="way (µm)", title="Response to light")
    axes.legend(fontsize=8)
