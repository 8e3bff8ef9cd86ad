"""A class of forty: submissions with one mistake, and sound but unusual ones, with their points.

What the grader should give is what an instructor would: a mistake costs the points of what it breaks,
once, and a sound solution of another kind costs nothing. `benchmarks/grading_class.py` grades it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

NETWORK, LEARN = "utils.py", "offline_reward_learning.py"
SUM = "return self(states.to(weight)).sum()"
BUILD = "self.network = mlp([obs_dim, 64, 1], output_activation=nn.Sigmoid)"
STATES = "states = torch.as_tensor(np.asarray(traj) if isinstance(traj, list) else traj)"
FORWARD = "return self.network(obs).squeeze(-1)"
LOOP = "    for _ in tqdm(range(num_iter)"
LOSS = "cross_entropy(torch.stack([returns[first], returns[second]], dim=1), targets)"
TYPES, GRADIENTS, ADDS_UP, OTHER_ENV, LEARNS, GENERALISES, TIES = range(7)


@dataclass(frozen=True)
class Student:
    """One submission: the solution with some of its text replaced.

    Attributes:
        name: what is special about it.
        edits: for each file the text that is replaced, and by what.
        lost: checks of `Net` and `learn_reward` that it fails, in the grader's order.
    """

    name: str
    edits: Mapping[str, Mapping[str, str]]
    lost: tuple[int, ...] = ()

    def write(self, solution: Path, folder: Path) -> None:
        """Writes its two scripts.

        Raises:
            ValueError: the solution has no such text any more.
        """
        folder.mkdir(parents=True, exist_ok=True)
        for file in (NETWORK, LEARN):
            text = (solution / file).read_text(encoding="utf-8")
            for old, new in self.edits.get(file, {}).items():
                if old not in text:
                    raise ValueError(f"{self.name}: {file} has no {old!r}")
                text = text.replace(old, new)
            (folder / file).write_text(text, encoding="utf-8")


def net(name: str, edits: Mapping[str, str], *lost: int) -> Student:
    """A student whose utils.py is special."""
    return Student(name, {NETWORK: edits}, lost)


def learn(name: str, edits: Mapping[str, str], *lost: int) -> Student:
    """A student whose learn_reward is special."""
    return Student(name, {LEARN: edits}, lost)


def layers(*between: str) -> dict[str, str]:
    """Another network in the place of the solution's."""
    return {BUILD: f"self.network = nn.Sequential({', '.join(between)}, nn.Sigmoid())"}


PER_PAIR = """    criterion = torch.nn.CrossEntropyLoss()
    for _ in range(num_iter):
        total = torch.zeros(())
        for (one, other), label in zip(training_inputs, training_outputs, strict=True):
            logits = torch.stack(
                [reward_network.predict_return(one), reward_network.predict_return(other)]
            )
            target = torch.tensor([1.0 - label, float(label)])
            total = total + criterion(logits[None], target[None])
        optimizer.zero_grad()
        (total / len(training_inputs)).backward()
        optimizer.step()
    return
"""
STOCHASTIC = PER_PAIR.replace("        optimizer.zero_grad()\n        (total / len(training_inputs)).backward()\n        optimizer.step()\n", "").replace("            total = total + criterion(logits[None], target[None])\n", "            loss = criterion(logits[None], target[None])\n            optimizer.zero_grad()\n            loss.backward()\n            optimizer.step()\n").replace("        total = torch.zeros(())\n", "")  # fmt: skip

