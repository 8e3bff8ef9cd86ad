"""`prefloop ppo`: train a policy by PPO, on the true reward or on a learned one."""

from dataclasses import dataclass

from prefloop.agents.settings import PPOSettings
from prefloop.settings import setting
from prefloop.training.settings import ExperienceSettings, RunSettings

DESCRIPTION = """Trains a policy by proximal policy optimisation, on the environment's reward or on
a learned one (--reward), from scratch or from a checkpoint (--init), near which a penalty on the
Kullback-Leibler divergence can keep it (--kl-coef)."""
EPILOG = """Example: prefloop ppo --env CartPole-v0 --reward reward --init weak.params --out policy.
Writes final_policy.params with run.json, metrics.csv and learning_curve.png. Details: docs/ppo.md."""
IMPORTS = ("torch", "gymnasium", "matplotlib.figure")


@dataclass(frozen=True, kw_only=True)
class Settings(RunSettings, ExperienceSettings, PPOSettings):
    """A run's."""

    # fmt: off
    reward: str = setting("", "folder of a reward model to learn from, in place of the environment's reward")
    init: str = setting("", "policy checkpoint to start from, of vpg.py or of prefloop")
    # fmt: on

    def __post_init__(self) -> None:
        for part in (RunSettings, ExperienceSettings, PPOSettings):
            part.__post_init__(self)


def main(settings: Settings) -> None:
    """Trains and writes the policy."""
    from pathlib import Path

    import torch

    from prefloop import runs
    from prefloop.agents.rollout import RewardFunction, true_reward
    from prefloop.devices import usable_device
    from prefloop.rewards import reward_model
    from prefloop.training import loop, outputs
    from prefloop.training.on_policy import OnPolicyTraining, from_model, make_ppo
    from prefloop.training.plans import num_iterations

    torch.set_num_threads(1)  # on networks this small, a second thread costs more than it does
    device = usable_device(settings.device)
    init = Path(settings.init) if settings.init else None
    ppo = make_ppo(settings.env, settings, settings.seed, device, init)
    reward: RewardFunction = true_reward
    reward_file = ""
    if settings.reward:
        model = reward_model.load(Path(settings.reward), ppo.envs).to(device)
        reward, reward_file = from_model(model), str(reward_model.file(Path(settings.reward)))
    facts = outputs.facts("ppo", settings.env, ppo.policy, reward=reward_file, init=settings.init)
    directory = Path(settings.out)
    with runs.claimed(directory, settings.resume, keep_earlier=True):
        rows = loop.run(
            OnPolicyTraining(ppo, reward, settings, settings.seed),
            settings,
            facts,
            num_iterations(settings, settings),
            ("steps", "true_return", "reward"),
        )
        curves = ("true_return", "reward") if settings.reward else ("true_return",)
        outputs.save_policy(directory, ppo.acting_policy, rows, "steps", curves, settings.env)
