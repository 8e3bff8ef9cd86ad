"""Grades a student's folder: code by behaviour, policies by rollouts.

    python -m course.grade submissions/ada --gradescope results.json

The student's code runs in processes of its own, in a copy of the folder, with limits on time and
memory. It is asked for numbers only; which numbers are right is known here alone, so printing or
writing a result earns nothing.
"""

import argparse
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from course.sandbox import Limits, NoAnswerError, ask, stored
from prefloop.checkpoints import checkpoint_path, load_policy, saved_epochs
from prefloop.data.rollouts import collect_episodes
from prefloop.envs import make_env, make_vector_env, policy_sizes
from prefloop.errors import UserError, one_sentence_errors
from prefloop.evaluation.evaluate import evaluate
from prefloop.evaluation.statistics import mean_estimate, rank_correlation
from prefloop.files import write_json
from prefloop.networks import acting

ROOT = Path(__file__).resolve().parents[1]
ENV_ID = "CartPole-v0"
SEED = 20260  # of everything the grader draws: the same folder gets the same grade


@dataclass(frozen=True)
class Check:
    """One line of the grade.

    Attributes:
        name: what was looked at.
        score, max_score: points given and points possible.
        reason: what was seen, in a sentence a student can act on.
    """

    name: str
    score: float
    max_score: float
    reason: str


def partial(value: float, none: float, full: float, points: float) -> float:
    """Points that rise in a line from `none` (0 points) to `full` (all points)."""
    share = min(1.0, max(0.0, (value - none) / (full - none)))
    return round(share * points, 1)


def grade_network(folder: Path, limits: Limits) -> list[Check]:
    """`Net`: shapes, gradients, a sum over states, other environments."""
    rng = np.random.default_rng(SEED)
    first, second = (rng.normal(0, 0.3, size=(n, 4)).astype(np.float32) for n in (7, 40))
    one = first[:1]
    probes = [first, second, np.concatenate([first, second]), one]
    # the same sum, in an environment with observations of six numbers
    wide = [np.pad(traj, ((0, 0), (0, 2))) for traj in probes]
    points = {
        "takes trajectories of any length and type": 10,
        "carries gradients": 10,
        "adds up the rewards of the states": 10,
        "fits another environment's observations": 5,
    }

    def none(reason: str) -> list[Check]:
        return [Check(f"Net {name}", 0, most, reason) for name, most in points.items()]

    try:
        task = {**stored("probes", probes), **stored("other_env", wide)}
        answers = ask("network", folder, limits, task)
        returns = np.array(answers["returns"])
        same = all(
            np.allclose(returns, answers[key], rtol=1e-4, atol=1e-5)
            for key in ("from_array", "from_list")
        )
        scalar = all(shape == [] for shape in answers["shapes"])
        norms, step = np.array(answers["gradient_norms"]), float(answers["step"])
        expected = step * float((norms**2).sum())
        rise = float(np.sum(answers["returns_after_step"]) - returns.sum())
        # float32 sums leave an error of about 1e-6 of the returns; the step is chosen above it
        rises = abs(rise - expected) <= 0.2 * expected + 1e-5 * (1 + abs(returns).sum())
        sums = adds_up(returns)
        other_env = np.array(answers["other_env"])
    except NoAnswerError as error:
        return none(str(error))
    except (KeyError, ValueError, TypeError, IndexError):
        return none("Net gave answers of the wrong shape.")
    seen = [
        (
            scalar and same,
            "a scalar for lists, arrays and tensors",
            f"shapes {answers['shapes'][:2]}, where a scalar has []; or a list, an array and a "
            "tensor of the same states give different returns",
        ),
        (
            norms.size > 0 and bool((norms > 0).all()) and rises,
            f"every one of {norms.size} parameters gets a gradient",
            "some parameter gets no gradient, or not the gradient of the predicted return: "
            "is .item(), .detach() or NumPy on the way?",
        ),
        (
            sums,
            "two trajectories end to end have the sum of their returns",
            "two trajectories end to end should have the sum of their returns",
        ),
        (
            len(other_env) == len(probes) and adds_up(other_env),
            "Net(obs_dim=6) takes states of six numbers",
            "Net(obs_dim=6) should take states of six numbers",
        ),
    ]
    return [
        Check(f"Net {name}", most if good else 0, most, yes if good else no)
        for (name, most), (good, yes, no) in zip(points.items(), seen, strict=True)
    ]


def adds_up(returns: NDArray) -> bool:
    """Whether the third return is the sum of the first two, and they are not all the same."""
    error = abs(returns[0] + returns[1] - returns[2])
    differ = len(np.unique(np.round(returns, 6))) > 1
    return bool(error <= 1e-4 * (1 + abs(returns).sum())) and differ


def hidden_reward(states: NDArray) -> NDArray:
    """The rule that `learn_reward` has to find; students' code is shown only its preferences."""
    return np.tanh(2 * states[..., 0]) - states[..., 2]


