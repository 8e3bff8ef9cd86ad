"""A small search, as a file."""

import pytest

STUDY = """
out: {root}/c
env: CartPole-v1
methods: [pref-ppo]
labels: 20
seeds: 0-1
steps: 20000
search:
  trials: 6
  ranges:
    learning_rate: {{low: 1e-4, high: 1e-2, log: true}}
    ensemble: [2, 3]
"""


@pytest.fixture
def study(tmp_path):
    file = tmp_path / "study.yaml"
    file.write_text(STUDY.format(root=tmp_path))
    return file
