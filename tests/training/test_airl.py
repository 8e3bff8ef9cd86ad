import numpy as np
import pytest
import torch
from made_up import make_segments

from prefloop import checkpoints
from prefloop.agents.settings import AIRLSettings, PPOSettings
from prefloop.data.rollouts import collect_episodes
from prefloop.data.segments import whole_episodes
from prefloop.envs.make import make_vector_env
from prefloop.errors import UserError
from prefloop.training.airl import AIRL, Discriminator
from prefloop.training.on_policy import make_ppo, stepping_in
from prefloop.training.plans import Plan
from prefloop.training.settings import ExperienceSettings

CPU = torch.device("cpu")


def balancing(obs):
    """Pushes towards the side the pole falls to: keeps it up for as long as it may."""
    return (obs @ np.array([0.0, 0.2, 2.0, 0.9]) > 0).astype(np.int64)


@pytest.fixture(scope="module")
def demonstrations():
    envs = make_vector_env("CartPole-v0", 5)
    return whole_episodes(collect_episodes(envs, balancing, 5, seed=0))


def make(demonstrations, env_id="CartPole-v0", seed=0, **experience):
    small = {"num_envs": 4, "rollout_steps": 32, "iteration_steps": 256, "steps": 1024}
    plan = Plan.of(ExperienceSettings(**(small | experience)))
    stepping = stepping_in(env_id, plan.num_envs)
    ppo = make_ppo(stepping, PPOSettings(), seed, CPU)
    return AIRL(ppo, stepping, env_id, demonstrations, AIRLSettings(), plan, seed, CPU)


def tensors(airl):
    return [*airl.ppo.parameters, *airl.discriminator.state_dict().values()]


def test_the_discriminator_by_hand():
    f = Discriminator(1, (), gamma=0.5)
    for network, weight, bias in ((f.reward, 2.0, 1.0), (f.shaping, 3.0, -1.0)):
        network[0].weight.data.fill_(weight)
        network[0].bias.data.fill_(bias)
    # g(1) = 3, h(1) = 2, h(4) = 11
    assert f(torch.tensor([[1.0]]), torch.tensor([[4.0]])).item() == pytest.approx(3 + 5.5 - 2)
    f.obs_mean.fill_(1)
    f.obs_std.fill_(3)
    # what it sees is 0 and 1: g = 1, h = -1 and 2
    assert f(torch.tensor([[1.0]]), torch.tensor([[4.0]])).item() == pytest.approx(1 + 1 + 1)
    # yes and no are numbers, too: 0 and -1/3
    assert f(torch.tensor([[True]]), torch.tensor([[False]])).item() == pytest.approx(1 - 1 + 1)


def test_its_logit_is_the_probability_that_a_step_was_demonstrated(demonstrations):
    airl = make(demonstrations)
    airl.stepping.begin(seed=0)
    airl.ppo.begin(seed=0)
    rollout = airl.stepping.act(airl.ppo.act, 32)
    obs, next_obs = (torch.as_tensor(x[:5, 0]) for x in (rollout.obs, rollout.obs[1:]))
    actions = torch.as_tensor(rollout.actions[:5, 0])
    with torch.no_grad():
        demonstrated = torch.sigmoid(airl._logits((obs, actions, next_obs)))
        f = airl.discriminator(obs, next_obs).exp()
        probability = airl.ppo.acting_policy.log_prob(obs, actions).exp()
    torch.testing.assert_close(demonstrated, f / (f + probability))


def test_nothing_is_better_or_worse_before_anything_was_learned(demonstrations):
    for seed in range(3):
        airl = make(demonstrations, seed=seed)
        obs = torch.randn(20, 4)
        assert not airl.discriminator(obs, obs + 1).any()


@pytest.mark.parametrize("seed", [0, 2])  # where it was not so, these collapsed
def test_it_learns_from_demonstrations_alone(demonstrations, seed):
    airl = make(
        demonstrations,
        iteration_steps=8192,
        steps=6 * 8192,
        num_envs=16,
        rollout_steps=128,
        seed=seed,
    )
    rows = [airl.iterate(i) for i in range(5)]
    assert all(row.keys() == rows[0].keys() for row in rows)
    assert np.isfinite([list(row.values()) for row in rows]).all()
    assert rows[0]["discriminator_accuracy"] > 0.5
    assert rows[0]["true_return"] < 40
    assert rows[-1]["true_return"] > 100


def test_a_stopped_run_ends_where_the_unbroken_one_does(tmp_path, demonstrations):
    unbroken, stopped, resumed = (make(demonstrations) for _ in range(3))
    rows = [unbroken.iterate(i) for i in range(3)]
    stopped.iterate(0)
    checkpoints.save(tmp_path / "state.pt", stopped.state_dict())
    resumed.load_state_dict(checkpoints.load(tmp_path / "state.pt"))
    assert [resumed.iterate(i) for i in (1, 2)] == rows[1:]
    assert all(torch.equal(a, b) for a, b in zip(tensors(unbroken), tensors(resumed), strict=True))


def test_continuous_actions():
    rng = np.random.default_rng(0)
    demos = make_segments(rng.normal(size=(4, 10, 3)), rng.uniform(-2, 2, size=(4, 10, 1)))
    row = make(demos, "Pendulum-v1", iteration_steps=1024).iterate(0)
    assert np.isfinite(list(row.values())).all()


def test_only_steps_that_led_somewhere_are_shown():
    obs = np.arange(8.0).reshape(2, 4, 1) * np.ones(4)
    demos = make_segments(obs, np.arange(8).reshape(2, 4) % 2, lengths=np.array([4, 2]))
    expert_obs, actions, next_obs = make(demos)._expert
    assert expert_obs[:, 0].tolist() == [0, 1, 2, 4]
    assert next_obs[:, 0].tolist() == [1, 2, 3, 5]
    assert actions.tolist() == [0, 1, 0, 0]


def test_single_steps_show_nothing():
    demos = make_segments(np.zeros((3, 2, 4)), np.zeros((3, 2), int), lengths=np.ones(3, int))
    with pytest.raises(UserError, match="at least two steps"):
        make(demos)
