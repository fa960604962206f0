"""A docker daemon, the images that the stacks need under their public names, and the two kinds of Compose."""

import os
import shutil
import subprocess
import sys
import time

import yaml
from conftest import DEPLOY, ROOT, free_port, run

CACHE = ROOT / "tests/.cache/deploy"
STACKS = ["in-front", "intercept", "demo"]
PLACES = os.pathsep.join(["/usr/bin", os.environ["PATH"], "/usr/sbin", "/sbin"])
DAEMON_SECONDS = 30

BASE = "squall-test-base"
BASE_PACKAGES = "ca-certificates,iptables,python3"
# Debian 13's Compose and its builder run on Debian 12, whose own Compose is of the first kind.
PLUGINS = ["docker-compose", "docker-buildx"]
PLUGINS_RELEASE = "trixie"


class Lacking(Exception):
    """What the machine does not have or does not allow."""


def which(command):
    if not (found := shutil.which(command, path=PLACES)):
        raise Lacking(f"{command} is not on this machine")
    return found


def within(seconds, holds):
    """Whether it holds in time."""
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.2)
    return True


class Docker:
    """The docker command, with a daemon behind it: the machine's, or else one of its own."""

    def __init__(self, folder):
        self.folder = folder
        self.daemon = None
        self.env = {
            **os.environ,
            "PATH": PLACES,
            "DOCKER_BUILDKIT": "1",
            "COMPOSE_DOCKER_CLI_BUILD": "1",
            "DOCKER_CONFIG": str(CACHE / "docker"),
        }
        which("docker")
        if not self.answers():
            self.start()

    def __call__(self, *args, **options):
        result = self.run("docker", *args, **options)
        assert result.returncode == 0, f"docker {args}:\n{result.stdout}"
        return result.stdout.strip()

    def run(self, *command, **options):
        return run(*command, **{"env": self.env, "timeout": 300, **options})

    def answers(self):
        return self.run("docker", "version").returncode == 0

    def start(self):
        if os.geteuid() != 0:
            raise Lacking("no docker daemon runs, and to start one takes root")
        log = self.folder / "dockerd.log"
        places = [f"--{what}={self.folder / what}" for what in ("data-root", "exec-root", "pidfile")]
        with log.open("w") as output:
            self.daemon = subprocess.Popen([which("dockerd"), *places], stdout=output, stderr=output, env=self.env)
        if not within(DAEMON_SECONDS, lambda: self.answers() or self.daemon.poll() is not None) or not self.answers():
            said = " ".join(log.read_text().splitlines()[-1:])
            self.stop()
            raise Lacking(f"dockerd does not start here: {said}")

    def stop(self):
        if self.daemon:
            self.daemon.terminate()
            self.daemon.wait(timeout=60)
            shutil.rmtree(self.folder, ignore_errors=True)

    def build(self, name, context, *options):
        self("build", "-q", "-t", name, *options, context, timeout=600)

    def has(self, image):
        return self.run("docker", "image", "inspect", image).returncode == 0

    def inspect(self, what, form):
        return self("inspect", "-f", "{{" + form + "}}", what)


