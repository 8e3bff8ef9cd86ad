"""`prefloop dpo`: train a policy on preferences directly, without a reward model."""

from dataclasses import MISSING, dataclass

from prefloop.agents.settings import DPOSettings
from prefloop.settings import part, setting
from prefloop.training.settings import RunSettings

DESCRIPTION = """Trains a policy on preferences by direct preference optimisation: what was preferred
becomes more likely than under the reference, what was not less. No reward model, no acting."""
EPILOG = """Example: prefloop dpo --preferences prefs --reference weak.params --beta 0.01 --out dpo.
Writes final_policy.params with run.json, metrics.csv and learning_curve.png. Details: docs/dpo.md."""
IMPORTS = ("torch", "gymnasium", "matplotlib.figure")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Settings of `prefloop dpo`."""

    # fmt: off
    preferences: str = setting(MISSING, "folder of the preference dataset")
    reference: str = setting(MISSING, "policy checkpoint that is started from and stayed near to")
    run: RunSettings = part(RunSettings)
    dpo: DPOSettings = part(DPOSettings)
    # fmt: on


def main(settings: Settings) -> None:
    """Trains and writes the policy."""
    from pathlib import Path

    from prefloop import policy_files
    from prefloop.devices import usable_device, use_one_thread
    from prefloop.training import methods, outputs

    use_one_thread()
    run = settings.run
    preferences, env, made, file = outputs.read_preferences(settings.preferences)
    reference = policy_files.load(Path(settings.reference), made)
    device = usable_device(run.device)
    method = methods.dpo(reference, preferences, settings.dpo, run.seed, device)
    facts = outputs.facts(
        "dpo", env, method.begins_as, preferences=file, reference=settings.reference
    )
    outputs.train(method, settings, facts, env)
