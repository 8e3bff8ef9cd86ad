"""The loops that bring agents, rewards, queries and teachers together."""
