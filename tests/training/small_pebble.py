"""A run of `prefloop pebble` that takes a second; the folder comes next."""

SMALL = (
    "prefloop.cli pebble --env Pendulum-v1 --steps 1000 --iteration-steps 250 --updates-per-step 0.2 --exploration-steps 500 "
    "--random-steps 100 --exploration-states 64 --labels 20 --segment-length 20 --hidden-sizes 8 "
    "--batch-size 16 --reward-hidden-sizes 8 --reward-epochs 3 --evaluation-episodes 2 "
    "--no-keep-exploration --out"
)
