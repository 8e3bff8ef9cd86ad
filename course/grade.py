"""Grades a student's folder: code by behaviour, policies by rollouts.

    python -m course.grade submissions/ada --gradescope results.json

The student's code runs in processes of its own, in a copy of the folder, with limits on time and
memory. It is asked for numbers only; which numbers are right is known here, so a result that it
prints or writes earns nothing. docs/course.md says what this does not guard against.
"""

import argparse
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from course.sandbox import Limits, NoAnswerError, ask, stored
from prefloop.checkpoints import checkpoint_path, load_policy, saved_epochs
from prefloop.data.rollouts import collect_episodes
from prefloop.envs import make_env, make_vector_env, policy_sizes, return_bounds
from prefloop.errors import UserError, one_sentence_errors
from prefloop.evaluation.evaluate import evaluate
from prefloop.evaluation.statistics import mean_estimate, rank_correlation
from prefloop.files import write_json
from prefloop.policies import acting

REFERENCE = Path(__file__).resolve().parent / "reference"  # what the solution wrote with seed 0
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
    first, second, third = (rng.normal(0, 0.3, size=(n, 4)).astype(np.float32) for n in (7, 40, 7))
    probes = [first, second, np.concatenate([first, second]), third, first[:1]]
    # the same sum, in an environment with observations of six numbers
    wide = [np.pad(traj, ((0, 0), (0, 2))) for traj in probes]
    task = {**stored("probes", probes), **stored("other_env", wide)}
    try:
        answers = ask("network", folder, limits, task)
        returns = numbers(answers, "returns", len(probes))
    except NoAnswerError as error:
        return [Check(name, 0, most, str(error)) for name, most in NETWORK.items()]

    def judge(check: Callable[[], bool]) -> bool:
        try:
            return check()
        except (NoAnswerError, KeyError):
            return False

    def is_scalar_for_all() -> bool:
        same = [
            np.allclose(returns, numbers(answers, kind, len(probes)), rtol=1e-4, atol=1e-5)
            for kind in ("tensor", "list")
        ]
        return all(same) and answers["shapes"] == [[]] * len(probes)

    def has_gradients() -> bool:
        norms = np.asarray(answers["gradient_norms"], dtype=np.float64)
        expected = float(answers["step"]) * float((norms**2).sum())
        rise = numbers(answers, "returns_after_step", len(probes)).sum() - returns.sum()
        # float32 sums leave an error of about 1e-6 of the returns; the step is chosen above it
        close = abs(rise - expected) <= 0.2 * expected + 1e-5 * (1 + abs(returns).sum())
        return bool(norms.size > 0 and (norms > 0).all() and close)

    def adds_up(returns: NDArray) -> bool:
        error = abs(returns[0] + returns[1] - returns[2])
        return bool(error <= 1e-4 * (1 + abs(returns).sum()))

    seen = [
        (
            judge(is_scalar_for_all),
            "a scalar for lists, arrays and tensors",
            "lists, arrays and tensors of the same states should give the same return, a tensor "
            "of shape []",
        ),
        (
            judge(has_gradients),
            "every parameter gets a gradient",
            "some parameter gets no gradient, or not the gradient of the predicted return: "
            "is .item(), .detach() or NumPy on the way?",
        ),
        (
            # the first and the fourth are of equal length: a reward must look at the states
            adds_up(returns) and abs(returns[0] - returns[3]) > 1e-6,
            "two trajectories end to end have the sum of their returns",
            "two trajectories end to end should have the sum of their returns, and different "
            "states different rewards",
        ),
        (
            judge(lambda: adds_up(numbers(answers, "other_env", len(probes)))),
            "Net(obs_dim=6) takes states of six numbers",
            "Net(obs_dim=6) should take states of six numbers",
        ),
    ]
    return [
        Check(name, most if good else 0, most, yes if good else no)
        for (name, most), (good, yes, no) in zip(NETWORK.items(), seen, strict=True)
    ]


NETWORK = {
    "Net takes trajectories of any length and type": 10,
    "Net carries gradients": 10,
    "Net adds up the rewards of the states": 10,
    "Net fits another environment's observations": 5,
}


def numbers(answers: dict[str, Any], name: str, count: int) -> NDArray:
    """One of the answers, as that many numbers.

    Raises:
        NoAnswerError: it is missing or something else.
    """
    try:
        values = np.asarray(answers[name], dtype=np.float64)
    except (KeyError, ValueError, TypeError):
        values = np.empty(0)
    if values.shape != (count,):
        raise NoAnswerError("Your code gave no return for every trajectory.")
    return values


def hidden_reward(states: NDArray, rng: np.random.Generator) -> NDArray:
    """A rule that `learn_reward` has to find; students' code is shown only its preferences."""
    bend, slope = rng.normal(size=(2, states.shape[-1]))
    return np.tanh(2 * states @ (bend / np.linalg.norm(bend))) + states @ slope / 2


