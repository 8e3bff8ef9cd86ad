"""`prefloop evaluate`: play episodes and report the true returns."""

from collections.abc import Mapping
from dataclasses import MISSING, dataclass
from typing import Any

from prefloop.settings import require_above_zero, require_seed, setting

DESCRIPTION = """Plays whole episodes with one policy or several and reports their true returns: mean,
95 % confidence interval, the mean of the lowest tenth, and the spread. Policies of SAC and PEBBLE are played
by their mean action, and then drawn actions."""
EPILOG = """Example: prefloop evaluate dpo/final_policy.params ppo/final_policy.params --episodes 100.
Adds a row for each policy to evaluation.csv and, where there are two or more to compare (a policy of SAC or PEBBLE
counts twice), writes evaluation.png; with --video, an episode of each as an MP4."""
IMPORTS = ("torch", "gymnasium")
SAME = ("policy", "env", "episodes", "seed", "greedy")  # in two rows: measured again


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What is played, and where it is written.

    Raises:
        ValueError: a value that can't be meant.
    """

    # fmt: off
    policy: tuple[str, ...] = setting(MISSING, "policy checkpoints, of vpg.py or of prefloop; of a run's folder, the last one", positional=True)
    env: str = setting("", "which environment; if not given, the one that run.json beside the policy names")
    horizon: int | None = setting(None, "steps after which an episode is cut, in place of the environment's own limit")
    episodes: int = setting(100, "episodes of each policy")
    greedy: bool = setting(False, "take the most probable action, or the mean one, and draw none")
    video: bool = setting(False, "save an episode of each as a video")
    minari: str = setting("", "write the first policy's episodes as this Minari dataset, for instance cartpole/weak-v0")
    out: str = setting("evaluation", "folder that everything is written to; made if missing")
    seed: int = setting(0, "same seed, same episodes")
    # fmt: on

    def __post_init__(self) -> None:
        require_seed(self.seed)
        require_above_zero(self, "episodes", "horizon")

    @property
    def when_interrupted(self) -> str:
        """What to say after Ctrl-C."""
        return "Stopped; nothing was written."


def _identity(row: Mapping[str, Any]) -> list[str]:
    """Values of a row, new or read, by which it is the same as another."""
    from prefloop.env_ids import without_module
    from prefloop.files import encodable

    return [
        encodable(without_module(row[name]) if name == "env" else str(row[name])) for name in SAME
    ]


def _ways(policy: Any, settings: Settings) -> tuple[bool, ...]:
    """Ways to play a policy: by its greedy action (True), by drawn ones (False), or both."""
    both = not settings.greedy and policy.evaluates_greedily
    return (True, False) if both else (settings.greedy,)


def main(settings: Settings) -> None:
    """Plays and reports."""
    from pathlib import Path

    from prefloop import checkpoints, policy_files
    from prefloop.envs.make import make_vector_env
    from prefloop.envs.registered import require_time_limit, return_bounds
    from prefloop.envs.settings import from_facts
    from prefloop.errors import UserError
    from prefloop.evaluation.evaluate import acting_in_episode, env_seed, play
    from prefloop.evaluation.plots import plot_returns
    from prefloop.evaluation.statistics import lowest_tenth, mean_estimate
    from prefloop.files import claimed_directory, read_csv, write_csv
    from prefloop.progress import progress

    if settings.minari:
        from prefloop.data.minari import require_new

        require_new(settings.minari)
    loaded = []
    for path in (checkpoints.policy_file(Path(name)) for name in settings.policy):
        env = from_facts(checkpoints.run_facts(path), settings.env)
        if env is None:
            # what is wrong with the file comes first
            checkpoints.load_weights(path, checkpoints.LARGEST)
            raise UserError(f"Nothing beside {path} says which environment it is for; give --env.")
        if settings.horizon is not None:
            env = env.changed({"horizon": settings.horizon})
        loaded.append((path, env, policy_files.load(path, make_vector_env(env, 1))))
        require_time_limit(env, "whole ones are played here")
        if settings.video:
            from prefloop.evaluation.videos import require_pictures

            require_pictures(env, "--video")
    rows: list[dict[str, Any]] = []
    returns_of = {}
    with claimed_directory(Path(settings.out)) as directory:
        table = directory / "evaluation.csv"
        earlier = read_csv(table) if table.exists() else []
        if earlier and not earlier[0].keys() >= set(SAME):
            raise UserError(f"{table} is not of this program; choose another --out.")
        for i, (path, env, policy) in enumerate(loaded):
            ways = _ways(policy, settings)
            for greedy in ways:
                is_written = bool(settings.minari) and not rows
                with progress(settings.episodes, "episodes", leave=False) as bar:
                    episodes = play(
                        policy, env, settings.episodes, settings.seed, greedy,
                        lambda ended: bar.update(units=ended), observed=is_written,
                    )  # fmt: skip
                if is_written:
                    from prefloop.data.minari import write_minari

                    write_minari(episodes, settings.minari, env)
                returns = episodes.returns
                estimate = mean_estimate(returns, return_bounds(env))
                rows.append(
                    {
                        "policy": str(path),
                        # cut elsewhere than in its run, it is another measurement
                        "env": f"{env} (horizon {env.horizon})" if settings.horizon else str(env),
                        "episodes": len(returns),
                        "seed": settings.seed,
                        "greedy": greedy,
                        "mean_return": estimate.mean,
                        "low": estimate.low,
                        "high": estimate.high,
                        "std": float(returns.std(ddof=1)) if len(returns) > 1 else float("nan"),
                        "lowest_tenth": lowest_tenth(returns),
                        "min": float(returns.min()),
                        "max": float(returns.max()),
                        "mean_length": float(episodes.lengths.mean()),
                    }
                )
                row = rows[-1]
                how = "" if len(ways) == 1 else ", mean actions" if greedy else ", drawn actions"
                returns_of[f"{path}{how}"] = returns
                if len(returns) == 1:  # of which there is no interval
                    print(f"{path}: {estimate.mean:.1f} (an episode of {env.described}{how})")
                    continue
                print(
                    f"{path}: {estimate.mean:.1f} [{estimate.low:.1f}, {estimate.high:.1f}] "
                    f"(mean return of {len(returns)} episodes of {env.described}{how}, 95 % interval); from "
                    f"{row['min']:.1f} to {row['max']:.1f}, lowest tenth {row['lowest_tenth']:.1f}"
                )
            if settings.video:
                from prefloop.evaluation.videos import record_episode, steps_a_picture

                video = directory / f"{i}-{path.parent.name or 'policy'}-{path.stem}.mp4"
                # the first of those that were counted
                act = acting_in_episode(policy, settings.seed, 0, ways[0])
                record_episode(env, act, env_seed(settings.seed, 0), video, steps_a_picture(env))
                print(f"  {video}")
        # what was measured earlier stays, unless it was measured again
        new = [_identity(row) for row in rows]
        kept = [row for row in earlier if _identity(row) not in new]
        # earlier versions had fewer columns
        write_csv(table, [{name: row.get(name, "") for name in rows[0]} for row in (*kept, *rows)])
        wrote = "evaluation.csv"
        if len(returns_of) > 1:
            plot_returns(directory / "evaluation.png", returns_of)
            wrote += " and evaluation.png"
    print(f"Wrote {wrote} to {settings.out}.")
