import sys

import gymnasium as gym
import numpy as np
import pytest

from prefloop.envs.make import episode_seeds, make_env, make_vector_env
from prefloop.envs.registered import return_threshold, without_early_end
from prefloop.envs.settings import EnvSettings
from prefloop.envs.spaces import policy_sizes
from prefloop.envs.termination import DIVERGED
from prefloop.errors import UserError
from prefloop.files import read_csv


@pytest.mark.parametrize(
    ("env_id", "sizes"),
    [
        ("CartPole-v0", (4, 2)),
        ("CartPole-v1", (4, 2)),
        ("Acrobot-v1", (6, 3)),
        ("MountainCar-v0", (2, 3)),
    ],
)
def test_sizes(env_id, sizes):
    assert policy_sizes(make_env(env_id)) == policy_sizes(make_vector_env(env_id, 3)) == sizes


def test_cartpole_v0_stops_at_200_without_a_warning(recwarn):
    envs = make_vector_env("CartPole-v0", 2)
    assert envs.max_episode_steps == 200
    assert not recwarn.list
    assert return_threshold("CartPole-v0") == 195


class Blind(gym.Env):
    """Takes no render_mode, as some people's own environments."""

    observation_space = gym.spaces.Box(-1, 1, (1,))
    action_space = gym.spaces.Discrete(2)


def test_an_environment_that_knows_no_render_mode():
    gym.register("Blind-v0", entry_point=Blind, disable_env_checker=True)
    try:
        assert policy_sizes(make_env("Blind-v0")) == (1, 2)
    finally:
        gym.registry.pop("Blind-v0")


@pytest.mark.parametrize(
    ("env_id", "reason"),
    [
        ("CartPole-v7", "v7"),
        ("CartPol-v1", r"did you mean 'CartPole-v1'\?"),
        ("CartPol-v0", r"did you mean 'CartPole-v0'\?"),
        ("CartPol-v7", r"did you mean 'CartPole-v1'\?"),
        ("cartpole", r"did you mean 'CartPole-v1'\?"),
        ("cartpole-v1", r"did you mean 'CartPole-v1'\?"),
        ("MinAtar/Breakut-v1", r"did you mean 'MinAtar/Breakout-v1'\?"),
        ("nowhere/CartPole-v0", "nowhere"),
        ("no_module:CartPole-v0", "no_module"),
        ("", "Malformed"),
    ],
)
def test_unknown_environments(env_id, reason):
    for make in (make_env, lambda env_id: make_vector_env(env_id, 2)):
        with pytest.raises(UserError, match=reason):
            make(env_id)


@pytest.mark.parametrize(
    ("env_id", "space"),
    [("Pendulum-v1", r"actions in Box"), ("FrozenLake-v1", r"observations in Discrete")],
)
def test_spaces_that_do_not_fit_are_named(env_id, space):
    with pytest.raises(UserError, match=space):
        policy_sizes(make_env(env_id))


def test_any_episode_can_be_begun_again_from_its_seed():
    envs = make_vector_env("CartPole-v1", 3, seeded_episodes=True)
    obs, _ = envs.reset(seed=5)
    began, over, seeds = np.ones(3, dtype=bool), np.zeros(3, dtype=bool), []
    for _ in range(50):
        for i in np.flatnonzero(began):
            seeds.append(int(episode_seeds(envs)[i]))
            np.testing.assert_array_equal(make_env("CartPole-v1").reset(seed=seeds[-1])[0], obs[i])
        obs, _, terminated, truncated, _ = envs.step(np.zeros(3, dtype=np.int64))
        began, over = over, terminated | truncated  # the step after an episode's end resets
    assert len(seeds) > 6 and len(set(seeds)) == len(seeds)
    envs.reset(seed=5)
    assert episode_seeds(envs).tolist() == seeds[:3]


def test_a_robot_that_fell_goes_on():
    env, rng = make_env(EnvSettings(env="Hopper-v5", termination="never")), np.random.default_rng(0)
    env.reset(seed=0)
    ends = [env.step(rng.uniform(-1, 1, 3))[2:4] for _ in range(1000)]
    assert not any(terminated for terminated, _ in ends)
    assert [truncated for _, truncated in ends] == [False] * 999 + [True]