def grade_learning(folder: Path, limits: Limits, seed: int = SEED) -> list[Check]:
    """`learn_reward` on trajectories of equal length, where only the states tell which is better.

    (In CartPole the length alone tells it, and a network that was never trained ranks perfectly.)

    Args:
        seed: of the rule and the trajectories.
    """
    rng = np.random.default_rng(seed)
    # each trajectory stays around a point of its own, or all returns would be about the same
    centres = rng.normal(0, 0.5, size=(120, 1, 4))
    states = (centres + rng.normal(0, 0.3, size=(120, 25, 4))).astype(np.float32)
    returns = hidden_reward(states, rng).sum(axis=1)
    training, held_out = np.arange(60), np.arange(60, 120)
    pairs = np.array([rng.choice(60, size=2, replace=False) for _ in range(150)])
    labels = (returns[pairs[:, 1]] > returns[pairs[:, 0]]).astype(np.float64)
    # in the question about ties the first is always the better one, and nothing may be made of it
    ordered = np.where(labels[:, None] == 1, pairs[:, ::-1], pairs)
    task = {
        **stored("training", list(states[training])),
        **stored("held_out", list(states[held_out])),
        "num_iter": np.array(100),
    }
    questions = {
        "labels": {"pairs": pairs, "labels": labels},
        "ties": {"pairs": ordered, "labels": np.full(len(pairs), 0.5)},
    }

    def ask_about(name: str) -> tuple[NDArray, NDArray]:
        answers = ask("learning", folder, limits, task | questions[name])
        return numbers(answers, "training", 60), numbers(answers, "held_out", 60)

    try:
        trained, unseen = ask_about("labels")
    except NoAnswerError as error:
        return [Check(name, 0, most, str(error)) for name, most in LEARNING.items()]
    accuracy = pair_accuracy(returns[training], trained)
    generalisation = pair_accuracy(returns[held_out], unseen)
    try:
        tied, _ = ask_about("ties")
        decided = abs(np.diff(trained[ordered], axis=1)).mean()
        equal = bool(abs(np.diff(tied[ordered], axis=1)).mean() < 0.25 * decided)
        tie_reason = (
            f"labels of 0.5 {'make' if equal else 'should make'} the returns of a pair equal"
        )
    except NoAnswerError as error:
        equal, tie_reason = False, str(error)
    reasons = (
        f"{accuracy:.0%} of pairs ranked correctly (90 % for all points)",
        f"{generalisation:.0%} of pairs it never saw ranked correctly (85 % for all points)",
        tie_reason,
    )
    points = (partial(accuracy, 0.5, 0.9, 15), partial(generalisation, 0.5, 0.85, 15), 5.0 * equal)
    return [
        Check(name, score, most, reason)
        for (name, most), score, reason in zip(LEARNING.items(), points, reasons, strict=True)
    ]


LEARNING = {
    "learn_reward learns the preferences": 15,
    "learn_reward generalises": 15,
    "learn_reward knows ties": 5,
}


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
        policy = load_policy(checkpoint_path(REFERENCE / "synthetic", epoch), *sizes)
        act = acting(policy, np.random.default_rng(SEED + epoch))
        demos = collect_episodes(envs, act, 8, seed=SEED + epoch)
        trajs += demos.visited_states()
        returns += demos.returns.tolist()
    try:
        answers = ask("saved_reward", folder, limits, stored("cartpole", trajs))
        correlation = rank_correlation(returns, numbers(answers, "returns", len(trajs)))
    except NoAnswerError as error:
        return Check(name, 0, 10, str(error))
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
        if not path.resolve().is_relative_to(folder.resolve()):
            raise UserError(f"{path} is a link that leads out of the folder.")
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
        reached = returns(checkpoint_path(directory, epochs[-1]), SEED + 1)
        learned = mean_estimate(reached, return_bounds(ENV_ID))
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
    demonstrated = mean_estimate(returns(best, SEED + 1), return_bounds(ENV_ID))
    beats = learned.low > demonstrated.high
    reason = f"{interval} against {demonstrated.mean:.1f} ({demonstrated.low:.1f} to {demonstrated.high:.1f})"
    return [*checks, Check(names[2], 5 if beats else 0, 5, reason)]


def grade(folder: Path, limits: Limits, num_rollouts: int = 100, seed: int = SEED) -> list[Check]:
    """Grades one folder; 100 points in all.

    Args:
        seed: of the rule that `learn_reward` has to find.

    Raises:
        UserError: there is no such folder.
    """
    if not folder.is_dir():
        raise UserError(f"{folder} is not a directory.")
    return [
        *grade_network(folder, limits),
        *grade_learning(folder, limits, seed),
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
    parser.add_argument(
        "--seed",
        type=int,
        default=SEED,
        help="of the rule that learn_reward has to find; choose your own and keep it to yourself",
    )
    parser.add_argument("--gradescope", metavar="FILE", help="write Gradescope's results.json")
    parser.add_argument("--json", metavar="FILE", help="write the checks as they are")
    arguments = parser.parse_args()
    if arguments.num_rollouts < 2 or arguments.seconds <= 0 or arguments.memory_gib <= 0:
        parser.error("--num_rollouts must be at least 2, --seconds and --memory_gib above 0")
    if arguments.seed < 0:
        parser.error(f"--seed must be at least 0, not {arguments.seed}")
    with one_sentence_errors("course.grade"):
        limits = Limits(arguments.seconds, arguments.memory_gib)
        checks = grade(Path(arguments.folder), limits, arguments.num_rollouts, arguments.seed)
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
