"""What a student's folder is judged by: the checks of the code and of the policies, 100 points in all.

What the code is asked, `grading_worker.py` answers in a process of its own; what is right is known here alone.
"""

import contextlib
import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from course.grades import SEED, Check
from course.sandbox import Answers, Limits, NoAnswerError, ask, stored
from prefloop.checkpoints import checkpoint_path, last_checkpoint
from prefloop.data.rollouts import collect_episodes
from prefloop.envs.make import make_env, make_vector_env
from prefloop.envs.registered import return_bounds
from prefloop.envs.spaces import policy_sizes
from prefloop.errors import UserError
from prefloop.evaluation.evaluate import evaluate
from prefloop.evaluation.statistics import mean_estimate, rank_correlation
from prefloop.policies import acting
from prefloop.policy_files import load_mlp
from prefloop.seeding import Stream, generator, integer

REFERENCE = Path(__file__).resolve().parent / "reference"  # what the solution wrote with seed 0
ENV_ID = "CartPole-v0"
SOLVED = 180  # return of Part 3's policy for all points; docs/course.md says why


def partial(value: float, none: float, full: float, points: float) -> float:
    """Points that rise in a line from `none` (0 points) to `full` (all points)."""
    share = min(1.0, max(0.0, (value - none) / (full - none)))
    return round(share * points, 1)


def learned(accuracy: float, before: float, full: float, points: float) -> float:
    """As `partial`, of an accuracy; what first weights have by luck was not learned."""
    return partial(accuracy, min(max(0.5, before), full - 0.05), full, points)


def grade_network(folder: Path, limits: Limits) -> list[Check]:
    """`Net`: shapes, gradients, a sum over states, other environments; a mistake costs once."""
    rng = generator(SEED, Stream.DEMONSTRATIONS)
    first, second, third = (rng.normal(0, 0.3, size=(n, 4)).astype(np.float32) for n in (7, 40, 7))
    probes = [first, second, np.concatenate([first, second]), third, first[:1]]
    wide = [np.pad(traj, ((0, 0), (0, 2))) for traj in probes]  # of an env with six numbers
    task = {**stored("probes", probes), **stored("other_env", wide)}
    try:
        answers = ask("network", folder, limits, task)
        returns = numbers(answers, "returns", len(probes))
        sizes = numbers(answers, "sizes", len(probes))
    except NoAnswerError as error:
        return [Check(name, 0, most, str(error)) for name, most in NETWORK.items()]
    is_sum = bool((sizes == 1).all())
    judged = (
        _judge_types(answers, returns, is_sum),
        _judge_gradients(answers, returns, looks_at_states=abs(returns[0] - returns[3]) > 1e-6),
        _judge_sum(returns, sizes, [len(traj) for traj in probes]),
        _judge_other_env(answers, len(probes)),
    )
    where = [answers.at(f"Net.{name}") for name in (*3 * ("predict_return",), "__init__")]
    return [
        Check(name, 0 if wrong else most, most, place + wrong if wrong else right)
        for (name, most), wrong, right, place in zip(
            NETWORK.items(), judged, RIGHT, where, strict=True
        )
    ]


def _judge_types(answers: Answers, returns: NDArray, is_sum: bool) -> str:
    """What is wrong with how `Net` takes trajectories; empty if nothing is."""
    for kind in ("array", "tensor", "list"):
        try:
            same = np.allclose(returns, numbers(answers, kind, len(returns)), rtol=1e-4, atol=1e-5)
        except NoAnswerError:
            return f"predict_return fails for a trajectory as {kind}{answers.problem(kind)}"
        if not same:
            return f"predict_return gives another return for the same trajectory as {kind}"
    # what was not summed up costs where sums are asked for
    if is_sum and any(numbers(answers, "dimensions", len(returns))):
        return "predict_return should give a tensor of shape [], not one with a number in it"
    return ""


def _judge_gradients(answers: Answers, returns: NDArray, looks_at_states: bool) -> str:
    """What is wrong with the gradients; empty if nothing is."""
    try:
        norms = np.asarray(answers.numbers["gradient_norms"], dtype=np.float64)
        expected = float(numbers(answers, "step", 1)[0]) * float((norms**2).sum())
        rise = numbers(answers, "returns_after_step", len(returns)).sum() - returns.sum()
    except (NoAnswerError, KeyError, ValueError, TypeError, OverflowError):
        return (
            "the predicted return carries no gradient: is .item(), .detach() or NumPy on the way?"
            + answers.problem("gradients")
        )
    # where the states count for nothing, as is judged elsewhere, neither do their weights
    if not norms.size:
        return "Net has no parameters that could be learned"
    if not (norms > 0).any() or (looks_at_states and not (norms > 0).all()):
        return f"{int((norms == 0).sum())} of {norms.size} parameters get no gradient"
    # float32 sums leave an error of about 1e-6 of the returns; the step is chosen above it
    if abs(rise - expected) > 0.2 * expected + 1e-5 * (1 + abs(returns).sum()):
        return "the gradient is not that of the predicted return: is .detach() on the way?"
    return ""


