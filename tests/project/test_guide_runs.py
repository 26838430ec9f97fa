"""Blocks of Python in the documents run, but for pages that say that they are slow."""

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SLOW = "<!-- slow:"
"""Marks a page that only docs/run_snippets.py runs."""


@pytest.fixture(scope="module")
def snippets():
    spec = importlib.util.spec_from_file_location("snippets", ROOT / "docs" / "run_snippets.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


PAGES = [
    path
    for path in sorted((ROOT / "docs").rglob("*.md"))
    if "\n```python\n" in path.read_text("utf-8")
]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_python_of_a_page_runs(page, snippets, tmp_path, monkeypatch, capsys):
    if SLOW in page.read_text("utf-8"):
        pytest.skip("slow; docs/run_snippets.py runs it")
    monkeypatch.chdir(tmp_path)
    assert snippets.run(page), capsys.readouterr()
