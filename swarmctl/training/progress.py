"""Progress bars: drawn often where somebody looks, now and then in a file."""

from __future__ import annotations

import sys
from typing import Any

from tqdm import tqdm

SELDOM = 30.0
"""s between lines of a bar that goes to a file or a pipe."""


def progress_bar(shown: bool, **options: Any) -> tqdm[Any]:
    """Return a bar of tqdm with these options, on the error stream; a mute one unless `shown`."""
    watched = sys.stderr.isatty() or "ipykernel" in sys.modules
    often = {"mininterval": 0.1} if watched else {"mininterval": SELDOM, "maxinterval": SELDOM}
    return tqdm(disable=not shown, **{**often, **options})
