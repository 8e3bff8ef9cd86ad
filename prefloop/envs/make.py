"""Environments of a value, one or many."""

import inspect
import logging
import sys
import warnings
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.envs.registration import EnvSpec, load_env_creator
from gymnasium.wrappers import FrameStackObservation, StickyAction, TimeLimit
from numpy.typing import NDArray

from prefloop.env_ids import without_module
from prefloop.envs.dm_control import SuiteTask
from prefloop.envs.drawing import DrawnRobot, choose_mujoco_gl, is_mujoco
from prefloop.envs.emulated import Emulated
from prefloop.envs.families import emulator_of, family_of
from prefloop.envs.names import require_known
from prefloop.envs.pictures import Pictures, is_picture
from prefloop.envs.settings import MAX_PIXELS, Env, EnvSettings, as_settings
from prefloop.envs.steps import require_next_step
from prefloop.envs.termination import (
    AbsorbAfterEnd,
    CutAfterFall,
    CutWhereItDiverged,
    RepeatActions,
    RestartAfterEnd,
    is_healthy,
    simulated_data,
)
from prefloop.errors import UserError
from prefloop.seeding import MAX_SEED, Stream, generator, integers
from prefloop.startup import import_own

logger = logging.getLogger(__name__)


def make_env(env: Env, render_mode: str | None = None) -> gym.Env:
    """Makes one environment.

    Raises:
        UserError: there is no such environment, a package it needs is missing, or it can't be
            changed as it is to be.
    """
    env = as_settings(env)
    if emulator := emulator_of(env.env):
        _require_playable(env)
        game = emulator.make(env, render_mode)
        return _ending(_wrapped(game, env), env, emulator.time_limit(env))
    # some take no render_mode
    kwargs: dict[str, Any] = {"render_mode": render_mode} if render_mode else {}
    if not env.changes:
        return _with_ours(_make(gym.make, env.env, **kwargs))
    if env.termination == "never":
        _require_going_on(env)
        kwargs[GOES_ON] = False
    # the limit counts what the policy does, so it stands around all that changes
    made = _make(gym.make, env.env, **kwargs)
    own_limit = made.spec.max_episode_steps if made.spec else None
    if env.fallen_steps and is_healthy(made) is None:
        kwargs[GOES_ON] = True  # nothing but its end says that it has fallen
    made.close()
    if env.pixels is not None and not is_picture(made.observation_space):  # drawn to be observed
        kwargs.setdefault("render_mode", "rgb_array")
    made = _with_ours(_make(gym.make, env.env, max_episode_steps=-1, **kwargs))
    if env.fallen_steps:
        made = CutAfterFall(made, env.fallen_steps * env.action_repeat)
    made = _wrapped(made, env)
    if env.sticky:
        made = StickyAction(made, env.sticky)
    if env.action_repeat > 1:
        made = RepeatActions(made, env.action_repeat)
        own_limit = own_limit and -(-own_limit // env.action_repeat)
    if env.pixels is not None:
        made = Pictures(made, env.pixels, env.colour, env.mask_rows)
    made = _ending(made, env, env.horizon or own_limit)
    if env.frame_stack > 1:
        made = FrameStackObservation(made, env.frame_stack)
    return made


def _require_playable(env: EnvSettings) -> None:
    import_module(env.env)
    require_known(env.env)
    if env.termination == "never":
        _require_going_on(env)


def _require_going_on(env: EnvSettings) -> None:
    if not can_go_on(env.env):
        raise UserError(
            f"{env} has no way to go on where it would end early, so --termination never is not for it; "
            "--termination absorb and --termination restart make all episodes equally long, too."
        )


def _with_ours(made: gym.Env) -> gym.Env:
    """Adds wrappers that mend faults of its simulator: that of what was made, whose robot a user may have written."""
    base = made.unwrapped
    if is_mujoco(base) and made.render_mode == "rgb_array":
        made = DrawnRobot(made)
    if simulated_data(base) is not None:
        return CutWhereItDiverged(made)
    return InWorldsOfTheirOwn(made) if _keeps_its_world(base) else made


def _wrapped(made: gym.Env, env: EnvSettings) -> gym.Env:
    """Puts the user's own wrappers around it."""
    for name in env.wrappers:
        made = _wrapper(name)(made)
    return made


def _ending(made: gym.Env, env: EnvSettings, limit: int | None) -> gym.Env:
    """Makes episodes end as the settings say, after so many steps at the latest."""
    if env.termination in ("absorb", "restart") and limit is None:
        raise UserError(f"{env} never ends, so --termination {env.termination} needs a --horizon.")
    if env.termination == "absorb":
        made = AbsorbAfterEnd(made, env.absorbing_steps)
    # emulators do it themselves
    elif env.termination == "restart" and not isinstance(made.unwrapped, Emulated):
        made = RestartAfterEnd(made)
    return made if limit is None else TimeLimit(made, limit)


# What Gymnasium's robots are told. Those of v4 that are to end, and go on all the same, are paid for lying on the floor.
GOES_ON = "terminate_when_unhealthy"


def can_go_on(env_id: str) -> bool:
    """Whether an environment can be told not to end episodes early.

    Raises:
        UserError: its module can't be imported.
    """
    import_module(env_id)
    spec = gym.registry.get(without_module(env_id))
    if spec is None or spec.entry_point is None:
        return False
    entry = spec.entry_point  # a user may have registered the class itself
    creator = load_env_creator(entry) if isinstance(entry, str) else entry
    return GOES_ON in inspect.signature(creator).parameters


class InWorldsOfTheirOwn(gym.Wrapper, gym.utils.RecordConstructorArgs):
    """Begins each episode of BipedalWalker in a new world of Box2D.

    Its own reset leaves the old one, whose contacts are solved in another order after what was done before: the same
    seed and actions then lead elsewhere, and a run that is resumed away from the unbroken one.
    """

    def __init__(self, env: gym.Env) -> None:
        gym.utils.RecordConstructorArgs.__init__(self)
        gym.Wrapper.__init__(self, env)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Begins an episode."""
        base: Any = self.env.unwrapped
        base._destroy()  # while its bodies have their world
        base.world = type(base.world)()
        return self.env.reset(seed=seed, options=options)


class SeededEpisodes(gym.Wrapper):
    """A new copy with a seed for every episode, so that any can be acted again without the others.

    A reset is not enough: in some environments what was done before shows after it.

    Attributes:
        episode_seed: what the episode under way was reset with.
    """

    def __init__(self, env: gym.Env, make: Callable[[], gym.Env] | None = None) -> None:
        """Wraps an environment.

        Args:
            make: gives a new copy; if not given, one as the environment's own description says.
        """
        super().__init__(env)
        self._make = make or (lambda: _make(gym.make, env.spec))
        self.episode_seed = 0
        self._rng = generator(0, Stream.ENVIRONMENTS)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Begins an episode; the seeds of those that follow a given one follow from it."""
        if seed is not None:
            self._rng = generator(seed, Stream.ENVIRONMENTS)
        self.episode_seed = int(self._rng.integers(MAX_SEED))
        self.env.close()
        self.env = self._make()
        return self.env.reset(seed=self.episode_seed, options=options)


def make_vector_env(
    env: Env, num_envs: int, seeded_episodes: bool = False, separate: bool = False
) -> gym.vector.VectorEnv:
    """Makes many copies of an environment that step together.

    Uses the environment's own vectorised implementation where it has one (CartPole: about ten
    times faster than one copy at a time), otherwise steps the copies in turn.

    Args:
        env: which environment.
        num_envs: how many copies.
        seeded_episodes: each is a `SeededEpisodes`, and they step in turn.
        separate: step in turn in any case, so that each has random numbers of its own.

    Raises:
        UserError: as `make_env`; or the environment does not reset on the step after an
            episode's end, which is how `prefloop.data.rollouts` tells episodes apart.
    """
    env = as_settings(env)
    emulator = emulator_of(env.env)
    if emulator and not env.wrappers and env.termination != "absorb":
        _require_playable(env)
        return emulator.make_many(env, num_envs)
    kwargs: dict[str, Any] = {"vectorization_mode": "sync"} if separate or seeded_episodes else {}
    if kwargs or not _steps_as_one(env.env):
        kwargs["wrappers"] = [_not_too_large]
        if seeded_episodes:
            kwargs["wrappers"] += [SeededEpisodes]
        kwargs["wrappers"] += [_with_ours]
    if env.changes:

        def copy() -> gym.Env:
            made = _not_too_large(make_env(env))
            return SeededEpisodes(made, lambda: make_env(env)) if seeded_episodes else made

        envs: gym.vector.VectorEnv = gym.vector.SyncVectorEnv([copy] * num_envs)
        envs.spec = envs.envs[0].spec  # type: ignore[attr-defined]
    else:
        envs = _make(gym.make_vec, env.env, num_envs=num_envs, **kwargs)
    require_next_step(envs, env)
    return envs


def reset(envs: gym.vector.VectorEnv, seed: int, *stream: int) -> tuple[NDArray, dict[str, Any]]:
    """Resets environments that step together, each with a seed of its own where they allow it.

    Some that step as one array (CartPole) draw all their numbers from one generator.
    Gymnasium gives environment i the seed + i, so that neighbouring seeds share nearly all
    episodes.

    Returns:
        What `envs.reset` returns.
    """
    kinds = (gym.vector.SyncVectorEnv, gym.vector.AsyncVectorEnv, Emulated)
    separate = isinstance(envs.unwrapped, kinds)
    seeds = integers(seed, *stream, num=envs.num_envs if separate else 1)
    return envs.reset(seed=seeds if separate else seeds[0])  # type: ignore[arg-type]


def mujoco_states(envs: gym.vector.VectorEnv) -> NDArray:
    """States of MuJoCo simulators that step in this process.

    Returns:
        Of Gymnasium's robots qpos and qvel, [num_envs, nq + nv]; of DM Control's tasks what
        `SuiteTask.simulator_state` says; float64.
    """
    copies = [env.unwrapped for env in envs.unwrapped.envs]  # type: ignore[attr-defined]
    if isinstance(copies[0], SuiteTask):
        return np.stack([env.simulator_state() for env in copies])
    return np.stack([np.concatenate([env.data.qpos, env.data.qvel]) for env in copies])


def episode_seeds(envs: gym.vector.VectorEnv) -> NDArray:
    """Seeds of the episodes under way, of environments with `seeded_episodes`.

    Returns:
        int64; [num_envs].
    """
    if isinstance(envs.unwrapped, Emulated):
        return envs.unwrapped.episode_seeds.copy()
    copies = envs.unwrapped.envs  # type: ignore[attr-defined]
    return np.array([env.get_wrapper_attr("episode_seed") for env in copies], dtype=np.int64)


def _steps_as_one(env_id: str) -> bool:
    """Whether an environment may have a vectorised implementation of its own, around which no wrapper goes."""
    import_module(env_id)
    spec = gym.registry.get(without_module(env_id))
    return spec is None or spec.vector_entry_point is not None


def _not_too_large(made: gym.Env) -> gym.Env:
    """Refuses an environment whose pictures are too large to make many copies of it.

    Raises:
        UserError: it observes pictures with which memory is full before anything is learned.
    """
    space = made.observation_space
    shape = space.shape or ()
    if space.dtype == np.uint8 and len(shape) > 1 and max(shape) > MAX_PIXELS:
        name = made.spec.id if made.spec else "This environment"
        raise UserError(
            f"{name} has pictures of {' x '.join(map(str, shape))}, and nothing here learns from more than "
            f"{MAX_PIXELS} pixels a side; --pixels 84 scales them."
        )
    return made


def _make(make, env_id: str | EnvSpec | None, **kwargs):  # type: ignore[no-untyped-def]
    if isinstance(env_id, str):
        import_module(env_id)
        require_known(env_id)
    with warnings.catch_warnings():
        # CartPole-v0's limit of 200 steps is wanted here, not an oversight
        warnings.filterwarnings("ignore", message=".*is out of date.*")
        try:
            _load(env_id)
            made = make(env_id, **kwargs)
            _hush_mujoco()  # where it was not imported before
            return made
        except (gym.error.Error, ImportError) as error:
            reason = str(error).splitlines()[0]
            raise UserError(f"Can't make the environment {env_id!r}: {reason}") from None


def _load(env_id: str | EnvSpec | None) -> None:
    """Imports what makes an environment, and MuJoCo with it where that simulates, which then says nothing."""
    spec = gym.registry.get(without_module(env_id)) if isinstance(env_id, str) else env_id
    if spec is not None and isinstance(spec.entry_point, str):
        module = spec.entry_point.partition(":")[0]
        if "mujoco" in module or not module.startswith(("gymnasium.", "prefloop.")):
            choose_mujoco_gl()  # it looks when it is imported, as it may be by anybody else's
        load_env_creator(spec.entry_point)
    _hush_mujoco()


def import_module(env_id: str) -> None:
    """Imports the module that an id such as `module:Env-v0` names, or what else has to be told to Gymnasium.

    Raises:
        UserError: it can't be imported.
    """
    if family := family_of(env_id):
        family.register()
    module, colon, _ = env_id.rpartition(":")
    if not colon:
        return
    if "/" in module or module.endswith(".py"):
        name = module.rpartition("/")[2].removesuffix(".py")
        raise UserError(
            f"{env_id!r} is no environment: before the colon stands the name of a module, as "
            f"{name}:{without_module(env_id)}, which is looked for in this folder and on PYTHONPATH."
        )
    choose_mujoco_gl()  # a robot's imports MuJoCo, which looks then
    try:
        import_own(module)
    except (ImportError, ValueError, TypeError) as error:  # the last two: of "", ".x" and the like
        reason = str(error).splitlines()[0].rstrip(".")
        raise UserError(
            f"Can't make the environment {env_id!r}: the module {module!r} can't be imported "
            f"({reason}); it is looked for in this folder and on PYTHONPATH."
        ) from None


def _hush_mujoco() -> None:
    """Sends MuJoCo's warnings to the log; it would print them for every copy, and write a file."""
    if (mujoco := sys.modules.get("mujoco")) is not None:
        mujoco.set_mju_user_warning(logger.debug)


def _keeps_its_world(base: gym.Env) -> bool:
    """Whether a reset leaves the simulator as what was done before has made it."""
    return any(
        kind.__module__ == "gymnasium.envs.box2d.bipedal_walker" for kind in type(base).__mro__
    )


def _wrapper(name: str) -> Any:
    """A class that is named by module and name."""
    module, _, attribute = name.partition(":")
    try:
        wrapper = getattr(import_own(module), attribute)
    except (ImportError, ValueError, TypeError, AttributeError) as error:
        raise UserError(
            f"There is no wrapper {name!r}: {error}; it is named module:Class."
        ) from None
    if not (isinstance(wrapper, type) and issubclass(wrapper, gym.Wrapper)):
        raise UserError(f"{name!r} is no wrapper of Gymnasium's.")
    return wrapper