@pytest.mark.parametrize("repeat", [1, 2])
def test_what_has_fallen_is_cut_a_while_later_and_is_no_terminal_state(repeat):
    pytest.importorskip("mujoco")

    def steps(**changes):
        env = make_env(EnvSettings(env="Hopper-v5", action_repeat=repeat, **changes))
        env.reset(seed=0)
        rng = np.random.default_rng(0)
        found = []
        while not found or not any(found[-1][2:4]):
            found.append(env.step(rng.uniform(-1, 1, 3)))
        return found

    ended, cut = steps(), steps(termination="never", fallen_steps=20)
    assert ended[-1][2] and len(ended) < 100
    # the end counts; where actions are repeated it may have come at the first time
    assert len(ended) + 19 <= len(cut) <= len(ended) + 18 + repeat
    assert cut[-1][2:4] == (False, True) and not any(any(step[2:4]) for step in cut[:-1])
    for one, other in zip(ended[:-1], cut, strict=False):
        np.testing.assert_array_equal(one[0], other[0])
    assert (cut[-1][0] != cut[len(ended)][0]).all()  # it goes on moving


@pytest.mark.parametrize("version", ["v4", "v5"])
@pytest.mark.parametrize("robot", ["Ant", "Hopper", "Humanoid", "Walker2d"])
def test_what_has_fallen_is_not_paid_for_surviving(robot, version):
    pytest.importorskip("mujoco")
    env_id = f"{robot}-{version}"
    env, makers = make_env(without_early_end(EnvSettings(env=env_id))), make_env(env_id).unwrapped
    for made in (env, makers):
        made.reset(seed=0)
        # Ant seldom falls by itself: from up there it takes longer than 100 steps
        if robot == "Ant":
            base = made.unwrapped
            base.set_state(base.data.qpos + np.eye(base.model.nq)[2] * 200, base.data.qvel)
    rng, fallen, steps, truncated = np.random.default_rng(0), 0, 0, False
    while not truncated:
        action = rng.uniform(env.action_space.low, env.action_space.high)
        obs, _, terminated, truncated, info = env.step(action)
        seen, _, would_end, _, _ = makers.step(action)
        np.testing.assert_array_equal(obs, seen)
        fallen, steps = fallen + 1 if would_end else 0, steps + 1
        assert env.unwrapped.is_healthy != would_end and not terminated
        assert would_end == (env.unwrapped.healthy_reward == 0), (
            "the makers' v4 pays it on the floor"
        )
        assert truncated == (fallen == 100) and DIVERGED not in info
    assert steps < 1000


class Tumbles(gym.Env):
    """A robot of somebody's own that says by its end alone that it has fallen."""

    observation_space = action_space = gym.spaces.Box(-1, 1, (1,))

    def __init__(self, terminate_when_unhealthy=True):
        self.ends, self.steps = terminate_when_unhealthy, 0

    def reset(self, *, seed=None, options=None):
        self.steps = 0
        return np.zeros(1, np.float32), {}

    def step(self, action):
        self.steps += 1
        return np.zeros(1, np.float32), 0.0, self.ends and self.steps > 4, False, {}


@pytest.mark.parametrize("entry_point", ["test_envs:Tumbles", Tumbles])
def test_what_does_not_say_how_it_is_has_fallen_where_it_would_end(entry_point):
    gym.register("Tumbles-v0", entry_point, max_episode_steps=50)
    try:
        for fallen_steps, steps in ((3, 7), (None, 50)):
            env = make_env(
                EnvSettings(env="Tumbles-v0", termination="never", fallen_steps=fallen_steps)
            )
            env.reset(seed=0)
            ends = [env.step(np.zeros(1, np.float32))[2:4] for _ in range(steps)]
            assert ends == [(False, False)] * (steps - 1) + [(False, True)]
    finally:
        gym.registry.pop("Tumbles-v0")


@pytest.mark.parametrize("env_id", ["CartPole-v1", "HalfCheetah-v5", "Pendulum-v1"])
def test_what_can_not_go_on_says_so(env_id):
    with pytest.raises(UserError, match=f"{env_id} has no way to go on .*--termination absorb"):
        make_env(EnvSettings(env=env_id, termination="never"))


