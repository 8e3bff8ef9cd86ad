"""What MuJoCo draws with where there is no display: chosen before it is imported, which is when it looks."""

import ctypes
import os
import sys
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from prefloop.errors import first_line


def has_screen() -> bool:
    """Whether there is a screen to open windows on, as far as the system's variables tell."""
    return sys.platform != "linux" or bool({"DISPLAY", "WAYLAND_DISPLAY"} & os.environ.keys())


def choose_mujoco_gl() -> None:
    """Sets MUJOCO_GL on a machine without a display: EGL, or else OSMesa, whichever works.

    What a user has set stays. Where neither works nothing is set, and drawing ends in a sentence
    that names the packages.
    """
    if has_screen() or "MUJOCO_GL" in os.environ:
        return
    if _egl_works():
        os.environ["MUJOCO_GL"] = "egl"
    elif _library("libOSMesa.so.8") is not None:
        os.environ["MUJOCO_GL"] = "osmesa"


def is_mujoco(base: Any) -> bool:
    """Whether an environment without its wrappers is one of Gymnasium's MuJoCo robots."""
    return all(hasattr(base, name) for name in ("set_state", "model", "data", "mujoco_renderer"))


class DrawnRobot(gym.Wrapper, gym.utils.RecordConstructorArgs):
    """One of Gymnasium's MuJoCo robots that is drawn quickly, in the picture, and beside other robots.

    Gymnasium draws on whatever was made current last, be it another robot's, and leaves what it drew on to the
    garbage collector, which takes it out of what is current then: the other robot's pictures are black after it.
    """

    def __init__(self, env: gym.Env) -> None:
        gym.utils.RecordConstructorArgs.__init__(self)
        gym.Wrapper.__init__(self, env)

    def render(self) -> Any:
        """A picture of now; uint8 RGB, [height, width, 3]."""
        return draw_robot(self.env.unwrapped)

    def close(self) -> None:
        """Lets go of the simulator, and of what it is drawn on."""
        base: Any = self.env.unwrapped
        if (viewer := base.mujoco_renderer.viewer) is not None:
            viewer.make_context_current()
            viewer.con.free()
            base.mujoco_renderer.viewer = None  # to close twice is no fault
        super().close()


def draw_robot(base: Any) -> NDArray:
    """A picture of now of a robot without its wrappers, made for pictures and reset; uint8 RGB, [height, width, 3]."""
    renderer = base.mujoco_renderer
    viewer = renderer.viewer or plain_viewer(base)
    viewer.make_context_current()
    if renderer.camera_id == -1:  # or else it is a camera of the model itself
        _follow(base, viewer.cam)
    picture: NDArray = base.render()
    return picture


def plain_viewer(base: Any) -> Any:
    """Makes what such a robot is drawn by, without what takes most of a processor's time.

    Shadows, reflections and multisampling show nothing of the behaviour. It must not be drawn yet.
    """
    import mujoco  # type: ignore[import-untyped]

    quality = base.model.vis.quality
    quality.offsamples = quality.shadowsize = 0  # before the first picture, which makes the context
    base.render()
    viewer = base.mujoco_renderer.viewer
    for flag in (mujoco.mjtRndFlag.mjRND_SHADOW, mujoco.mjtRndFlag.mjRND_REFLECTION):
        viewer.scn.flags[flag] = 0
    return viewer


def _follow(base: Any, camera: Any) -> None:
    """Turns a free camera to the body that the model, or Gymnasium, would have it track.

    Gymnasium 1.4's free camera does not.
    """
    import mujoco

    body = camera.trackbodyid
    if body < 0:
        track = mujoco.mj_name2id(base.model, mujoco.mjtObj.mjOBJ_CAMERA, "track")
        body = base.model.cam_bodyid[track] if track >= 0 else 0
    if body > 0:
        camera.lookat[:2] = base.data.subtree_com[body][:2]


class SmallPictures:
    """How one of Gymnasium's MuJoCo robots is drawn in a few pixels, as it is seen when it is drawn for people.

    Its own pictures of 480 pixels take a processor many times as long; what `plain_viewer` leaves out is left
    out here, too.
    """

    def __init__(self, base: Any, side: int) -> None:
        """For pictures of `side` x `side` pixels of a robot without its wrappers."""
        import mujoco

        self._base = base
        self._renderer = mujoco.Renderer(base.model, side, side)
        for flag in (mujoco.mjtRndFlag.mjRND_SHADOW, mujoco.mjtRndFlag.mjRND_REFLECTION):
            self._renderer.scene.flags[flag] = 0
        self._camera = camera = mujoco.MjvCamera()
        mujoco.mjv_defaultFreeCamera(base.model, camera)
        camera.trackbodyid = -1
        for name, value in (base.mujoco_renderer.default_cam_config or {}).items():
            if isinstance(value, np.ndarray):
                getattr(camera, name)[:] = value
            else:
                setattr(camera, name, value)
        camera.type = mujoco.mjtCamera.mjCAMERA_FREE

    def __call__(self) -> NDArray:
        """Draws what is now; uint8 RGB, [side, side, 3]."""
        _follow(self._base, self._camera)
        self._renderer.update_scene(self._base.data, self._camera)
        picture: NDArray = self._renderer.render()
        return picture

    def close(self) -> None:
        """Lets go of what it draws on."""
        self._renderer.render()  # makes that current, which it must be to be taken down: see `DrawnRobot`
        self._renderer.close()


NEEDED = "on a machine without a display, install Debian's libegl1 or libosmesa6"


def why_not_drawn(error: Exception) -> str:
    """The first line of what whatever draws has raised, with the packages where it lacks them."""
    reason = first_line(error)
    lacks = "gl" in type(error).__module__.lower() or "opengl" in reason.lower()
    return f"{reason}; {NEEDED}" if lacks else reason


def _library(name: str) -> ctypes.CDLL | None:
    try:
        return ctypes.CDLL(name)
    except OSError:
        return None


def _egl_works() -> bool:
    """Whether EGL has a device that can be opened: the library may be there without any."""
    egl = _library("libEGL.so.1")
    if egl is None:
        return False
    find = egl.eglGetProcAddress
    find.restype = ctypes.c_void_p
    pointer, integer = ctypes.c_void_p, ctypes.c_int
    query, display_of = (
        find(name) for name in (b"eglQueryDevicesEXT", b"eglGetPlatformDisplayEXT")
    )
    if not (query and display_of):
        return False
    devices, number = (pointer * 16)(), integer(0)
    query_devices = ctypes.CFUNCTYPE(
        integer, integer, ctypes.POINTER(pointer), ctypes.POINTER(integer)
    )(query)
    if not query_devices(16, devices, ctypes.byref(number)):
        return False
    get_display = ctypes.CFUNCTYPE(pointer, integer, pointer, ctypes.POINTER(integer))(display_of)
    egl.eglInitialize.argtypes = [pointer, pointer, pointer]
    device_platform = 0x313F  # EGL_PLATFORM_DEVICE_EXT, which MuJoCo takes
    displays = (get_display(device_platform, devices[i], None) for i in range(number.value))
    return any(display and egl.eglInitialize(display, None, None) for display in displays)
