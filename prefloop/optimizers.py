"""PyTorch's Adam without the wait before its first step."""

import inspect

import torch


class Adam(torch.optim.Adam):
    """`torch.optim.Adam` to the letter, in arithmetic and in saved state.

    PyTorch wraps an optimizer's methods so that `torch.compile` leaves them alone, and the first
    call of a wrapped method imports the whole compiler: over a second and some 70 MB, which a
    program that never compiles gets nothing for. Here the methods are taken out of their wrappers.
    """

    add_param_group = inspect.unwrap(torch.optim.Adam.add_param_group)
    state_dict = inspect.unwrap(torch.optim.Adam.state_dict)
    load_state_dict = inspect.unwrap(torch.optim.Adam.load_state_dict)
    zero_grad = inspect.unwrap(torch.optim.Adam.zero_grad)
    # the wrapper of `step` also switches gradients off
    step = torch.no_grad()(inspect.unwrap(torch.optim.Adam.step))
