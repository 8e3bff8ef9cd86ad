"""`prefloop compare`: many methods on the same labels, with controls and intervals."""

from prefloop.sweeps.settings import CompareSettings as Settings

DESCRIPTION = """Compares methods on equal terms: for every seed the same two demonstrators, the same
episodes, the same labelled pairs and the same start, the weaker demonstrator. Controls (constant,
flipped and random reward) show what a task gives away for nothing; true-reward shows what there is
to reach. Seeds and methods are spread over the cores. Stopped and started again, it does what is
missing; with more --methods, --labels or --seeds, what is new. What is more than that (several
environments, any setting of any method) stands in a file: prefloop compare study.yaml (--help says more).
prefloop compare merge A B --out C brings the runs of several folders together."""
EPILOG = """Example: prefloop compare --env CartPole-v0 --methods dpo ppo-rlhf bc airl constant
flipped random true-reward --labels 20 50 200 --seeds 0-4 --out comparison. Writes results.csv (a row
for each method, budget and seed), index.html with its table and plots, and every run."""
IMPORTS = ("numpy", "scipy.stats", "matplotlib.figure")


def main(settings: Settings) -> None:
    """Runs what is missing, and writes the page."""
    from prefloop.sweeps.compare import compare

    compare(settings)
