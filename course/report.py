"""Makes the material for the report: figures as PNG and one PDF with the tables.

    python -m course.report

Needs what the three parts have written: synthetic/, reward.params and rlhf/.
"""

import argparse
import contextlib
import io
import tempfile
from collections.abc import Callable
from pathlib import Path

from prefloop.startup import import_quickly, print_anything

if __name__ == "__main__":
    import_quickly("torch", "gymnasium", "matplotlib.figure", "scipy.special")

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.backends.backend_pdf import PdfPages
from matplotlib.figure import Figure
from numpy.typing import NDArray
from tqdm import tqdm

import vpg
from course.assignment import compare
from offline_reward_learning import generate_novice_demos, predict_traj_return
from prefloop.checkpoints import checkpoint_path, epochs_of_run
from prefloop.command_line import command_line
from prefloop.envs.make import make_env
from prefloop.envs.registered import return_bounds
from prefloop.envs.spaces import policy_sizes
from prefloop.errors import UserError, one_sentence_errors
from prefloop.evaluation.evaluate import evaluate, play
from prefloop.evaluation.plots import save_figure
from prefloop.evaluation.statistics import MeanEstimate, mean_estimate, rank_correlation
from prefloop.files import claimed_directory, read_csv, write_atomically
from prefloop.policies import CategoricalPolicy
from prefloop.policy_files import load_mlp
from prefloop.seeding import Stream, integer
from utils import Net, load_reward_network

ENV_ID = "CartPole-v0"


def metrics(directory: Path) -> dict[str, NDArray]:
    """Columns of a run's metrics.csv.

    Raises:
        UserError: the run has none.
    """
    try:
        rows = read_csv(directory / "metrics.csv")
        return {name: np.array([float(row[name]) for row in rows]) for name in rows[0]}
    except (UserError, ValueError, IndexError, TypeError):
        raise UserError(f"{directory} has no readable metrics.csv: run the parts first.") from None


def checkpoint_returns(directory: Path, num_episodes: int, seed: int) -> dict[int, MeanEstimate]:
    """True return of every checkpoint of a run, by epoch."""
    sizes = policy_sizes(make_env(ENV_ID))
    epochs = epochs_of_run(directory)
    if not epochs:
        raise UserError(f"{directory} holds no policy checkpoint: run the parts first.")
    return {
        epoch: mean_estimate(
            evaluate(
                load_mlp(checkpoint_path(directory, epoch), *sizes), ENV_ID, num_episodes, seed
            ),
            return_bounds(ENV_ID),
        )
        for epoch in tqdm(epochs, desc=f"evaluating {directory.name}", disable=None)
    }


def draw_learning_curves(runs: dict[str, dict[str, NDArray]], best: MeanEstimate) -> Figure:
    """Both runs' true return over their epochs, and the best demonstrator's."""
    figure = Figure(figsize=(7, 3.6), layout="constrained")
    axes = figure.subplots()
    for name, columns in runs.items():
        axes.plot(columns["epoch"], columns["true_return"], label=name)
    axes.axhline(best.mean, color="grey", linestyle="--", label="best demonstrator")
    axes.axhspan(best.low, best.high, color="grey", alpha=0.2)
    label(axes, "Learning from the true and from the learned reward", "epoch", "true return")
    return figure


def draw_checkpoints(runs: dict[str, dict[int, MeanEstimate]]) -> Figure:
    """Every checkpoint's true return with its interval."""
    figure = Figure(figsize=(7, 3.6), layout="constrained")
    axes = figure.subplots()
    for name, estimates in runs.items():
        means = np.array([e.mean for e in estimates.values()])
        low, high = (
            np.array([getattr(e, end) for e in estimates.values()]) for end in ("low", "high")
        )
        axes.errorbar(
            list(estimates),
            means,
            yerr=[means - low, high - means],
            fmt="o",
            markersize=3,
            label=name,
        )
    label(axes, "Every checkpoint, with 95 % intervals", "epoch", "true return")
    return figure


