"""The plain sidecar, really run as a pod by podman."""

import base64
import json
import os
import shutil
import stat
import subprocess

import pytest
import yaml
from conftest import DEPLOY, documents, free_port, run
from containers import PLACES, Lacking, which, within

pytestmark = [pytest.mark.containers, pytest.mark.timeout(600)]

# Settings that need neither systemd nor the kernel's say over limits, of which podman asks for higher ones than there may be.
CONTAINERS_CONF = """
[network]
network_backend = "netavark"
[engine]
runtime = "{runtime}"
cgroup_manager = "cgroupfs"
events_logger = "file"
"""
RUNTIME = """#!/usr/bin/env python3
import json, os, sys
words = sys.argv[1:]
for option, name in (("--bundle", "/config.json"), ("--process", "")):
    if option in words:
        file = words[words.index(option) + 1] + name
        with open(file) as opened:
            config = json.load(opened)
        config.get("process", config).pop("rlimits", None)
        with open(file, "w") as opened:
            json.dump(config, opened)
os.execvp("runc", ["runc", *words])
"""

# What the application gets from its dependency: the status, and the milliseconds.
ASK = """
import os, time, urllib.request
began = time.monotonic()
answer = urllib.request.urlopen(os.environ["DEPENDENCY_URL"] + "/api/v1/todo/list/count", timeout=20)
print(answer.status, (time.monotonic() - began) * 1000, answer.headers["squall-fault"])
"""

READ_METRICS = """
import sys, urllib.request
headers = {"authorization": f"Bearer {sys.argv[1]}"}
print(urllib.request.urlopen(urllib.request.Request("http://127.0.0.1:9900/metrics", headers=headers)).status)
"""


class Podman:
    """podman with a storage of its own."""

    def __init__(self, folder):
        for command in ("podman", "runc", "conmon", "netavark"):
            if command != "netavark":
                which(command)
            elif not os.path.exists("/usr/lib/podman/netavark"):
                raise Lacking("netavark is not on this machine")
        if os.geteuid() != 0:
            raise Lacking("podman here takes root")
        runtime = folder / "runc-within-limits"
        runtime.write_text(RUNTIME)
        runtime.chmod(runtime.stat().st_mode | stat.S_IXUSR)
        (folder / "containers.conf").write_text(CONTAINERS_CONF.format(runtime=runtime))
        self.folder = folder
        self.env = {**os.environ, "PATH": PLACES, "CONTAINERS_CONF": str(folder / "containers.conf")}
        self.places = ["--root", folder / "root", "--runroot", folder / "runroot"]

    def run(self, *args):
        return run("podman", *self.places, *args, env=self.env, timeout=120)

    def __call__(self, *args):
        result = self.run(*args)
        assert result.returncode == 0, f"podman {args}:\n{result.stdout}"
        return result.stdout.strip()

    def stop(self):
        self.run("pod", "rm", "-a", "-f", "-t", "1")
        # The storage is a mount of its own, and must be gone before the folder goes.
        subprocess.run(["umount", "-l", self.folder / "root/overlay"], check=False, capture_output=True)
        shutil.rmtree(self.folder, ignore_errors=True)


@pytest.fixture(scope="module")
def podman(docker, images, lacking_skips, tmp_path_factory):
    folder = tmp_path_factory.mktemp("podman")
    with lacking_skips():
        podman = Podman(folder)
        file = folder / "images.tar"
        docker("tag", "squall-demo-shop", "example/app:1")
        docker("save", "-o", file, "squall:latest", "example/app:1")
        for step in (["load", "-q", "-i", file], ["run", "--rm", "squall:latest", "--version"]):
            tried = podman.run(*step)
            if tried.returncode != 0:
                raise Lacking(f"podman runs no container here: {tried.stdout[-300:]}")
    yield podman
    podman.stop()


def test_the_plain_sidecar(tool, podman, tmp_path):
    built = run(tool("kubectl"), "kustomize", DEPLOY / "kubernetes/overlays/plain-sidecar")
    objects = documents(built.stdout)
    # podman knows no Secret and no NetworkPolicy, and would publish each port on all of the machine's addresses.
    secret = tmp_path / "secret.json"
    secret.write_text(json.dumps(objects["Secret"]["data"]))
    podman("secret", "create", objects["Secret"]["metadata"]["name"], secret)
    for container in objects["Deployment"]["spec"]["template"]["spec"]["containers"]:
        for port in container["ports"]:
            port.update(hostIP="127.0.0.1", hostPort=free_port())
    pod = tmp_path / "pod.yaml"
    pod.write_text(yaml.safe_dump_all([objects["ConfigMap"], objects["Deployment"]]))

    podman("play", "kube", pod)
    names = podman("ps", "-a", "--format", "{{.Names}}").split()
    [app] = [name for name in names if name.endswith("-app")]
    [squall] = [name for name in names if name.endswith("-squall")]
    ask = ["exec", app, "python3", "-c", ASK]
    assert within(30, lambda: podman.run(*ask).returncode == 0), podman.run(*ask).stdout + podman("logs", squall)
    status, milliseconds, fault = podman(*ask).split(maxsplit=2)
    assert status == "200" and float(milliseconds) >= 200
    assert "the dependency is slow" in fault
    # The token of the Secret is the one that is asked for.
    token = base64.b64decode(objects["Secret"]["data"]["token"]).decode()
    assert podman("exec", app, "python3", "-c", READ_METRICS, token) == "200"
    assert "HTTP Error 401" in podman.run("exec", app, "python3", "-c", READ_METRICS, "wrong").stdout
    podman("play", "kube", "--down", pod)
    assert squall not in podman("ps", "-a", "--format", "{{.Names}}").split()
