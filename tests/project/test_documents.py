"""Documents are true: commands parse, Python runs, notebooks give again what they show."""

import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from swarmctl.cli import make_parser
from swarmctl.core import registry
from swarmctl.training.experiment import load_experiment
from swarmctl.training.train import make_learner

ROOT = Path(__file__).resolve().parents[2]
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
README = ROOT / "README.md"
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
NOTEBOOKS = sorted((ROOT / "examples").glob("*.ipynb"))
REAL_TIME = {"05_virtual_microscope.ipynb"}
"""Notebooks with a laboratory beside them, which cannot wait for a busy machine."""
SHELLS = {"", "sh", "bash", "shell", "console"}
FENCE = re.compile(
    r"^(?P<indent> *)```(?P<language>\w*)[^\n]*\n(?P<body>.*?)^(?P=indent)```", re.M | re.S
)


def blocks(path):
    """(language, text) of the fenced blocks of a page."""
    for found in FENCE.finditer(path.read_text(encoding="utf-8")):
        lines = found["body"].splitlines()
        yield found["language"], "\n".join(line.removeprefix(found["indent"]) for line in lines)


def commands(path):
    """Arguments of every `swarmctl ...` in the shell blocks of a page."""
    for language, text in blocks(path):
        if language not in SHELLS:
            continue
        for line in text.replace("\\\n", " ").splitlines():
            for command in re.split(r"&&|\|\||[|;]", line.removeprefix("$ ")):
                try:
                    words = shlex.split(command, comments=True)
                except ValueError:  # not a command
                    continue
                if words and Path(words[0]).name == "swarmctl":
                    yield words[1:]


def test_readme_tells_how_to_start_and_how_to_test():
    text = "\n".join(text for language, text in blocks(README) if language in SHELLS)
    lines = text.splitlines()
    start = "python3 -m venv .venv && .venv/bin/pip install -e . && .venv/bin/swarmctl demo"
    test = (
        'python3 -m venv .venv && .venv/bin/pip install -e ".[dev]" -c constraints.txt'
        " && .venv/bin/pytest"
    )
    assert lines.count(start) == 1
    assert lines.count(test) == 1


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_commands_parse(path, capsys):
    parser = make_parser(lab=())
    for words in commands(path):
        status = 0
        try:
            parser.parse_args(words)
        except SystemExit as end:
            status = end.code
        assert status == 0, f"swarmctl {shlex.join(words)}: {capsys.readouterr().err}"


def test_python_of_the_readme_runs(tmp_path):
    code = "\n\n".join(text for language, text in blocks(README) if language == "python")
    (tmp_path / "readme.py").write_text(f"if __name__ == '__main__':\n{indented(code or 'pass')}\n")
    ran = subprocess.run(
        [sys.executable, "-W", "error", "readme.py"], capture_output=True, text=True, cwd=tmp_path
    )
    assert ran.returncode == 0, ran.stderr


def indented(code):
    return "\n".join(f"    {line}" for line in code.splitlines())


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_notebook_gives_what_it_shows(path, tmp_path):
    if path.name in REAL_TIME and not os.environ.get("SWARMCTL_REAL_TIME"):
        pytest.skip("needs a machine that is idle; SWARMCTL_REAL_TIME=1 runs it")
    stored = nbformat.read(path, as_version=4)
    nbformat.validate(stored)
    ran = nbformat.read(path, as_version=4)
    resources = {"metadata": {"path": str(tmp_path)}}
    NotebookClient(ran, timeout=300, kernel_name="python3", resources=resources).execute()
    shown = [cell for cell in stored.cells if cell.cell_type == "code"]
    fresh = [cell for cell in ran.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in shown] == [cell.execution_count for cell in fresh]
    for number, (old, new) in enumerate(zip(shown, fresh, strict=True), start=1):
        assert kinds(old) == kinds(new), f"code cell {number}"
        if "checked" in old.metadata.get("tags", []):
            assert text(old), f"code cell {number} is tagged as checked and shows no text"
            assert text(old) == text(new), f"code cell {number}"


def kinds(cell):
    """Which kinds of output a cell has, without how often something was printed."""
    return {(output.output_type, *sorted(output.get("data", {}))) for output in cell.outputs}


def text(cell):
    """What a cell printed and returned as text; how often a stream was flushed is no matter."""
    return "".join(
        output.get("text", output.get("data", {}).get("text/plain", ""))
        for output in cell.outputs
        if output.get("name") != "stderr"
    )


def test_changelog_has_this_version():
    headings = re.findall(r"^## \[?([^\s\]]+)", (ROOT / "CHANGELOG.md").read_text(), re.M)
    assert VERSION in headings


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_between_files_lead_somewhere(path):
    prose = FENCE.sub("", path.read_text(encoding="utf-8"))
    found = re.findall(r"\]\(([^)\s#]+)(?:#[^)\s]*)?\)|<img [^>]*src=\"([^\"]+)\"", prose)
    targets = [a or b for a, b in found]
    local = [name for name in targets if not re.match(r"[a-z]+:", name)]
    assert [name for name in local if not (path.parent / name).exists()] == []


SCENARIOS = [
    name for name in registry.scenarios.names() if not re.search("Continuous|Field-", name)
]


@pytest.mark.parametrize("name", SCENARIOS)
def test_every_scenario_has_a_page_and_an_experiment_that_can_be_learned(name):
    file = re.sub(r"(?<=[a-z])(?=[A-Z])", "-", name.removesuffix("-v0")).lower()
    page = (ROOT / "docs" / "scenarios" / f"{file}.md").read_text(encoding="utf-8")
    assert "<!-- results: begin -->" in page
    assert f"scenarios/{file}.md" in (ROOT / "mkdocs.yml").read_text()
    experiment = load_experiment(ROOT / "examples" / "learning" / f"{file}.toml")
    assert experiment.scenario.id == name
    assert len(experiment.training.seeds) >= 5
    make_learner(experiment)
