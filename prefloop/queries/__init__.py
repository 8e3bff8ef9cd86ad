"""Which pairs to ask about, and when."""
