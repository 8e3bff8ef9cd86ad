"""What it costs, and what it takes away, to learn from new answers alone with as many old ones beside them, on the dot.

    python benchmarks/refits.py --seeds 0-2

Answers come in sessions, and after each the reward is fitted again, going on from what it knew: to all answers, or to the
new ones (`--refit new`). Pairs are as in moved_pictures.py. Judged on pairs and steps of other episodes. Some minutes a seed.
"""

import argparse
import time

import numpy as np
import torch
from many_runs import seeds_of
from moved_pictures import SPACES, played
from numpy.typing import NDArray

from prefloop.data.preferences import Preferences
from prefloop.data.segments import concatenate, cut
from prefloop.evaluation.statistics import rank_correlation
from prefloop.rewards.settings import RewardSettings
from prefloop.rewards.training import fit, make_model


def answered(seed: int, number: int) -> Preferences:
    """Pairs of segments of episodes that this seed draws, answered by the true return."""
    rng = np.random.default_rng(seed)
    segments = concatenate([cut(played(x, 40, seed), 10, number, rng) for x in (0.0, 0.5)])
    first, second = rng.permutation(len(segments))[: 2 * number].reshape(2, number)
    gap = np.sign(segments.returns[second] - segments.returns[first])
    return Preferences(segments, first, second, (gap + 1) / 2)


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
        judge, steps = answered(seed + 1000, 500), played(0.5, 20, seed + 1000)
        for refit in ("all", "new"):
            model, seconds = make_model(SPACES, settings, seed), []
            known: frozenset[bytes] = frozenset()
            for session in range(arguments.sessions):
                said = answers[: arguments.session * (session + 1)].compact
                begin = time.process_time()
                model, _ = fit(model, said, settings, seed, known=known)
                seconds.append(time.process_time() - begin)
                if refit == "new":
                    known = frozenset(said.pairs)
            print(
                f"seed {seed}, {refit}: accuracy {_accuracy(model.returns(judge.segments).mean(0), judge):.3f}, "
                f"rank correlation {rank_correlation(model.reward(np.asarray(steps.obs), steps.actions), steps.rewards):.2f}, "
                f"seconds a fit {' '.join(f'{x:.1f}' for x in seconds)}",
                flush=True,
            )


def _accuracy(returns: NDArray, judge: Preferences) -> float:
    """Share of answers that are no ties which these returns predict."""
    decided = judge.labels != 0.5
    gap = returns[judge.second] - returns[judge.first]
    return float(((gap > 0) == (judge.labels > 0.5))[decided].mean())


if __name__ == "__main__":
    main()
