"""`prefloop bc`: clone the behaviour that was preferred."""

from dataclasses import MISSING, dataclass

from prefloop.agents.settings import BCSettings
from prefloop.settings import part, require_above_zero, setting
from prefloop.training.settings import RunSettings

DESCRIPTION = """Clones behaviour: makes the actions of the preferred segments likely. The labels say
what is worth imitating, and nothing else."""
EPILOG = """Example: prefloop bc --preferences prefs --out bc. Writes final_policy.params with
run.json, metrics.csv and learning_curve.png. Details: docs/bc.md."""
IMPORTS = ("torch", "gymnasium", "matplotlib.figure")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """A run's."""

    # fmt: off
    preferences: str = setting(MISSING, "folder of the preference dataset")
    init: str = setting("", "policy checkpoint to start from")
    hidden_sizes: tuple[int, ...] = setting((64, 64), "width of each hidden layer", needs="not init")
    run: RunSettings = part(RunSettings)
    bc: BCSettings = part(BCSettings)
    # fmt: on

    def __post_init__(self) -> None:
        require_above_zero(self, "hidden_sizes")


def main(settings: Settings) -> None:
    """Trains and writes the policy."""
    from pathlib import Path

    import torch

    from prefloop import policies, policy_files
    from prefloop.devices import usable_device, use_one_thread
    from prefloop.envs.spaces import spaces_of
    from prefloop.seeding import Stream, integer
    from prefloop.training import methods, outputs

    use_one_thread()
    run = settings.run
    torch.manual_seed(integer(run.seed, Stream.WEIGHTS))
    preferences, env, made, file = outputs.read_preferences(settings.preferences)
    start = (
        policy_files.load(Path(settings.init), made)
        if settings.init
        else policies.make_policy(spaces_of(made), settings.hidden_sizes)
    )
    device = usable_device(run.device)
    method = methods.bc(start, preferences, settings.bc, run.seed, device)
    facts = outputs.facts("bc", env, method.begins_as, preferences=file, init=settings.init)
    outputs.train(method, settings, facts, env)
