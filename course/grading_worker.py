"""Runs a student's code inside the grader's sandbox. Started by course/sandbox.py, never imported.

It answers questions with plain numbers in answers.json, and says what went wrong. It knows neither
the right answers nor the points: the grader compares the numbers with its own key.
"""

import contextlib
import inspect
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
from typing import Any, NoReturn

SANDBOX = Path.cwd()
FILE_BYTES = 2**24  # of one file
WITH_GRACE = 10  # seconds after which the system ends what the watch below could not
REASON = 300  # letters of a problem's description

problems: dict[str, str] = {}  # what went wrong in parts of a question
places: dict[str, str] = {}  # of the student's functions, by their names


def write(order: dict[str, Any], answers: dict[str, Any], failure: str = "") -> None:
    """Leaves the answers for the grader, with the token that shows that they are from here."""
    content = {
        "token": order["token"],
        "failure": failure,
        "answers": answers,
        "problems": problems,
        "places": places,
    }
    (SANDBOX / "answers.json").write_text(json.dumps(content), encoding="utf-8")


def bind_to_parent(order: dict[str, Any], lifeline: int) -> None:
    """Ends this process with its supervisor, however that ends; and forbids it other rights."""
    if sys.platform == "linux":
        import ctypes

        set_dumpable, no_new_privileges, parent_death = 4, 38, 1
        libc = ctypes.CDLL(None)
        libc.prctl(parent_death, signal.SIGKILL, 0, 0, 0)
        libc.prctl(no_new_privileges, 1, 0, 0, 0)
        libc.prctl(set_dumpable, 1, 0, 0, 0)
        if os.getppid() != order["parent"]:  # it ended before the first of these lines
            os._exit(1)

    def watch() -> None:
        while os.read(lifeline, 1):
            pass
        os._exit(1)  # no systems but Linux tell a process of its parent's end; a pipe does

    threading.Thread(target=watch, daemon=True).start()


def limit(order: dict[str, Any]) -> None:
    """Caps what this process may take; where the system has no such limits (Windows), time alone."""
    used = time.process_time()
    main = threading.main_thread().ident

    def watch() -> NoReturn:
        while time.process_time() < used + order["seconds"]:
            time.sleep(0.05)
        stack = traceback.extract_stack(sys._current_frames().get(main))  # type: ignore[arg-type]
        own = [place(f.filename, f.lineno, f.name) for f in stack if is_students(f.filename)]
        where = f"{own[-1]}: " if own else ""
        words = f"{where}stopped after {order['seconds']:g} s of computing: your code did not come to an end."
        write(order, {}, words)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
    try:
        import resource
    except ImportError:
        return
    limits = {
        "RLIMIT_DATA": order["memory"],
        "RLIMIT_FSIZE": FILE_BYTES,
        "RLIMIT_CPU": int(used + order["seconds"]) + WITH_GRACE,
        "RLIMIT_CORE": 0,
        "RLIMIT_NPROC": order["processes"],
    }
    for name, most in limits.items():
        if most is not None and hasattr(resource, name):
            most = min(most, sys.maxsize)  # where more is asked for than can be counted
            # a lower limit may be in force already
            with contextlib.suppress(ValueError, OSError):
                resource.setrlimit(getattr(resource, name), (most, most))


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


def is_students(filename: str) -> bool:
    """Whether a file is the student's; the library and this file lie elsewhere."""
    return Path(filename).parent == SANDBOX


def place(filename: str, line: int | None, function: str = "<module>") -> str:
    """Where in the student's files something is."""
    return f"{Path(filename).name}, {function}, line {line}"


def note_place(name: str, function: Any) -> None:
    """Notes where a function begins, if it is the student's."""
    code = getattr(inspect.unwrap(function), "__code__", None) if function else None
    if code is not None and is_students(code.co_filename):
        places[name] = place(code.co_filename, code.co_firstlineno, name)


def described(error: BaseException, elsewhere: str = "") -> str:
    """An error, and where in the student's files it happened, on one line.

    Args:
        elsewhere: the place where none of the lines that led to it is the student's.
    """
    words = " ".join(str(error).split()).replace(f"{SANDBOX}{os.sep}", "")
    message = f"{type(error).__name__}: {words}"[:REASON] if words else type(error).__name__
    if isinstance(error, MemoryError) or "can't allocate memory" in words:
        message = "Your code ran out of the memory it may use."
    if isinstance(error, SystemExit):
        message = "Your code ended the program before it could be asked anything."
    if isinstance(error, SyntaxError) and error.filename:
        return f"{Path(error.filename).name}, line {error.lineno}: {message}"
    frames = traceback.extract_tb(error.__traceback__)
    own = [place(f.filename, f.lineno, f.name) for f in frames if is_students(f.filename)]
    where = own[-1] if own else elsewhere
    return f"{where}: {message}" if where else message