def grade_learning(folder: Path, limits: Limits) -> list[Check]:
    """`learn_reward` on trajectories of equal length, where only the states tell which is better.

    (In CartPole the length alone tells it, and a network that was never trained ranks perfectly.)
    """
    rng = np.random.default_rng(SEED)
    # each trajectory stays around a point of its own, or all returns would be about the same
    centres = rng.normal(0, 0.5, size=(120, 1, 4))
    states = (centres + rng.normal(0, 0.3, size=(120, 25, 4))).astype(np.float32)
    returns = hidden_reward(states).sum(axis=1)
    training, held_out = np.arange(60), np.arange(60, 120)
    pairs = np.array([rng.choice(60, size=2, replace=False) for _ in range(150)])
    labels = (returns[pairs[:, 1]] > returns[pairs[:, 0]]).astype(np.float64)
    task = {
        **stored("training", list(states[training])),
        **stored("held_out", list(states[held_out])),
        "pairs": pairs,
        "labels": labels,
        "num_iter": np.array(100),
    }
    questions = {"labels": task, "ties": {**task, "labels": np.full(len(pairs), 0.5)}}
    predicted: dict[str, NDArray] = {}
    for name, arrays in questions.items():
        try:
            answers = ask("learning", folder, limits, arrays)
            predicted[name] = np.array([answers["training"], answers["held_out"]], dtype=np.float64)
            if predicted[name].shape != (2, 60):
                raise NoAnswerError("Your code gave no return for every trajectory.")
        except NoAnswerError as error:
            return nothing_learned(str(error))
        except (KeyError, ValueError, TypeError):
            return nothing_learned("Your code gave no return for every trajectory.")

    seen, unseen = (
        pair_accuracy(returns[who], values)
        for who, values in zip((training, held_out), predicted["labels"], strict=True)
    )
    decided, tied = (
        float(np.abs(np.diff(predicted[name][0][pairs], axis=1)).mean()) for name in questions
    )
    equal = tied < 0.25 * decided
    reasons = (
        f"{seen:.0%} of pairs ranked correctly (95 % for all points)",
        f"{unseen:.0%} of pairs it never saw ranked correctly (90 % for all points)",
        f"labels of 0.5 {'make' if equal else 'should make'} the returns of a pair equal",
    )
    points = (partial(seen, 0.5, 0.95, 15), partial(unseen, 0.5, 0.9, 15), 5.0 * equal)
    return [
        Check(name, score, most, reason)
        for (name, most), score, reason in zip(LEARNING.items(), points, reasons, strict=True)
    ]


LEARNING = {
    "learn_reward learns the preferences": 15,
    "learn_reward generalises": 15,
    "learn_reward knows ties": 5,
}


def nothing_learned(reason: str) -> list[Check]:
    """No points for any check of `learn_reward`."""
    return [Check(name, 0, most, reason) for name, most in LEARNING.items()]


def pair_accuracy(true: NDArray, predicted: NDArray) -> float:
    """Share of all pairs that both put in the same order."""
    i, j = np.triu_indices(len(true), k=1)
    return float(np.mean((true[i] - true[j]) * (predicted[i] - predicted[j]) > 0))


def grade_saved_reward(folder: Path, limits: Limits) -> Check:
    """`reward.params` ranks CartPole trajectories of the reference demonstrators."""
    name = "reward.params ranks demonstrations"
    if not (folder / "reward.params").is_file():
        return Check(name, 0, 10, "reward.params is missing: run offline_reward_learning.py.")
    sizes = policy_sizes(make_env(ENV_ID))
    envs = make_vector_env(ENV_ID, 8)
    trajs, returns = [], []
    for epoch in range(10):
        policy = load_policy(checkpoint_path(ROOT / "synthetic", epoch), *sizes)
        act = acting(policy, np.random.default_rng(SEED + epoch))
        demos = collect_episodes(envs, act, 8, seed=SEED + epoch)
        trajs += demos.visited_states()
        returns += demos.returns.tolist()
    try:
        predicted = ask("saved_reward", folder, limits, stored("cartpole", trajs))["returns"]
        correlation = rank_correlation(returns, np.array(predicted, dtype=np.float64))
    except NoAnswerError as error:
        return Check(name, 0, 10, str(error))
    except (KeyError, ValueError, TypeError):
        return Check(name, 0, 10, "No return for every trajectory.")
    if math.isnan(correlation):
        return Check(name, 0, 10, "all trajectories get the same predicted return")
    reason = f"rank correlation {correlation:.2f} with the true returns (0.9 for all points)"
    return Check(name, partial(correlation, 0, 0.9, 10), 10, reason)