def predict_returns(
    directory: Path, reward: Net, learned: Path
) -> dict[str, tuple[NDArray, NDArray]]:
    """True and predicted returns of new trajectories, of the demonstrators and a learned policy.

    New ones: neither the reward nor the policy was trained on them.
    """
    env = make_env(ENV_ID)
    demos, demo_returns = generate_novice_demos(
        env, str(directory / "synthetic"), seed=integer(0, Stream.HELD_OUT_DEMONSTRATIONS)
    )
    later = play(load_mlp(learned, *policy_sizes(env)), ENV_ID, 50, seed=0, observed=True)
    groups = {
        "demonstrators": (demos, demo_returns),
        "learned policy": (later.visited_states(), later.returns),
    }
    return {
        name: (np.array(true), np.array([predict_traj_return(reward, traj) for traj in trajs]))
        for name, (trajs, true) in groups.items()
    }


def draw_predicted_returns(groups: dict[str, tuple[NDArray, NDArray]]) -> Figure:
    """Predicted against true return: {name: (true [n], predicted [n])}."""
    figure = Figure(figsize=(5, 4.4), layout="constrained")
    axes = figure.subplots()
    for name, (true, predicted) in groups.items():
        correlation = rank_correlation(true, predicted)
        text = name if np.isnan(correlation) else f"{name} (rank correlation {correlation:.2f})"
        axes.scatter(true, predicted, s=12, alpha=0.6, label=text)
    label(axes, "What the learned reward makes of trajectories", "true return", "predicted return")
    return figure


def draw_learned_reward(reward: Net) -> Figure:
    """The learned reward over cart position and pole angle, both at rest."""
    positions, angles = np.linspace(-2.4, 2.4, 121), np.linspace(-0.21, 0.21, 121)
    grid = np.zeros((len(angles), len(positions), 4), dtype=np.float32)
    grid[..., 0], grid[..., 2] = np.meshgrid(positions, angles)
    with torch.no_grad():
        values = reward(torch.as_tensor(grid)).numpy()
    figure = Figure(figsize=(5.6, 4), layout="constrained")
    axes = figure.subplots()
    picture = axes.pcolormesh(positions, np.degrees(angles), values, rasterized=True)
    figure.colorbar(picture, label="learned reward of the state")
    axes.set(
        title="The learned reward (no velocities)",
        xlabel="cart position",
        ylabel="pole angle (degrees)",
    )
    return figure


def draw_controls(curves: dict[str, NDArray]) -> Figure:
    """True return over the epochs, {reward: [seeds, epochs]}: mean, and range over the seeds."""
    figure = Figure(figsize=(7, 3.6), layout="constrained")
    axes = figure.subplots()
    for name, values in curves.items():
        epochs = np.arange(values.shape[1])
        (line,) = axes.plot(epochs, values.mean(axis=0), label=name)
        low, high = values.min(axis=0), values.max(axis=0)
        axes.fill_between(epochs, low, high, color=line.get_color(), alpha=0.15)
    title = f"The same training on other rewards (mean and range, {len(values)} seeds)"
    label(axes, title, "epoch", "true return")
    return figure


def label(axes: Axes, title: str, x: str, y: str) -> None:
    """What every figure has."""
    axes.set(title=title, xlabel=x, ylabel=y)
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")


def draw_table(title: str, header: list[str], rows: list[list[str]]) -> Figure:
    """A table as a page of the PDF."""
    figure = Figure(figsize=(7, 0.9 + 0.28 * len(rows)), layout="constrained")
    axes = figure.subplots()
    axes.axis("off")
    axes.set_title(title)
    table = axes.table(cellText=rows, colLabels=header, loc="upper center", cellLoc="center")
    table.auto_set_column_width(list(range(len(header))))
    table.scale(1, 1.3)
    return figure


def run_controls(
    reward: Net, seeds: int, epochs: int
) -> dict[str, tuple[NDArray, list[MeanEstimate]]]:
    """Part 3 with the learned reward and with three that know nothing of the preferences.

    Returns:
        For each reward the true returns over the epochs, [seeds, epochs], and of each seed's last
        policy over 100 episodes.
    """
    torch.manual_seed(integer(0, Stream.WEIGHTS))
    random_net = Net().requires_grad_(False)
    rewards: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
        "learned": reward,
        "constant 1": lambda obs: torch.ones(len(obs)),
        "learned, sign flipped": lambda obs: -reward(obs),
        "random network": random_net,
    }
    results = {}
    bar = tqdm(total=len(rewards) * seeds, desc="training the controls", disable=None)
    for name, function in rewards.items():
        curves, finals = [], []
        for seed in range(seeds):
            with (
                tempfile.TemporaryDirectory() as directory,
                contextlib.redirect_stdout(io.StringIO()),
            ):
                settings = vpg.Settings(epochs=epochs, seed=seed, checkpoint_dir=directory)
                policy, rows = vpg.train(settings, function)
            curves.append([row["true_return"] for row in rows])
            returns = evaluate(CategoricalPolicy(*policy), ENV_ID, 100, seed)
            finals.append(mean_estimate(returns, return_bounds(ENV_ID)))
            bar.update()
        results[name] = (np.array(curves), finals)
    bar.close()
    return results


