"""What is in a run's folder, by name; free of PyTorch, as command lines look there, too."""

FACTS = "run.json"
METRICS = "metrics.csv"
# what a run that goes on needs
STATE = "training_state.pt"
# what was learned
POLICY = "final_policy.params"
REWARD = "reward.params"

# folders: the answers that were given, and what was explored before there were any
PREFERENCES = "preferences"
EXPLORATIONS = "explorations"
