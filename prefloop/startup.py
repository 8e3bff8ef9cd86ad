"""A quick start for short programs."""

import gc
import importlib


def import_quickly(*modules: str) -> None:
    """Imports large modules in two thirds of the time, so that later imports of them are free.

    While PyTorch is imported, the garbage collector looks through its many thousands of lasting
    objects again and again, and once more at exit; over half a second in a program that runs for
    two. Here it waits until they are loaded, and then leaves them out for good (`gc.freeze`).
    """
    gc.disable()
    try:
        for module in modules:
            importlib.import_module(module)
    except KeyboardInterrupt:  # nothing has begun yet that there is anything to say of
        raise SystemExit(130) from None
    finally:
        gc.freeze()
        gc.enable()
