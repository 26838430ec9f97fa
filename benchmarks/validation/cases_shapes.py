"""Spheroids, moments and rigid bodies: orbits in shear, diffusion, rotating fields, rods."""

from __future__ import annotations

import math
from typing import Any

import jax.numpy as jnp
import numpy as np
from harness import THERMAL, Batch, Result, mean_error, row, scaled

from swarmctl.core.bodies import Body, Cross, Disc, Ngon, Rod
from swarmctl.core.command import Command, FieldCommand
from swarmctl.core.fields import ShearFlow
from swarmctl.core.world import Box, Fluid, GlobalField, Placement, Species, World

JEFFERY = "Jeffery 1922: γ̇T = 2π(r + 1/r)"
PERRIN = "Perrin 1934, 1936, as in Kim and Karrila, table 3.4"
SLIP = "ω − √(ω² − ω_c²)"
HEUTHE = "model of Heuthe et al., Sci. Robot. 9, eado5888 (2024)"
EINSTEIN = "2 k_B T t/ξ"


def jeffery(effort: float = 1.0, seed: int = 0) -> Result:
    """Period of a spheroid's orbit in simple shear, without noise."""
    rows = []
    rate = 1.0
    orbits = 2 if effort >= 1 else 1
    cases = ((2, 0.4), (3, 3.0), (2, 3.0), (3, 8.0))
    for dimension, aspect in cases if effort >= 1 else cases[:2]:
        period = 2 * math.pi * (aspect + 1 / aspect) / rate
        intervals, steps = 400 * orbits, 20
        interval = 1.02 * period * orbits / intervals
        starts = np.array([[0.3, 0.8, 0.5], [0.05, 1.0, 1.5], [1.0, -0.3, 0.2]])[:, :dimension]
        points = ((50.0,) * dimension,) * len(starts)
        species = Species(
            count=len(starts),
            aspect_ratio=aspect,
            placement=Placement("points", positions=points, directors=tuple(map(tuple, starts))),
        )
        world = World(
            Box((100.0,) * dimension, "open"),
            Fluid(temperature=0.0),
            (species,),
            time_step=interval / steps,
            contacts=False,
            flows=(ShearFlow(rate),),
        )
        batch = Batch(world, interval, 1)
        state = batch.start(seed)
        first = np.asarray(batch.observe(state).director[0])
        command = batch.command(speed=0.0)
        _, path = batch.run(state, command, intervals, seed, lambda now, _: now.director[0])
        path = np.concatenate([first[None], path]).astype(float)
        angle = np.unwrap(np.arctan2(path[..., 1], path[..., 0]), axis=0)
        turned = np.abs(angle - angle[0])
        times = interval * np.arange(intervals + 1)
        found = [np.interp(2 * math.pi * orbits, t, times) / orbits for t in turned.T]
        worst = max(found, key=lambda t: abs(t - period))
        name = f"{dimension}D, r = {aspect:g}: γ̇T (worst of {len(found)} orbits)"
        rows.append(row(name, rate * worst, rate * period, 1e-3, JEFFERY))
    return Result(rows)


def perrin_frictions(radius: float, aspect: float, viscosity: float) -> tuple[float, float, float]:
    """Friction along, across, and of the director's rotation; Kim and Karrila's functions of the
    eccentricity, which share no formula with `swarmctl.core.friction`.
    """
    major = radius * max(1.0, aspect)
    minor = radius * min(1.0, aspect)
    e = math.sqrt(1 - (minor / major) ** 2)
    if aspect > 1:
        log = math.log((1 + e) / (1 - e))
        along = 8 / 3 * e**3 / (-2 * e + (1 + e**2) * log)
        across = 16 / 3 * e**3 / (2 * e + (3 * e**2 - 1) * log)
        turn = 4 / 3 * e**3 * (2 - e**2) / (-2 * e + (1 + e**2) * log)
    else:
        root = math.sqrt(1 - e**2)
        arc = math.atan2(e, root)
        along = 4 / 3 * e**3 / ((2 * e**2 - 1) * arc + e * root)
        across = 8 / 3 * e**3 / ((2 * e**2 + 1) * arc - e * root)
        turn = 2 / 3 * e**3 * (2 - e**2) / (e * root - (1 - 2 * e**2) * arc)
    translation, rotation = 6 * math.pi * viscosity * major, 8 * math.pi * viscosity * major**3
    return translation * along, translation * across, rotation * turn


