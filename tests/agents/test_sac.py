import copy

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from prefloop.agents.sac import SAC
from prefloop.agents.settings import SACSettings
from prefloop.data.replay_buffer import Transitions
from prefloop.envs.spaces import Spaces
from prefloop.errors import UserError
from prefloop.squashed_gaussian import SquashedGaussianPolicy

CPU = torch.device("cpu")
SPACES = Spaces((3,), "float32", False, 2, (-2.0, 0.0), (2.0, 1000.0))
NETWORKS = pytest.mark.parametrize("network", ["mlp", "residual"])


def agent_of(spaces=SPACES, **settings):
    torch.manual_seed(0)
    sizes = settings.pop("hidden_sizes", (16,))
    agent = SAC(SACSettings(hidden_sizes=sizes, random_steps=0, **settings), spaces, CPU)
    agent.begin(0)
    return agent


def steps(n=64, spaces=SPACES, seed=0, reward=1.0, terminated=False):
    rng = np.random.default_rng(seed)
    low, high = spaces.bounds
    return Transitions(
        rng.normal(size=(n, *spaces.obs_shape)).astype(np.float32),
        rng.uniform(low, high, (n, spaces.action_dim)).astype(np.float32),
        np.full(n, reward, np.float32),
        rng.normal(size=(n, *spaces.obs_shape)).astype(np.float32),
        np.full(n, terminated),
    )


def policy_of(network="mlp", spaces=SPACES, sizes=(16,)):
    torch.manual_seed(1)
    return SquashedGaussianPolicy(spaces, sizes, network)


@NETWORKS
def test_density_is_that_of_a_squashed_normal(network):
    policy, batch = policy_of(network), steps()
    obs, actions = torch.as_tensor(batch.obs), torch.as_tensor(batch.actions)
    mean, log_std = policy.normal(policy.normalise(obs))
    known = torch.distributions.TransformedDistribution(
        torch.distributions.Normal(mean, log_std.exp()), torch.distributions.TanhTransform()
    )
    unit = torch.stack([actions[:, 0] / 2, actions[:, 1] / 500 - 1], -1)
    expected = known.log_prob(unit).sum(-1)
    torch.testing.assert_close(policy.log_prob(obs, actions), expected, rtol=1e-4, atol=1e-4)
    # yes and no are numbers, too
    assert policy.log_prob(obs > 0, actions).equal(policy.log_prob((obs > 0).float(), actions))


def test_density_integrates_to_one():
    one = Spaces((1,), "float32", False, 1, (3.0,), (5.0,))
    policy = policy_of(spaces=one)
    edges = torch.linspace(3, 5, 20_001)
    middles = (edges[1:] + edges[:-1]) / 2
    density = policy.log_prob(torch.zeros(len(middles), 1), middles[:, None]).exp()
    assert density.mean().item() * 2 == pytest.approx(1, abs=1e-3)  # a unit is half the bounds


def test_what_is_drawn_for_learning_is_as_dense_as_it_says():
    policy, obs = policy_of(), torch.as_tensor(steps().obs)
    unit, log_prob = policy.sample(policy.normalise(obs), torch.randn(64, 2))
    actions = policy.shift + policy.scale * unit
    torch.testing.assert_close(policy.log_prob(obs, actions), log_prob, rtol=1e-3, atol=1e-3)


@given(noise=st.floats(-30, 30))
def test_densities_are_finite_on_the_bounds(noise):
    policy = policy_of()
    obs = torch.zeros(1, 3)
    _, log_prob = policy.sample(obs, torch.full((1, 2), noise))
    assert torch.isfinite(log_prob).all()
    on_bounds = torch.tensor([[-2.0, 1000.0]])
    assert torch.isfinite(policy.log_prob(obs, on_bounds)).all()


@NETWORKS
@pytest.mark.parametrize("greedy", [True, False])
def test_acting_in_numpy_is_the_network_and_stays_in_the_bounds(network, greedy):
    policy, obs = policy_of(network, sizes=(16, 16)), 5 * steps(500).obs
    policy.normalise.mean += 0.3
    policy.normalise.std *= 2
    actions = policy.act(obs, np.random.default_rng(0), greedy)
    low, high = SPACES.bounds
    assert actions.dtype == np.float32 and actions.shape == (500, 2)
    assert (actions >= low).all() and (actions <= high).all()
    mean, log_std = policy.normal(policy.normalise(torch.as_tensor(obs)))
    noise = np.random.default_rng(0).standard_normal((500, 2), dtype=np.float32)
    drawn = torch.tanh(mean + (0 if greedy else log_std.exp() * torch.as_tensor(noise)))
    expected = (policy.shift + policy.scale * drawn).detach().numpy()
    np.testing.assert_allclose(actions, expected, rtol=1e-4, atol=1e-3)


@NETWORKS
def test_values_go_on_through_a_time_limit_and_end_at_termination(network):
    """A state that leads to itself and pays 1 is worth 1 / (1 - gamma); a terminal step what it pays."""
    worth = {}
    for terminated in (False, True):
        agent = agent_of(network=network, gamma=0.5, tau=0.1, temperature=1e-6, learning_rate=3e-3)
        batch = steps(reward=1.0, terminated=terminated)
        batch = Transitions(batch.obs, batch.actions, batch.rewards, batch.obs, batch.terminated)
        for _ in range(300):
            row = agent.update(batch)
        worth[terminated] = row["value"].item()
    assert worth[False] == pytest.approx(2, abs=0.3)
    assert worth[True] == pytest.approx(1, abs=0.2)


