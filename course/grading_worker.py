"""Runs a student's code inside the grader's sandbox. Started by course/sandbox.py, never imported.

It answers questions with plain numbers in answers.json, and says what went wrong. It knows neither
the right answers nor the points: the grader compares the numbers with its own key.
"""

import contextlib
import ctypes
import json
import os
import random
import signal
import sys
import threading
import time
import traceback
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

SANDBOX = Path(__file__).resolve().parent
OUT_OF_TIME = 152  # the exit code that a shell would show for the signal of that meaning
PR_SET_PDEATHSIG = 1  # of Linux
REASON = 300  # letters of a problem's description

problems: dict[str, str] = {}  # what went wrong in parts of a question


def limit(task: dict[str, Any]) -> None:
    """Caps what this process may take; where the system has no such limits (Windows), time alone."""
    threading.Thread(target=watch_time, args=(task["seconds"],), daemon=True).start()
    threading.Thread(target=end_with_grader, daemon=True).start()
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != task["grader"]:  # it has ended meanwhile
            os._exit(1)
    try:
        import resource
    except ImportError:
        return
    seconds = int(task["seconds"]) + 1
    for kind, most in (
        (resource.RLIMIT_DATA, task["memory_bytes"]),
        (resource.RLIMIT_FSIZE, task["file_bytes"]),
        (resource.RLIMIT_CPU, seconds),
    ):
        # a lower limit may be in force already
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(kind, (most, most))


def watch_time(seconds: float) -> None:
    """Ends this process when it has computed for so long; waiting for a core does not count."""
    while time.process_time() < seconds:
        time.sleep(0.1)
    os._exit(OUT_OF_TIME)


def end_with_grader() -> None:
    """Ends this process when the grader has ended, however that was."""
    while os.read(0, 1):
        pass
    os._exit(1)


def trajectories(name: str) -> list[Any]:
    """Reads the trajectories that the grader stored under a name."""
    import numpy as np

    with np.load(SANDBOX / "task.npz") as task:
        return np.split(task[name], np.cumsum(task[f"{name}_lengths"])[:-1])


@contextlib.contextmanager
def attempt(what: str) -> Iterator[None]:
    """Lets one part of a question fail without the others."""
    try:
        yield
    except Exception as error:
        problems[what] = described(error)


def described(error: BaseException) -> str:
    """An error, and where in the student's files it happened."""
    message = f"{type(error).__name__}: {error}".strip()[:REASON]
    if isinstance(error, SyntaxError) and error.filename:
        return f"{Path(error.filename).name}, line {error.lineno}: {message}"
    own = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if Path(frame.filename).parent == SANDBOX and frame.filename != __file__
    ]
    if not own:
        return message
    return f"{Path(own[-1].filename).name}, {own[-1].name}, line {own[-1].lineno}: {message}"


def make_net(net_class: Any, obs_dim: int) -> Any:
    """The student's network, for looking at: without dropout, with what was learned of norms."""
    try:
        net = net_class(obs_dim=obs_dim)
    except TypeError:
        if obs_dim != 4:
            raise
        net = net_class()
    return net.eval()


def predictions(net: Any, trajs: list[Any]) -> list[Any]:
    """What `predict_return` gives for trajectories, in whatever form it takes them."""
    import torch

    try:
        return [net.predict_return(traj) for traj in trajs]
    except Exception:
        # the original assignment asked for tensors; what is wrong with those is the reason
        return [net.predict_return(torch.as_tensor(traj)) for traj in trajs]


def returns(net: Any, trajs: list[Any]) -> list[float]:
    """Predicted returns as numbers: what was not summed up is, as that is asked elsewhere."""
    import torch

    with torch.no_grad():
        return [float(torch.as_tensor(part).sum()) for part in predictions(net, trajs)]


