"""Runs the blocks of Python in the README and the guide.

Those of one page share a namespace; all run in a folder that is removed afterwards.

    python docs/run_snippets.py [PAGE ...]
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
import time
import traceback
import types
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def blocks(page: Path) -> list[tuple[int, str]]:
    """(line, code) of every block of Python of a page."""
    text = page.read_text("utf-8")
    found = re.finditer(r"^```python\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)
    return [(text.count("\n", 0, match.start()) + 2, match[1]) for match in found]


def run(page: Path) -> bool:
    """Run a page; say which block failed."""
    module = types.ModuleType("__page__")
    sys.modules[module.__name__] = module  # dataclasses look their module up
    for line, code in blocks(page):
        started = time.perf_counter()
        try:
            # Line numbers of errors are those of the page.
            exec(compile("\n" * (line - 1) + code, str(page), "exec"), module.__dict__)
        except Exception:
            traceback.print_exc()
            print(f"FAILED {page.relative_to(ROOT)}:{line}", flush=True)
            return False
        seconds = time.perf_counter() - started
        print(f"ok     {page.relative_to(ROOT)}:{line} ({seconds:.1f} s)", flush=True)
    return True


def main(names: list[str]) -> int:
    """Run the pages named, or all; return the exit status."""
    pages = [Path(name).resolve() for name in names]
    pages = pages or [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        failed = [page for page in pages if not run(page)]
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
