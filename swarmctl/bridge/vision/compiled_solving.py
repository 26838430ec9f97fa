"""Small systems of linear equations, as machine code."""

from __future__ import annotations

import math
from typing import Any

from swarmctl.core.machine_code import compiled


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
    for i in range(count):
        value = right[i]
        for k in range(i):
            value -= matrix[i, k] * answer[k]
        answer[i] = value / matrix[i, i]
    for i in range(count - 1, -1, -1):
        value = answer[i]
        for k in range(i + 1, count):
            value -= matrix[k, i] * answer[k]
        answer[i] = value / matrix[i, i]
    return True
