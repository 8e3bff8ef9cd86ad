"""What programs say to a labelling server."""
