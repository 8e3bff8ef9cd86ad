"""Many runs: seeds x methods x label budgets."""
