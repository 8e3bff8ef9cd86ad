"""Observing pictures: those that an environment observes anyway, or else those that it draws for people."""

from collections.abc import Callable
from functools import partial
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box, Space
from numpy.typing import NDArray
from PIL import Image

from prefloop.envs.dm_control import SuiteTask
from prefloop.envs.drawing import SmallPictures, is_mujoco
from prefloop.errors import UserError


def is_picture(space: Space) -> bool:
    """Whether observations are pictures, uint8: [height, width], grey, or [height, width, 3], in colour."""
    if not (isinstance(space, Box) and space.dtype == np.uint8):
        return False
    return len(space.shape) == 2 or (len(space.shape) == 3 and space.shape[2] in (1, 3))


class Pictures(gym.ObservationWrapper, gym.utils.RecordConstructorArgs):
    """Square pictures, grey or in colour, in place of what is observed; each pixel the mean of what it covers."""

    def __init__(
        self, env: gym.Env, side: int, colour: bool = False, mask_rows: tuple[int, ...] = ()
    ) -> None:
        """Wraps an environment.

        Args:
            env: observes pictures, or was made with `render_mode="rgb_array"`.
            side: height and width, in pixels.
            mask_rows: of the picture before it is scaled, those that are black: the first, and the one
                after the last.

        Raises:
            UserError: it makes no pictures.
        """
        gym.utils.RecordConstructorArgs.__init__(
            self, side=side, colour=colour, mask_rows=mask_rows
        )
        gym.ObservationWrapper.__init__(self, env)
        self._observes = is_picture(env.observation_space)
        if not self._observes and "rgb_array" not in (env.metadata.get("render_modes") or ()):
            raise UserError(
                f"{env.spec.id if env.spec else 'This environment'} makes no pictures to observe."
            )
        self._drawn: Callable[[], Any] | None = None  # made when there is something to draw
        self._side, self._colour, self._mask = side, colour, slice(*mask_rows or (0, 0))
        self.observation_space = Box(0, 255, (side, side, 3) if colour else (side, side), np.uint8)

    def observation(self, observation: Any) -> NDArray:
        """The picture of now; uint8, [side, side] or [side, side, 3]."""
        picture = np.array(observation if self._observes else self._draw())
        picture[self._mask] = 0
        image = Image.fromarray(picture[..., 0] if picture.shape[2:] == (1,) else picture)
        image = image.convert("RGB" if self._colour else "L")
        return np.asarray(image.resize((self._side, self._side), Image.Resampling.BOX))

    def _draw(self) -> Any:
        """Draws the environment as it is now, in few pixels where that is quicker."""
        if self._drawn is None:
            base: Any = self.env.unwrapped
            if isinstance(base, SuiteTask):
                self._drawn = partial(base.drawn, self._side, self._side)
            elif is_mujoco(base):
                self._drawn = SmallPictures(base, self._side)
            else:
                self._drawn = self.env.render
        return self._drawn()

    def close(self) -> None:
        """Lets go of the environment, and of what it was drawn on."""
        if isinstance(self._drawn, SmallPictures):
            self._drawn.close()
            self._drawn = None
        super().close()
