"""What is imported when: the root and every verb's help are quick, optional parts come late."""

import ast
import importlib
import importlib.metadata
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import swarmctl
from swarmctl.cli import VERBS
from swarmctl.core.extras import EXTRAS

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
MODULES = sorted(
    path for top in ("swarmctl", "envs", "agents") for path in (ROOT / top).rglob("*.py")
)
HEAVY = ("jax", "numpy", "matplotlib", "gymnasium", "optax", "h5py", "scipy", "torch", "PIL")
# The kernel's modules need numba as they are; compiled.py imports them in functions.
KERNEL = {f"compiled_{part}.py" for part in ("base", "kernel", "lists", "motion")}
UNSAFE = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}


def fresh(code):
    """Run code in a new process and return what it printed."""
    command = [sys.executable, "-W", "error", "-c", code]
    ran = subprocess.run(command, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def parsed(path):
    return ast.parse(path.read_text(encoding="utf-8"))


def imported(node):
    """Full names of the modules that a statement imports."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        return ["." * node.level + (node.module or "")]
    return []


def outermost(body):
    """Statements that run on import: not those in functions or under TYPE_CHECKING."""
    for node in body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            continue
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            continue
        yield node
        for part in ("body", "orelse", "finalbody"):
            yield from outermost(getattr(node, part, []))


def modules_of(requirements):
    """Names of the top-level modules that requirements bring."""
    wanted = {normal(re.match(r"[\w.-]+", text)[0]) for text in requirements}
    return {
        module
        for module, names in importlib.metadata.packages_distributions().items()
        if wanted & {normal(name) for name in names}
    }


def normal(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def test_import_of_the_root_is_light():
    loaded = fresh("import sys, swarmctl; swarmctl.__version__; print(*sys.modules)").split()
    assert not {name for name in loaded if name.startswith("swarmctl.")}
    assert not set(HEAVY) & set(loaded)


def test_help_is_light():
    code = (
        "import sys\n"
        "from swarmctl.cli import VERBS, main\n"
        "for verb in [], *([verb] for verb in VERBS):\n"
        "    try:\n"
        "        main([*verb, '--help'])\n"
        "    except SystemExit as end:\n"
        "        assert end.code == 0, verb\n"
        f"heavy = [name for name in {HEAVY} if name in sys.modules]\n"
        "assert not heavy, heavy\n"
    )
    said = fresh(code)
    for verb in VERBS:
        assert f"usage: swarmctl {verb}" in said


def test_command_is_installed():
    [command] = importlib.metadata.entry_points(group="console_scripts", name="swarmctl")
    assert command.value == "swarmctl.cli:main"
    script = Path(sys.executable).with_name("swarmctl")
    ran = subprocess.run([script, "--version"], capture_output=True, text=True)
    assert ran.stdout == f"swarmctl {swarmctl.__version__}\n"


def test_the_version_is_said_once():
    assert swarmctl.__version__ == PROJECT["version"] == importlib.metadata.version("swarmctl")


@pytest.mark.parametrize("name", swarmctl.__all__)
def test_public_name(name):
    assert getattr(swarmctl, name) is not None
    assert name in dir(swarmctl)


def test_unknown_public_name():
    with pytest.raises(AttributeError, match=r"^module 'swarmctl' has no attribute 'mke'$"):
        swarmctl.mke  # noqa: B018


def test_submodules_are_attributes_once_imported():
    assert importlib.import_module("swarmctl.core.units") is swarmctl.core.units


def test_no_module_of_ours_uses_the_lazy_names():
    found = [
        f"{path.relative_to(ROOT)}:{node.lineno}: {ast.unparse(node)}"
        for path in MODULES
        for node in ast.walk(parsed(path))
        if "swarmctl" in imported(node) and ast.unparse(node) != "from swarmctl import __version__"
    ]
    assert not found


def test_no_relative_imports():
    found = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in MODULES
        for node in ast.walk(parsed(path))
        if any(name.startswith(".") for name in imported(node))
    ]
    assert not found


def test_nothing_is_unpickled_or_evaluated():
    found = []
    for path in MODULES:
        for node in ast.walk(parsed(path)):
            bad = {name.split(".")[0] for name in imported(node)} & UNSAFE
            if isinstance(node, ast.Call):
                name = getattr(node.func, "id", getattr(node.func, "attr", ""))
                bad |= {name} & {"exec", "eval"}
                bad |= {key.arg for key in node.keywords if ast.unparse(key.value) != "False"} & {
                    "allow_pickle"
                }
            found += [f"{path.relative_to(ROOT)}:{node.lineno}: {name}" for name in bad]
    assert not found


def test_every_third_party_is_declared():
    known = modules_of(PROJECT["dependencies"]) | modules_of(
        text for texts in PROJECT["optional-dependencies"].values() for text in texts
    )
    known |= {"swarmctl"} | sys.stdlib_module_names
    found = [
        f"{path.relative_to(ROOT)}:{node.lineno}: {name}"
        for path in MODULES
        for node in ast.walk(parsed(path))
        for name in imported(node)
        if name.split(".")[0] not in known
    ]
    assert not found


def test_optional_parts_are_imported_where_they_are_used():
    needed = modules_of(PROJECT["dependencies"]) | {"swarmctl"} | sys.stdlib_module_names
    found = [
        f"{path.relative_to(ROOT)}:{node.lineno}: {name}"
        for path in MODULES
        if path.name not in KERNEL
        for node in outermost(parsed(path).body)
        for name in imported(node)
        if name.split(".")[0] not in needed or f"{name.split('.')[-1]}.py" in KERNEL
    ]
    assert not found


def test_every_extra_that_an_error_names_exists():
    assert set(EXTRAS) <= set(PROJECT["optional-dependencies"])
    for extra, (module, _) in EXTRAS.items():
        if extra not in ("cluster", "tracking", "parquet"):  # not part of dev
            assert module in modules_of(PROJECT["optional-dependencies"][extra])
