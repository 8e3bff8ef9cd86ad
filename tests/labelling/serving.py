"""Servers for tests: an application in a thread, or `prefloop label` as a process of its own."""

import asyncio
import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time

import httpx
import uvicorn
from conftest import ROOT


class _Server(uvicorn.Server):
    async def main_loop(self):
        """As uvicorn's, which takes a tenth of a second to see that it is to end: half of what a short test takes."""
        count = 0
        while not await self.on_tick(count // 10):
            count += 1
            await asyncio.sleep(0.01)


@contextlib.contextmanager
def serving(app, config=None):
    """A client of an application that is served by a thread; `config`: uvicorn's own by default."""
    # of a protocol that is named: of others asyncio doesn't know that they are TCP, and each reply waits 40 ms
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.bind(("127.0.0.1", 0))
    listening.listen()
    server = _Server(config or uvicorn.Config(app, log_config=None, access_log=False))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        while not server.started and thread.is_alive():
            time.sleep(0.005)
        with httpx.Client(
            base_url=f"http://127.0.0.1:{listening.getsockname()[1]}", timeout=30, trust_env=False
        ) as client:
            yield client
    finally:
        server.should_exit = True
        thread.join()
        listening.close()


class ServerProcess:
    """`prefloop label` in a process that can be killed and started again on the same port."""

    def __init__(self, *flags, port=0, env=None, files=None):
        """`files`: how many it may have open."""
        self.flags, self.port, self.files = flags, port, files
        self.env = {**os.environ, "PYTHONPATH": str(ROOT), **(env or {})}
        self.process = None
        self.output = []

    def start(self):
        command = [sys.executable, "-m", "prefloop", "label", *self.flags, "--port", str(self.port)]
        self.process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=self.env,
            cwd="/",
            preexec_fn=self._limit if self.files else None,
        )
        self.output = []
        for line in self.process.stdout:
            self.output.append(line)
            if "Labelling at" in line:
                found = re.search(r"http://127\.0\.0\.1:(\d+)", line)
                self.port = int(found[1]) if found else self.port
                break
        else:
            raise AssertionError(f"the server did not start: {''.join(self.output)}")
        return self

    def _limit(self):
        import resource

        resource.setrlimit(resource.RLIMIT_NOFILE, (self.files, self.files))

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def kill(self):
        self.process.kill()
        self._end()

    def stop(self):
        """Ctrl-C; the exit code and all that it printed."""
        self.process.send_signal(signal.SIGINT)
        return self._end()

    def _end(self):
        rest = self.process.stdout.read()
        self.process.stdout.close()
        return self.process.wait(), "".join(self.output) + rest

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.kill()