@pytest.mark.parametrize(
    ("env_id", "termination"),
    [
        ("Hopper-v5", "never"), ("Ant-v5", "never"), ("Humanoid-v5", "never"), ("Walker2d-v5", "never"),
        ("InvertedPendulum-v5", "absorb"), ("InvertedDoublePendulum-v5", "absorb"),
        ("HalfCheetah-v5", "own"), ("CartPole-v1", "own"), ("Pendulum-v1", "own"),
    ],
)  # fmt: skip
def test_early_ends_are_left_out_where_it_is_known_how(env_id, termination):
    whole = without_early_end(EnvSettings(env=env_id))
    assert whole.termination == termination
    assert whole.fallen_steps == (100 if termination == "never" else None)
    absorbing = EnvSettings(env=env_id, termination="absorb")
    assert without_early_end(absorbing) == without_early_end(absorbing, absorb=True) == absorbing
    absorbed = without_early_end(EnvSettings(env=env_id), absorb=True)
    assert absorbed == EnvSettings(env=env_id, termination="absorb", absorbing_steps=50)


@pytest.mark.parametrize("env_id", ["HalfCheetah-v5", "dm_control/walker-walk-v0"])
@pytest.mark.parametrize("changes", [{}, {"action_repeat": 2}, {"termination": "absorb"}])
def test_an_episode_is_cut_where_the_simulator_diverged(env_id, changes):
    pytest.importorskip("dm_control")
    env = make_env(EnvSettings(env=env_id, **changes))
    env.reset(seed=0)
    before = env.step(env.action_space.sample())[0]
    simulator = env.unwrapped
    data = simulator.physics.data if hasattr(simulator, "physics") else simulator.data
    data.qvel[:] = 1e12
    obs, reward, terminated, truncated, info = env.step(env.action_space.sample())
    np.testing.assert_array_equal(obs, before)
    assert (reward, terminated, truncated) == (0, False, True) and info[DIVERGED]
    env.reset()
    _, _, _, truncated, info = env.step(env.action_space.sample())
    assert not truncated and DIVERGED not in info


def test_many_robots_are_watched_too():
    pytest.importorskip("mujoco")
    envs = make_vector_env("HalfCheetah-v5", 2)
    envs.reset(seed=0)
    envs.envs[1].unwrapped.data.qvel[:] = 1e12
    *_, truncated, info = envs.step(envs.action_space.sample())
    assert truncated.tolist() == info[DIVERGED].tolist() == [False, True]


ROBOTS = """
import gymnasium as gym
import numpy as np

def register(name, **kwargs):
    gym.register(name, f"{__name__}:{name.split('-')[0]}", max_episode_steps=20, **kwargs)

class Wrong:
    def step(self, action):
        self.steps += 1
        if self.steps == 5:
            data = self.physics.data if hasattr(self, "physics") else self.data
            data.qvel[:] = np.nan
        return super().step(action)

    def reset(self, **kwargs):
        self.steps = 0
        return super().reset(**kwargs)

def __getattr__(name):  # MuJoCo is imported when one of them is made
    from gymnasium.envs.mujoco.half_cheetah_v5 import HalfCheetahEnv
    from prefloop.envs.dm_control import SuiteTask

    base = {"Cheetah": HalfCheetahEnv, "Walker": SuiteTask}.get(name, Bare)
    return type(name, (Wrong, base), {})

class Bare(gym.Env):
    "None of Gymnasium's robots, whose reset leaves what was warned of; it observes parts."
    action_space = gym.spaces.Box(-1, 1, (1,))
    observation_space = gym.spaces.Dict({"q": gym.spaces.Box(-np.inf, np.inf, (1,), np.float64)})

    def __init__(self):
        import mujoco
        xml = "<body><joint/><geom size='1'/></body>"
        self.model = mujoco.MjModel.from_xml_string(f"<mujoco><worldbody>{xml}</worldbody></mujoco>")
        self.data = mujoco.MjData(self.model)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.data.qpos[:] = self.data.qvel[:] = 0
        return {"q": self.data.qpos.copy()}, {}

    def step(self, action):
        import mujoco
        mujoco.mj_step(self.model, self.data)
        return {"q": self.data.qpos.copy()}, 0.0, False, False, {}

register("Cheetah-v0")
register("Plain-v0")
register("Walker-v0", kwargs={"domain": "walker", "task": "walk"})
"""


