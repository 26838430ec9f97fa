"""Advantages against sums written out, and what the PPO loss must not depend on."""

import dataclasses
import itertools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from swarmctl.agents.deep.batch import Batch, advantages
from swarmctl.agents.deep.networks import MLP
from swarmctl.agents.deep.policy import Policy, init_policy
from swarmctl.agents.deep.ppo import PPOConfig
from swarmctl.core.errors import ConfigError
from swarmctl.core.spec import AgentSpec, Continuous, Discrete, EngineSpec

NAMES = ("a", "b", "c")


def agent_spec(space, count=3):
    engine = EngineSpec(
        "jax",
        count,
        2,
        "float32",
        ("colloid",),
        (0,) * count,
        (1.0,),
        (0.0,),
        (2.0,),
        (3.0,),
        (100.0, 100.0),
        (True, True),
        0.1,
        frozenset({"speed", "turn_rate"}),
    )
    names = tuple(
        f"move {i}" for i in range(space.n if isinstance(space, Discrete) else space.size)
    )
    return AgentSpec("Test-v0", len(NAMES), NAMES, space, names, engine)


def some_policy(space, seed=0):
    """A policy with weights of order one, so that nothing is hidden by the small initial ones."""
    policy = init_policy(jax.random.key(seed), agent_spec(space), (8,), -0.3)
    leaves, structure = jax.tree.flatten(policy)
    rng = np.random.default_rng(seed)
    grown = [x + jnp.asarray(0.3 * rng.standard_normal(x.shape), x.dtype) for x in leaves]
    policy = jax.tree.unflatten(structure, grown)
    return dataclasses.replace(policy, deviation=jnp.abs(policy.deviation) + 0.5)


@jax.jit
def drawn(policy, observation, key):
    return policy.sample(policy.actor(policy.scale(observation)), key)


def some_batch(policy, shape=(5, 4, 3), seed=1, stale=0.3):
    """A batch of a rollout with a policy that is `stale` away in log probability."""
    rng = np.random.default_rng(seed)
    observation = jnp.asarray(rng.standard_normal((*shape, len(NAMES))), jnp.float32)
    action, log_prob = drawn(policy, observation, jax.random.key(seed))
    noise = jnp.asarray(stale * rng.standard_normal(shape), jnp.float32)
    advantage, target = (jnp.asarray(rng.standard_normal(shape), jnp.float32) for _ in range(2))
    return Batch(observation, action, log_prob + noise, advantage, target, jnp.ones(shape))


@partial(jax.jit, static_argnums=2)
def learned(policy, batch, config):
    """((loss, figures), gradient)"""
    return jax.value_and_grad(config.loss, has_aux=True)(policy, batch)


def value_and_gradient(policy, batch, config):
    (value, _), gradient = learned(policy, batch, config)
    return float(value), [np.asarray(leaf) for leaf in jax.tree.leaves(gradient)]


def assert_equal_learning(policy, config, one, other, tolerance=2e-5):
    value, gradient = value_and_gradient(policy, one, config)
    value_2, gradient_2 = value_and_gradient(policy, other, config)
    scale = max(np.abs(leaf).max() for leaf in gradient)
    assert scale > 1e-2
    assert value_2 == pytest.approx(value, abs=tolerance)
    for a, b in zip(gradient, gradient_2, strict=True):
        np.testing.assert_allclose(b, a, atol=tolerance * scale)


def summed_advantage(reward, value, following, ends, discount, decay):
    """The definition: A_t = sum_l (γλ)^l δ_{t+l}, up to and with the first end; for one colloid."""
    length = len(reward)
    surprise = reward + discount * following - value
    result = np.zeros(length)
    for t in range(length):
        for step in itertools.count():
            result[t] += (discount * decay) ** step * surprise[t + step]
            if ends[t + step] or t + step + 1 == length:
                break
    return result


@pytest.mark.parametrize(("discount", "decay"), [(0.97, 0.95), (0.9, 1.0), (1.0, 0.0), (1.0, 1.0)])
def test_advantages_are_the_sum_that_defines_them(discount, decay):
    rng = np.random.default_rng(0)
    shape = (40, 3, 5)
    reward, value, final = (rng.standard_normal(shape) for _ in range(3))
    last = rng.standard_normal(shape[1:])
    terminated = rng.random(shape) < 0.08
    truncated = np.broadcast_to(rng.random((40, 3, 1)) < 0.08, shape)
    ends = terminated | truncated
    following = np.concatenate([value[1:], last[None]])
    # 0 after a termination, also if time is up too; at a truncation the final observation's value.
    bootstrap = np.where(terminated, 0, np.where(truncated, final, following))
    found = advantages(
        *(jnp.asarray(x, jnp.float32) for x in (reward, value, bootstrap)),
        jnp.asarray(ends),
        discount,
        decay,
    )
    for b in range(3):
        for n in range(5):
            one = (slice(None), b, n)
            expected = summed_advantage(
                reward[one], value[one], bootstrap[one], ends[one], discount, decay
            )
            np.testing.assert_allclose(np.asarray(found)[one], expected, atol=5e-5)


