"""Kinds of encoders of pictures (`prefloop.encoders.ENCODERS`), for settings, which are free of PyTorch."""

# and what each is good for, as --help says it
ENCODERS_OF_PICTURES = {
    "small": "42 pixels",
    "nature": "84",
    "impala": "GPUs",
    "keypoints": "where things are, for few answers",
}
*_FIRST, _LAST = (f"{kind} ({use})" for kind, use in ENCODERS_OF_PICTURES.items())
KINDS_IN_WORDS = f"{', '.join(_FIRST)} or {_LAST}"
OF_ENSEMBLES = ("shared", "apart")  # one for all members, or one for each