def answer_network() -> dict[str, Any]:
    """How `Net` behaves on a few trajectories; what fails is left out of the answers."""
    import numpy as np
    import torch

    from utils import Net

    torch.manual_seed(0)
    net = make_net(Net, 4)
    trajs = trajectories("probes")
    answers: dict[str, Any] = {"returns": returns(net, trajs)}
    kinds: dict[str, Callable[[Any], Any]] = {
        "array": np.asarray,
        "tensor": torch.as_tensor,
        "list": lambda traj: traj.tolist(),
    }
    with torch.no_grad():
        for name, convert in kinds.items():
            with attempt(name):
                parts = [net.predict_return(convert(traj)) for traj in trajs]
                answers[name] = [float(torch.as_tensor(part).sum()) for part in parts]
    parts = predictions(net, trajs)
    answers["sizes"] = [torch.as_tensor(part).numel() for part in parts]
    answers["dimensions"] = [torch.as_tensor(part).ndim for part in parts]
    with attempt("gradients"):
        for part in parts:
            part.sum().backward()
        gradients = [parameter.grad for parameter in net.parameters()]
        norms = [0.0 if g is None else g.norm().item() for g in gradients]
        # a small step along the gradient must raise the sum of returns by step * |gradient|^2
        step = 1e-3 / (1e-12 + sum(n**2 for n in norms)) ** 0.5
        with torch.no_grad():
            for parameter, gradient in zip(net.parameters(), gradients, strict=True):
                if gradient is not None:
                    parameter.add_(gradient, alpha=step)
        answers |= {
            "gradient_norms": norms, "step": [step], "returns_after_step": returns(net, trajs)
        }  # fmt: skip
    with attempt("other_env"):
        answers["other_env"] = returns(make_net(Net, 6), trajectories("other_env"))
    return answers


def answer_learning() -> dict[str, Any]:
    """Predicted returns after `learn_reward`, of trajectories with labels and without."""
    import numpy as np
    import torch

    with np.load(SANDBOX / "task.npz") as task:
        pairs, labels = task["pairs"], task["labels"].tolist()
        num_iter, own = int(task["num_iter"]), bool(task["own_net"])
    if not own:
        use_plain_net()
    from offline_reward_learning import learn_reward
    from utils import Net

    trajs = trajectories("training")
    torch.manual_seed(0)
    net = make_net(Net, 4)
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
    inputs = [(trajs[i], trajs[j]) for i, j in pairs]
    net.eval()
    before = {
        "training_before": returns(net, trajs),
        "held_out_before": returns(net, trajectories("held_out")),
    }
    learn_reward(net.train(), optimizer, inputs, labels, num_iter)
    net.eval()
    after = {"training": returns(net, trajs), "held_out": returns(net, trajectories("held_out"))}
    return {**before, **after}


def use_plain_net() -> None:
    """Puts a `Net` that is surely sound in the place of the student's, or of all of utils.py."""
    try:
        import utils
    except (Exception, SystemExit):
        utils = types.ModuleType("utils")
        utils.__getattr__ = lambda name: None  # type: ignore[method-assign]
        sys.modules["utils"] = utils
    utils.Net = plain_net()  # type: ignore[misc, assignment]


def plain_net() -> type:
    """A network that is surely sound, for `learn_reward` to be asked without the student's own."""
    import numpy as np
    import torch
    from torch import nn

    class Net(nn.Module):
        def __init__(self, obs_dim: int = 4) -> None:
            super().__init__()
            self.layers = nn.Sequential(
                nn.Linear(obs_dim, 48), nn.Tanh(), nn.Linear(48, 1), nn.Sigmoid()
            )

        def forward(self, obs: torch.Tensor) -> torch.Tensor:
            return self.layers(torch.as_tensor(np.asarray(obs) if isinstance(obs, list) else obs)
                               .float()).squeeze(-1)  # fmt: skip

        def predict_return(self, traj: Any) -> torch.Tensor:
            return self(traj).sum()

    return Net


def answer_saved_reward() -> dict[str, Any]:
    """Predicted returns of CartPole trajectories under the reward the student saved."""
    import torch

    from utils import Net

    net = make_net(Net, 4)
    net.load_state_dict(torch.load(SANDBOX / "reward.params", weights_only=True))
    return {"returns": returns(net, trajectories("cartpole"))}


QUESTIONS: dict[str, Callable[[], dict[str, Any]]] = {
    "network": answer_network,
    "learning": answer_learning,
    "saved_reward": answer_saved_reward,
}


def main() -> None:
    """Answers one question. What ends the student's code is printed last, and is no answer."""
    task = json.loads(sys.stdin.readline())
    limit(task)
    sys.path[:0] = [str(SANDBOX)]
    sys.path += task["packages"]
    import numpy as np
    import torch

    # whichever generator a student uses, the same folder gets the same grade
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002
    torch.set_num_threads(1)
    try:
        answers = QUESTIONS[task["question"]]()
    except Exception as error:
        sys.stdout.flush()
        print(f"\n{described(error)}", file=sys.stderr)
        raise SystemExit(1) from None
    # the token shows that this function wrote the answers
    content = json.dumps({"token": task["token"], "answers": answers, "problems": problems})
    (SANDBOX / "answers.json").write_text(content, encoding="utf-8")


if __name__ == "__main__":
    main()
