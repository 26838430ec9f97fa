"""A window on the screen, for render_mode "human"."""

from __future__ import annotations

from typing import Any

import matplotlib
import numpy as np
from matplotlib.backends.registry import BackendFilter, backend_registry

from swarmctl.core.errors import ConfigError
from swarmctl.viz import check


def _interactive_backend() -> str:
    """Name of the window toolkit that matplotlib would use. Raises ConfigError if there is none."""
    try:
        name = matplotlib.get_backend()
    except ImportError as error:
        raise ConfigError(_no_window(str(error))) from error
    if name.lower() not in backend_registry.list_builtin(BackendFilter.INTERACTIVE):
        raise ConfigError(_no_window(f"matplotlib's backend is {name!r}"))
    return name


def _no_window(reason: str) -> str:
    return (
        f"render_mode 'human' needs a display and a window toolkit, but {reason}. "
        "Use render_mode='rgb_array' and show or save the frames instead."
    )


class HumanWindow:
    """Shows frames as they come and lets the window react. The window opens with the first frame.

    Raises ConfigError if there is no display.
    """

    def __init__(self, title: str = "swarmctl") -> None:
        _interactive_backend()
        self._title = title
        self._figure: Any = None
        self._picture: Any = None
        self._closed = False

    @property
    def closed(self) -> bool:
        """True once the window was closed, by `close` or by its user."""
        return self._closed

    def show(self, frame: np.ndarray) -> bool:
        """Show a frame uint8 [H,W,3] and process events; False, with nothing shown, once closed."""
        frame = check.image("window: frame", frame)
        if self._closed:
            return False
        if self._figure is None:
            self._open(frame)
        elif self._picture.get_array().shape != frame.shape:
            raise ConfigError(
                f"window: frame has shape {list(frame.shape)}, the first one "
                f"{list(self._picture.get_array().shape)}."
            )
        else:
            self._picture.set_data(frame)
        self._figure.canvas.draw_idle()
        self._figure.canvas.flush_events()
        return not self._closed

    def _open(self, frame: np.ndarray) -> None:
        from matplotlib import pyplot

        height, width = frame.shape[:2]
        try:
            self._figure = pyplot.figure(self._title, figsize=(width / 100, height / 100), dpi=100)
        except Exception as error:
            # Every toolkit has its own exception for a display that cannot be reached.
            raise ConfigError(_no_window(f"no window can be opened: {error}")) from error
        axes = self._figure.add_axes((0, 0, 1, 1))
        axes.set_axis_off()
        self._picture = axes.imshow(frame, interpolation="nearest")
        self._figure.canvas.mpl_connect("close_event", self._on_close)
        self._figure.show()

    def _on_close(self, _: Any) -> None:
        self._closed = True

    def close(self) -> None:
        """Close the window; harmless if it is closed already."""
        self._closed = True
        if self._figure is not None:
            from matplotlib import pyplot

            pyplot.close(self._figure)
            self._figure = None