SOUND = [
    Student("the solution", {}),
    net("dropout", layers("nn.Linear(obs_dim, 64)", "nn.ReLU()", "nn.Dropout(0.2)", "nn.Linear(64, 1)")),
    net("LayerNorm", layers("nn.Linear(obs_dim, 64)", "nn.LayerNorm(64)", "nn.ReLU()", "nn.Linear(64, 1)")),
    net("dropout and LayerNorm", layers("nn.Linear(obs_dim, 64)", "nn.LayerNorm(64)", "nn.ReLU()", "nn.Dropout(0.1)", "nn.Linear(64, 1)")),
    net("BatchNorm", layers("nn.Linear(obs_dim, 64)", "nn.BatchNorm1d(64)", "nn.ReLU()", "nn.Linear(64, 1)")),
    net("three hidden layers", {BUILD: BUILD.replace("64, 1", "64, 64, 64, 1")}),
    net("Tanh within", {BUILD: "self.network = mlp([obs_dim, 64, 1], nn.Tanh, output_activation=nn.Sigmoid)"}),
    net("no bound on the output", {BUILD: "self.network = mlp([obs_dim, 64, 1])"}),
    net("a reward between -1 and 1", {BUILD: BUILD.replace("nn.Sigmoid", "nn.Tanh")}),
    net("a wide network", {BUILD: BUILD.replace("64", "512")}),
    net("float64", {BUILD: f"{BUILD}\n        self.double()", FORWARD: "return self.network(obs.double()).squeeze(-1)"}),
    net("a loop over the states", {SUM: "return sum(self(state) for state in states.to(weight))"}),
    net("layers by hand", {BUILD: "self.network = nn.Linear(obs_dim, 64)\n        self.out = nn.Linear(64, 1)",
                           FORWARD: "return torch.sigmoid(self.out(torch.relu(self.network(obs)))).squeeze(-1)"}),
    net("no default for obs_dim", {"obs_dim: int = 4": "obs_dim: int"}),
    learn("a loop over the pairs", {LOOP: PER_PAIR + LOOP}),
    learn("a step for each pair", {LOOP: STOCHASTIC.replace("range(num_iter)", "range(num_iter // 10)") + LOOP}),
    learn("another optimiser", {LOOP: "    optimizer = torch.optim.AdamW(reward_network.parameters(), lr=0.02)\n" + LOOP}),
    learn("a logistic loss", {LOSS: "torch.nn.functional.binary_cross_entropy_with_logits(returns[second] - returns[first], labels)"}),
    learn("logarithms by hand", {LOSS: "-((1 - labels) * torch.nn.functional.logsigmoid(returns[first] - returns[second]) + labels * torch.nn.functional.logsigmoid(returns[second] - returns[first])).mean()"}),
    learn("much printing", {LOOP: "    print('x' * 2**25)\n" + LOOP}),
]  # fmt: skip
MISTAKEN = [
    net("tensors alone", {STATES: "states = traj.float()"}, TYPES),
    net("arrays alone", {STATES: "states = torch.from_numpy(traj)"}, TYPES),
    net("no sum", {SUM: "return self(states.to(weight))"}, ADDS_UP),
    net("a mean for a sum", {SUM: SUM.replace("sum", "mean")}, ADDS_UP),
    net("[1] for a scalar", {SUM: "return self(states.to(weight)).sum().reshape(1)"}, TYPES),
    net(".item()", {SUM: "return self(states.to(weight)).sum().item()"}, GRADIENTS),
    net(".detach()", {SUM: "return self(states.to(weight)).sum().detach()"}, GRADIENTS),
    net("the length alone", {SUM: "return self(0 * states.to(weight)).sum()"}, ADDS_UP),
    net("four observations for ever", {BUILD: BUILD.replace("obs_dim", "4")}, OTHER_ENV),
    net("no obs_dim", {"obs_dim: int = 4": "", BUILD: BUILD.replace("obs_dim", "4")}, OTHER_ENV),
    net("not written", {BUILD: "raise NotImplementedError"}, TYPES, GRADIENTS, ADDS_UP, OTHER_ENV),
    net("no Python", {"class Net": "clas Net"}, TYPES, GRADIENTS, ADDS_UP, OTHER_ENV),
    learn("the wrong way round", {"returns[first], returns[second]": "returns[second], returns[first]"}, LEARNS, GENERALISES),
    learn("no step", {"        optimizer.step()\n": ""}, LEARNS, GENERALISES, TIES),
    learn("gradients that add up", {"        optimizer.zero_grad()\n": ""}),
    learn("ties are the first's", {"dtype=torch.float32, device=device)\n    targets": "device=device).long().float()\n    targets"}, TIES),
    learn("an error at ties", {LOOP: "    assert 0.5 not in training_outputs\n" + LOOP}, TIES),
    learn("no end", {LOOP: "    while True: pass\n" + LOOP}, LEARNS, GENERALISES, TIES),
    learn("an unknown name", {LOSS: "cros_entropy(returns[first])"}, LEARNS, GENERALISES, TIES),
    learn("not written", {LOOP: "    raise NotImplementedError\n" + LOOP}, LEARNS, GENERALISES, TIES),
]  # fmt: skip
CLASS = [*SOUND, *MISTAKEN]
