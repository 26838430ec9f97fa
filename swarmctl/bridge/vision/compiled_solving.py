"""Small systems of linear equations and their sums, as machine code."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from swarmctl.core.machine_code import compiled


@compiled("void(f4[:,::1], i8, f8[:,::1])")
def add_products(row: Any, count: int, sums: Any) -> None:
    """Write Σ row[a]·row[b] over the first `count` columns of row [n,C] into sums [n,n]; n even."""
    zero = np.float32(0)
    for a in range(0, len(row), 2):
        for b in range(a, len(row), 2):
            # Two by two, so that each number is loaded half as often.
            first, second = row[a, :count], row[a + 1, :count]
            third, fourth = row[b, :count], row[b + 1, :count]
            one_three = one_four = two_three = two_four = zero
            for k in range(count):
                one_three += first[k] * third[k]
                one_four += first[k] * fourth[k]
                two_three += second[k] * third[k]
                two_four += second[k] * fourth[k]
            sums[a, b] = sums[b, a] = one_three
            sums[a, b + 1] = sums[b + 1, a] = one_four
            sums[a + 1, b] = sums[b, a + 1] = two_three
            sums[a + 1, b + 1] = sums[b + 1, a + 1] = two_four


@compiled("void(f8[:,::1], f8[::1], f8[::1])")
def substitute(factor: Any, right: Any, answer: Any) -> None:
    """Solve L·Lᵀ · answer = right, with L in the lower half of `factor`."""
    count = len(right)
    for i in range(count):
        value = right[i]
        for k in range(i):
            value -= factor[i, k] * answer[k]
        answer[i] = value / factor[i, i]
    for i in range(count - 1, -1, -1):
        value = answer[i]
        for k in range(i + 1, count):
            value -= factor[k, i] * answer[k]
        answer[i] = value / factor[i, i]


@compiled("b1(f8[:,::1], f8[::1], f8[::1])")
def solve_positive(matrix: Any, right: Any, answer: Any) -> bool:
    """Solve matrix · answer = right for a symmetric positive definite matrix, by Cholesky.

    The lower half of the matrix is overwritten by its factor. False if it is not positive.
    """
    count = len(right)
    for i in range(count):
        for j in range(i + 1):
            value = matrix[i, j]
            for k in range(j):
                value -= matrix[i, k] * matrix[j, k]
            if i == j:
                if not value > 0.0:
                    return False
                matrix[i, i] = math.sqrt(value)
            else:
                matrix[i, j] = value / matrix[j, j]
    substitute(matrix, right, answer)
    return True
