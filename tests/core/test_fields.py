"""Flows, potentials, grids, chemicals: what does not fit is refused with place and remedy."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from swarmctl.core.config import build, dump_toml, key, to_dict
from swarmctl.core.errors import ConfigError
from swarmctl.core.fields import (
    CallableFlow,
    CallablePotential,
    ConstantForce,
    DoubleWell,
    Flow,
    GridFlow,
    GridPotential,
    HarmonicTrap,
    PoiseuilleFlow,
    Potential,
    ShearFlow,
    Sources,
    TaylorGreenFlow,
    UniformFlow,
    VortexFlow,
    check_fields,
)
from swarmctl.core.grids import Chemical, Grid, check_chemicals, load_function
from swarmctl.core.world import Box


@dataclass(frozen=True)
class Filled:
    """What a world holds of it."""

    flows: tuple[Flow, ...] = key((), "flows")
    potentials: tuple[Potential, ...] = key((), "potentials")
    chemicals: tuple[Chemical, ...] = key((), "chemicals")


PERIODIC, OPEN = Box((40.0, 20.0)), Box((40.0, 20.0), "open")
OPEN_3D = Box((40.0, 20.0, 30.0), "open")


def still(position: Any, time: Any, parameters: Any = None) -> Any:
    return 0 * position


BAD: list[tuple[Callable[[], Any], str]] = [
    (lambda: UniformFlow((math.nan, 0.0)), "uniform flow: velocity must be finite"),
    (lambda: ShearFlow(math.inf), "shear flow: rate must be finite"),
    (lambda: PoiseuilleFlow(1.0, 0.0), "poiseuille flow: width must be positive"),
    (lambda: PoiseuilleFlow(1.0, 1.0, shape="disc"), "'disc'; allowed: slit, tube"),  # type: ignore[arg-type]
    (lambda: VortexFlow(1.0, -1.0), "vortex flow: core must be positive"),
    (lambda: VortexFlow(1.0, 1.0, "burgers"), "'burgers'; allowed: lamb-oseen"),  # type: ignore[arg-type]
    (lambda: TaylorGreenFlow(1.0, math.nan), "taylor-green flow: length must be positive"),
    (lambda: ConstantForce((math.inf, 0.0)), "constant force: force must be finite"),
    (lambda: HarmonicTrap(math.nan), "harmonic trap: stiffness must be finite"),
    (lambda: DoubleWell(1.0, 0.0), "double well: distance must be positive"),
    (lambda: Sources((), 1.0), "at least one point"),
    (lambda: Sources(((1.0, 1.0),), 0.0), "sources: length must be positive"),
    (lambda: Sources(((1.0, 1.0),), 1.0, strength=(1.0, 2.0)), "2 strengths for 1 points"),
    (lambda: Sources(((1.0, 1.0),), 1.0, "cubic"), "'cubic'; allowed: hyperbolic"),  # type: ignore[arg-type]
    (lambda: Grid([[1.0, math.nan]], 1.0), r"values must be finite, but the one at \(0, 1\)"),
    (lambda: Grid([["a"]], 1.0), "values must be an array of numbers"),
    (lambda: Grid([[1.0, 2.0]]), "spacing is missing"),
    (lambda: Grid([[1.0, 2.0]], 0.0), "spacing must be positive"),
    (lambda: Grid([[1.0, 2.0]], 1.0, (0.0, math.inf)), "origin must be finite"),
    (lambda: Grid([[1.0, 2.0]], 1.0, edge="mirror"), "'mirror'; allowed: periodic, clamp"),  # type: ignore[arg-type]
    (lambda: Grid("missing.npz"), "cannot read missing.npz"),
    (lambda: CallableFlow("nothing"), "names no function; give 'file.py:name'"),
    (lambda: CallableFlow("nowhere.py:f"), "cannot load 'nowhere.py'"),
    (lambda: CallablePotential("no_such_package:f"), "cannot load 'no_such_package'"),
    (lambda: CallableFlow("math:sine"), "'math' has no function 'sine'. Did you mean 'sin"),
    (lambda: CallableFlow(still, {"a": "b"}), "parameters must be numbers"),
    (lambda: Chemical(diffusion=0.0), "chemical 'chemical': diffusion must be positive"),
    (lambda: Chemical(spacing=-1.0), "spacing must be positive"),
    (lambda: Chemical(decay=-1.0), "decay must be at least 0"),
    (lambda: Chemical(secretion=(1.0, -1.0)), "secretion must be at least 0"),
    (lambda: Chemical(method="fast"), "'fast'; allowed: auto, explicit, spectral"),  # type: ignore[arg-type]
]


@pytest.mark.parametrize("case", range(len(BAD)))
def test_bad_values_are_refused(case: int) -> None:
    make, message = BAD[case]
    with pytest.raises(ConfigError, match=message):
        make()


MISFITS: list[tuple[Flow | Potential, Box, str]] = [
    (UniformFlow((1.0, 0.0, 0.0)), OPEN, "velocity has 3 numbers in a 2D box"),
    (ShearFlow(1.0, centre=(1.0,)), OPEN, "centre has 1 numbers"),
    (ShearFlow(1.0, 0, 2), OPEN, "axis 2 is not in a 2D box"),
    (ShearFlow(1.0, 1, 1), OPEN, "two different axes"),
    (ShearFlow(1.0), PERIODIC, "jump at the periodic face of axis 1"),
    (PoiseuilleFlow(1.0, 21.0), PERIODIC, "width of 21 µm exceeds the periodic box of 20 µm"),
    (PoiseuilleFlow(1.0, 9.0, shape="tube"), OPEN, "a tube needs a 3D box"),
    (VortexFlow(1.0, 1.0), PERIODIC, "lamb-oseen vortex flow: .* jump"),
    (VortexFlow(1.0, 3.0, "gaussian"), PERIODIC, r"needs a periodic box of 30 µm .*axis 1"),
    (TaylorGreenFlow(1.0, 20 / math.pi), PERIODIC, "take a length of 3.18309886 µm"),
    (HarmonicTrap((1.0, 1.0, 1.0)), OPEN, "stiffness has 3 numbers"),
    (HarmonicTrap(1.0, species=("b",)), OPEN, "'harmonic': no species 'b'"),
    (ConstantForce((1.0,)), OPEN, "force has 1 numbers"),
    (DoubleWell(1.0, 1.0, axis=2), OPEN, "axis 2 is not"),
    (
        GridFlow(Grid(np.zeros((4, 2)), 1.0)),
        OPEN,
        r"shape \(4, 2\).* 2D box needs 2 axes and a last",
    ),
    (GridFlow(Grid(np.zeros((4, 4, 3)), 1.0)), OPEN, "last one of 2 components"),
    (GridPotential(Grid(np.zeros((4, 4, 4)), 1.0)), OPEN, "needs 2 axes"),
    (GridPotential(Grid(np.zeros((4, 4)), (1.0, 1.0, 1.0))), OPEN, "3 numbers for spacing"),
    (GridPotential(Grid(np.zeros((4, 4)), 1.0, (0.0,))), OPEN, "1 numbers for origin"),
    (GridPotential(Grid(np.zeros((4, 1)), 1.0)), OPEN, "2 points or more along axis 1"),
    (GridPotential(Grid(np.zeros((4, 4)), 1.0, (41.0, 0.0))), OPEN, "41 to 44 µm .* 0 to 40 µm"),
    (GridPotential(Grid(np.zeros((4, 4)), (10.0, 7.0))), PERIODIC, "21 µm .* box of 20 µm"),
    (
        GridPotential(Grid(np.zeros((8, 8)), 4.0, edge="periodic")),
        PERIODIC,
        "8 points of 4 µm span 32 µm along axis 0, but the periodic box is 40 µm long; take a "
        "spacing of 5 µm",
    ),
]


@pytest.mark.parametrize("case", range(len(MISFITS)))
def test_what_does_not_fit_the_box_is_refused(case: int) -> None:
    part, box, message = MISFITS[case]
    flows = [part] if isinstance(part, Flow) else []
    potentials = [part] if isinstance(part, Potential) else []
    with pytest.raises(ConfigError, match=message):
        check_fields(flows, potentials, box, ("a",))


def test_what_fits_is_accepted() -> None:
    grid = Grid(np.zeros((8, 5, 2)), (5.0, 4.0), edge="periodic")
    period = 20 / (2 * math.pi)
    fitting: list[Flow] = [
        UniformFlow((1.0, 0.0)),
        ShearFlow(1.0, 1, 0, (3.0, 4.0)),
        PoiseuilleFlow(1.0, 20.0),
        VortexFlow(1.0, 2.0, "gaussian"),
        TaylorGreenFlow(1.0, period),
        GridFlow(grid),
        CallableFlow(still),
    ]
    potentials: list[Potential] = [
        HarmonicTrap((1.0, 0.0), species=("a",)),
        DoubleWell(1.0, 2.0),
        GridPotential(Grid(np.zeros((3, 3)), (5.0, 4.0), (9.0, 9.0))),
    ]
    check_fields([f for f in fitting if f.kind != "shear"], potentials, PERIODIC, ("a", "b"))
    check_fields(fitting, potentials, OPEN, ("a", "b"))
    tube = PoiseuilleFlow(1.0, 5.0, axis=2, shape="tube")
    check_fields([tube, ShearFlow(1.0, 0, 2)], [HarmonicTrap(1.0)], OPEN_3D, ("a",))


@pytest.mark.parametrize(
    "part",
    [
        UniformFlow((1.0, 0.5)),
        ShearFlow(0.3, 1, 0, (3.0, 4.0)),
        PoiseuilleFlow(1.0, 20.0),
        VortexFlow(1.0, 2.0, "rankine"),
        TaylorGreenFlow(1.0, 3.0),
        CallableFlow("math:sin", {"a": 2.0}),
    ],
)
def test_flows_are_read_from_their_tables(part: Flow) -> None:
    """What `to_dict` writes, `build` reads; equal configurations have equal hashes."""
    again = build(type(part), to_dict(part))
    assert again == part
    assert hash(again) == hash(part)


@pytest.mark.parametrize(
    "part",
    [
        ConstantForce((0.0, -1.0), ("a",)),
        HarmonicTrap((1.0, 2.0)),
        HarmonicTrap(1.0, species=("a", "b")),
        DoubleWell(1.0, 2.0, 0.5, 1),
        CallablePotential("math:sin", species=("b",)),
    ],
)
def test_potentials_are_read_from_their_tables(part: Potential) -> None:
    again = build(type(part), to_dict(part))
    assert again == part
    assert hash(again) == hash(part)


def test_lists_of_kinds_survive_a_file(tmp_path: Path) -> None:
    """TOML written from a configuration is read back as the same one, grids by their path."""
    path = tmp_path / "grid.npz"
    np.savez(path, values=np.ones((8, 4)), spacing=5.0)
    config = Filled(
        (ShearFlow(0.3), VortexFlow(1.0, 2.0, "gaussian"), CallableFlow("math:sin", {"a": 2.0})),
        (HarmonicTrap((1.0, 2.0), species=("a",)), GridPotential(Grid(str(path), edge="periodic"))),
        (Chemical("a", secretion=(1.0, 2.0)), Chemical("b")),
    )
    again = build(Filled, tomllib.loads(dump_toml(to_dict(config))))
    assert again == config
    assert hash(again) == hash(config)
    check_fields(again.flows[1:], again.potentials, PERIODIC, ("a", "b"))


def test_units_are_read() -> None:
    assert build(UniformFlow, {"kind": "uniform", "velocity": ["1 mm/s", 2]}).velocity == (1000, 2)
    assert build(HarmonicTrap, {"stiffness": "1 uN/m"}).stiffness == 1.0
    chemical = build(Chemical, {"diffusion": "1e-9 m**2/s", "secretion": ["1 kHz", "5/s"]})
    assert chemical.diffusion == 1000
    assert chemical.secretion == (1000, 5)


def test_grids_are_equal_by_content(tmp_path: Path) -> None:
    values = np.arange(12.0).reshape(3, 4)
    path = tmp_path / "grid.npz"
    np.savez(path, values=values, origin=np.array([1.0, 2.0]), spacing=np.array([3.0, 3.0]))
    given, stored = Grid(values, (3.0, 3.0), (1.0, 2.0)), Grid(str(path))
    assert given == stored
    assert hash(given) == hash(stored)
    assert build(Grid, to_dict(stored)) == stored
    assert Grid(values + 1, (3.0, 3.0), (1.0, 2.0)) != given
    assert Grid(values.T, (3.0, 3.0), (1.0, 2.0)) != given
    assert Grid(values, (3.0, 3.0)) != given
    values[0, 0] = 7
    assert given.array[0, 0] == 0
    with pytest.raises(ValueError, match="read-only"):
        given.array[0, 0] = 7
    with pytest.raises(ConfigError, match="spacing is given both here and in the file"):
        Grid(str(path), 1.0)
    np.savez(path, other=values)
    with pytest.raises(ConfigError, match="holds other; it must hold values"):
        Grid(str(path))
    path.write_text("no archive")
    with pytest.raises(ConfigError, match=r"give the path of an \.npz file"):
        Grid(str(path))
    np.save(tmp_path / "grid.npy", values)
    with pytest.raises(ConfigError, match="it holds a single array"):
        Grid(str(tmp_path / "grid.npy"))


def test_functions_are_found_by_name(tmp_path: Path) -> None:
    path = tmp_path / "flows.py"
    path.write_text("def drift(position, time):\n    return position * 2\n")
    name = f"{path}:drift"
    found = load_function(name, "flow")
    assert found(3.0, 0.0) == 6
    assert load_function(name, "flow") is found
    assert CallableFlow(name) == CallableFlow(name)
    assert load_function("math:sin", "flow") is math.sin
    path.write_text("def drift(position, time):\n    return position * 3\n")
    assert load_function(name, "flow")(3.0, 0.0) == 9
    path.write_text("def drift(position, time)\n")
    with pytest.raises(ConfigError, match="cannot load"):
        load_function(name, "flow")


def test_parameters_of_functions_count_by_content() -> None:
    table: Any = {"b": np.array([1.0, 2.0]), "a": [1.0, (2.0, 3.0)]}
    one = CallablePotential(still, table)
    same = CallablePotential(still, {"a": (1.0, [2.0, 3.0]), "b": [1.0, 2.0]})
    table["b"][0] = 9.0
    assert one.parameters["b"][0] == 1
    assert one == CallablePotential(still, {"b": np.array([1.0, 2.0]), "a": [1.0, (2.0, 3.0)]})
    assert hash(one) != hash(CallablePotential(still, table))
    assert one != CallablePotential(still, table)
    assert isinstance(hash(same), int)


def test_stiffness_of_potentials() -> None:
    """The largest second derivative, which the time step has to resolve."""
    assert HarmonicTrap((1.0, 3.0)).stiffness_max == 3
    # U'' = (12 x²/a² - 4) B/a² is 8 B/a² = 32 B/distance² at the minima
    assert DoubleWell(2.0, 4.0).stiffness_max == 4
    assert GridPotential(Grid([[0.0, 1.0, 4.0], [0.0, 0.0, 0.0]], 0.5)).stiffness_max == 8


def test_chemicals_are_checked_against_the_box() -> None:
    check_chemicals([Chemical("a"), Chemical("b", secretion=(1.0, 2.0))], PERIODIC, 2)
    assert Chemical(spacing=5.0).cells(Box((40.0, 22.0))) == (8, 5)
    for chemicals, message in [
        ([Chemical("a"), Chemical("a")], "names of chemicals must be unique"),
        ([Chemical(secretion=(1.0,))], "1 secretion rates for 2 species"),
        ([Chemical(spacing=10.0)], r"leaves 2 cell\(s\) along axis 1, 20 µm .* take 6.66667 µm"),
        ([Chemical(spacing=0.001)], "take a larger spacing"),
    ]:
        with pytest.raises(ConfigError, match=message):
            check_chemicals(chemicals, PERIODIC, 2)
