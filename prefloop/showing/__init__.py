"""Policies of several runs side by side: what is gathered of them, and the page that shows it."""
