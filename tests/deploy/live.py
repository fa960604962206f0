"""A running squall under traffic, and a Prometheus that scrapes it with the files of deploy/prometheus."""

import shutil
import subprocess
import sys
import threading
import time

import requests
import yaml
from conftest import DEPLOY, ROOT, free_port

sys.path.append(str(ROOT / "tests/interop"))
from squall import Squall, command, eventually  # noqa: E402, F401

TOKEN = (DEPLOY / "prometheus/squall.token").read_text().strip()
READY_SECONDS = 30
TRAFFIC_PAUSE_SECONDS = 0.05

# Something for every panel: delays, an abort, a shadow, a fault that can't be applied, an upstream that isn't there.
CONFIG = f"""
admin: {{address: 127.0.0.1:0, token: {TOKEN}}}
listeners:
  web: {{address: 127.0.0.1:0, upstream: echo}}
  gone: {{address: 127.0.0.1:0, upstream: nobody}}
  bytes: {{address: 127.0.0.1:0, protocol: tcp, upstream: database}}
upstreams:
  echo: {{fake: echo}}
  nobody: {{url: "http://127.0.0.1:1"}}
  database: 127.0.0.1:1
rules:
  - {{name: late, match: {{path: /late}}, faults: [{{delay: 20ms}}]}}
  - {{name: broken, match: {{path: /broken}}, when: {{percentage: 50}}, faults: [{{abort: 503}}]}}
  - {{name: rehearsed, match: {{path: /late}}, shadow: true, faults: [{{abort: 500}}]}}
  - {{name: impossible, match: {{path: /late}}, faults: [{{truncate: {{after: 1GiB}}}}]}}
"""


class Traffic:
    """A client that asks for everything, again and again, until it is stopped."""

    def __init__(self, squall):
        self.urls = [squall.url("/late"), squall.url("/broken"), squall.url("/free"), squall.url("/", listener="gone")]
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        while not self.ended.wait(TRAFFIC_PAUSE_SECONDS):
            for url in self.urls:
                requests.get(url, timeout=30)

    def stop(self):
        self.ended.set()
        self.thread.join(timeout=30)


class PrometheusApi:
    """A running Prometheus, asked over HTTP."""

    def __init__(self, url):
        self.url = url

    def query(self, expression):
        """The series of an instant query."""
        answer = requests.get(f"{self.url}/api/v1/query", {"query": expression}, timeout=30).json()
        assert answer["status"] == "success", f"{expression}: {answer.get('error')}"
        return answer["data"]["result"]

    def targets(self):
        """What it scrapes, each with its `health`."""
        return requests.get(f"{self.url}/api/v1/targets", timeout=30).json()["data"]["activeTargets"]

    def wait_until(self, holds):
        deadline = time.monotonic() + READY_SECONDS
        while not holds():
            if time.monotonic() > deadline or self.ended():
                raise TimeoutError(f"not within {READY_SECONDS} s; {self.last_words()}")
            time.sleep(0.2)

    def ended(self):
        return False

    def last_words(self):
        return ""


class Prometheus(PrometheusApi):
    """Debian's Prometheus with deploy/prometheus, whose target and intervals are exchanged for those of a test."""

    def __init__(self, command, target, folder):
        shutil.copytree(DEPLOY / "prometheus", folder / "prometheus")
        file = folder / "prometheus/prometheus.yml"
        config = yaml.safe_load(file.read_text())
        config["global"] = {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"}
        config["scrape_configs"][0]["static_configs"] = [{"targets": [target]}]
        file.write_text(yaml.safe_dump(config))
        port = free_port()
        super().__init__(f"http://127.0.0.1:{port}")
        self.log = (folder / "prometheus.log").open("w+")
        self.process = subprocess.Popen(
            [
                command,
                f"--config.file={file}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            stdout=self.log,
            stderr=subprocess.STDOUT,
        )
        self.wait_until(self.is_ready)

    def is_ready(self):
        try:
            return requests.get(f"{self.url}/-/ready", timeout=5).status_code == 200
        except requests.ConnectionError:
            return False

    def ended(self):
        return self.process.poll() is not None

    def last_words(self):
        self.log.seek(0)
        return f"Prometheus said:\n{self.log.read()[-3000:]}"

    def stop(self):
        self.process.terminate()
        self.process.wait(timeout=20)
        self.log.close()


def start(folder):
    """squall with a token, as the compose files have it."""
    return Squall(CONFIG, folder)
