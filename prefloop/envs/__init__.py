"""Environments: what they are, how they are made, what they observe."""
