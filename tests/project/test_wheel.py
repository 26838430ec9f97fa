"""The wheel holds the modules of the tree, all of them and nothing else."""

import configparser
import io
import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = {"swarmctl": "swarmctl", "envs": "swarmctl/envs", "agents": "swarmctl/agents"}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def installed_name(path):
    """Where a file of the tree lies once it is installed."""
    top, *rest = path.relative_to(ROOT).parts
    return "/".join([SOURCES[top], *rest])


def tree_modules():
    return {installed_name(path) for top in SOURCES for path in (ROOT / top).rglob("*.py")}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Names in a wheel that was built from a copy of the sources; where it is unpacked."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for top in SOURCES:
        shutil.copytree(ROOT / top, source / top, ignore=shutil.ignore_patterns("__pycache__"))
    command = [
        sys.executable,
        "-m",
        "build",
        "--wheel",
        "--no-isolation",
        "--outdir",
        folder,
        source,
    ]
    built = subprocess.run(command, capture_output=True, text=True, cwd=folder)
    assert built.returncode == 0, built.stdout + built.stderr
    [path] = folder.glob("*.whl")
    with zipfile.ZipFile(path) as archive:
        archive.extractall(folder / "site")
        return archive.namelist(), folder / "site"


def test_wheel_holds_every_module(wheel):
    names, _ = wheel
    modules = tree_modules()
    assert len(modules) > 50
    assert {name for name in names if name.endswith(".py")} == modules


def test_nothing_else_lands_in_site_packages(wheel):
    names, _ = wheel
    tops = {name.split("/")[0] for name in names}
    version = PROJECT["project"]["version"]
    assert tops == {"swarmctl", f"swarmctl-{version}.dist-info"}
    others = [name for name in names if name.startswith("swarmctl/") and not name.endswith(".py")]
    assert others == ["swarmctl/py.typed"]


def test_wheel_has_the_command(wheel):
    names, site = wheel
    [entry] = [name for name in names if name.endswith("entry_points.txt")]
    scripts = configparser.ConfigParser()
    scripts.read_file(io.StringIO((site / entry).read_text()))
    assert dict(scripts["console_scripts"]) == {"swarmctl": "swarmctl.cli:main"}


def test_unpacked_wheel_works_from_any_folder(wheel, tmp_path):
    _, site = wheel
    code = (
        "import swarmctl.cli, swarmctl.envs, swarmctl.agents as agents, gymnasium\n"
        "print(swarmctl.cli.__file__, swarmctl.envs.__file__, agents.__file__, sep='\\n')\n"
        "assert 'swarmctl/Chemotaxis-v0' in gymnasium.registry\n"
    )
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(site)},
    )
    assert ran.returncode == 0, ran.stderr
    assert all(Path(line).is_relative_to(site) for line in ran.stdout.splitlines())


def test_package_list_matches_the_folders():
    setuptools = PROJECT["tool"]["setuptools"]
    packages = [name.removesuffix("/__init__.py") for name in tree_modules()]
    packages = {name.replace("/", ".") for name in packages if not name.endswith(".py")}
    assert set(setuptools["packages"]) == packages
    assert len(setuptools["packages"]) == len(packages)
    assert setuptools["package-dir"] == {
        target.replace("/", "."): top for top, target in SOURCES.items() if top != target
    }


def test_every_module_lies_in_a_package():
    folders = {path.parent for top in SOURCES for path in (ROOT / top).rglob("*.py")}
    assert [folder for folder in folders if not (folder / "__init__.py").is_file()] == []