def make_net(net_class: Any, obs_dim: int) -> Any:
    """The student's network, for looking at: without dropout, with what was learned of norms."""
    try:
        net = net_class(obs_dim=obs_dim)
    except TypeError as error:
        try:
            net = net_class(obs_dim)  # as Parts 2 and 3 do, whatever it is called
        except TypeError:
            if obs_dim != 4:
                raise error from None
            net = net_class()
    if not hasattr(net, "eval"):
        raise TypeError("Net is no torch.nn.Module")
    return net.eval()


def predictions(net: Any, trajs: list[Any]) -> list[Any]:
    """What `predict_return` gives for trajectories, in whatever form it takes them."""
    import torch

    try:
        return [net.predict_return(traj) for traj in trajs]
    except Exception:
        # the original assignment asked for tensors; what is wrong with those is the reason
        return [net.predict_return(torch.as_tensor(traj)) for traj in trajs]


def number(part: Any) -> float:
    """A predicted return: what was not summed up is, as that is asked elsewhere."""
    import torch

    if part is None:
        raise TypeError("predict_return gives None: is `return` missing?")
    try:
        return float(torch.as_tensor(part).sum())
    except (TypeError, ValueError, RuntimeError):
        if isinstance(part, int | float):  # too large a number
            raise
        raise TypeError(f"predict_return gives no number but a {type(part).__name__}") from None


def returns(net: Any, trajs: list[Any]) -> list[float]:
    """Predicted returns as numbers."""
    import torch

    with torch.no_grad():
        return [number(part) for part in predictions(net, trajs)]


def answer_network() -> dict[str, Any]:
    """How `Net` behaves on a few trajectories; what fails is left out of the answers."""
    import numpy as np
    import torch

    from utils import Net

    torch.manual_seed(0)
    note_place("Net.__init__", getattr(Net, "__init__", None))
    net = make_net(Net, 4)
    note_place("Net.predict_return", getattr(Net, "predict_return", None))
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
                answers[name] = [number(part) for part in parts]
    parts = predictions(net, trajs)
    answers["sizes"] = [torch.as_tensor(part).numel() for part in parts]
    answers["dimensions"] = [torch.as_tensor(part).ndim for part in parts]
    with attempt("gradients"):
        for part in parts:
            part.sum().backward()
        # what is frozen (a scale that was measured) is not to be learned
        learned = [parameter for parameter in net.parameters() if parameter.requires_grad]
        gradients = [parameter.grad for parameter in learned]
        norms = [0.0 if g is None else g.norm().item() for g in gradients]
        # a small step along the gradient must raise the sum of returns by step * |gradient|^2
        step = 1e-3 / (1e-12 + sum(n**2 for n in norms)) ** 0.5
        with torch.no_grad():
            for parameter, gradient in zip(learned, gradients, strict=True):
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
    note_place("learn_reward", learn_reward)
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
        sys.modules["utils"] = utils
    utils.Net = plain_net()  # type: ignore[misc, assignment]

    def missing(name: str) -> None:
        """What Part 2 imports beside `Net` and does not need to learn."""
        if name.startswith("__"):
            raise AttributeError(name)

    utils.__getattr__ = missing  # type: ignore[method-assign]


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

    from prefloop.checkpoints import unwrapped
    from utils import Net

    net = make_net(Net, 4)
    weights = torch.load(SANDBOX / "reward.params", map_location="cpu", weights_only=True)
    # as Part 3 does: a Net of one's own may have a part of a wrapper's name
    names = net.state_dict().keys()
    net.load_state_dict(weights if weights.keys() == names else unwrapped(weights))
    net.eval()
    trajs = trajectories("cartpole")
    answers = {}
    with attempt("returns"):
        answers["returns"] = returns(net, trajs)
    # what Part 3 makes of it, whatever is wrong with `predict_return`
    with attempt("sums"), torch.no_grad():
        answers["sums"] = [float(net(torch.as_tensor(traj)).sum()) for traj in trajs]
    return answers


QUESTIONS: dict[str, Callable[[], dict[str, Any]]] = {
    "network": answer_network,
    "learning": answer_learning,
    "saved_reward": answer_saved_reward,
}


def main() -> None:
    """Answers one question. An error in the student's code is told, and is no answer."""
    order = json.loads(sys.stdin.readline())
    lifeline = os.dup(0)
    with open(os.devnull) as nothing:  # noqa: PTH123
        os.dup2(nothing.fileno(), 0)
    bind_to_parent(order, lifeline)
    sys.path += order["paths"]
    from prefloop.startup import import_quickly

    import_quickly("torch", "gymnasium")
    import numpy as np
    import torch

    # last, so that no file of the student's stands in the way of these
    sys.path.insert(0, str(SANDBOX))
    limit(order)
    # whichever generator a student uses, the same folder gets the same grade
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002
    torch.set_num_threads(1)
    try:
        answers = QUESTIONS[order["question"]]()
    except BaseException as error:
        write(order, {}, described(error, next(reversed(places.values()), "")))
        os._exit(1)
    write(order, answers)
    os._exit(0)  # a thread that the code has left is not waited for


if __name__ == "__main__":
    main()
