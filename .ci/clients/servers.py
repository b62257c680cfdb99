"""Servers as processes, each over a temporary directory and on a port that is free."""

import re
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path

PATIENCE = 60


class Server:
    """A running server; what it said is kept. Leaving the `with` kills it and removes its data."""

    def __init__(self, command):
        self.dir = Path(tempfile.mkdtemp())
        self.log = self.dir / "said"
        self.start(command)

    def start(self, command):
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, cwd=self.dir
            )
        until = time.monotonic() + PATIENCE
        while not (port := self.port()):
            if self.process.poll() is not None or time.monotonic() > until:
                said = self.said()
                self.__exit__()
                raise SystemExit(f"the server does not come up: {command}\n{said}")
            time.sleep(0.02)
        self.url = f"redis://127.0.0.1:{port}"

    def said(self):
        return self.log.read_text(errors="replace")

    def kill(self):
        self.process.kill()
        self.process.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.kill()
        shutil.rmtree(self.dir, ignore_errors=True)


class Emberkeep(Server):
    """The real binary. It chooses its ports, and says in its first lines which."""

    def __init__(self, binary):
        super().__init__([binary.resolve(), "--port", "0", "--resp-port", "0", "--data-dir", "data"])

    def port(self):
        said = self.said()
        found = re.search(r"^  redis +on [^ ]*:(\d+)$", said, re.MULTILINE)
        return int(found[1]) if found and "\nlistening on http" in said else None


class Redis(Server):
    """redis-server of the system. It cannot choose a port itself; another process may take the one
    that was free meanwhile, and then it does not come up."""

    def __init__(self):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.chosen = free.getsockname()[1]
        super().__init__(["redis-server", "--bind", "127.0.0.1", "--port", str(self.chosen), "--save", ""])

    def port(self):
        return self.chosen if "Ready to accept connections" in self.said() else None
