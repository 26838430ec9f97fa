"""Environment wrappers: one file per scenario, and the views of an environment.

Importing this package registers every scenario with Gymnasium as "swarmctl/<id>".
"""

from swarmctl.envs.registration import register_with_gymnasium

register_with_gymnasium()
