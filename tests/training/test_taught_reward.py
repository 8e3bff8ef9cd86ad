"""When a taught reward learns anew."""

import numpy as np
import torch
from made_up import preferences, random_segments

from prefloop.data.segments import concatenate
from prefloop.envs.spaces import Spaces
from prefloop.rewards.settings import RewardSettings
from prefloop.rewards.training import make_model
from prefloop.training.settings import QuerySettings
from prefloop.training.taught_reward import TaughtReward

REWARD = RewardSettings(epochs=30)


class Said:
    """What people have said, all of it given beforehand."""

    def __init__(self, now):
        self.now = now

    def current(self):
        return self.now


def test_one_answer_in_place_of_another_is_learned():
    """The numbers of the segments and the labels are the same then."""
    some = random_segments(6, 3, np.random.default_rng(0), discrete=False)
    labels = (0, 1, 1.0), (2, 3, 0.0)
    said = Said(preferences(some[:4], *labels))
    model = make_model(Spaces((3,), "float32", False, 1), REWARD, 0)
    taught = TaughtReward(model, said, QuerySettings(queue=4, segment_length=3), REWARD, 0)
    assert taught.fit()["reward_epochs"] > 0
    assert taught.fit() == {}  # all is as it was
    weights = [weight.clone() for weight in taught.model.parameters()]
    # the second one was taken back, and another question answered alike
    said.now = preferences(concatenate([some[:2], some[4:]]), *labels)
    assert taught.fit()["reward_epochs"] > 0
    assert not all(map(torch.equal, weights, taught.model.parameters()))
