"""Runs `squall fake NAME -c FILE`: a fake of a configuration file, alone."""

import contextlib
import re
import subprocess
import threading

from squall import binary

CONFIG = """
listeners: {{web: {{address: "127.0.0.1:0", upstream: fake}}}}
upstreams:
  fake:
    fake:
{fake}
"""


def configuration(fake):
    """A configuration whose one upstream is this fake, behind one listener."""
    indented = "\n".join(f"      {line}" for line in fake.strip("\n").splitlines())
    return CONFIG.format(fake=indented)


class Fake:
    """A running fake."""

    def __init__(self, fake, folder, *args):
        folder.mkdir(exist_ok=True)
        file = folder / "fake.yaml"
        file.write_text(configuration(fake))
        self._run("fake", "-c", str(file), *args)

    @classmethod
    def of_file(cls, *args):
        """A fake that is started without a configuration."""
        fake = cls.__new__(cls)
        fake._run(*args)
        return fake

    def _run(self, *args):
        command = [binary(), "fake", *map(str, args), "-a", "127.0.0.1:0"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.lines = []
        for line in self.process.stdout:
            self.lines.append(line)
            if found := re.search(r"listening on (http://\S+)", line):
                self.url = found[1]
                break
        else:
            raise RuntimeError(f"the fake did not start:\n{''.join(self.lines)}")
        threading.Thread(target=self._drain, daemon=True).start()

    def _drain(self):
        for line in self.process.stdout:
            self.lines.append(line)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        with contextlib.suppress(ProcessLookupError):
            assert self.process.poll() is None, "".join(self.lines)
        self.kill()