@pytest.mark.parametrize("sign", [1, -1])
def test_the_policy_goes_where_the_reward_is(sign):
    """One step that pays what the first number of the action is, or its opposite."""
    agent = agent_of(temperature=0.01, learning_rate=3e-3)
    for seed in range(300):
        batch = steps(seed=seed, terminated=True)
        rewards = sign * batch.actions[:, 0]
        agent.update(Transitions(batch.obs, batch.actions, rewards, batch.obs, batch.terminated))
    actions = agent.acting_policy.act(steps(200, seed=999).obs, np.random.default_rng(0), True)
    assert (sign * actions[:, 0]).min() > 1


def test_temperature_rises_while_the_policy_is_too_sure_and_falls_while_it_is_random():
    for log_std, rises in ((-3.0, True), (0.0, False)):
        agent = agent_of(learning_rate=1e-2)
        with torch.no_grad():
            last = agent.policy.network[-2]  # an Identity comes after it
            last.weight.zero_()
            # what is inside tanh of the spread's bounds
            last.bias[:] = torch.tensor([0, 0, *[np.arctanh((log_std + 5) / 3.5 - 1)] * 2])
        before = agent.log_alpha.item()
        agent.update_actor_and_alpha(torch.zeros(64, 3))
        assert (agent.log_alpha.item() > before) is rises


def test_the_policys_step_leaves_the_critics_alone():
    agent = agent_of()
    before = [w.clone() for w in agent.critic.parameters()]
    obs = agent.policy.normalise(torch.as_tensor(steps().obs))
    agent.update_actor_and_alpha(obs)
    assert all(torch.equal(a, b) for a, b in zip(before, agent.critic.parameters(), strict=True))
    assert all(w.grad.count_nonzero() == 0 for w in agent.critic.parameters())


def test_target_critics_follow_by_tau():
    agent = agent_of(tau=0.25)
    old = [w.clone() for w in agent.target_critic.parameters()]
    agent.update(steps())
    pairs = zip(old, agent.critic.parameters(), agent.target_critic.parameters(), strict=True)
    for before, critic, target in pairs:
        torch.testing.assert_close(target, before + 0.25 * (critic - before))


@NETWORKS
def test_a_state_that_is_read_back_goes_on_alike(network):
    first, second = agent_of(network=network), agent_of(network=network)
    obs = steps().obs
    for _ in range(5):
        first.act(obs[:1])
        first.update(steps())
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    results = []
    for agent in (first, second):
        agent.begin(0, 1)
        rows = []
        for _ in range(3):
            rows.append(agent.act(obs[:1]).tolist())
            rows.append({k: v.item() for k, v in agent.update(steps(seed=3)).items()})
        results.append(rows)
    assert results[0] == results[1]


def test_residual_networks_see_observations_of_mean_0_and_deviation_1():
    agent = agent_of(network="residual")
    obs = np.random.default_rng(0).normal([5, -3, 1e4], [1, 10, 0.5], (400, 3))
    for row in obs:
        agent.act(row[None])
    agent.update(steps())
    np.testing.assert_allclose(agent.policy.normalise.mean, obs.mean(0), rtol=1e-5)
    np.testing.assert_allclose(agent.policy.normalise.std, obs.std(0), rtol=1e-5)
    # and the policy that is handed out takes them as they are
    seen = agent.acting_policy.normalise(torch.as_tensor(obs, dtype=torch.float32))
    assert seen.mean(0).abs().max() < 0.05


def test_the_first_steps_are_random_in_the_bounds():
    agent = SAC(SACSettings(hidden_sizes=(8,), random_steps=300), SPACES, CPU)
    agent.begin(0)
    actions = np.concatenate([agent.act(np.zeros((2, 3), np.float32)) for _ in range(150)])
    low, high = SPACES.bounds
    unit = (actions - low) / (high - low)
    assert unit.min() < 0.02 and unit.max() > 0.98
    assert np.abs(unit.mean(0) - 0.5).max() < 0.06
    assert not agent.is_ready
    agent.act(np.zeros((1, 3), np.float32))
    assert agent.is_ready


def test_what_it_can_not_do_is_said():
    with pytest.raises(UserError, match=r"discrete .*`prefloop pref-ppo`"):
        SAC(SACSettings(), Spaces((4,), "float32", True, 2), CPU)
    endless = Spaces((4,), "float32", False, 1, (-np.inf,), (np.inf,))
    with pytest.raises(UserError, match="without bounds"):
        SAC(SACSettings(), endless, CPU)
    with pytest.raises(UserError, match="observes vectors"):
        SAC(SACSettings(), Spaces((8, 8), "uint8", False, 1, (-1.0,), (1.0,)), CPU)
    with pytest.raises(ValueError, match="equally wide, not 8 16"):
        SACSettings(network="residual", hidden_sizes=(8, 16))