def perrin(effort: float = 1.0, seed: int = 0) -> Result:
    """Diffusion of spheroids along and across their director, of the director, and on the whole."""
    rows = []
    count, step = 100, 0.01
    for dimension, aspect in ((2, 4.0), (3, 4.0), (3, 0.3)):
        along, across, turn = perrin_frictions(1.0, aspect, 1e-3)
        species = Species(count=count, aspect_ratio=aspect)
        box = Box((1000.0,) * dimension)
        world = World(box, species=(species,), time_step=step, contacts=False)
        batch = Batch(world, 5 * step, scaled(500, effort))
        state = batch.start(seed)
        rest = batch.command(speed=0.0)
        sums: list[Any] = []
        begin = batch.observe(state)
        origin = np.asarray(begin.unwrapped(batch.space), float)
        intervals = 40
        for i in range(intervals):
            director = np.asarray(batch.observe(state).director, float)
            state, _ = batch.run(state, rest, 1, seed + 1 + i)
            now = batch.observe(state)
            moved = np.asarray(now.velocity, float) * batch.interval
            forward = (moved * director).sum(-1)
            square = (moved**2).sum(-1)
            cosine = (director * np.asarray(now.director, float)).sum(-1)
            sums.append([x.mean(-1) for x in (forward**2, square - forward**2, cosine)])
        forward2, side2, cosine = np.moveaxis(np.array(sums), 0, -1).mean(-1)
        time = batch.interval
        label = f"{dimension}D, r = {aspect:g}: "
        # Within the interval the director turns by a mean square angle 2(d−1)D_r t.
        turned = (dimension - 1) * THERMAL / turn * time
        mix = (1 - math.exp(-2 * turned * dimension / (dimension - 1))) / (
            2 * turned * dimension / (dimension - 1)
        )
        d_along, d_across = THERMAL / along, THERMAL / across
        mean = (d_along + (dimension - 1) * d_across) / dimension
        seen_along = mean + (d_along - mean) * mix
        total = dimension * mean
        rows += [
            row(
                label + "⟨Δr∥²⟩/2t",
                tuple(np.array(mean_error(forward2)) / 2 / time),
                seen_along,
                0.02,
                PERRIN,
            ),
            row(
                label + "⟨Δr⊥²⟩/2t",
                tuple(np.array(mean_error(side2)) / 2 / time),
                total - seen_along,
                0.02,
                PERRIN,
            ),
        ]
        lost, error = mean_error(cosine)
        scale = time * (dimension - 1)
        rate = -math.log(lost) / scale, error / lost / scale
        rows.append(row(label + "D_r of the director", rate, THERMAL / turn, 0.02, PERRIN))
        distance = np.asarray(batch.observe(state).unwrapped(batch.space), float) - origin
        spread = mean_error((distance**2).sum(-1).mean(-1))
        time *= intervals
        wanted = tuple(np.array(spread) / (2 * dimension * time))
        rows.append(row(label + "D on the whole, MSD/2dt", wanted, mean, 0.02, PERRIN))
    return Result(rows)


def rotating_field(effort: float = 1.0, seed: int = 0) -> Result:
    """Mean turn rate of a moment in a rotating field, below and above the critical frequency."""
    rotational, critical = 8 * math.pi * 1e-3, 2.0
    moment = critical * rotational
    ratios = np.array([0.5, 0.95, 1.05, 1.25, 2.0, 4.0])
    rows, curves = [], {}
    for dimension in (2, 3):
        axis = np.eye(dimension)[0]
        third = (0.0, 0.0, 1.0)
        species = Species(
            count=1,
            magnetic_moment=moment,
            placement=Placement(
                "points", positions=((50.0,) * dimension,), directors=(tuple(axis),)
            ),
        )
        step = 1e-3 / critical
        world = World(
            Box((100.0,) * dimension, "open"),
            Fluid(temperature=0.0),
            (species,),
            field=GlobalField(1.0, 0.0, 100.0),
            time_step=step,
        )
        swarms = len(ratios)
        batch = Batch(world, 20 * step, swarms)
        omega = ratios * critical

        def tile(x: Any, swarms: int = swarms) -> Any:
            return jnp.asarray(np.tile(np.asarray(x, float), (swarms, *(1,) * np.ndim(x))))

        command = Command(
            field=FieldCommand(
                bias=tile(0 * axis),
                amplitude=tile(axis),
                axis=tile(third),
                frequency=jnp.asarray(omega / 2 / math.pi),
                phase=jnp.zeros(swarms),
                gradient=tile(np.zeros((dimension, dimension))),
            )
        )
        slip = np.sqrt(np.maximum(omega**2 - critical**2, 0))
        beat = np.where(slip > 0, 2 * math.pi / np.where(slip > 0, slip, 1), 10.0)
        begin = np.maximum(2 * beat, 20.0)
        cycles = np.ceil(40.0 / beat)
        end = begin + cycles * beat
        intervals = math.ceil(end.max() / batch.interval) + 1
        _, path = batch.run(
            batch.start(seed), command, intervals, seed, lambda now, _: now.director[:, 0]
        )
        angle = np.unwrap(np.arctan2(path[..., 1], path[..., 0]).astype(float), axis=0)
        times = batch.interval * np.arange(1, intervals + 1)
        rates = []
        for i, ratio in enumerate(ratios):
            a, b = np.interp([begin[i], end[i]], times, angle[:, i])
            rates.append((a - b) / (begin[i] - end[i]))
            wanted = omega[i] - slip[i]
            name = f"{dimension}D, ω = {ratio:g} ω_c: mean turn rate / ω_c"
            rows.append(row(name, rates[-1] / critical, wanted / critical, 5e-3, SLIP))
        curves[f"{dimension}D"] = {"ratio": ratios, "rate": np.array(rates) / critical}
    return Result(rows, curves)


