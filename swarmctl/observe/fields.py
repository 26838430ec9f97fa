"""Static scalar fields, such as the concentration around a source."""

from __future__ import annotations

from abc import ABC, abstractmethod

import jax
import jax.numpy as jnp

from swarmctl.core.state import Space
from swarmctl.core.tree import pytree
from swarmctl.physics.fields import SourceField

Array = jax.Array


class ScalarField(ABC):
    """A scalar field in space; a frozen pytree."""

    @abstractmethod
    def value(self, position: Array, space: Space) -> Array:
        """Values [...] at positions [...,D] µm."""

    @abstractmethod
    def distance(self, position: Array, space: Space) -> Array:
        """Distance [...] µm from what the field marks, by the minimum image."""


@pytree
class PointSource(ScalarField):
    """Concentration around a point source, f(d) = λ/(λ + d): 1 at the source, ½ at the distance λ.

    Far away it falls as 1/d, like the stationary solution of diffusion from a small sphere in three
    dimensions. `source` [D] µm, `length` λ [] µm.
    """

    source: Array
    length: Array

    def value(self, position: Array, space: Space) -> Array:
        """Values [...] in (0, 1] at positions [...,D] µm."""
        return self.length / (self.length + self.distance(position, space))

    def distance(self, position: Array, space: Space) -> Array:
        """Distance [...] µm from the source."""
        return space.distance(position, jnp.asarray(self.source, position.dtype))


@pytree
class SourceSet(ScalarField):
    """Light or a concentration from any set of sources; see `swarmctl.core.fields.Sources`.

    Make one by `SourceSet(source_field(Sources(points, length, kernel, strength)))`.
    """

    field: SourceField

    def value(self, position: Array, space: Space) -> Array:
        """Values [...] at positions [...,D] µm."""
        return self.field.value(position, space)

    def distance(self, position: Array, space: Space) -> Array:
        """Distance [...] µm from the nearest source."""
        return self.field.distance(position, space)
