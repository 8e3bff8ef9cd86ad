"""`prefloop bc`: clone the behaviour that was preferred."""

from dataclasses import MISSING, dataclass

from prefloop.agents.settings import BCSettings
from prefloop.settings import require_above_zero, setting
from prefloop.training.settings import RunSettings

DESCRIPTION = """Clones behaviour: makes the actions of the preferred segments likely. The labels say
what is worth imitating, and nothing else."""
EPILOG = """Example: prefloop bc --preferences prefs --out bc. Writes final_policy.params with
run.json, metrics.csv and learning_curve.png. Details: docs/bc.md."""
IMPORTS = ("torch", "gymnasium", "matplotlib.figure")


@dataclass(frozen=True, kw_only=True)
class Settings(RunSettings, BCSettings):
    """A run's."""

    # fmt: off
    preferences: str = setting(MISSING, "folder of the preference dataset")
    init: str = setting("", "policy checkpoint to start from")
    hidden_sizes: tuple[int, ...] = setting((64, 64), "width of each hidden layer; without --init")
    # fmt: on

    def __post_init__(self) -> None:
        RunSettings.__post_init__(self)
        BCSettings.__post_init__(self)
        require_above_zero(self, "hidden_sizes")


def main(settings: Settings) -> None:
    """Trains and writes the policy."""
    from pathlib import Path

    import torch

    from prefloop import policies, runs
    from prefloop.agents.behaviour_cloning import BehaviourCloning
    from prefloop.devices import usable_device
    from prefloop.seeding import Stream, integer
    from prefloop.training import loop, outputs

    torch.set_num_threads(1)  # on networks this small, a second thread costs more than it does
    torch.manual_seed(integer(settings.seed, Stream.WEIGHTS))
    preferences, env_id, env, file = outputs.read_preferences(settings.preferences)
    policy = (
        policies.load(Path(settings.init), env)
        if settings.init
        else policies.make_policy(env, settings.hidden_sizes)
    )
    device = usable_device(settings.device)
    bc = BehaviourCloning(
        policy, preferences.segments, preferences.preferred, settings, settings.seed, device
    )
    facts = outputs.facts("bc", env_id, policy, preferences=file, init=settings.init)
    directory = Path(settings.out)
    with runs.claimed(directory, settings.resume, keep_earlier=True):
        show = ("loss", "held_out_loss")
        rows = loop.run(bc, settings, facts, settings.bc_epochs, show)
        outputs.save_policy(directory, bc.finish(), rows, "epoch", show, env_id)
