"""What opens an upload may do. A module of its own, since the process that does it imports it."""

import os
import signal
import time

from prefloop.labelling.server.uploads import TooMuchError


def hang():
    time.sleep(600)


def grow():
    return len(bytearray(2**30))


def crash():
    os.kill(os.getpid(), signal.SIGKILL)


def refuse():
    raise TooMuchError("it is refused")