class Images:
    """Makes all images that the stacks name. There may be no registry to get Debian, Python and Prometheus from."""

    def __init__(self, docker, folder):
        self.docker = docker
        self.folder = folder
        CACHE.mkdir(parents=True, exist_ok=True)
        self.make_base()
        self.make_shop()
        self.make_redirect()
        self.make_prometheus()
        self.make_squall()

    def make_base(self):
        file = CACHE / f"base-{BASE_PACKAGES}.tar"
        if not file.exists():
            tree = self.folder / "base"
            made = run(which("debootstrap"), "--variant=minbase", f"--include={BASE_PACKAGES}", "bookworm", tree, timeout=400)
            if made.returncode != 0:
                raise Lacking(f"debootstrap makes no image of Debian here: {made.stdout[-300:]}")
            for waste in ("var/cache/apt/archives", "var/lib/apt/lists"):
                shutil.rmtree(tree / waste)
            run("tar", "-C", tree, "-cf", f"{file}.part", ".", timeout=100)
            os.rename(f"{file}.part", file)
            shutil.rmtree(tree)
        self.docker("import", file, BASE)
        tried = self.docker.run("docker", "run", "--rm", "-p", "127.0.0.1::80", BASE, "true")
        if tried.returncode != 0:
            raise Lacking(f"docker runs no container here: {tried.stdout[-300:]}")
        # A machine's own image of that name is left as it is.
        if not self.docker.has("debian:bookworm-slim"):
            self.docker("tag", BASE, "debian:bookworm-slim")

    def on_base(self, source, *changes):
        """A copy of a folder with a Dockerfile that begins with our image instead of a public one."""
        copy = self.folder / source.name
        shutil.copytree(source, copy)
        lines = (copy / "Dockerfile").read_text().splitlines()
        lines = [f"FROM {BASE}" if line.startswith("FROM ") else line for line in lines]
        for begin, line in changes:
            assert any(one.startswith(begin) for one in lines), f"no line of {source}/Dockerfile begins with {begin}"
            lines = [line if one.startswith(begin) else one for one in lines]
        (copy / "Dockerfile").write_text("\n".join(lines))
        return copy

    def make_shop(self):
        """The demo's application; PyPI's packages are put beside Debian's Python from outside."""
        source = DEPLOY / "compose/demo/shop"
        if not (CACHE / "packages").exists():
            options = ["--quiet", "--python-version", "3.11", "--only-binary", ":all:", "--target", CACHE / "packages.part"]
            pip = run(sys.executable, "-m", "pip", "install", *options, "-r", source / "requirements.txt", timeout=300)
            assert pip.returncode == 0, pip.stdout
            (CACHE / "packages.part").rename(CACHE / "packages")
        packages = ("RUN pip ", "COPY packages /packages\nENV PYTHONPATH=/packages")
        context = self.on_base(source, packages, ("COPY requirements", ""))
        shutil.copytree(CACHE / "packages", context / "packages")
        self.docker.build("squall-demo-shop", context)

    def make_redirect(self):
        self.docker.build("squall-redirect", self.on_base(DEPLOY / "redirect"))

    def make_prometheus(self):
        """Debian's Prometheus, under the name that the demo gives it."""
        name = yaml.safe_load((DEPLOY / "compose/demo/docker-compose.yml").read_text())["services"]["prometheus"]["image"]
        context = self.folder / "prometheus"
        context.mkdir()
        shutil.copy(which("prometheus"), context / "prometheus")
        lines = [f"FROM {BASE}", "COPY prometheus /bin/", "RUN mkdir /prometheus", 'ENTRYPOINT ["/bin/prometheus"]']
        (context / "Dockerfile").write_text("\n".join(lines))
        if not self.docker.has(name):
            self.docker.build(name, context)

    def make_squall(self):
        """The final images from a binary that is already built, by the way that releases take."""
        machine = self.docker("version", "--format", "{{.Server.Arch}}")
        context = self.folder / "squall"
        for part in ("config", "deploy"):
            shutil.copytree(ROOT / part, context / part)
        shutil.copy(ROOT / ".dockerignore", context)
        binary = context / f"dist/squall-linux-{machine}"
        binary.parent.mkdir()
        shutil.copy(static_binary(), binary)
        run("strip", "--strip-debug", binary)
        options = ["-f", context / "deploy/Dockerfile", "--build-arg", "BINARY_FROM=prebuilt"]
        self.docker.build("squall", context, *options)
        for target in ("debian", "toxiproxy"):
            self.docker.build(f"squall:{target}", context, *options, "--target", target)


def static_binary():
    """SQUALL_STATIC, or what `cargo build` made with its last link done statically: the crates are there already."""
    if given := os.environ.get("SQUALL_STATIC"):
        return given
    built = run("cargo", "rustc", "--bin", "squall", "--", "-C", "target-feature=+crt-static", timeout=900)
    assert built.returncode == 0, built.stdout
    return ROOT / os.environ.get("CARGO_TARGET_DIR", "target") / "debug/squall"


def compose_1(docker):
    """Compose of the first kind: the command of Debian 12, 1.29."""
    command = [which("docker-compose")]
    version = docker.run(*command, "version", "--short").stdout
    if not version.startswith("1."):
        raise Lacking(f"docker-compose is {version.strip()}, not 1.x")
    return command


def compose_2(docker):
    """Compose of the second kind: docker's plugin, the machine's or Debian's."""
    command = [which("docker"), "compose"]
    if docker.run(*command, "version").returncode != 0:
        fetch_plugins(CACHE / "docker/cli-plugins")
    if docker.run(*command, "version").returncode != 0:
        raise Lacking("docker has no plugin `compose`, nor does one of Debian's run here")
    return command


