"""PPO in PyTorch on VMAS: prints agent-steps/s as JSON. A peer of benchmarks/training.py.

python benchmarks/peers/vmas_ppo.py HIDDEN ENVS ROLLOUT EPOCHS MINIBATCHES
"""

import json
import sys
import time

import torch
from vmas import make_env


def mlp(n_in: int, hidden: int, n_out: int) -> torch.nn.Module:
    """Two hidden tanh layers."""
    return torch.nn.Sequential(
        torch.nn.Linear(n_in, hidden),
        torch.nn.Tanh(),
        torch.nn.Linear(hidden, hidden),
        torch.nn.Tanh(),
        torch.nn.Linear(hidden, n_out),
    )


def main() -> None:
    """Time updates of rollout, advantages and PPO passes."""
    hidden, envs, rollout, epochs, minibatches = (int(v) for v in sys.argv[1:6])
    agents = 10
    env = make_env(
        scenario="dispersion",
        num_envs=envs,
        continuous_actions=False,
        n_agents=agents,
        seed=0,
    )
    observation = torch.stack(env.reset(), 1)
    actions = env.action_space[0].n
    actor, critic = (
        mlp(observation.shape[-1], hidden, actions),
        mlp(observation.shape[-1], hidden, 1),
    )
    optimiser = torch.optim.Adam([*actor.parameters(), *critic.parameters()], lr=1e-3)

    def update(observation: torch.Tensor) -> torch.Tensor:
        store = []
        with torch.no_grad():
            for _ in range(rollout):
                distribution = torch.distributions.Categorical(logits=actor(observation))
                action = distribution.sample()
                value = critic(observation)[..., 0]
                following, reward, _, _ = env.step([action[:, i : i + 1] for i in range(agents)])
                store.append(
                    (
                        observation,
                        action,
                        distribution.log_prob(action),
                        value,
                        torch.stack(reward, 1),
                    )
                )
                observation = torch.stack(following, 1)
            last = critic(observation)[..., 0]
            seen, action, log_prob, value, reward = (
                torch.stack(x) for x in zip(*store, strict=True)
            )
            advantage, carry = torch.zeros_like(reward), torch.zeros_like(last)
            for t in reversed(range(rollout)):
                following_value = last if t == rollout - 1 else value[t + 1]
                carry = reward[t] + 0.97 * following_value - value[t] + 0.97 * 0.95 * carry
                advantage[t] = carry
            target = advantage + value
        flat = [x.reshape(-1, *x.shape[3:]) for x in (seen, action, log_prob, advantage, target)]
        size = flat[0].shape[0] // minibatches
        for _ in range(epochs):
            for m in range(minibatches):
                s, a, old, adv, tgt = (x[m * size : (m + 1) * size] for x in flat)
                adv = (adv - adv.mean()) / (adv.std() + 1e-8)
                distribution = torch.distributions.Categorical(logits=actor(s))
                ratio = torch.exp(distribution.log_prob(a) - old)
                loss = -torch.min(ratio * adv, ratio.clamp(0.8, 1.2) * adv).mean()
                loss = loss + 0.25 * ((critic(s)[..., 0] - tgt) ** 2).mean()
                loss = loss - 0.003 * distribution.entropy().mean()
                optimiser.zero_grad()
                loss.backward()
                torch.nn.utils.clip_grad_norm_([*actor.parameters(), *critic.parameters()], 0.5)
                optimiser.step()
        return observation

    observation = update(observation)
    times = []
    for _ in range(3):
        start = time.perf_counter()
        observation = update(observation)
        times.append(time.perf_counter() - start)
    print(json.dumps({"agent_steps_per_s": envs * agents * rollout / min(times)}))


if __name__ == "__main__":
    main()