def robot_and_rod(lever: float, factor: int) -> World:
    """One robot that pushes a rod at right angles, `lever` µm beside its middle."""
    viscosity, diameter, length = 5.027e-3, 6.8, 96.0
    log = math.log(length / diameter)
    scale = factor * math.pi * viscosity * length
    place = ((200.0 + lever, 200.0 - 1.001 * diameter),)
    species = Species(
        count=1,
        radius=diameter / 2,
        speed_max=7.3,
        friction=6 * math.pi * viscosity * diameter / 2,
        placement=Placement("points", positions=place, directors=((0.0, 1.0),)),
    )
    body = Body(
        shape=Rod(length, diameter, 15),
        friction=(2 * scale / log, 4 * scale / (log + 1)),
        rotational_friction=(scale * length**2 / (3 * log),),
        placement=Placement("points", positions=((200.0, 200.0),), directors=((1.0, 0.0),)),
    )
    box = Box((400.0, 400.0), "open")
    return World(box, Fluid(viscosity, 0.0), (species,), 1e-3, bodies=(body,))


def pushing(effort: float = 1.0, seed: int = 0) -> Result:
    """A robot that pushes a rod, at its middle and near its end, without noise."""
    rows = []
    cases = ((0.0, 3, 0.44290, None), (0.0, 4, 0.33729, None), (44.6, 3, 0.3976, 0.01676))
    for lever, factor, speed, turn in cases:
        batch = Batch(robot_and_rod(lever, factor), 0.05, 1)
        intervals = 10 if turn is None else 6
        state, _ = batch.run(batch.start(seed), batch.command(speed=7.3), intervals, seed)
        now = batch.observe(state)
        assert now.bodies is not None
        label = f"y = {lever:g} µm, m = {factor}: "
        tolerance = 1e-3 if turn is None else 0.01
        velocity = float(now.bodies.velocity[0, 0, 1])
        rows.append(row(label + "V (µm/s)", velocity, speed, tolerance, HEUTHE))
        if turn is not None:
            spin = float(now.bodies.angular_velocity[0, 0])
            rows.append(row(label + "ω (rad/s)", spin, turn, tolerance, HEUTHE))
            gaps = np.linalg.norm(np.asarray(now.bodies.bead - now.position)[0], axis=-1)
            pressed = 1 - gaps.min() / 6.8
            name = label + "compression of the contact / s"
            rows.append(row(name, pressed, 0.0, 0.01, "below 1 %", absolute=True))
    return Result(rows)


SHAPES: dict[str, Any] = {
    "rod": Rod(20.0, 4.0),
    "cross": Cross(20.0, 4.0),
    "disc": Disc(8.0, 4.0),
    "triangle": Ngon(3, 8.0, 4.0),
    "square": Ngon(4, 8.0, 4.0),
}


def _squares_of_body(now: Any, _: Any) -> tuple[Any, Any]:
    turns = now.bodies.angular_velocity[:, 0]
    return (now.bodies.velocity[:, 0] ** 2).sum(-1), jnp.atleast_2d(turns.T**2).sum(0)


def bodies(effort: float = 1.0, seed: int = 0) -> Result:
    """Mean square displacement and rotation of every shape of rigid body, free and passive."""
    rows = []
    cases = [(name, 2, "brownian") for name in SHAPES]
    cases += [("rod", 2, "langevin"), ("square", 3, "brownian"), ("rod", 3, "langevin")]
    for number, (name, dimension, dynamics) in enumerate(cases):
        middle = ((100.0,) * dimension,)
        away = Placement("points", positions=((20.0,) * dimension,))
        body = Body("body", shape=SHAPES[name], placement=Placement("points", positions=middle))
        world = World(
            Box((200.0,) * dimension, "open"),
            species=(Species(count=1, placement=away),),
            bodies=(body,),
            dynamics=dynamics,  # type: ignore[arg-type]
            time_step=0.05,
            contacts=False,
        )
        batch = Batch(world, 1.0, scaled(40_000, effort))
        state = batch.start(seed + 2 * number)
        rest = batch.command(speed=0.0)
        _, out = batch.run(
            state,
            rest,
            5,
            seed + 2 * number + 1,
            _squares_of_body,
        )
        translation, rotation = body.frictions(world.fluid.viscosity, dimension)
        label = f"{name}, {dimension}D, {dynamics}: "
        for what, seen, friction in (
            ("⟨Δr²⟩", out[0], translation),
            ("⟨Δφ²⟩", out[1], rotation),
        ):
            measured = mean_error(seen.astype(float).mean(0))
            wanted = 2 * THERMAL * batch.interval * float(np.sum(1 / friction))
            scaled_pair = (measured[0] * batch.interval**2, measured[1] * batch.interval**2)
            rows.append(row(label + what, scaled_pair, wanted, 0.02, EINSTEIN))
    return Result(rows)