def fetch_plugins(folder):
    """Takes docker's plugins out of a later Debian's packages, without installing anything."""
    apt = CACHE / "apt"
    for part in ("lists/partial", "cache/archives/partial"):
        (apt / part).mkdir(parents=True, exist_ok=True)
    indexes = run(which("apt-get"), "indextargets", "--format", "$(SITE)", "Created-By: Packages").stdout.splitlines()
    sources = apt / "sources.list"
    sources.write_text(f"deb {next(iter(indexes), 'http://deb.debian.org/debian')} {PLUGINS_RELEASE} main\n")
    settings = {
        "Dir::Etc::SourceList": sources,
        "Dir::Etc::SourceParts": "/dev/null",
        "Dir::State::Lists": apt / "lists",
        "Dir::Cache": apt / "cache",
        "APT::Sandbox::User": "root",
    }
    options = [word for key, value in settings.items() for word in ("-o", f"{key}={value}")]
    for step in (["update"], ["download", *PLUGINS]):
        result = run("apt-get", *options, *step, cwd=apt, timeout=120)
        if result.returncode != 0:
            raise Lacking(f"Debian's {PLUGINS_RELEASE} can't be had: {result.stdout[-300:]}")
    folder.mkdir(parents=True, exist_ok=True)
    for plugin in PLUGINS:
        [file] = apt.glob(f"{plugin}_*.deb")
        run("dpkg-deb", "-x", file, apt / plugin)
        [found] = (apt / plugin).rglob(f"cli-plugins/{plugin}")
        shutil.copy(found, folder / plugin)
    shutil.rmtree(apt)


class Stack:
    """One of deploy/compose, in a copy of deploy/ so that its files can be changed."""

    def __init__(self, docker, compose, name, folder):
        shutil.copytree(DEPLOY, folder / "deploy")
        self.docker = docker
        self.command = compose
        self.here = folder / "deploy/compose" / name
        self.port, self.prometheus_port = free_port(), free_port()
        ports = {"SQUALL_PORT": str(self.port), "PROMETHEUS_PORT": str(self.prometheus_port)}
        # Somebody else may have a stack of the same folder's name up.
        self.env = {**docker.env, **ports, "COMPOSE_PROJECT_NAME": f"squall-test-{os.getpid()}-{name}"}
        self.url = f"http://127.0.0.1:{self.port}"

    def run(self, *args, **options):
        result = run(*self.command, *args, cwd=self.here, env=self.env, **{"timeout": 120, **options})
        assert result.returncode == 0, f"{args}:\n{result.stdout}"
        return result.stdout

    def up(self):
        self.run("config", "-q")
        self.run("up", "-d", "--no-build")
        assert within(60, self.healthy), self.logs("squall")

    def down(self):
        """Takes it down as a user does; how squall ended, and the seconds of all."""
        squall = self.id("squall")
        began = time.monotonic()
        self.run("stop")
        code = self.docker.inspect(squall, ".State.ExitCode")
        self.run("down", "-v")
        assert self.run("ps", "-q").strip() == ""
        return int(code), time.monotonic() - began

    def remove(self):
        """Whatever is left of it, in whatever state."""
        run(*self.command, "down", "-v", "-t", "1", cwd=self.here, env=self.env, timeout=120)

    def id(self, service):
        return self.run("ps", "-a", "-q", service).strip()

    def inspect(self, service, form):
        return self.docker.inspect(self.id(service), form)

    def healthy(self):
        return self.inspect("squall", ".State.Health.Status") == "healthy"

    def exec(self, service, *command):
        """Exit code and output of a command in a service's container."""
        result = run(*self.command, "exec", "-T", service, *command, cwd=self.here, env=self.env)
        return result.returncode, result.stdout

    def logs(self, service):
        return self.run("logs", "--no-color", service)

    def address(self, service):
        return self.inspect(service, "range .NetworkSettings.Networks}}{{.IPAddress}}{{end")

    def save(self, old, new):
        """Changes the rules as editors do: a new file takes the old one's place."""
        file = self.here / "squall/squall.yaml"
        text = file.read_text()
        assert old in text
        written = file.with_name(".new")
        written.write_text(text.replace(old, new))
        written.rename(file)