def make_report(directory: Path, out: Path, num_episodes: int, seeds: int) -> list[Path]:
    """Draws everything.

    Args:
        directory: holds synthetic/, reward.params and rlhf/.
        out: where the figures and report.pdf go.
        num_episodes: for each checkpoint.
        seeds: policies trained on each control reward.

    Raises:
        UserError: a part has not been run, or `out` can't be written.
    """
    runs = {
        "Part 1, true reward": directory / "synthetic",
        "Part 3, learned reward": directory / "rlhf",
    }
    curves = {name: metrics(path) for name, path in runs.items()}
    reward = load_reward_network(
        directory / "reward.params", ENV_ID, policy_sizes(make_env(ENV_ID))[0]
    )
    with claimed_directory(out):
        returns = {
            name: checkpoint_returns(path, num_episodes, seed=0) for name, path in runs.items()
        }
        (best_path, best), (learned_path, learned) = (
            (path, mean_estimate(sample, return_bounds(ENV_ID)))
            for path, sample in compare(directory, 0, num_episodes).items()
        )
        controls = run_controls(
            reward, seeds, epochs=len(curves["Part 3, learned reward"]["epoch"])
        )
        comparison = [
            [name, f"{e.mean:.1f}", f"{e.standard_error:.1f}", f"{e.low:.1f} to {e.high:.1f}"]
            for name, e in ((best_path, best), (learned_path, learned))
        ]
        header = ["", "average return", "standard error", "95 % interval"]
        control_rows = [
            [name, f"{np.mean([e.mean for e in finals]):.1f}", f"{min(e.mean for e in finals):.1f}"]
            for name, (_, finals) in controls.items()
        ]
        figures = {
            "comparison": draw_table(
                f"True return over {num_episodes} episodes", header, comparison
            ),
            "learning_curves": draw_learning_curves(curves, best),
            "checkpoints": draw_checkpoints(returns),
            "predicted_returns": draw_predicted_returns(
                predict_returns(directory, reward, directory / learned_path)
            ),
            "learned_reward": draw_learned_reward(reward),
            "controls": draw_controls({name: values for name, (values, _) in controls.items()}),
            "controls_table": draw_table(
                f"Last policies of {seeds} seeds, by the reward they learned from",
                ["reward", "average true return", "worst seed"],
                control_rows,
            ),
        }
        for name, figure in figures.items():
            save_figure(figure, out / f"{name}.png")
        pdf = io.BytesIO()
        with PdfPages(pdf, metadata={"CreationDate": None, "Title": "Report"}) as pages:
            for figure in figures.values():
                pages.savefig(figure)
        write_atomically(out / "report.pdf", pdf.getvalue())
    return [*(out / f"{name}.png" for name in figures), out / "report.pdf"]


def main() -> None:
    """Reads the command line, draws, and says what was written."""
    print_anything()
    parser = argparse.ArgumentParser(
        description="Draws the report's figures and tables from what Parts 1 to 3 have written, "
        "and trains the controls: a constant, a sign-flipped and a random reward.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument(
        "--directory",
        default=".",
        help="holds synthetic/, rlhf/ and a reward.params that fits Net in this utils.py",
    )
    parser.add_argument("--out", default="report", help="where figures and report.pdf go")
    parser.add_argument("--num_rollouts", type=int, default=100, help="episodes of each checkpoint")
    parser.add_argument("--control_seeds", type=int, default=5, help="policies for each control")
    arguments = parser.parse_args(command_line())
    if arguments.num_rollouts < 2 or arguments.control_seeds < 1:
        parser.error("--num_rollouts must be at least 2 and --control_seeds at least 1")
    torch.set_num_threads(1)
    with one_sentence_errors("course.report"):
        directory, out = Path(arguments.directory), Path(arguments.out)
        for path in make_report(directory, out, arguments.num_rollouts, arguments.control_seeds):
            print(path)


if __name__ == "__main__":
    main()