def _judge_sum(returns: NDArray, sizes: NDArray, lengths: list[int]) -> str:
    """What is wrong with the sum over states; empty if nothing is."""
    if (sizes != 1).any():
        return (
            f"predict_return gives {sizes[0]:.0f} numbers for {lengths[0]} states: it should add "
            "them up"
        )
    room = 1e-4 * (1 + abs(returns).sum())
    together, a, b = returns[2], returns[0], returns[1]
    if abs(a + b - together) > room:
        mean = (lengths[0] * a + lengths[1] * b) / (lengths[0] + lengths[1])
        if abs(mean - together) <= room:
            return "predict_return averages over the states; it should add their rewards up"
        return (
            f"a trajectory with a return of {a:.3g} and one with {b:.3g} come to {together:.3g} "
            "end to end; they should have the sum"
        )
    # the first and the fourth are of equal length: a reward must look at the states
    if abs(returns[0] - returns[3]) <= 1e-6:
        return "different states of the same number get the same return: Net looks at the length"
    return ""


def _judge_other_env(answers: Answers, count: int) -> str:
    """What is wrong with `Net` for six observations; empty if nothing is."""
    try:
        numbers(answers, "other_env", count)
    except NoAnswerError:
        return f"Net(obs_dim=6) should take states of six numbers{answers.problem('other_env')}"
    return ""


NETWORK = {
    "Net takes trajectories of any length and type": 10,
    "Net carries gradients": 10,
    "Net adds up the rewards of the states": 10,
    "Net fits another environment's observations": 5,
}
RIGHT = (
    "a scalar for lists, arrays and tensors",
    "every parameter gets a gradient",
    "two trajectories end to end have the sum of their returns",
    "Net(obs_dim=6) takes states of six numbers",
)


def numbers(answers: Answers, name: str, count: int) -> NDArray:
    """One of the answers, as that many numbers.

    Raises:
        NoAnswerError: it is missing or something else.
    """
    try:
        values = np.asarray(answers.numbers[name], dtype=np.float64)
    except (KeyError, ValueError, TypeError, OverflowError):
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
    rng = generator(seed, Stream.SEGMENTS)
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

    def judge(own_net: bool) -> list[Check]:
        def ask_about(name: str) -> tuple[str, list[NDArray]]:
            question = {**task, **questions[name], "own_net": np.array(own_net)}
            answers = ask("learning", folder, limits, question)
            names = ("training", "held_out", "training_before", "held_out_before")
            return answers.at("learn_reward"), [numbers(answers, name, 60) for name in names]

        with_net = "" if own_net else ", with a Net of the grader's"
        try:
            where, (trained, unseen, *before) = ask_about("labels")
        except NoAnswerError as error:
            return [Check(name, 0, most, str(error)) for name, most in LEARNING.items()]
        accuracy = pair_accuracy(returns[training], trained)
        generalisation = pair_accuracy(returns[held_out], unseen)
        try:
            tied = ask_about("ties")[1][0]
            decided = abs(np.diff(trained[ordered], axis=1)).mean()
            equal = bool(abs(np.diff(tied[ordered], axis=1)).mean() < 0.25 * decided)
            tie_reason = (
                f"labels of 0.5 {'make' if equal else 'should make'} the returns of a pair equal"
            )
        except NoAnswerError as error:
            equal, tie_reason = False, f"with labels of 0.5: {error}"
        reasons = (
            f"{accuracy:.0%} of pairs ranked correctly (90 % for all points{with_net})",
            f"{generalisation:.0%} of pairs it never saw ranked correctly (85 % for all points"
            f"{with_net})",
            tie_reason,
        )
        points = (
            learned(accuracy, pair_accuracy(returns[training], before[0]), 0.9, 15),
            learned(generalisation, pair_accuracy(returns[held_out], before[1]), 0.85, 15),
            5.0 * equal,
        )
        return [
            Check(name, score, most, reason if score == most else where + reason)
            for (name, most), score, reason in zip(LEARNING.items(), points, reasons, strict=True)
        ]

    def total(checks: list[Check]) -> float:
        return sum(check.score for check in checks)

    own = judge(own_net=True)
    if total(own) == sum(LEARNING.values()):
        return own
    # a mistake in Net has cost its points already
    other = judge(own_net=False)
    return other if total(other) >= total(own) else own


LEARNING = {
    "learn_reward learns the preferences": 15,
    "learn_reward generalises": 15,
    "learn_reward knows ties": 5,
}


SAVED_REWARD = "reward.params ranks demonstrations"
POLICIES = (
    "synthetic/ has ten demonstrators",
    "rlhf/ solves CartPole",
    "RLHF beats its best demonstrator",
)
NAMES = (*NETWORK, *LEARNING, SAVED_REWARD, *POLICIES)  # of all, in their order


