"""`prefloop pref-ppo`: act, ask, learn the reward and improve on it, round after round."""

from dataclasses import dataclass

from prefloop.labelling.settings import ServerSettings
from prefloop.settings import setting
from prefloop.teachers.simulated import PRESETS
from prefloop.training.settings import PrefPPOSettings, RunSettings

DESCRIPTION = """Learns from preferences while it acts (Christiano et al. 2017): asks a teacher about
what it has just done, fits a reward to all answers so far, improves on it by PPO, and so on until
the labels and the steps are spent."""
EPILOG = """Example: prefloop pref-ppo --env Pendulum-v1 --teacher oracle --labels 700 --queries
disagreement --schedule hyperbolic --out pendulum. Writes final_policy.params, the reward model
(reward.params), every answer (preferences/), run.json, metrics.csv, learning_curve.png and
schedule.png. With people: prefloop pref-ppo --run cartpole-01 --teacher human --labels 100; the same
command goes on where it was stopped. Details: docs/pref_ppo.md, docs/labelling.md."""
IMPORTS = ("torch", "gymnasium", "matplotlib.figure")


HUMAN = "human"


@dataclass(frozen=True, kw_only=True)
class Settings(RunSettings, PrefPPOSettings, ServerSettings):
    """A run's.

    Raises:
        ValueError: a value that no run can have, or people without a run that they label.
    """

    # fmt: off
    env: str = setting("", "which environment, for instance Pendulum-v1; with --run, that of the run")
    out: str = setting("", "folder that everything is written to; made if missing; with --run, if not given, one of the run's name")
    teacher: str = setting("oracle", "who answers: people (human), or one of B-Pref's simulated teachers, who judge by the true return (L)", choices=(HUMAN, *PRESETS))
    run: str = setting("", "the run on the labelling server that people label, with --teacher human; made if missing and --env is given")
    wait: bool = setting(True, "wait for people's labels after each iteration; without, only for the first ones, and learning goes on while they label")
    init: str = setting("", "policy checkpoint to start from")
    # fmt: on

    def __post_init__(self) -> None:
        RunSettings.__post_init__(self)
        PrefPPOSettings.__post_init__(self)
        if (self.teacher == HUMAN) != bool(self.run):
            raise ValueError("--teacher human and --run NAME go together")
        if not self.run and not (self.env and self.out):
            raise ValueError("--env and --out are needed, or --teacher human and --run")
        if self.teacher == HUMAN and self.teacher_overrides():
            raise ValueError(f"people have no --{next(iter(self.teacher_overrides()))}")

    @property
    def when_interrupted(self) -> str:
        """What to say after Ctrl-C."""
        if self.run:
            return "Stopped. The same command goes on; every label is on the server."
        return super().when_interrupted


def main(settings: Settings) -> None:
    """Trains and writes the policy, the reward and the answers."""
    from contextlib import ExitStack
    from dataclasses import replace
    from pathlib import Path

    import torch

    from prefloop import runs
    from prefloop.devices import usable_device
    from prefloop.envs import step_sizes
    from prefloop.labelling.connecting import connected
    from prefloop.training import loop, outputs
    from prefloop.training.on_policy import make_ppo
    from prefloop.training.plans import num_iterations, plan_labels
    from prefloop.training.pref_ppo import PrefPPO, opened

    torch.set_num_threads(1)  # on networks this small, a second thread costs more than it does
    device = usable_device(settings.device)
    init = Path(settings.init) if settings.init else None
    with ExitStack() as stack:
        if settings.run:
            # people take their time, and their server may be started again meanwhile
            client = stack.enter_context(
                connected(settings, f"prefloop pref-ppo --run {settings.run}", None)
            )
            out = Path(settings.out or settings.run)
            env = settings.env or client.run(settings.run).env
            stopped = (out / runs.FACTS).is_file()
            settings = replace(settings, env=env, out=str(out), resume=stopped)
        directory = Path(settings.out)
        recorded, envs, record = None, None, None
        if settings.run:
            from prefloop.labelling.recording import RecordedEnvs

            recorded = RecordedEnvs.make(settings.env, settings.num_envs)
            envs, record = recorded.envs, recorded.record
        ppo = make_ppo(settings.env, settings, settings.seed, device, init, envs, record)
        spec = ppo.envs.spec
        # before anything is made, here or on the server
        plan_labels(settings, ppo.settings, spec.max_episode_steps if spec else None)
        if settings.run:
            obs_dim, action_dim, discrete = step_sizes(ppo.envs)
            client.put_run(
                settings.run,
                env=settings.env,
                obs_dim=obs_dim,
                action_dim=action_dim,
                discrete=discrete,
            )
        stack.enter_context(runs.claimed(directory, settings.resume, keep_earlier=True))
        learner: PrefPPO
        if recorded is not None:
            from prefloop.training.pref_ppo_people import opened_with_people

            learner = stack.enter_context(
                opened_with_people(
                    ppo,
                    recorded,
                    settings,
                    settings.seed,
                    directory,
                    client,
                    settings.run,
                    settings.wait,
                )
            )
        else:
            learner = stack.enter_context(
                opened(ppo, settings, settings.seed, directory, settings.resume)
            )
        facts = outputs.facts("pref-ppo", settings.env, ppo.policy, init=settings.init)
        rows = loop.run(
            learner,
            settings,
            {**facts, "reward_model": learner.model.facts()},
            num_iterations(settings, settings),
            ("labels", "held_out_accuracy", "true_return", "reward"),
        )
        learner.save(directory)
        answers = learner.preferences.preferences
        answered = len(answers.answered) if answers is not None else 0
        if answered < settings.labels:
            print(
                f"Note: {answered} of {settings.labels} labels came; of {learner.shown} queries "
                f"{learner.shown - answered} were skipped or are still to be labelled."
            )
        curves = ("true_return", "reward", "labels", "held_out_accuracy")
        outputs.save_policy(directory, ppo.acting_policy, rows, "steps", curves, settings.env)
