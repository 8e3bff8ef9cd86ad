"""How often each annotator errs, learned beside the reward that their answers teach.

An annotator of error rate e prefers the second with probability (1 - 2 e) P + e, where P is what Bradley
and Terry's model makes of the two returns: `label_noise` with a value of its own for each. Who answers as
coins do teaches nothing then. It takes no pair that several have answered: the reward says what others
would have answered, for it is one for all pairs.

Source: Chen et al. 2013, Pairwise ranking aggregation in a crowdsourced setting (Crowd-BT); the rates by
expectation maximisation, as in Dawid and Skene 1979. Details: docs/reward_model.md.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

# Answers that an annotator is held to have given before, with errors as `label_noise` says: whoever gave few
# is not judged by them, and a reward that has learned nothing yet changes no rate by much.
PRIOR_ANSWERS = 10.0
# A coin's is 0.5. Nobody's answers are turned round: who always contradicts may want something else.
HIGHEST_RATE = 0.49


class AnnotatorErrors(nn.Module):
    """Error rates of annotators, while they are learned.

    Attributes:
        names: of those who answered, in the order of their first answers.
        rates: how often each errs; [annotators].
    """

    rates: torch.Tensor

    def __init__(self, who: Sequence[str], label_noise: float, device: torch.device) -> None:
        """Begins with one rate for all.

        Args:
            who: gave each answer; [answers].
            label_noise: how likely an answer is a coin toss, which errs in half of the cases; above 0.
        """
        super().__init__()
        self.names = list(dict.fromkeys(who))
        place = {name: i for i, name in enumerate(self.names)}
        self._start = label_noise / 2
        self._who = torch.tensor([place[name] for name in who], device=device)
        rates = torch.full((len(self.names),), self._start, device=device)
        self.register_buffer("rates", rates.clamp(max=HIGHEST_RATE))

    def label_noise(self, answers: torch.Tensor) -> torch.Tensor:
        """How likely answers are coin tosses; [answers].

        Args:
            answers: positions.
        """
        return 2 * self.rates[self._who[answers]]

    def learn(self, answers: torch.Tensor, probability: torch.Tensor, label: torch.Tensor) -> None:
        """One step of expectation maximisation.

        Args:
            answers: positions of those that the rates are learned from.
            probability: that the second is preferred, of networks that have not learned from these
                answers: from those that have, everybody seems right; [answers].
            label: what was answered; [answers].
        """
        who = self._who[answers]
        error, p = self.rates[who], probability
        # how likely an answer is an error, if the second was preferred by it, and if the first was
        of_second = error * (1 - p) / (error * (1 - p) + (1 - error) * p)
        of_first = error * p / (error * p + (1 - error) * (1 - p))
        wrong = label * of_second + (1 - label) * of_first
        number = len(self.names)
        errors = torch.bincount(who, wrong, number) + PRIOR_ANSWERS * self._start
        rates = errors / (torch.bincount(who, minlength=number) + PRIOR_ANSWERS)
        self.rates.copy_(rates.clamp(max=HIGHEST_RATE))

    def facts(self) -> dict[str, dict[str, Any]]:
        """Number of `answers` and `error` rate of each annotator, by name."""
        answers = torch.bincount(self._who, minlength=len(self.names)).tolist()
        rates = self.rates.tolist()
        return {
            name: {"answers": number, "error": round(rate, 4)}
            for name, number, rate in zip(self.names, answers, rates, strict=True)
        }


def who_answered(facts: Sequence[Mapping[str, Any]]) -> list[str]:
    """Names of those who gave some answers, as a dataset's lines have them; "" where none is named.

    Args:
        facts: of each answer: `annotator`, or `teacher` where it was a program.
    """
    named = ((answer.get("annotator") or answer.get("teacher")) for answer in facts)
    return [name if isinstance(name, str) else "" for name in named]