def test_with_exact_values_of_a_constant_reward_nothing_is_surprising():
    discount = 0.9
    reward, value = jnp.ones((30, 2)), jnp.full((30, 2), 1 / (1 - discount))
    ends = jnp.zeros((30, 2), bool).at[11].set(True)
    truncated = advantages(reward, value, value, ends, discount, 0.95)
    np.testing.assert_allclose(truncated, 0, atol=1e-4)
    terminated = advantages(reward, value, value.at[11].set(0), ends, discount, 0.95)
    # One reward instead of all that were expected, and less so the longer it is ahead.
    missing = -discount / (1 - discount)
    expected = missing * (discount * 0.95) ** np.arange(11, -1, -1)
    np.testing.assert_allclose(terminated[:12, 0], expected, rtol=1e-4)
    np.testing.assert_allclose(terminated[12:], 0, atol=1e-4)


def test_targets_of_a_constant_reward_converge_to_its_discounted_value():
    discount, decay = 0.9, 0.8
    ends = jnp.zeros((16, 1), bool).at[7].set(True)

    def sweep(_, value):
        bootstrap = jnp.concatenate([value[1:], value[:1]])
        return value + advantages(jnp.ones((16, 1)), value, bootstrap, ends, discount, decay)

    value = jax.lax.fori_loop(0, 60, sweep, jnp.zeros((16, 1)))
    np.testing.assert_allclose(value, 1 / (1 - discount), rtol=1e-3)


@pytest.mark.parametrize("space", [Discrete(4), Continuous(2)])
def test_more_colloids_of_the_same_kind_change_neither_loss_nor_gradient(space):
    policy, config = some_policy(space), PPOConfig(entropy=0.1)
    batch = some_batch(policy)
    double = jax.tree.map(lambda leaf: jnp.concatenate([leaf, leaf], axis=2), batch)
    longer = jax.tree.map(lambda leaf: jnp.concatenate([leaf, leaf, leaf], axis=0), batch)
    assert_equal_learning(policy, config, batch, double)
    assert_equal_learning(policy, config, batch, longer)


@pytest.mark.parametrize("space", [Discrete(4), Continuous(2)])
def test_samples_of_weight_zero_change_neither_loss_nor_gradient(space):
    policy, config = some_policy(space), PPOConfig(entropy=0.1)
    batch = some_batch(policy)
    wild = some_batch(policy, seed=7, stale=3.0)
    wild = dataclasses.replace(
        wild,
        advantage=wild.advantage * 100,
        target=wild.target * 100 + 50,
        weight=jnp.zeros_like(wild.weight),
    )
    both = jax.tree.map(lambda a, b: jnp.concatenate([a, b], axis=2), batch, wild)
    assert_equal_learning(policy, config, batch, both)
    figures = [learned(policy, b, config)[0][1] for b in (batch, both)]
    for name in figures[0]:
        np.testing.assert_allclose(figures[1][name], figures[0][name], atol=1e-5, err_msg=name)


def test_a_batch_without_any_weight_teaches_nothing_and_is_finite():
    policy = some_policy(Discrete(4))
    batch = dataclasses.replace(some_batch(policy), weight=jnp.zeros((5, 4, 3)))
    value, gradient = value_and_gradient(policy, batch, PPOConfig())
    assert value == 0
    assert all((leaf == 0).all() for leaf in gradient)


def test_scale_and_offset_of_advantages_do_not_matter():
    policy, config = some_policy(Discrete(4)), PPOConfig()
    batch = some_batch(policy)
    moved = dataclasses.replace(batch, advantage=1000 * batch.advantage - 300)
    assert_equal_learning(policy, config, batch, moved, tolerance=1e-4)


@pytest.mark.parametrize("space", [Discrete(4), Continuous(2)])
def test_at_the_policy_that_acted_nothing_is_clipped_and_kl_is_zero(space):
    policy = some_policy(space)
    batch = some_batch(policy, stale=0.0)
    figures = learned(policy, batch, PPOConfig())[0][1]
    assert float(figures["clipped"]) == 0
    assert float(figures["kl"]) == pytest.approx(0, abs=1e-6)
    # Advantages are centred and every ratio is 1.
    assert float(figures["policy_loss"]) == pytest.approx(0, abs=1e-5)
    stale = learned(policy, some_batch(policy, stale=0.5), PPOConfig())[0][1]
    assert float(stale["kl"]) > 0.05
    assert 0.4 < float(stale["clipped"]) < 0.9


