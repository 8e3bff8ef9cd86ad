"""The labelling server: what it keeps, its API and its page."""
