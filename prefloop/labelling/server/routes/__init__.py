"""The API, a module for each of those who use it."""
