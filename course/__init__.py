"""The instructor's side: hand out, grade, report."""
