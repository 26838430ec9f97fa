"""What explores has the probabilities that the loss is told."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from swarmctl.agents.deep.curiosity import init_curiosity
from swarmctl.agents.deep.evolution import centred_ranks, search_direction
from swarmctl.agents.deep.exploration import Exploration
from swarmctl.agents.deep.networks import init_gru
from swarmctl.agents.deep.policy import init_policy
from swarmctl.agents.saving import load_agent, save_agent
from swarmctl.core.contracts import AgentInputs
from swarmctl.envs.make import make_env

ENVS = {name: make_env(name, colloids=3) for name in ("Chemotaxis-v0", "ChemotaxisContinuous-v0")}


def policy_for(name, **keys):
    return init_policy(jax.random.key(0), ENVS[name].spec, (8,), -0.5, **keys)


def test_an_epsilon_mixture_has_the_probabilities_of_the_mixture():
    policy = policy_for("Chemotaxis-v0")
    head = jnp.asarray([3.0, 0.0, -2.0, 1.0])
    acting, mixed = Exploration(jnp.asarray(0.4)).apply(policy, head, ())
    wanted = 0.6 * jax.nn.softmax(head) + 0.1
    log_p, _ = acting.log_prob(jnp.broadcast_to(mixed, (4, 4)), jnp.arange(4))
    np.testing.assert_allclose(jnp.exp(log_p), wanted, rtol=1e-5)
    drawn, _ = acting.sample(jnp.broadcast_to(mixed, (20_000, 4)), jax.random.key(1))
    share = np.bincount(np.asarray(drawn), minlength=4) / 20_000
    np.testing.assert_allclose(share, wanted, atol=4 * 0.5 / 20_000**0.5)
    assert Exploration().apply(policy, head, ())[1] is head


def test_correlated_noise_keeps_its_variance_and_remembers():
    """Var x = σ² at all times and ⟨x_t x_{t-1}⟩ = ρ σ²; the loss knows the conditional density."""
    rho, count = 0.7, 4000
    policy = policy_for("ChemotaxisContinuous-v0")
    exploration = Exploration(None, rho)
    head = jnp.zeros((count, 2)) + 0.3
    noise = exploration.start(policy, count)

    def step(noise, key):
        acting, explored = exploration.apply(policy, head, noise)
        raw, log_p = acting.sample(explored, key)
        deviation = np.exp(-0.5) * np.sqrt(1 - rho**2)
        z = (raw - head - rho * noise) / deviation
        density = -0.5 * z**2 - np.log(deviation * np.sqrt(2 * np.pi))
        told = log_p + jnp.sum(jnp.log(1 - jnp.tanh(raw) ** 2), -1)
        return exploration.follow(head, raw, noise), (raw - head, told - density.sum(-1))

    _, (x, difference) = jax.lax.scan(step, noise, jax.random.split(jax.random.key(2), 60))
    x = np.asarray(x[20:])
    np.testing.assert_allclose(difference, 0, atol=2e-3)
    assert x.var() == pytest.approx(np.exp(-1.0), rel=0.02)
    assert (x[1:] * x[:-1]).mean() == pytest.approx(rho * np.exp(-1.0), rel=0.02)


def test_a_recurrent_policy_comes_back_and_remembers_the_same(tmp_path):
    env = ENVS["Chemotaxis-v0"]
    policy = policy_for("Chemotaxis-v0", memory=5, sees_swarm=True)
    again = load_agent(save_agent(policy, tmp_path / "policy"))
    params = env.params()
    observation, state = env.reset(jax.random.key(0), params)
    inputs = AgentInputs(env.swarm(state, params), observation, env.space(params))
    for agent in (policy, again):
        memory = agent.init_memory(env.spec)
        assert memory.shape == (3, 5)
    one, two = (
        jax.jit(lambda a: a.act(inputs, a.init_memory(env.spec), jax.random.key(1)))(agent)
        for agent in (policy, again)
    )
    np.testing.assert_array_equal(one[0], two[0])
    np.testing.assert_array_equal(one[1], two[1])
    assert again.sees_swarm
    lone, crowd = (jnp.asarray([True, rest, rest]) for rest in (False, True))
    features = jax.random.normal(jax.random.key(3), (3, 5))
    changed = features.at[1:].add(1.0)
    assert policy.judge(features, lone)[0] == policy.judge(changed, lone)[0]
    assert policy.judge(features, crowd)[0] != policy.judge(changed, crowd)[0]


def test_a_gru_that_keeps_forgets_nothing_and_one_that_does_not_forgets_all():
    cell = init_gru(jax.random.key(0), 3, 4, jnp.float32)
    x, h = jnp.ones((2, 3)), jnp.full((2, 4), 0.5)

    def biased(keep):
        biases = jnp.concatenate([jnp.zeros(4), jnp.full(4, keep), jnp.zeros(4)])
        return dataclasses.replace(cell, biases=biases)

    np.testing.assert_allclose(biased(50.0)(x, h), h, atol=1e-6)
    fresh = dataclasses.replace(biased(-50.0), recurrent=jnp.zeros((4, 12)))
    np.testing.assert_allclose(fresh(x, h), fresh(x, -h), atol=1e-6)


def test_ranks_are_centred_and_ties_share_theirs():
    ranks = centred_ranks(jnp.asarray([3.0, -1.0, 3.0, 10.0, 0.0]))
    np.testing.assert_allclose(ranks, [0.125, -0.5, 0.125, 0.5, -0.25])
    np.testing.assert_array_equal(centred_ranks(jnp.zeros(6)), 0)


def test_the_search_direction_points_up_a_slope():
    slope = jnp.asarray([1.0, -2.0, 0.0, 0.5])
    noise = jax.random.normal(jax.random.key(0), (4000, 4))
    fitness = jnp.concatenate([noise @ slope, -noise @ slope])
    found = search_direction(noise, fitness, 0.1)
    cosine = found @ slope / jnp.linalg.norm(found) / jnp.linalg.norm(slope)
    assert float(cosine) > 0.99


def test_what_was_seen_before_is_not_a_novelty():
    curiosity = init_curiosity(jax.random.key(0), 3, (8,), jnp.float32)
    seen = jnp.ones((5, 3))
    assert (curiosity.bonus(seen) == 0).all()  # nothing to compare with yet
    learned = dataclasses.replace(
        curiosity, predictor=curiosity.target, square=jnp.asarray(4.0), count=jnp.asarray(1.0)
    )
    np.testing.assert_array_equal(learned.bonus(seen), 0)
    known = dataclasses.replace(curiosity, square=jnp.asarray(4.0), count=jnp.asarray(1.0))
    np.testing.assert_allclose(known.bonus(seen), known.error(seen) / 2)
