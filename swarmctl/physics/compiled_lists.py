"""Neighbour lists of the compiled kernel, and the contact forces from them."""

# mypy: ignore-errors

from __future__ import annotations

import numpy as np
from numba import carray

from swarmctl.physics.compiled_base import (
    CHUNK,
    DEEPEST,
    EDGES,
    F_BUILT,
    F_FORCE,
    F_PUSH,
    F_RADIUS,
    F_SHAKE,
    F_SPEED,
    F_VELOCITY,
    LANES,
    MIN_CELLS,
    MOST_SPANS,
    OVERLAP,
    PERIODIC,
    SHAPE,
    SPANS,
    TOUCHING,
    block_at,
    fast,
    i64,
    lowest_bit,
    pointer,
    separation,
    u32,
    wait,
)


@fast
def bounds(blocks, count, dimension, real, width):
    """Largest radius, drive speed and noise per step of all particles."""
    radius, speed, shake = real(0), real(0), real(0)
    for k in range((count + LANES - 1) // LANES):
        block = block_at(blocks, k, real, width)
        for lane in range(LANES):
            drive = abs(block[F_SPEED, lane])
            for axis in range(dimension):
                drive += abs(block[F_VELOCITY + axis, lane])
            radius = max(radius, block[F_RADIUS, lane])
            speed = max(speed, drive)
            shake = max(shake, block[F_SHAKE, lane])
    return radius, speed, shake


@fast
def near_stride(count):
    """Length of the rows of sorted positions: a vector may reach beyond the last."""
    return (count + 2 * LANES) // LANES * LANES


@fast
def cell_room(count):
    """At least the number of cells."""
    return i64(2) * count + 64


@fast
def scratch_room(count, size, dimension, width):
    """Bytes that `cell_arrays` needs."""
    words = 2 * count + (cell_room(count) + 1) * (1 + size)
    return (4 * words + 63) // 64 * 64 + width * near_stride(count) * (dimension + 1) + 64


@fast
def cell_arrays(scratch, count, size, real, dimension):
    """Cell of each particle, particles by cell, where cells start, counts, and sorted copies."""
    cells = cell_room(count)
    cell = carray(pointer(scratch), count, np.int32)
    order = carray(pointer(scratch + 4 * count), count, np.int32)
    starts = carray(pointer(scratch + 8 * count), cells + 1, np.int32)
    tallies = carray(pointer(scratch + 8 * count + 4 * (cells + 1)), (size, cells), np.int32)
    used = 8 * count + 4 * (cells + 1) * (1 + size)
    near = carray(
        pointer(scratch + (used + 63) // 64 * 64), (dimension + 1, near_stride(count)), real
    )
    return cell, order, starts, tallies, near


@fast
def choose_cells(count, cutoff, box, flags, desk):
    """Numbers and inverse edges of cells along the axes; returns the number of all.

    Periodic axes have cells of at least the cutoff, or one. The others repeat theirs for ever, so
    that particles far out find a cell too; who is not near is told by distance.
    """
    dimension = len(box)
    shape = carray(pointer(desk + 8 * SHAPE), 3, np.int64)
    edges = carray(pointer(desk + 8 * EDGES), 3, np.float64)
    most = max(3, int(np.ceil(count ** (1 / dimension))))
    cells = i64(1)
    for axis in range(3):
        shape[axis], edges[axis] = 1, 0.0
    if count < MIN_CELLS:
        return cells
    for axis in range(dimension):
        length = np.float64(box[axis][0])
        fit = min(most, int(length / cutoff))
        if flags[axis] == PERIODIC:
            shape[axis] = fit if fit >= 3 else 1
            edges[axis] = shape[axis] / length
        else:
            shape[axis] = max(fit, 3)
            edges[axis] = 1 / max(np.float64(cutoff), length / shape[axis])
        cells *= shape[axis]
    return cells


@fast
def sort_into_cells(
    team,
    size,
    rank,
    rounds,
    scratch,
    blocks,
    sites,
    low,
    high,
    count,
    cutoff,
    box,
    flags,
    desk,
    real,
    width,
):
    """Sort the particles by cell, each thread its own; returns the number of its last barrier."""
    dimension = len(box)
    cells = choose_cells(count, cutoff, box, flags, desk)
    shape = carray(pointer(desk + 8 * SHAPE), 3, np.int64)
    edges = carray(pointer(desk + 8 * EDGES), 3, np.float64)
    where = carray(pointer(sites), (count, dimension), real)
    cell, order, starts, tallies, near = cell_arrays(scratch, count, size, real, dimension)
    for c in range(cells):
        tallies[rank, c] = 0
    for i in range(low, high):
        block, lane = block_at(blocks, i // LANES, real, width), i % LANES
        index, stride = np.int32(0), np.int32(1)
        for axis in range(dimension):
            x = where[i, axis]
            block[F_BUILT + axis, lane] = x
            q = np.float64(x) * edges[axis]
            whole = np.int32(np.floor(q)) if abs(q) < 1e9 else np.int32(0)
            n = np.int32(shape[axis])
            if whole < 0 or whole >= n:
                whole = np.int32(whole % n)
            index += stride * whole
            stride *= n
        cell[i] = index
        tallies[rank, index] += np.int32(1)
    rounds += 1
    wait(team, size, rounds)
    if rank == 0:
        place = np.int32(0)
        for c in range(cells):
            starts[c] = place
            for t in range(size):
                number = tallies[t, c]
                tallies[t, c] = place
                place += number
        starts[cells] = place
    rounds += 1
    wait(team, size, rounds)
    for i in range(low, high):
        c = cell[i]
        k = tallies[rank, c]
        tallies[rank, c] = k + np.int32(1)
        order[k] = i
        for axis in range(dimension):
            near[axis, k] = where[i, axis]
        near[dimension, k] = block_at(blocks, i // LANES, real, width)[F_RADIUS, i % LANES]
    rounds += 1
    wait(team, size, rounds)
    return rounds


@fast
def near_of(near, s, base, end, skin, box, real, width):
    """Which of the sorted particles from base to end are near to particle s, as bits."""
    dimension = len(box)
    stride = near.shape[1] * width
    start = near.ctypes.data + base * width
    wide = near[dimension, s] + skin
    radius = carray(pointer(start + dimension * stride), LANES, real)
    x = carray(pointer(start), LANES, real)
    y = carray(pointer(start + stride), LANES, real)
    z = carray(pointer(start + (dimension - 1) * stride), LANES, real)
    x0, y0, z0 = near[0, s], near[1, s], near[dimension - 1, s]
    hits = u32(0)
    valid = u32((u32(1) << u32(end - base)) - u32(1))
    if s >= base and s < end:
        valid &= ~(u32(1) << u32(s - base))
    for lane in range(LANES):
        dx = separation(x0, x[lane], box[0][0], box[0][1])
        dy = separation(y0, y[lane], box[1][0], box[1][1])
        square = dx * dx + dy * dy
        if dimension == 3:
            dz = separation(z0, z[lane], box[dimension - 1][0], box[dimension - 1][1])
            square += dz * dz
        cut = wide + radius[lane]
        hits |= u32(u32(square < cut * cut) << u32(lane))
    return u32(hits & valid)


@fast
def spans_of(cx, cy, cz, shape, starts, spans):
    """Ranges of sorted particles in the cells around a cell: how many, with how many particles."""
    nx, ny, nz = shape[0], shape[1], shape[2]
    wy, wz = i64(ny > 1), i64(nz > 1)
    left, right = max(cx - 1, 0), min(cx + 2, nx)
    across = i64(-1)  # the cell on the other side
    if nx > 1 and (cx == 0 or cx == nx - 1):
        across = nx - 1 if cx == 0 else 0
    number, particles = i64(0), i64(0)
    for dz in range(-wz, wz + 1):
        z = cz + dz
        z += nz if z < 0 else (-nz if z >= nz else 0)
        for dy in range(-wy, wy + 1):
            y = cy + dy
            y += ny if y < 0 else (-ny if y >= ny else 0)
            row = (z * ny + y) * nx
            first, stop = i64(starts[row + left]), i64(starts[row + right])
            spans[number, 0], spans[number, 1] = first, stop
            number += i64(stop > first)
            particles += stop - first
            if across >= 0:
                first, stop = i64(starts[row + across]), i64(starts[row + across + 1])
                spans[number, 0], spans[number, 1] = first, stop
                number += i64(stop > first)
                particles += stop - first
    return number, particles


@fast
def list_pairs(scratch, size, rank, count, skin, box, desk, lists, room, real, width):
    """Find all pairs within contact and skin whose first member is in this thread's cells.

    Returns their number, or minus the room that a list needs at least if there is too little.
    """
    dimension = len(box)
    _, order, starts, _, near = cell_arrays(scratch, count, size, real, dimension)
    shape = carray(pointer(desk + 8 * SHAPE), 3, np.int64)
    spans = carray(pointer(desk + 8 * SPANS), (MOST_SPANS, 2), np.int64)
    pairs = carray(pointer(lists), (room, 2), np.uint32)
    reach = carray(pointer(lists + 8 * room), room, real)
    nx, ny = shape[0], shape[1]
    cells = nx * ny * shape[2]
    total = i64(0)
    begin, end = count * rank // size, count * (rank + 1) // size
    c, step = i64(0), cells
    while step > 0:  # to the last cell that starts at or before `begin`
        if c + step < cells and starts[c + step] <= begin:
            c += step
        else:
            step //= 2
    cx, cy, cz = c % nx, c // nx % ny, c // (nx * ny)
    s = begin
    while s < end:
        last = min(end, i64(starts[c + 1]))
        number, candidates = i64(0), i64(0)
        if last > s:
            number, candidates = spans_of(cx, cy, cz, shape, starts, spans)
        while s < last:
            if total + candidates > room:
                return -(2 * total + candidates)
            i, own = u32(order[s]), total
            for n in range(number):
                first, stop = spans[n, 0], spans[n, 1]
                for base in range(first, stop, LANES):
                    hits = near_of(near, s, base, min(stop, base + LANES), skin, box, real, width)
                    while hits:
                        k = base + lowest_bit(hits)
                        hits &= hits - u32(1)
                        contact = near[dimension, s] + near[dimension, k]
                        j, square, q = u32(order[k]), contact * contact, total
                        while q > own and pairs[q - 1, 1] > j:  # in the order of indices
                            pairs[q, 1], reach[q] = pairs[q - 1, 1], reach[q - 1]
                            q -= 1
                        pairs[q, 1], reach[q] = j, square
                        pairs[total, 0] = i
                        total += 1
            s += 1
        c += 1
        cx += 1
        if cx == nx:
            cx, cy = i64(0), cy + 1
            if cy == ny:
                cy, cz = i64(0), cz + 1
    return total


@fast
def push_pairs(lists, room, total, desk, sites, blocks, box, thermal, given, real, width):
    """Contact forces of the listed pairs on their first members; returns whether two overlap."""
    dimension = len(box)
    pairs = carray(pointer(lists), (room, 2), np.uint32)
    reach = carray(pointer(lists + 8 * room), room, real)
    touching = carray(pointer(desk + 8 * TOUCHING), CHUNK + 1, np.int64)
    where = carray(pointer(sites), (i64(1) << 40, dimension), real)
    last = dimension - 1
    overlap = False
    for low in range(0, total, CHUNK):
        found = 0
        for p in range(low, min(low + CHUNK, total)):
            i, j = pairs[p, 0], pairs[p, 1]
            dx = separation(where[i, 0], where[j, 0], box[0][0], box[0][1])
            dy = separation(where[i, 1], where[j, 1], box[1][0], box[1][1])
            square = dx * dx + dy * dy
            if dimension == 3:
                dz = separation(where[i, last], where[j, last], box[last][0], box[last][1])
                square += dz * dz
            touching[found] = p
            found += i64(square < reach[p])
        for q in range(found):
            p = touching[q]
            i, j = pairs[p, 0], pairs[p, 1]
            dx = separation(where[i, 0], where[j, 0], box[0][0], box[0][1])
            dy = separation(where[i, 1], where[j, 1], box[1][0], box[1][1])
            dz = real(0)
            square = dx * dx + dy * dy
            if dimension == 3:
                dz = separation(where[i, last], where[j, last], box[last][0], box[last][1])
                square += dz * dz
            contact_square = reach[p]
            block = block_at(blocks, i64(i) // LANES, real, width)
            other = block_at(blocks, i64(j) // LANES, real, width)
            lane, far = i % u32(LANES), j % u32(LANES)
            energy = given
            if energy < real(0):
                contact = block[F_RADIUS, lane] + other[F_RADIUS, far]
                energy = max(thermal, max(block[F_PUSH, lane], other[F_PUSH, far]) * contact)
            inverse = real(1) / max(square, real(DEEPEST * DEEPEST) * contact_square)
            u = contact_square * inverse
            u3 = u * u * u
            factor = real(12) * energy * u3 * (u3 - real(1)) * inverse
            overlap |= u > real(OVERLAP**-2)
            block[F_FORCE, lane] += factor * dx
            block[F_FORCE + 1, lane] += factor * dy
            if dimension == 3:
                block[F_FORCE + last, lane] += factor * dz
    return overlap
