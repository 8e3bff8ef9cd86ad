"""Reinforcement learning from preferences, for control."""

__version__ = "0.1.0"