def bare_policy(logits):
    """A policy of two actions that ignores what it sees: its logits are its last biases."""
    zeros = jnp.zeros((3, 1))
    return Policy(
        actor=MLP((zeros, jnp.zeros((1, 2))), (jnp.zeros(1), jnp.asarray(logits, jnp.float32))),
        critic=MLP((zeros, jnp.zeros((1, 1))), (jnp.zeros(1), jnp.asarray([0.25]))),
        log_std=None,
        mean=jnp.zeros(3),
        deviation=jnp.ones(3),
        space=Discrete(2),
        observation_names=NAMES,
    )


def test_gradient_of_the_clipped_objective_of_two_actions_by_hand():
    """d ratio/d logit_k = ratio (1[a=k] - p_k) where the unclipped branch counts, else 0."""
    logits, clip = np.array([0.4, -0.2]), 0.2
    p = np.exp(logits) / np.exp(logits).sum()
    action = np.array([0, 1, 0, 1, 0, 1, 0, 1])
    ratio = np.array([1.0, 1.1, 1.5, 1.5, 0.5, 0.5, 0.85, 1.25])
    raw = np.array([1.0, -1.0, 2.0, -2.0, 1.5, -1.5, 0.5, -0.5])
    advantage = (raw - raw.mean()) / raw.std()
    log_prob = np.log(p[action] / ratio)
    target = np.linspace(-1, 1, 8)
    free = ratio * advantage <= np.clip(ratio, 1 - clip, 1 + clip) * advantage
    assert free.tolist() == [True, True, False, True, True, False, True, True]
    expected = np.zeros(2)
    for k in range(2):
        slope = ratio * ((action == k) - p[k])
        expected[k] = -np.mean(np.where(free, advantage * slope, 0))
    # Entropy of two actions: dH/dz_k = -p_k (log p_k + H).
    entropy = -(p * np.log(p)).sum()
    weight = 0.01
    expected -= weight * -p * (np.log(p) + entropy)

    policy = bare_policy(logits)
    batch = Batch(
        jnp.zeros((8, 3)),
        jnp.asarray(action, jnp.int32),
        *(jnp.asarray(x, jnp.float32) for x in (log_prob, raw, target)),
        jnp.ones(8),
    )
    config = PPOConfig(clip=clip, entropy=weight, value=0.5)
    (_, figures), gradient = learned(policy, batch, config)
    np.testing.assert_allclose(gradient.actor.biases[1], expected, rtol=2e-4)
    np.testing.assert_allclose(gradient.critic.biases[1], 0.5 * np.mean(0.25 - target), rtol=1e-4)
    clipped = np.clip(ratio, 1 - clip, 1 + clip)
    surrogate = np.minimum(ratio * advantage, clipped * advantage).mean()
    assert float(figures["policy_loss"]) == pytest.approx(-surrogate, rel=1e-4)
    assert float(figures["entropy"]) == pytest.approx(entropy, rel=1e-5)
    assert float(figures["clipped"]) == pytest.approx((np.abs(ratio - 1) > clip).mean())
    assert float(figures["kl"]) == pytest.approx((ratio - 1 - np.log(ratio)).mean(), rel=1e-4)


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"swarms": 0}, "swarms must be at least 1, got 0"),
        ({"rollout": -3}, "rollout must be at least 1, got -3"),
        ({"swarms": 10, "minibatches": 4}, "4 minibatches do not divide 10 swarms"),
        ({"discount": 1.01}, r"discount must lie in \[0, 1\], got 1.01"),
        ({"gae_lambda": float("nan")}, r"gae_lambda must lie in \[0, 1\], got nan"),
        ({"learning_rate": 0.0}, "learning_rate must be positive and finite, got 0.0"),
        ({"learning_rate": float("nan")}, "learning_rate must be positive and finite, got nan"),
        ({"learning_rate": float("inf")}, "learning_rate must be positive and finite, got inf"),
        ({"gradient_norm": -1.0}, "gradient_norm must be positive and finite, got -1.0"),
        ({"entropy": float("inf")}, "entropy must be at least 0 and finite, got inf"),
        ({"log_std": float("-inf")}, "log_std must be finite, got -inf"),
        ({"value": -0.5}, "value must be at least 0 and finite, got -0.5"),
        ({"hidden": ()}, "hidden needs at least one positive width"),
        ({"hidden": (8, 0)}, "hidden needs at least one positive width"),
    ],
)
def test_keys_out_of_range_are_refused_by_name(keys, words):
    with pytest.raises(ConfigError, match=words):
        PPOConfig(**keys)
