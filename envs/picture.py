"""Drawing a scenario: its field, its marks, its colloids with their trails."""

from __future__ import annotations

from collections import deque

import numpy as np

from swarmctl.core.state import SwarmState
from swarmctl.envs.scenario import Scenario
from swarmctl.viz.frame import FrameRenderer
from swarmctl.viz.scene import Marker, Scene
from swarmctl.viz.window import HumanWindow
from swarmctl.viz.world import world_scene

TRAIL = 40
"""States behind every colloid that are drawn as its trail."""


def scenario_scene(scenario: Scenario, title: str = "") -> Scene:
    """Return what does not change in pictures of a scenario."""
    picture = scenario.picture
    return world_scene(
        scenario.world,
        title,
        field=picture.field,
        field_label=picture.field_label or "field",
        markers=tuple(Marker(position, label) for label, position in picture.markers.items()),
    )


class SwarmPainter:
    """Draws states of one scenario, with trails, as pictures or in a window."""

    def __init__(self, scenario: Scenario, size_px: tuple[int, int] = (720, 720)) -> None:
        self._renderer = FrameRenderer(scenario_scene(scenario, scenario.id), size_px)
        self._trail: deque[np.ndarray] = deque(maxlen=TRAIL)
        self._window: HumanWindow | None = None

    def remember(self, state: SwarmState) -> None:
        """Add a state to the trails without drawing."""
        self._trail.append(np.asarray(state.position))

    def forget(self) -> None:
        """Start new trails."""
        self._trail.clear()

    def draw(self, state: SwarmState, text: str | None = None) -> np.ndarray:
        """Return a picture u8 [H,W,3]."""
        return self._renderer.draw(
            np.asarray(state.position),
            np.where(np.asarray(state.oriented)[:, None], np.asarray(state.director), np.nan),
            time=float(state.time),
            trails=np.stack(self._trail) if len(self._trail) > 1 else None,
            text=text,
            present=np.asarray(state.present),
            beads=None if state.bodies is None else np.asarray(state.bodies.bead),
        )

    def show(self, state: SwarmState) -> None:
        """Show a state in a window. Raises ConfigError without a display."""
        if self._window is None:
            self._window = HumanWindow()
        self.remember(state)
        self._window.show(self.draw(state))

    def close(self) -> None:
        """Close the window."""
        if self._window is not None:
            self._window.close()
            self._window = None
