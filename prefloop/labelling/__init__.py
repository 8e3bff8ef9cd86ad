"""The labelling server: people watch two clips and say which is better; no answer is lost."""
