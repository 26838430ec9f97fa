"""Noise, drive, turns, faces and results of the compiled kernel: all but contacts of spheres."""

# mypy: ignore-errors

from __future__ import annotations

import numpy as np
from numba import carray

from swarmctl.physics.compiled_base import (
    AXES,
    COUNT,
    DATA,
    DEEPEST,
    DIRECTOR,
    DISPLACEMENT,
    F_BUILT,
    F_DIRECTOR,
    F_FORCE,
    F_MOBILITY,
    F_MOVED,
    F_PUSH,
    F_RADIUS,
    F_SHAKE,
    F_SPEED,
    F_START,
    F_TURN,
    F_TURNED,
    F_TWIST,
    F_VELOCITY,
    FIELDS,
    GIVEN,
    HARD,
    HEADER,
    HEADER_WORDS,
    IMAGE,
    LANES,
    MOBILITY,
    NEW_DIRECTOR,
    NEW_IMAGE,
    NEW_POSITION,
    NEW_REMAINDER,
    OVERLAP,
    PERIODIC,
    POSITION,
    PUSH,
    RADIUS,
    REMAINDER,
    ROTATION,
    SHAKE,
    SIZE,
    SPEED,
    THERMAL,
    TURN_RATE,
    TWIST,
    VELOCITY,
    array,
    block_at,
    fast,
    i64,
    pointer,
    u32,
)


@fast
def spread(x):
    """Mix the bits of a word, as in noise.py."""
    x = u32((x ^ (x >> u32(16))) * u32(0x7FEB352D))
    x = u32((x ^ (x >> u32(15))) * u32(0x846CA68B))
    return u32(x ^ (x >> u32(16)))


@fast
def seed(x):
    """Prepare a word for `hash_words`."""
    return u32(u32(spread(x) * u32(1664525)) + u32(1013904223))


@fast
def hash_words(a, b, c, d):
    """Two rounds of noise.py on words that have been through `seed`."""
    for _ in range(2):
        a = u32(a + u32(b * d))
        b = u32(b + u32(c * a))
        c = u32(c + u32(a * b))
        d = u32(d + u32(b * c))
        a, b = u32(a ^ (a >> u32(16))), u32(b ^ (b >> u32(16)))
        c, d = u32(c ^ (c >> u32(16))), u32(d ^ (d >> u32(16)))
    return a, b, c, d


@fast
def unit_noise(word, real):
    """Noise of mean 0 and variance 1 from a word, as in noise.py."""
    low = u32(0x00FF00FF)
    pairs = u32(u32(word & low) + u32(u32(word >> u32(8)) & low))
    total = u32(u32(pairs & u32(0xFFFF)) + u32(pairs >> u32(16)))
    return real(np.int32(np.int32(total) - np.int32(510))) * real(21845**-0.5)