def pair_accuracy(true: NDArray, predicted: NDArray) -> float:
    """Share of all pairs that both put in the same order."""
    i, j = np.triu_indices(len(true), k=1)
    return float(np.mean((true[i] - true[j]) * (predicted[i] - predicted[j]) > 0))


def grade_saved_reward(folder: Path, limits: Limits) -> Check:
    """`reward.params` ranks CartPole trajectories of the reference demonstrators."""
    name = SAVED_REWARD
    if not (folder / "reward.params").is_file():
        return Check(name, 0, 10, "reward.params is missing: run offline_reward_learning.py.")
    sizes = policy_sizes(make_env(ENV_ID))
    envs = make_vector_env(ENV_ID, 8)
    trajs, returns = [], []
    for epoch in range(10):
        policy = load_mlp(checkpoint_path(REFERENCE / "synthetic", epoch), *sizes)
        act = acting(policy, generator(SEED, Stream.POLICY, epoch))
        demos = collect_episodes(envs, act, 8, SEED, (Stream.ENVIRONMENTS, epoch))
        trajs += demos.visited_states()
        returns += demos.returns.tolist()
    try:
        answers = ask("saved_reward", folder, limits, stored("cartpole", trajs))
    except NoAnswerError as error:
        return Check(name, 0, 10, str(error))
    # the better of the two counts: a mistake in `predict_return` has cost its points already
    correlations = []
    for kind in ("returns", "sums"):
        with contextlib.suppress(NoAnswerError):
            correlations.append(rank_correlation(returns, numbers(answers, kind, len(trajs))))
    if not correlations:
        return Check(name, 0, 10, f"no return can be predicted{answers.problem('returns')}")
    correlation = max(correlations, key=lambda c: -math.inf if math.isnan(c) else c)
    if math.isnan(correlation):
        return Check(name, 0, 10, "all trajectories get the same predicted return")
    reason = f"rank correlation {correlation:.2f} with the true returns (0.9 for all points)"
    return Check(name, partial(correlation, 0, 0.9, 10), 10, reason)


def grade_policies(folder: Path, num_rollouts: int, activation: str | None = None) -> list[Check]:
    """Part 1's demonstrators, Part 3's policy, and which is better."""
    # the best demonstrator is picked in other episodes than those that judge it
    picking_seed = integer(SEED, Stream.DEMONSTRATIONS)
    sizes = policy_sizes(make_env(ENV_ID))
    names = POLICIES

    def returns(path: Path, seed: int) -> NDArray:
        if not _stays_in(folder, path):
            raise UserError(f"{path} is a link that leads out of the folder, or in a circle.")
        return evaluate(load_mlp(path, *sizes, activation), ENV_ID, num_rollouts, seed)

    try:
        demonstrators = [checkpoint_path(folder / "synthetic", i) for i in range(10)]
        averages = [float(returns(path, picking_seed).mean()) for path in demonstrators]
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
        last = last_checkpoint(directory) if directory.is_dir() else None
        if last is None:
            raise UserError(f"{directory} holds no policy checkpoint: run Part 3.")
        reached = returns(last, SEED)
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
            partial(learned.mean, 50, SOLVED, 10),
            10,
            f"average return {interval} ({SOLVED} for all points)",
        )
    )
    if best is None:
        return [*checks, Check(names[2], 0, 5, "there are no demonstrators to compare with")]
    demonstrated = mean_estimate(returns(best, SEED), return_bounds(ENV_ID))
    beats = learned.low > demonstrated.high
    reason = f"{interval} against {demonstrated.mean:.1f} ({demonstrated.low:.1f} to {demonstrated.high:.1f})"
    return [*checks, Check(names[2], 5 if beats else 0, 5, reason)]


def _stays_in(folder: Path, path: Path) -> bool:
    """Whether a path is within a folder when its links are followed."""
    try:
        found = path.resolve()
    except (OSError, RuntimeError):  # a circle, before Python 3.13
        return False
    # what still is a link leads round in one, from there on
    return found.is_relative_to(folder.resolve()) and not found.is_symlink()


def grade(
    folder: Path,
    limits: Limits,
    num_rollouts: int = 100,
    seed: int = SEED,
    activation: str | None = None,
) -> list[Check]:
    """All checks of one folder; 100 points together.

    Args:
        seed: of the rule that `learn_reward` has to find.
        activation: of the policies, where `run.json` beside them is not to say it.

    Raises:
        UserError: there is no such folder.
    """
    if not folder.is_dir():
        raise UserError(f"{folder} is not a directory.")
    return [
        *grade_network(folder, limits),
        *grade_learning(folder, limits, seed),
        grade_saved_reward(folder, limits),
        *grade_policies(folder, num_rollouts, activation),
    ]
