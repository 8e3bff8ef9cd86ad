"""Simulated teachers; people answer by `prefloop.labelling.client.people`."""
