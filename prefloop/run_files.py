"""What is in a run's folder, by name; free of PyTorch, as command lines look there, too."""

FACTS = "run.json"
METRICS = "metrics.csv"
# what a run that goes on needs
STATE = "training_state.pt"
# what was learned
POLICY = "final_policy.params"
REWARD = "reward.params"

# folders: answers, steps of the past, and what was explored before there were answers
PREFERENCES = "preferences"
REPLAY = "replay"
EXPLORATIONS = "explorations"
