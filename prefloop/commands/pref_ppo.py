"""`prefloop pref-ppo`: act, ask, learn the reward and improve on it, round after round."""

from dataclasses import dataclass

from prefloop.settings import setting
from prefloop.training.settings import PrefPPOSettings, RunSettings

DESCRIPTION = """Learns from preferences while it acts (Christiano et al. 2017): asks a teacher about
what it has just done, fits a reward to all answers so far, improves on it by PPO, and so on until
the labels and the steps are spent."""
EPILOG = """Example: prefloop pref-ppo --env Pendulum-v1 --teacher oracle --labels 700 --queries
disagreement --schedule hyperbolic --out pendulum. Writes final_policy.params, the reward model
(reward.params), every answer (preferences/), run.json, metrics.csv, learning_curve.png and
schedule.png. Details: docs/pref_ppo.md."""
IMPORTS = ("torch", "gymnasium", "matplotlib.figure")


@dataclass(frozen=True, kw_only=True)
class Settings(RunSettings, PrefPPOSettings):
    """A run's."""

    # fmt: off
    init: str = setting("", "policy checkpoint to start from")
    # fmt: on

    def __post_init__(self) -> None:
        RunSettings.__post_init__(self)
        PrefPPOSettings.__post_init__(self)


def main(settings: Settings) -> None:
    """Trains and writes the policy, the reward and the answers."""
    from pathlib import Path

    import torch

    from prefloop import runs
    from prefloop.devices import usable_device
    from prefloop.training import loop, outputs
    from prefloop.training.on_policy import make_ppo
    from prefloop.training.plans import num_iterations
    from prefloop.training.pref_ppo import opened

    torch.set_num_threads(1)  # on networks this small, a second thread costs more than it does
    device = usable_device(settings.device)
    init = Path(settings.init) if settings.init else None
    ppo = make_ppo(settings.env, settings, settings.seed, device, init)
    directory = Path(settings.out)
    with (
        runs.claimed(directory, settings.resume, keep_earlier=True),
        opened(ppo, settings, settings.seed, directory, settings.resume) as learner,
    ):
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
                f"{learner.shown - answered} were skipped."
            )
        curves = ("true_return", "reward", "labels", "held_out_accuracy")
        outputs.save_policy(directory, ppo.acting_policy, rows, "steps", curves, settings.env)
