"""Reward models that learn from preferences; they know no agent."""
