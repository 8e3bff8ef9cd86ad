"""What it costs, and what it takes away, to learn from new answers alone with as many old ones beside them, on the dot.

    python benchmarks/refits.py --seeds 0-2

Answers come in sessions, and after each the reward is fitted again, going on from what it knew: to all answers, or to the
new ones (`--refit new`). Pairs are as in rewards_of_pictures.py. Judged on pairs and steps of other episodes. Some minutes a seed.
"""

import argparse
import time

import torch
from many_runs import seeds_of
from rewards_of_pictures import SPACES, answered, judged

from prefloop.rewards.settings import RewardSettings
from prefloop.rewards.training import fit, make_model


def main() -> None:
    """Fits and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", default="0-2")
    parser.add_argument("--session", type=int, default=50, help="answers of each")
    parser.add_argument("--sessions", type=int, default=8)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    settings = RewardSettings()
    for seed in seeds_of(arguments.seeds):
        answers = answered(seed, arguments.session * arguments.sessions)
        for refit in ("all", "new"):
            model, seconds = make_model(SPACES, settings, seed), []
            known: frozenset[bytes] = frozenset()
            for session in range(arguments.sessions):
                said = answers[: arguments.session * (session + 1)].compact
                begin = time.process_time()
                model, _ = fit(model, said, settings, seed, learned_before=known)
                seconds.append(time.process_time() - begin)
                if refit == "new":
                    known = frozenset(said.pairs)
            accuracy, correlation = judged(model, seed)
            print(
                f"seed {seed}, {refit}: accuracy {accuracy:.3f}, rank correlation {correlation:.2f}, "
                f"seconds a fit {' '.join(f'{x:.1f}' for x in seconds)}",
                flush=True,
            )


if __name__ == "__main__":
    main()
