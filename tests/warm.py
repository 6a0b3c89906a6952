"""A process that has imported the libraries and gives, for each command asked for, a copy of itself that runs it.

To import torch, Lightning, torchvision and timm takes an entry point ten seconds of processor time, and the tests start
more than a hundred. A copy is a process as any other: its own group, folder, environment, standard streams, signals and
exit code. Nothing of the project is imported before it is copied. What depends on how the interpreter itself starts
(`tests/test_start_up.py`, other variables of Python or OpenMP) runs in a fresh one: `commands.run(fresh=True)`.
"""

import atexit
import importlib
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

LIBRARIES = ("torch", "torchvision", "pytorch_lightning", "timm", "albumentations", "wandb", "hydra", "pandas")


class Warm:
    """Runs commands as `subprocess.run` does, in copies of one process."""

    def __init__(self) -> None:
        ours, its = socket.socketpair()
        command = [sys.executable, __file__, str(its.fileno())]
        self.process = subprocess.Popen(command, pass_fds=[its.fileno()], stdin=subprocess.DEVNULL)
        its.close()
        self.requests = ours.makefile("rw")
        self.socket = ours
        atexit.register(self.close)

    def run(self, module: str, arguments: list[str], cwd: Path, env: dict[str, str], timeout: float):
        """What `python -m module arguments` gives, started in a group of its own."""
        with tempfile.TemporaryFile("w+") as stdout, tempfile.TemporaryFile("w+") as stderr:
            asked = {"module": module, "arguments": arguments, "cwd": str(cwd), "env": env}
            asked["streams"] = [f"/proc/{os.getpid()}/fd/{stream.fileno()}" for stream in (stdout, stderr)]
            self.socket.settimeout(timeout)
            print(json.dumps(asked), file=self.requests, flush=True)
            code = json.loads(self.requests.readline())
            streams = []
            for stream in (stdout, stderr):
                stream.seek(0)
                streams.append(stream.read())
        return subprocess.CompletedProcess([sys.executable, "-m", module, *arguments], code, *streams)

    def close(self) -> None:
        self.socket.shutdown(socket.SHUT_RDWR)
        self.process.wait()


def serve(connection: socket.socket) -> dict | None:
    """Gives a request in each copy; None in the process that is copied, once nobody asks any more."""
    requests = connection.makefile("rw")
    for line in requests:
        child = os.fork()
        if not child:
            connection.close()
            return json.loads(line)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), file=requests, flush=True)
    return None


def become(asked: dict) -> None:
    """Makes this process what `python -m` would have started."""
    os.setsid()
    for number, stream in enumerate(asked["streams"], start=1):
        opened = os.open(stream, os.O_RDWR)
        os.dup2(opened, number)
        os.close(opened)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.chdir(asked["cwd"])
    os.environ.clear()
    os.environ.update(asked["env"])
    sys.path[0] = asked["cwd"]
    sys.path[1:1] = [one for one in asked["env"].get("PYTHONPATH", "").split(os.pathsep) if one]
    sys.argv = ["-m", *asked["arguments"]]
    sys.orig_argv = [sys.executable, "-m", asked["module"], *asked["arguments"]]


if __name__ == "__main__":
    for library in LIBRARIES:
        importlib.import_module(library)
    asked = serve(socket.socket(fileno=int(sys.argv[1])))
    if asked is not None:
        become(asked)
        runpy._run_module_as_main(asked["module"])  # what `python -m` calls
