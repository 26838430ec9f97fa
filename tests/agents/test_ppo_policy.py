"""What a policy does with its numbers: distributions, scaling, and where it refuses to act."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, stats

from swarmctl.agents.deep.networks import MLP
from swarmctl.agents.deep.policy import OBSERVATION_BOUND, Policy, init_policy
from swarmctl.agents.deep.ppo import PPOConfig
from swarmctl.core.contracts import AgentInputs
from swarmctl.core.errors import PolicyFileError
from swarmctl.core.spec import Continuous, Discrete
from swarmctl.envs.make import make_env


def plain_policy(space, log_std=None):
    """A network that hands its input on: only the distribution matters."""
    outputs = space.n if isinstance(space, Discrete) else space.size
    network = MLP((jnp.eye(outputs),), (jnp.zeros(outputs),))
    return Policy(
        actor=network,
        critic=MLP((jnp.ones((outputs, 1)),), (jnp.zeros(1),)),
        log_std=log_std,
        mean=jnp.zeros(outputs),
        deviation=jnp.ones(outputs),
        space=space,
        observation_names=tuple(f"x{i}" for i in range(outputs)),
    )


def inputs(observation):
    return AgentInputs(state=None, observation=observation, space=None)


LOGITS = jnp.asarray([1.0, -0.5, 0.3, -2.0])


@pytest.fixture(scope="module")
def draws():
    """200 000 draws from one discrete distribution, with their log probabilities."""
    policy = plain_policy(Discrete(4))
    head = jnp.broadcast_to(LOGITS, (200_000, 4))
    raw, log_prob = jax.jit(policy.sample)(head, jax.random.key(5))
    return np.asarray(raw), np.asarray(log_prob)


def test_discrete_actions_come_as_often_as_their_probability_says(draws):
    raw, log_prob = draws
    p = np.asarray(jax.nn.softmax(LOGITS), float)
    assert raw.dtype == np.int32
    counts = np.bincount(raw, minlength=4)
    # One false alarm in a million seeds; the seed is fixed.
    assert stats.chisquare(counts, p / p.sum() * len(raw)).pvalue > 1e-6
    np.testing.assert_allclose(log_prob, np.log(p)[raw], atol=1e-5)


def test_discrete_draws_are_independent_of_their_neighbours(draws):
    raw, _ = draws
    table = np.zeros((4, 4))
    np.add.at(table, (raw[:-1], raw[1:]), 1)
    assert stats.chi2_contingency(table).pvalue > 1e-6


def test_an_impossible_action_is_never_drawn():
    policy = plain_policy(Discrete(3))
    head = jnp.broadcast_to(jnp.asarray([0.0, -1e9, 0.0]), (50_000, 3))
    raw, log_prob = jax.jit(policy.sample)(head, jax.random.key(0))
    assert set(np.unique(raw)) == {0, 2}
    assert np.isfinite(log_prob).all()
    certain = jnp.broadcast_to(jnp.asarray([-1e9, -1e9, 0.0]), (1000, 3))
    assert (jax.jit(policy.sample)(certain, jax.random.key(0))[0] == 2).all()


def test_entropy_of_discrete_actions():
    policy = plain_policy(Discrete(4))
    p = np.asarray(jax.nn.softmax(LOGITS), float)
    _, entropy = policy.log_prob(LOGITS, jnp.asarray(1, jnp.int32))
    assert float(entropy) == pytest.approx(stats.entropy(p), abs=1e-6)
    _, most = policy.log_prob(jnp.zeros(4), jnp.asarray(1, jnp.int32))
    assert float(most) == pytest.approx(math.log(4), abs=1e-6)


@pytest.mark.parametrize(("mean", "log_std"), [(0.0, -0.5), (0.8, 0.2), (-1.5, -1.0)])
def test_density_of_a_squashed_gaussian_integrates_to_one_and_is_the_change_of_variables(
    mean, log_std
):
    policy = plain_policy(Continuous(1), jnp.asarray([log_std]))
    action = np.linspace(-0.995, 0.995, 401)
    raw = np.arctanh(action)
    log_p, _ = policy.log_prob(jnp.full((401, 1), mean), jnp.asarray(raw[:, None], jnp.float32))
    # p(a) = p(u) du/da with a numerical derivative of artanh.
    step = 1e-5
    slope = (np.arctanh(action + step) - np.arctanh(action - step)) / (2 * step)
    expected = stats.norm.pdf(raw, mean, math.exp(log_std)) * slope
    np.testing.assert_allclose(np.exp(log_p), expected, rtol=2e-4)
    inside = integrate.simpson(np.exp(np.asarray(log_p, float)), x=action)
    edges = stats.norm(mean, math.exp(log_std))
    assert inside == pytest.approx(edges.cdf(raw[-1]) - edges.cdf(raw[0]), abs=2e-3)


def test_several_numbers_have_the_product_of_their_densities():
    policy = plain_policy(Continuous(3), jnp.asarray([-0.5, 0.1, -1.0]))
    head, raw = jnp.asarray([0.1, -0.4, 0.9]), jnp.asarray([0.5, -1.5, 0.7])
    joint, _ = policy.log_prob(head, raw)
    single = 0.0
    for i in range(3):
        one = plain_policy(Continuous(1), policy.log_std[i : i + 1])
        single += float(one.log_prob(head[i : i + 1], raw[i : i + 1])[0])
    assert float(joint) == pytest.approx(single, abs=1e-5)


def test_far_out_actions_have_a_finite_density_and_gradient():
    policy = plain_policy(Continuous(1), jnp.asarray([0.0]))
    for raw in (-40.0, 40.0):

        def density(head, raw=raw):
            return policy.log_prob(head, jnp.asarray([raw]))[0]

        value, gradient = jax.value_and_grad(density)(jnp.asarray([raw]))
        # log N(0) - log(1 - tanh²) with 1 - tanh(u)² ≈ 4 e^(-2|u|).
        expected = -0.5 * math.log(2 * math.pi) + 2 * abs(raw) - math.log(4)
        assert float(value) == pytest.approx(expected, rel=1e-5)
        assert np.isfinite(gradient).all()


def test_entropy_estimate_of_continuous_actions_is_right_on_average():
    policy = plain_policy(Continuous(1), jnp.asarray([-0.3]))
    head = jnp.full((400_000, 1), 0.6)

    @jax.jit
    def estimate(policy):
        raw, log_prob = policy.sample(head, jax.random.key(2))
        return policy.log_prob(head, raw)[1].mean(), -log_prob.mean()

    entropy, from_log_prob = estimate(policy)

    def density(a):
        u = math.atanh(a)
        return stats.norm.pdf(u, 0.6, math.exp(-0.3)) / (1 - a * a)

    exact = integrate.quad(
        lambda a: -density(a) * math.log(max(density(a), 1e-300)), -1 + 1e-9, 1 - 1e-9, limit=200
    )[0]
    # Standard error of the mean of 400 000 samples is about 0.002.
    assert float(entropy) == pytest.approx(exact, abs=0.01)
    assert float(from_log_prob) == pytest.approx(exact, abs=0.01)


def test_gradient_of_the_entropy_estimate_widens_as_the_exact_entropy_does():
    """d/d log σ of the entropy of the squashed Gaussian, by a difference of its integral."""
    policy = plain_policy(Continuous(1), jnp.asarray([-0.3]))
    head = jnp.full((400_000, 1), 0.6)
    noise = jax.random.normal(jax.random.key(2), head.shape)

    @jax.jit
    def slope(policy):
        def entropy(log_std):
            moved = dataclasses.replace(policy, log_std=log_std)
            # The draw follows the distribution, as on average over rollouts.
            return moved.log_prob(head, head + jnp.exp(log_std) * noise)[1].mean()

        return jax.grad(entropy)(policy.log_std)

    def exact(log_std):
        u = np.linspace(-12, 12, 200_001)
        p = stats.norm.pdf(u, 0.6, math.exp(log_std))
        squash = 2 * (math.log(2) - u - np.logaddexp(0, -2 * u))
        return integrate.simpson(p * squash, x=u) + log_std

    expected = (exact(-0.299) - exact(-0.301)) / 0.002
    assert float(slope(policy)[0]) == pytest.approx(expected, abs=0.02)


def test_deterministic_actions_are_the_likeliest_and_need_no_key():
    discrete = plain_policy(Discrete(4))
    observation = jnp.asarray([[1.0, 3.0, 2.0, 0.0], [0.0, -1.0, -2.0, 0.5]])
    action, memory = discrete.act(inputs(observation), (), None, deterministic=True)
    assert action.tolist() == [1, 3]
    assert action.dtype == jnp.int32
    assert memory == ()
    continuous = plain_policy(Continuous(2), jnp.zeros(2))
    seen = jnp.asarray([[0.3, -2.0], [5.0, 0.0]])
    action, _ = continuous.act(inputs(seen), (), None, deterministic=True)
    np.testing.assert_allclose(action, np.tanh(seen), rtol=1e-6)


def test_drawn_actions_follow_the_key_and_stay_in_range():
    policy = plain_policy(Continuous(2), jnp.full(2, 2.0))
    seen = jnp.zeros((2000, 2))
    one, _ = policy.act(inputs(seen), (), jax.random.key(0))
    again, _ = policy.act(inputs(seen), (), jax.random.key(0))
    other, _ = policy.act(inputs(seen), (), jax.random.key(1))
    np.testing.assert_array_equal(one, again)
    assert not np.array_equal(one, other)
    assert np.abs(one).max() <= 1


def test_observations_are_scaled_and_cut():
    policy = dataclasses.replace(
        plain_policy(Discrete(2)), mean=jnp.asarray([1.0, -2.0]), deviation=jnp.asarray([2.0, 0.5])
    )
    seen = jnp.asarray([[1.0, -2.0], [3.0, -1.0], [1e6, -1e6]])
    bound = OBSERVATION_BOUND
    expected = [[0, 0], [1, 2], [bound, -bound]]
    np.testing.assert_allclose(policy.scale(seen), expected)
    np.testing.assert_allclose(policy.value(seen), np.sum(expected, axis=1))


def test_a_fresh_policy_is_nearly_uniform_and_expects_nothing():
    env = make_env("Chemotaxis-v0", colloids=3)
    policy = PPOConfig(hidden=(16, 16)).build(env.spec)
    seen = jnp.asarray(np.random.default_rng(0).standard_normal((500, env.spec.observation_size)))
    p = jax.nn.softmax(policy.actor(policy.scale(seen.astype(jnp.float32))))
    np.testing.assert_allclose(p, 0.25, atol=0.02)
    again = init_policy(jax.random.key(0), env.spec, (16, 16), -0.5)
    for a, b in zip(jax.tree.leaves(policy), jax.tree.leaves(again), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_policy_for_something_else_is_refused_naming_both_sides():
    env = make_env("Chemotaxis-v0", colloids=3)
    policy = PPOConfig(hidden=(4,)).build(env.spec)
    policy.check(env.spec)
    more = make_env("Chemotaxis-v0", colloids=50)
    policy.check(more.spec)
    continuous = make_env("ChemotaxisContinuous-v0", colloids=3).spec
    with pytest.raises(PolicyFileError) as caught:
        policy.check(continuous)
    text = str(caught.value)
    for part in ("Discrete(n=4)", "Continuous(size=2)", "ChemotaxisContinuous-v0"):
        assert part in text
    shorter = make_env("Chemotaxis-v0", colloids=3, history=1).spec
    with pytest.raises(PolicyFileError) as caught:
        policy.check(shorter)
    text = str(caught.value)
    assert "field change -3" in text
    assert "(field change, forward speed, turn rate)" in text
    assert "Train a policy for it" in text
