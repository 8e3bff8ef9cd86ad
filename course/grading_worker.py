"""Runs a student's code inside the grader's sandbox. Started by course/sandbox.py, never imported.

It answers questions with plain numbers in answers.json. It knows neither the right answers nor
the points: the grader compares the numbers with its own key.
"""

import contextlib
import json
import random
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

SANDBOX = Path(sys.argv[2])


def limit_memory_and_files(memory_bytes: int, file_bytes: int) -> None:
    """Caps what this process may take; where the system has no such limits (Windows), not at all."""
    try:
        import resource
    except ImportError:
        return
    for kind, limit in ((resource.RLIMIT_DATA, memory_bytes), (resource.RLIMIT_FSIZE, file_bytes)):
        try:
            resource.setrlimit(kind, (limit, limit))
        except (ValueError, OSError):  # a lower limit is in force already
            continue


def trajectories(name: str) -> list[Any]:
    """Reads the trajectories that the grader stored under a name."""
    import numpy as np

    with np.load(SANDBOX / "task.npz") as task:
        return np.split(task[name], np.cumsum(task[f"{name}_lengths"])[:-1])


def answer_network() -> dict[str, Any]:
    """How `Net` behaves on a few trajectories; what fails is left out of the answers."""
    import torch

    from utils import Net

    torch.manual_seed(0)
    net = Net()
    trajs = trajectories("probes")
    parts = [net.predict_return(traj) for traj in trajs]
    answers: dict[str, Any] = {"returns": [float(part) for part in parts]}
    kinds: dict[str, Callable[[Any], Any]] = {
        "tensor": torch.as_tensor,
        "list": lambda t: t.tolist(),
    }
    for name, convert in kinds.items():
        with attempt(f"predict_return of a {name}"):
            answers[name] = [float(net.predict_return(convert(traj))) for traj in trajs]
    with attempt("shapes"):
        answers["shapes"] = [list(part.shape) for part in parts]
    with attempt("gradients"):
        for part in parts:
            part.backward()
        gradients = [parameter.grad for parameter in net.parameters()]
        norms = [0.0 if g is None else g.norm().item() for g in gradients]
        # a small step along the gradient must raise the sum of returns by step * |gradient|^2
        step = 1e-3 / (1e-12 + sum(n**2 for n in norms)) ** 0.5
        with torch.no_grad():
            for parameter, gradient in zip(net.parameters(), gradients, strict=True):
                if gradient is not None:
                    parameter.add_(gradient, alpha=step)
            after = [float(net.predict_return(traj)) for traj in trajs]
        answers |= {"gradient_norms": norms, "step": step, "returns_after_step": after}
    with attempt("Net(obs_dim=6)"):
        other = Net(obs_dim=6)
        answers["other_env"] = [float(other.predict_return(t)) for t in trajectories("other_env")]
    return answers


@contextlib.contextmanager
def attempt(what: str) -> Iterator[None]:
    """Lets one part of a question fail without the others."""
    try:
        yield
    except Exception as error:
        print(f"{what}: {type(error).__name__}: {error}")


def answer_learning() -> dict[str, Any]:
    """Predicted returns after `learn_reward`, of trajectories with labels and without."""
    import numpy as np
    import torch

    from offline_reward_learning import learn_reward
    from utils import Net

    with np.load(SANDBOX / "task.npz") as task:
        pairs, labels = task["pairs"], task["labels"].tolist()
        num_iter = int(task["num_iter"])
    trajs = trajectories("training")
    torch.manual_seed(0)
    net = Net()
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
    inputs = [(trajs[i], trajs[j]) for i, j in pairs]
    learn_reward(net, optimizer, inputs, labels, num_iter)
    with torch.no_grad():
        return {
            "training": [float(net.predict_return(t)) for t in trajs],
            "held_out": [float(net.predict_return(t)) for t in trajectories("held_out")],
        }


def answer_saved_reward() -> dict[str, Any]:
    """Predicted returns of CartPole trajectories under the reward the student saved."""
    import torch

    from utils import Net

    net = Net()
    net.load_state_dict(torch.load(SANDBOX / "reward.params", weights_only=True))
    with torch.no_grad():
        return {"returns": [float(net.predict_return(t)) for t in trajectories("cartpole")]}


QUESTIONS: dict[str, Callable[[], dict[str, Any]]] = {
    "network": answer_network,
    "learning": answer_learning,
    "saved_reward": answer_saved_reward,
}


def main() -> None:
    """Answers one question. An error in the student's code is printed, and is no answer."""
    token = sys.stdin.readline().strip()  # shows that this function wrote the answers
    limit_memory_and_files(memory_bytes=int(sys.argv[3]), file_bytes=2**24)
    from prefloop.startup import import_quickly

    import_quickly("torch", "gymnasium")
    import numpy as np
    import torch

    # whichever generator a student uses, the same folder gets the same grade
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002
    torch.set_num_threads(1)
    answers = QUESTIONS[sys.argv[1]]()
    content = json.dumps({"token": token, "answers": answers})
    (SANDBOX / "answers.json").write_text(content, encoding="utf-8")


if __name__ == "__main__":
    main()
