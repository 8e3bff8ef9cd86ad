"""A window beside a run, in a process of its own: it takes no time from learning, and can't stop it."""

import multiprocessing
import pickle
import shutil
import signal
import tempfile
from pathlib import Path

import pygame

from prefloop.devices import use_one_thread
from prefloop.envs.settings import Env
from prefloop.errors import UserError, first_line
from prefloop.evaluation.evaluate import acting_in_episode, env_seed
from prefloop.evaluation.videos import has_display, make_in_window, render_modes
from prefloop.files import write_atomically
from prefloop.policies import Policy
from prefloop.progress import say


def require_window(env: Env, flag: str) -> None:
    """To be called before anything is done.

    Args:
        flag: what needs it, for the sentence.

    Raises:
        UserError: there is no display, or the environment has no window.
    """
    if not has_display():
        raise UserError(
            f"{flag} needs a display, and there is none here; --video_every writes videos instead."
        )
    if not {"human", "rgb_array"} & render_modes(env):
        raise UserError(f"{env} can't be drawn, so {flag} is not for it.")


class Window:
    """Episodes of a policy's mean action, one after the other, as quickly as a person can follow.

    The policy goes there as a file, which the window reads before each episode: so nobody waits for it.
    """

    def __init__(self, env: Env, policy: Policy, seed: int) -> None:
        """Opens it.

        Args:
            env: what is shown.
            policy, seed: as in `show`.
        """
        self._folder = Path(tempfile.mkdtemp(prefix="prefloop-window-"))
        self._file, self._is_told = self._folder / "policy", False
        self.show(policy, seed)
        # a new interpreter: PyTorch and simulators do not survive to be forked
        context = multiprocessing.get_context("spawn")
        self._process = context.Process(target=_play, args=(env, self._file), daemon=True)
        self._process.start()

    def show(self, policy: Policy, seed: int) -> None:
        """Shows another policy from the next episode on.

        Args:
            seed: of its episodes, which are those of `evaluate.play`.
        """
        write_atomically(self._file, pickle.dumps((policy, seed)))

    @property
    def is_open(self) -> bool:
        """Whether it is still there; says once that it is not."""
        if self._process.is_alive():
            return True
        if not self._is_told and self._process.exitcode:
            say("The window is gone; training goes on.")
        self._is_told = True
        return False

    def close(self) -> None:
        """Closes it."""
        self._process.terminate()
        self._process.join(5)
        if self._process.is_alive():
            self._process.kill()
        shutil.rmtree(self._folder, ignore_errors=True)


def _play(env: Env, file: Path) -> None:
    """Plays episodes in the window's process, until it is closed or whom it belongs to has ended."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for who learns
    use_one_thread()
    try:
        made = make_in_window(env)
        episode, before = 0, b""
        while True:
            now = file.read_bytes()
            episode, before = (0 if now != before else episode + 1), now
            policy, seed = pickle.loads(now)  # what this program has just written
            act = acting_in_episode(policy, seed, episode, greedy=True)
            obs, _ = made.reset(seed=env_seed(seed, episode))
            done = False
            while not done:
                obs, _, terminated, truncated, _ = made.step(act(obs[None])[0])
                done = terminated or truncated
                if _is_to_end():
                    made.close()
                    return
    except Exception as error:  # of whatever draws: a sentence, since the run goes on below it
        say(f"The window is closed ({first_line(error)}); training goes on.")
    finally:
        if _is_orphan():  # it can't clean up any more
            shutil.rmtree(file.parent, ignore_errors=True)


def _is_orphan() -> bool:
    """Whether the run was killed, so that it could not close us."""
    parent = multiprocessing.parent_process()
    return parent is not None and not parent.is_alive()


def _is_to_end() -> bool:
    return _is_orphan() or (pygame.display.get_init() and pygame.event.peek(pygame.QUIT))
