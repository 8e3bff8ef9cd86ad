"""What acts and improves; agents know no reward model, and own no environment."""
