"""Names of the encoders of pictures (`prefloop.encoders.ENCODERS`), for settings, which are free of PyTorch."""

ENCODERS_OF_PICTURES = ("small", "nature", "impala", "keypoints")
OF_ENSEMBLES = ("shared", "apart")  # one for all members, or one for each
