"""Every method, put together once: by its command, and by `compare` with the same defaults."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import torch

from prefloop import run_files
from prefloop.agents.behaviour_cloning import BehaviourCloning
from prefloop.agents.dpo import DPO
from prefloop.agents.sac import SAC
from prefloop.agents.settings import (
    AIRLSettings,
    BCSettings,
    DPOSettings,
    PPOSettings,
    SACSettings,
)
from prefloop.data import dataset
from prefloop.data.preferences import Preferences
from prefloop.data.stepping import Stepping
from prefloop.envs.registered import require_time_limit, time_limit
from prefloop.envs.settings import Env, as_settings
from prefloop.errors import UserError
from prefloop.policies import Policy
from prefloop.rewards.training import make_model
from prefloop.teachers.settings import TeacherSettings
from prefloop.teachers.simulated import RELATIVE
from prefloop.training.airl import AIRL
from prefloop.training.answers import Answers, SimulatedAnswers
from prefloop.training.demonstrations import act, as_segments, make_teacher
from prefloop.training.kept_exploration import KeptExploration
from prefloop.training.loop import Acting, Method
from prefloop.training.off_policy import OffPolicyTraining, make_replay, make_sac
from prefloop.training.on_policy import (
    OnPolicyTraining,
    RewardOfRollout,
    make_ppo,
    stepping_in,
)
from prefloop.training.pebble import Pebble
from prefloop.training.plans import Plan
from prefloop.training.pref_ppo import PrefPPO
from prefloop.training.settings import (
    ExperienceSettings,
    PebbleSettings,
    PrefPPOSettings,
    ReplaySettings,
)
from prefloop.training.taught_reward import OnFit, TaughtReward

# what the untrained policy shows teachers whose thresholds depend on what returns there are: episodes
# of each environment, and segments of them
FIRST_EPISODES, FIRST_SEGMENTS = 4, 1000
CPU = torch.device("cpu")


def dpo(
    reference: Policy,
    preferences: Preferences,
    settings: DPOSettings,
    seed: int,
    device: torch.device,
) -> Method:
    """Direct preference optimisation, from a reference."""
    learner = DPO(reference, preferences, settings, seed, device)
    metrics = ("loss", "accuracy", "margin")
    return Method(
        learner=learner,
        iterations=learner.num_epochs,
        policy=learner.finish,
        begins_as=reference,
        show=metrics,
        x="epoch",
        curves=metrics,
    )


def bc(
    start: Policy, preferences: Preferences, settings: BCSettings, seed: int, device: torch.device
) -> Method:
    """Cloning of what was preferred."""
    segments, shown = preferences.segments, preferences.preferred
    learner = BehaviourCloning(start, segments, shown, settings, seed, device)
    metrics = ("loss", "held_out_loss")
    return Method(
        learner=learner,
        iterations=settings.epochs,
        policy=learner.finish,
        begins_as=start,
        show=metrics,
        x="epoch",
        curves=metrics,
    )


def ppo(
    env: Env,
    reward: Callable[[Stepping], RewardOfRollout],
    settings: PPOSettings,
    experience: ExperienceSettings,
    seed: int,
    device: torch.device,
    init: Path | None = None,
) -> Method:
    """PPO on a reward.

    Args:
        reward: gives it for the environments that are acted in.
    """
    stepping, plan = stepping_in(env, experience.num_envs), Plan.of(experience)
    agent = make_ppo(stepping, settings, seed, device, init)
    learner = OnPolicyTraining(agent, stepping, env, reward(stepping), plan, seed)
    return Method(
        learner=learner,
        iterations=plan.iterations,
        policy=lambda: agent.acting_policy,
        begins_as=agent.policy,
        show=("true_return", "reward"),
        x="steps",
        curves=("true_return", "reward"),
        acting=Acting(plan, stepping),
    )


def sac(
    env: Env,
    reward: Callable[[Stepping], RewardOfRollout],
    settings: SACSettings,
    experience: ReplaySettings,
    seed: int,
    device: torch.device,
    directory: Path,
    init: Path | None = None,
    learns_in: Env | None = None,
) -> Method:
    """SAC on a reward.

    Args:
        reward: gives it for the environments that are acted in.
        directory: the run's, where what was done is kept.
        learns_in: what is acted in, where it is another environment than it is judged in.

    Raises:
        UserError: an episode may never end, or the environment or the checkpoint can't be used.
    """
    learns_in = learns_in or env
    stepping = stepping_in(learns_in, experience.num_envs)
    plan = Plan.of(experience.divided)
    agent = make_sac(stepping, settings, seed, device, init)
    require_time_limit(env)  # after what no --horizon would help
    _require_learning(agent, plan)
    replay = make_replay(directory, stepping, experience, plan)
    learner = OffPolicyTraining(
        agent, stepping, env, reward(stepping), replay, plan, experience, seed,
        time_limit(learns_in),
    )  # fmt: skip
    return Method(
        learner=learner,
        iterations=plan.iterations,
        policy=lambda: agent.acting_policy,
        begins_as=agent.acting_policy,
        show=("true_return", "reward"),
        x="steps",
        curves=("true_return", "training_return", "reward"),
        acting=Acting(plan, stepping, agent.random_steps),
    )


def _require_learning(agent: SAC, plan: Plan) -> None:
    if (steps := plan.total_steps) <= agent.random_steps:
        raise UserError(
            f"All {steps} steps would be random (--random_steps {agent.random_steps}), and nothing learned; "
            "more --steps are needed, or fewer of these."
        )


def airl(
    env: Env,
    preferences: Preferences,
    settings: AIRLSettings,
    agent_settings: PPOSettings,
    experience: ExperienceSettings,
    seed: int,
    device: torch.device,
    init: Path | None = None,
) -> Method:
    """Adversarial inverse RL from what was preferred."""
    stepping, plan = stepping_in(env, experience.num_envs), Plan.of(experience)
    agent = make_ppo(stepping, agent_settings, seed, device, init)
    demonstrations = preferences.segments[preferences.preferred]
    learner = AIRL(agent, stepping, env, demonstrations, settings, plan, seed, device)
    return Method(
        learner=learner,
        iterations=plan.iterations,
        policy=lambda: agent.acting_policy,
        begins_as=agent.policy,
        show=("true_return", "discriminator_accuracy"),
        x="steps",
        curves=("true_return", "discriminator_accuracy"),
        acting=Acting(plan, stepping),
    )


def require_pref_ppo(env: Env, settings: PrefPPOSettings, seed: int, init: Path | None) -> None:
    """Refuses what the method would, before anything is made of a run that people may be asked in.

    Args:
        env: what is to be acted in.

    Raises:
        UserError: `pref_ppo` would, once it is.
    """
    stepping = stepping_in(env, 1)
    make_ppo(stepping, settings.agent, seed, CPU, init)
    make_model(stepping.spaces, settings.reward, seed)
    stepping.envs.close()


def pref_ppo(
    env: Env,
    stepping: Stepping,
    answers: Answers,
    settings: PrefPPOSettings,
    seed: int,
    device: torch.device,
    init: Path | None = None,
    wait: bool = True,
    on_fit: OnFit | None = None,
) -> tuple[Method, PrefPPO]:
    """PrefPPO, whoever answers.

    Raises:
        UserError: as `plan_labels`, or the environment or the checkpoint can't be used.
    """
    plan = Plan.of(settings.experience)
    agent = make_ppo(stepping, settings.agent, seed, device, init)
    model = make_model(stepping.spaces, settings.reward, seed).to(device)
    taught = TaughtReward(
        model, answers, settings.questions, settings.reward, seed, wait, on_fit, settings.auxiliary
    )  # fmt: skip
    learner = PrefPPO(agent, stepping, env, taught, plan, settings.questions, seed)
    method = Method(
        learner=learner,
        iterations=plan.iterations,
        policy=lambda: agent.acting_policy,
        begins_as=agent.policy,
        show=("labels", "held_out_accuracy", "true_return", "reward"),
        x="steps",
        curves=("true_return", "reward", "labels", "held_out_accuracy"),
        acting=Acting(plan, stepping),
    )
    return method, learner


def require_pebble(
    env: Env, learns_in: Env, settings: PebbleSettings, seed: int, init: Path | None
) -> None:
    """Refuses what the method would, before anything is made of a run that people may be asked in.

    Args:
        env: what it is to be judged in.
        learns_in: what is to be acted in.

    Raises:
        UserError: `pebble` would, once it is.
    """
    stepping = stepping_in(learns_in, 1)
    agent = make_sac(stepping, settings.agent, seed, CPU, init)
    require_time_limit(env)  # after what no --horizon would help
    _require_learning(agent, Plan.of(settings.experience.divided))
    make_model(stepping.spaces, settings.reward, seed)
    stepping.envs.close()


def pebble(
    env: Env,
    stepping: Stepping,
    answers: Answers,
    settings: PebbleSettings,
    seed: int,
    device: torch.device,
    directory: Path,
    init: Path | None = None,
    wait: bool = True,
    on_fit: OnFit | None = None,
    kept: KeptExploration | None = None,
    learns_in: Env | None = None,
) -> tuple[Method, Pebble]:
    """PEBBLE, whoever answers.

    Args:
        env: what it is judged in.
        directory: the run's, where what was done is kept.
        kept: where what is explored is kept, or was.
        learns_in: what `stepping` steps, where it is another environment than it is judged in.

    Raises:
        UserError: as `plan_labels`, an episode may never end, or the environment or the checkpoint
            can't be used.
    """
    require_time_limit(env)
    plan = Plan.of(settings.experience.divided)
    agent = make_sac(stepping, settings.agent, seed, device, init)
    _require_learning(agent, plan)
    model = make_model(stepping.spaces, settings.reward, seed).to(device)
    replay = make_replay(directory, stepping, settings.experience, plan)
    taught = TaughtReward(
        model, answers, settings.questions, settings.reward, seed, wait, on_fit, settings.auxiliary
    )  # fmt: skip
    learner = Pebble(
        agent, stepping, env, taught, replay, plan, settings, seed, time_limit(learns_in or env),
        is_given=init is not None,
    )  # fmt: skip
    method = Method(
        learner=learner,
        iterations=plan.iterations,
        policy=lambda: agent.acting_policy,
        begins_as=agent.acting_policy,
        show=("true_return", "labels", "held_out_accuracy", "reward"),
        x="steps",
        curves=("true_return", "reward", "labels", "reward_correlation"),
        acting=Acting(plan, stepping, agent.random_steps),
        begin=(lambda: kept.begin(replay, learner.state_dict())) if kept else None,
        saved=partial(kept.keep, replay) if kept else None,
    )
    return method, learner


@contextmanager
def simulated_answers(
    env: Env,
    stepping: Stepping,
    teacher: TeacherSettings,
    segment_length: int,
    begins_as: Callable[[], Policy],
    seed: int,
    directory: Path,
    program: str,
    resume: bool = False,
) -> Iterator[SimulatedAnswers]:
    """A simulated teacher for a loop, whose answers are kept in a run's directory.

    Args:
        segment_length: of what is asked about, in steps.
        begins_as: gives the policy that has learned nothing yet, for teachers whose thresholds depend
            on what returns there are.
        program: that asks, as run.json names it.

    Raises:
        UserError: as `dataset.writing`; or there are answers of another run, and the directory is as
            it was.
    """
    place = directory / run_files.PREFERENCES
    if not resume and not dataset.is_empty(place):
        raise UserError(f"{place} holds the answers of another run; keep them elsewhere.")
    pool = None
    if teacher.teacher in RELATIVE:
        episodes = act(stepping.envs, [begins_as()], FIRST_EPISODES * stepping.num_envs, seed)
        # a policy that falls sooner is shown in shorter segments, as where the loop asks
        length = min(segment_length, int(episodes[0].lengths.max()))
        pool = as_segments(episodes, length, FIRST_SEGMENTS, seed)
    answering = make_teacher(teacher.teacher, pool, seed, teacher.overrides)
    facts = {"program": program, **as_settings(env).facts, "teacher": answering.facts()}
    with dataset.writing(place, facts) as kept:
        yield SimulatedAnswers(answering, kept)
