"""What acts and improves; agents know nothing about preferences or reward models."""