@pytest.fixture
def robots(tmp_path, monkeypatch):
    """A module of somebody's own, with robots whose simulator can't go on after four steps."""
    pytest.importorskip("dm_control")
    import mujoco

    (tmp_path / "robots_of_mine.py").write_text(ROBOTS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    mujoco.set_mju_user_warning(None)  # as it is before anybody has made a robot
    yield "robots_of_mine"
    del sys.modules["robots_of_mine"]
    for name in ("Cheetah", "Plain", "Walker"):
        del gym.registry[f"{name}-v0"]


@pytest.mark.parametrize("name", ["Cheetah", "Plain", "Walker"])
@pytest.mark.parametrize("changes", [{}, {"action_repeat": 1, "horizon": 30}])
def test_robots_of_a_users_own_are_watched_too(robots, tmp_path, capfd, name, changes):
    env = EnvSettings(env=f"{robots}:{name}-v0", **changes)
    for made in (make_env(env), make_vector_env(env, 1).envs[0]):
        for _ in range(2):  # a second time, too
            made.reset(seed=0)
            ends = []
            while not ends or not ends[-1][0]:
                _, _, _, truncated, info = made.step(made.action_space.sample())
                ends.append((truncated, info.get(DIVERGED, False)))
            assert ends == [(False, False)] * 4 + [(True, True)]
    assert not capfd.readouterr().err
    assert [path.name for path in tmp_path.glob("*.TXT")] == []


def test_what_went_wrong_in_a_robot_of_ones_own_is_counted(robots, run, tmp_path):
    small = "--num_envs 2 --rollout_steps 16 --steps 32 --iteration_steps 32 --hidden_sizes 8"
    outcome = run(f"prefloop.cli ppo --env {robots}:Cheetah-v0 {small} --out p")
    assert outcome.code == 0, outcome.err
    (row,) = read_csv(tmp_path / "p" / "metrics.csv")
    assert float(row["diverged"]) == 2 * 2  # after 5 steps, a reset and 5 more, of two


@pytest.mark.filterwarnings("ignore::UserWarning")  # Gymnasium sees what there is to cut
def test_many_whose_episodes_are_known_by_their_seeds_are_watched_too():
    pytest.importorskip("dm_control")
    envs = make_vector_env("dm_control/quadruped-escape-v0", 2, seeded_episodes=True)
    for seed in (0, 1):
        obs, _ = envs.reset(seed=[seed, seed + 5])
        for i, episode in enumerate(episode_seeds(envs)):
            again = make_env("dm_control/quadruped-escape-v0").reset(seed=int(episode))[0]
            np.testing.assert_array_equal(again, obs[i])
        envs.envs[1].unwrapped.physics.data.qvel[:] = 1e12
        *_, truncated, info = envs.step(envs.action_space.sample())
        assert truncated.tolist() == info[DIVERGED].tolist() == [False, True]


def test_a_module_stands_in_the_folder_where_the_program_is_started(tmp_path, monkeypatch):
    """As the command `prefloop` starts: its own folder is the first of the path."""
    (tmp_path / "in_this_folder.py").write_text(
        "import gymnasium as gym\n"
        "gym.register('Here-v0', 'gymnasium.envs.classic_control:CartPoleEnv', max_episode_steps=5)\n"
    )
    monkeypatch.setattr(sys, "path", [p for p in sys.path if p not in ("", str(tmp_path))])
    with pytest.raises(UserError, match="in this folder and on PYTHONPATH"):
        make_env("in_this_folder:Here-v0")
    monkeypatch.setattr(sys, "path", [p for p in sys.path if p not in ("", str(tmp_path))])
    monkeypatch.chdir(tmp_path)
    assert make_env("in_this_folder:Here-v0").spec.max_episode_steps == 5
    for wrong in ("./in_this_folder:Here-v0", "in_this_folder.py:Here-v0"):
        with pytest.raises(UserError, match="as in_this_folder:Here-v0"):
            make_env(wrong)