@fast
def load(job, swarm, blocks, sites, seeds, low, high, real, width, axes):
    """Bring particles low..high of a swarm into blocks, and the words for their noise."""
    dimension = len(axes)
    header = carray(pointer(job[DATA + HEADER]), HEADER_WORDS, np.int64)
    count = header[COUNT]
    turns = 1 if dimension == 2 else 3
    position = array(job, POSITION, swarm, (count, dimension), real)
    remainder = array(job, REMAINDER, swarm, (count, dimension), real)
    director = array(job, DIRECTOR, swarm, (count, dimension), real)
    velocity = array(job, VELOCITY, swarm, (count, dimension), real)
    turn_rate = array(job, TURN_RATE, swarm, (count, turns), real)
    speed = array(job, SPEED, swarm, count, real)
    radius = array(job, RADIUS, swarm, count, real)
    push = array(job, PUSH, swarm, count, real)
    mobility = array(job, MOBILITY, swarm, count, real)
    shake = array(job, SHAKE, swarm, count, real)
    twist = array(job, TWIST, swarm, count, real)
    where = carray(pointer(sites), (count, dimension), real)
    for k in range(low // LANES, (high + LANES - 1) // LANES):
        block = block_at(blocks, k, real, width)
        first = k * LANES
        lanes = min(LANES, count - first)
        if lanes < LANES:
            for field in range(FIELDS):
                for lane in range(lanes, LANES):
                    block[field, lane] = real(0)
        for lane in range(lanes):
            i = first + lane
            for axis in range(dimension):
                block[F_START + axis, lane] = position[i, axis]
                block[F_MOVED + axis, lane] = remainder[i, axis]
                block[F_DIRECTOR + axis, lane] = director[i, axis]
                block[F_VELOCITY + axis, lane] = velocity[i, axis]
                block[F_FORCE + axis, lane] = real(0)
                where[i, axis] = position[i, axis] + remainder[i, axis]
            for axis in range(turns):
                block[F_TURN + axis, lane] = turn_rate[i, axis]
                block[F_TURNED + axis, lane] = real(0)
            block[F_SPEED, lane] = speed[i]
            block[F_RADIUS, lane] = radius[i]
            block[F_PUSH, lane] = push[i]
            block[F_MOBILITY, lane] = mobility[i]
            block[F_SHAKE, lane] = shake[i]
            block[F_TWIST, lane] = twist[i]
        words = dimension - 1
        for h in range(words):
            row = carray(pointer(seeds + 4 * LANES * (k * words + h)), LANES, np.uint32)
            for lane in range(LANES):
                row[lane] = seed(u32(u32(u32(first + lane) * u32(words)) + u32(h)))


@fast
def finish(job, swarm, blocks, low, high, real, width, axes):
    """Wrap positions, store the results of particles low..high; returns whether all are finite."""
    dimension = len(axes)
    turns = 1 if dimension == 2 else 3
    header = carray(pointer(job[DATA + HEADER]), HEADER_WORDS, np.int64)
    count = header[COUNT]
    size = array(job, SIZE, swarm, dimension, real)
    image = array(job, IMAGE, swarm, (count, dimension), np.int32)
    remainder = array(job, REMAINDER, swarm, (count, dimension), real)
    new_position = array(job, NEW_POSITION, swarm, (count, dimension), real)
    new_image = array(job, NEW_IMAGE, swarm, (count, dimension), np.int32)
    new_remainder = array(job, NEW_REMAINDER, swarm, (count, dimension), real)
    new_director = array(job, NEW_DIRECTOR, swarm, (count, dimension), real)
    displacement = array(job, DISPLACEMENT, swarm, (count, dimension), real)
    rotation = array(job, ROTATION, swarm, (count, turns), real)
    finite = True
    for k in range(low // LANES, (high + LANES - 1) // LANES):
        block = block_at(blocks, k, real, width)
        for lane in range(min(LANES, count - k * LANES)):
            i = k * LANES + lane
            square = real(0)
            for axis in range(dimension):
                start, moved = block[F_START + axis, lane], block[F_MOVED + axis, lane]
                end = start + moved
                new_remainder[i, axis] = moved - (end - start)
                displacement[i, axis] = moved - remainder[i, axis]
                finite &= (moved - moved == real(0)) and (end - end == real(0))
                boxes = np.int32(0)
                if header[AXES + axis] == PERIODIC:
                    whole = np.floor(end / size[axis])
                    if whole != real(0):
                        end -= whole * size[axis]
                        boxes = np.int32(whole)
                    if end >= size[axis]:
                        end, boxes = real(0), np.int32(boxes + np.int32(1))
                new_position[i, axis] = end
                new_image[i, axis] = image[i, axis] + boxes
                n = block[F_DIRECTOR + axis, lane]
                square += n * n
            length = np.sqrt(square)
            if not length > real(0):
                length = real(1)
            for axis in range(dimension):
                new_director[i, axis] = block[F_DIRECTOR + axis, lane] / length
            for axis in range(turns):
                turned = block[F_TURNED + axis, lane]
                rotation[i, axis] = turned
                finite &= turned - turned == real(0)
    return finite


@fast
def push_from_faces(job, swarm, blocks, low, high, real, width, axes):
    """Forces of hard faces on particles low..high; returns whether a face overlaps a sphere."""
    header = carray(pointer(job[DATA + HEADER]), HEADER_WORDS, np.int64)
    size = array(job, SIZE, swarm, len(axes), real)
    thermal = array(job, THERMAL, swarm, 1, real)[0]
    given = array(job, GIVEN, swarm, 1, real)[0]
    overlap = False
    for k in range(low // LANES, (high + LANES - 1) // LANES):
        block = block_at(blocks, k, real, width)
        for lane in range(min(LANES, header[COUNT] - k * LANES)):
            radius = block[F_RADIUS, lane]
            for axis in range(len(axes)):
                if header[AXES + axis] != HARD:
                    continue
                x = block[F_START + axis, lane] + block[F_MOVED + axis, lane]
                nearest = min(x, size[axis] - x)
                if nearest >= radius:
                    continue
                energy = given
                if energy < real(0):
                    energy = max(thermal, block[F_PUSH, lane] * radius)
                for side in range(2):
                    distance = max(size[axis] - x if side else x, real(DEEPEST) * radius)
                    inverse = real(1) / (distance * distance)
                    u = radius * radius * inverse
                    if u > real(1):
                        u3 = u * u * u
                        force = real(12) * energy * u3 * (u3 - real(1)) * inverse * distance
                        block[F_FORCE + axis, lane] += -force if side else force
                        overlap |= u > real(OVERLAP**-2)
    return overlap


@fast
def update_plane(blocks, sites, seeds, low, high, words, step, real, width, limit):
    """Turn, swim, shake particles low..high in 2D; returns whether one moved beyond the limit."""
    dt = step
    b, c, d = words
    far = 0
    for k in range(low // LANES, (high + LANES - 1) // LANES):
        block = block_at(blocks, k, real, width)
        row = carray(pointer(seeds + 4 * LANES * k), LANES, np.uint32)
        for lane in range(LANES):
            w0, w1, w2, _ = hash_words(row[lane], b, c, d)
            turn = block[F_TURN, lane] * dt + block[F_TWIST, lane] * unit_noise(w2, real)
            g = turn * (real(0.5) + turn * turn * real(1 / 24))
            g2 = g * g
            weight = real(2) / (real(1) + g2)
            cosine, sine = real(1) - weight * g2, weight * g
            x, y = block[F_DIRECTOR, lane], block[F_DIRECTOR + 1, lane]
            nx, ny = x * cosine - y * sine, x * sine + y * cosine
            half = real(0.5) * block[F_SPEED, lane]
            mobility, shake = block[F_MOBILITY, lane], block[F_SHAKE, lane]
            drift_x = block[F_VELOCITY, lane] + half * (x + nx) + mobility * block[F_FORCE, lane]
            drift_y = (
                block[F_VELOCITY + 1, lane] + half * (y + ny) + mobility * block[F_FORCE + 1, lane]
            )
            mx = block[F_MOVED, lane] + drift_x * dt + shake * unit_noise(w0, real)
            my = block[F_MOVED + 1, lane] + drift_y * dt + shake * unit_noise(w1, real)
            ax = block[F_START, lane] + mx
            ay = block[F_START + 1, lane] + my
            ux, uy = ax - block[F_BUILT, lane], ay - block[F_BUILT + 1, lane]
            far |= i64(ux * ux + uy * uy > limit)
            block[F_DIRECTOR, lane], block[F_DIRECTOR + 1, lane] = nx, ny
            block[F_MOVED, lane], block[F_MOVED + 1, lane] = mx, my
            block[F_FORCE, lane], block[F_FORCE + 1, lane] = real(0), real(0)
            block[F_TURNED, lane] += turn
        place(block, sites, k, real, width, 2)
    return far


@fast
def place(block, sites, k, real, width, dimension):
    """Write the positions of a block where contacts look them up."""
    where = carray(pointer(sites + k * LANES * dimension * width), LANES * 3, real)
    for lane in range(LANES):
        for axis in range(dimension):
            where[lane * dimension + axis] = (
                block[F_START + axis, lane] + block[F_MOVED + axis, lane]
            )


@fast
def update_space(blocks, sites, seeds, low, high, words, step, real, width, limit):
    """The same in 3D."""
    dt = step
    b, c, d = words
    far = 0
    for k in range(low // LANES, (high + LANES - 1) // LANES):
        block = block_at(blocks, k, real, width)
        row = carray(pointer(seeds + 8 * LANES * k), 2 * LANES, np.uint32)
        for lane in range(LANES):
            w0, w1, w2, w3 = hash_words(row[lane], b, c, d)
            w4, w5, _, _ = hash_words(row[lane + LANES], b, c, d)
            twist = block[F_TWIST, lane]
            tx = block[F_TURN, lane] * dt + twist * unit_noise(w3, real)
            ty = block[F_TURN + 1, lane] * dt + twist * unit_noise(w4, real)
            tz = block[F_TURN + 2, lane] * dt + twist * unit_noise(w5, real)
            scale = real(0.5) + (tx * tx + ty * ty + tz * tz) * real(1 / 24)
            gx, gy, gz = tx * scale, ty * scale, tz * scale
            weight = real(2) / (real(1) + (gx * gx + gy * gy + gz * gz))
            x, y, z = (
                block[F_DIRECTOR, lane],
                block[F_DIRECTOR + 1, lane],
                block[F_DIRECTOR + 2, lane],
            )
            px, py, pz = gy * z - gz * y, gz * x - gx * z, gx * y - gy * x
            nx = x + weight * (px + (gy * pz - gz * py))
            ny = y + weight * (py + (gz * px - gx * pz))
            nz = z + weight * (pz + (gx * py - gy * px))
            half = real(0.5) * block[F_SPEED, lane]
            mobility, shake = block[F_MOBILITY, lane], block[F_SHAKE, lane]
            vx = block[F_VELOCITY, lane] + half * (x + nx) + mobility * block[F_FORCE, lane]
            vy = block[F_VELOCITY + 1, lane] + half * (y + ny) + mobility * block[F_FORCE + 1, lane]
            vz = block[F_VELOCITY + 2, lane] + half * (z + nz) + mobility * block[F_FORCE + 2, lane]
            mx = block[F_MOVED, lane] + vx * dt + shake * unit_noise(w0, real)
            my = block[F_MOVED + 1, lane] + vy * dt + shake * unit_noise(w1, real)
            mz = block[F_MOVED + 2, lane] + vz * dt + shake * unit_noise(w2, real)
            ux = block[F_START, lane] + mx - block[F_BUILT, lane]
            uy = block[F_START + 1, lane] + my - block[F_BUILT + 1, lane]
            uz = block[F_START + 2, lane] + mz - block[F_BUILT + 2, lane]
            far |= i64(ux * ux + uy * uy + uz * uz > limit)
            block[F_DIRECTOR, lane], block[F_DIRECTOR + 1, lane], block[F_DIRECTOR + 2, lane] = (
                nx,
                ny,
                nz,
            )
            block[F_MOVED, lane], block[F_MOVED + 1, lane], block[F_MOVED + 2, lane] = mx, my, mz
            block[F_FORCE, lane], block[F_FORCE + 1, lane] = real(0), real(0)
            block[F_FORCE + 2, lane] = real(0)
            block[F_TURNED, lane] += tx
            block[F_TURNED + 1, lane] += ty
            block[F_TURNED + 2, lane] += tz
        place(block, sites, k, real, width, 3)
    return far
