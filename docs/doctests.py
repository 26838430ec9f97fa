"""An extension of mkdocstrings: interactive examples in docstrings are shown as code."""

from __future__ import annotations

import re
from typing import Any

import griffe


class Doctests(griffe.Extension):
    """Fences every paragraph that begins with ``>>>``."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Rewrite the docstring of whatever was loaded."""
        if obj.docstring:
            obj.docstring.value = re.sub(
                r"^>>> .*?(?=\n\n|\Z)",
                lambda match: f"```pycon\n{match[0]}\n```",
                obj.docstring.value,
                flags=re.MULTILINE | re.DOTALL,
            )
