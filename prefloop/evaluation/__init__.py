"""How good a policy or a reward is, in figures and pictures."""