def grade_policies(folder: Path, num_rollouts: int) -> list[Check]:
    """Part 1's demonstrators, Part 3's policy, and which is better."""
    sizes = policy_sizes(make_env(ENV_ID))
    names = (
        "synthetic/ has ten demonstrators",
        "rlhf/ solves CartPole",
        "RLHF beats its best demonstrator",
    )

    def returns(path: Path, seed: int) -> NDArray:
        return evaluate(load_policy(path, *sizes), ENV_ID, num_rollouts, seed)

    try:
        demonstrators = [checkpoint_path(folder / "synthetic", i) for i in range(10)]
        averages = [float(returns(path, SEED).mean()) for path in demonstrators]
        best = demonstrators[int(np.argmax(averages))]
        checks = [
            Check(
                names[0], 5, 5, f"average returns from {min(averages):.0f} to {max(averages):.0f}"
            )
        ]
    except UserError as error:
        best = None
        checks = [Check(names[0], 0, 5, str(error))]
    try:
        directory = folder / "rlhf"
        epochs = saved_epochs(directory) if directory.is_dir() else []
        if not epochs:
            raise UserError(f"{directory} holds no policy checkpoint: run Part 3.")
        learned = mean_estimate(returns(checkpoint_path(directory, epochs[-1]), SEED + 1))
    except UserError as error:
        return [
            *checks,
            *(
                Check(name, 0, most, str(error))
                for name, most in zip(names[1:], (10, 5), strict=True)
            ),
        ]
    interval = f"{learned.mean:.1f} ({learned.low:.1f} to {learned.high:.1f})"
    checks.append(
        Check(
            names[1],
            partial(learned.mean, 50, 190, 10),
            10,
            f"average return {interval} (190 for all points)",
        )
    )
    if best is None:
        return [*checks, Check(names[2], 0, 5, "there are no demonstrators to compare with")]
    demonstrated = mean_estimate(returns(best, SEED + 1))
    beats = learned.low > demonstrated.high
    reason = f"{interval} against {demonstrated.mean:.1f} ({demonstrated.low:.1f} to {demonstrated.high:.1f})"
    return [*checks, Check(names[2], 5 if beats else 0, 5, reason)]


def grade(folder: Path, limits: Limits, num_rollouts: int = 100) -> list[Check]:
    """Grades one folder; 100 points in all.

    Raises:
        UserError: there is no such folder.
    """
    if not folder.is_dir():
        raise UserError(f"{folder} is not a directory.")
    return [
        *grade_network(folder, limits),
        *grade_learning(folder, limits),
        grade_saved_reward(folder, limits),
        *grade_policies(folder, num_rollouts),
    ]


def main() -> None:
    """Grades and reports."""
    parser = argparse.ArgumentParser(
        description="Grades a student's folder: Net and learn_reward by what they do, the "
        "checkpoints by rollouts. Students' code runs in limited processes of its own.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument(
        "folder",
        help="holds utils.py, offline_reward_learning.py, reward.params, synthetic/, rlhf/",
    )
    parser.add_argument("--num_rollouts", type=int, default=100, help="episodes of each policy")
    parser.add_argument(
        "--seconds", type=float, default=Limits.seconds, help="for each question to the code"
    )
    parser.add_argument(
        "--memory_gib", type=float, default=Limits.memory_gib, help="for each question to the code"
    )
    parser.add_argument("--gradescope", metavar="FILE", help="write Gradescope's results.json")
    parser.add_argument("--json", metavar="FILE", help="write the checks as they are")
    arguments = parser.parse_args()
    if arguments.num_rollouts < 2 or arguments.seconds <= 0 or arguments.memory_gib <= 0:
        parser.error("--num_rollouts must be at least 2, --seconds and --memory_gib above 0")
    with one_sentence_errors("course.grade"):
        limits = Limits(arguments.seconds, arguments.memory_gib)
        checks = grade(Path(arguments.folder), limits, arguments.num_rollouts)
        total = sum(check.score for check in checks)
        for check in checks:
            print(f"{check.score:5.1f} of {check.max_score:3.0f}  {check.name}: {check.reason}")
        print(f"{total:5.1f} of {sum(check.max_score for check in checks):3.0f}  in all")
        if arguments.json:
            write_json(
                Path(arguments.json), {"score": total, "checks": [asdict(c) for c in checks]}
            )
        if arguments.gradescope:
            write_json(Path(arguments.gradescope), as_gradescope(checks))


def as_gradescope(checks: list[Check]) -> dict[str, Any]:
    """Gradescope's results.json.

    Source: https://gradescope-autograders.readthedocs.io/en/latest/specs/#output-format
    """
    return {
        "score": sum(check.score for check in checks),
        "tests": [
            {
                "name": check.name,
                "score": check.score,
                "max_score": check.max_score,
                "status": "passed" if check.score == check.max_score else "failed",
                "output": check.reason,
            }
            for check in checks
        ],
    }


if __name__ == "__main__":
    main()
