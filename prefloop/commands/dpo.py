"""`prefloop dpo`: train a policy on preferences directly, without a reward model."""

from dataclasses import MISSING, dataclass

from prefloop.agents.settings import DPOSettings
from prefloop.settings import setting
from prefloop.training.settings import RunSettings

DESCRIPTION = """Trains a policy on preferences by direct preference optimisation: what was preferred
becomes more likely than under the reference, what was not less. No reward model, no acting."""
EPILOG = """Example: prefloop dpo --preferences prefs --reference weak.params --beta 0.01 --out dpo.
Writes final_policy.params with run.json, metrics.csv and learning_curve.png. Details: docs/dpo.md."""
IMPORTS = ("torch", "gymnasium", "matplotlib.figure")


@dataclass(frozen=True, kw_only=True)
class Settings(RunSettings, DPOSettings):
    """A run's."""

    # fmt: off
    preferences: str = setting(MISSING, "folder of the preference dataset")
    reference: str = setting(MISSING, "policy checkpoint that is started from and stayed near to")
    # fmt: on

    def __post_init__(self) -> None:
        RunSettings.__post_init__(self)
        DPOSettings.__post_init__(self)


def main(settings: Settings) -> None:
    """Trains and writes the policy."""
    from pathlib import Path

    import torch

    from prefloop import policies, runs
    from prefloop.agents.dpo import DPO
    from prefloop.devices import usable_device
    from prefloop.training import loop, outputs

    torch.set_num_threads(1)  # on networks this small, a second thread costs more than it does
    preferences, env_id, env, file = outputs.read_preferences(settings.preferences)
    reference = policies.load(Path(settings.reference), env)
    dpo = DPO(reference, preferences, settings, settings.seed, usable_device(settings.device))
    facts = outputs.facts("dpo", env_id, reference, preferences=file, reference=settings.reference)
    directory = Path(settings.out)
    with runs.claimed(directory, settings.resume, keep_earlier=True):
        show = ("loss", "accuracy", "margin")
        rows = loop.run(dpo, settings, facts, dpo.num_epochs, show)
        outputs.save_policy(directory, dpo.finish(), rows, "epoch", show, env_id)
