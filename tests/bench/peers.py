"""The proxies to compare, each a process with one worker on one core, in front of the same nginx upstream."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "interop"))

from squall import Squall  # noqa: E402
from squall import binary as squall_binary  # noqa: E402

PROXY_CORE, LOAD_CORE = sorted(os.sched_getaffinity(0))[:2] if len(os.sched_getaffinity(0)) > 1 else (0, 0)
DELAY_SECONDS = 0.1
BIG_BYTES = 64 << 20  # what the upstream answers to /big
RATES_KIB = (20, 500)  # of the listeners `rate-20` and `rate-500`
TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")

NGINX = """
daemon off; master_process off; worker_processes 1;
pid {directory}/nginx.pid; error_log {directory}/error.log;
events {{ worker_connections 4096; }}
http {{
  access_log off; keepalive_requests 1000000000; keepalive_timeout 1h;
  client_body_temp_path {directory}/body; proxy_temp_path {directory}/proxy; fastcgi_temp_path {directory}/fastcgi;
  uwsgi_temp_path {directory}/uwsgi; scgi_temp_path {directory}/scgi;
  {http}
}}
"""

UPSTREAM = """
server {
  listen 127.0.0.1:{port}; sendfile on;
  location / { return 200 "hello, world\\n"; }
  location /big { root {files}; }
}
"""

PROXY = """
upstream backend { server 127.0.0.1:{upstream}; keepalive 256; keepalive_requests 1000000000; }
server {
  listen 127.0.0.1:{port};
  proxy_http_version 1.1; proxy_set_header Connection "";
  location / { if ($http_x_chaos = yes) { return 503; } proxy_pass http://backend; }
  location /static { return 200 "hello, world\\n"; }
  location /api/v1/todo/list/count { default_type application/json; return 200 '{"count":21}'; }
}
"""

HAPROXY = """
global
  nbthread 1
  maxconn 4000
defaults
  mode tcp
  timeout connect 5s
  timeout client 1h
  timeout server 1h
  {options}
frontend web
  bind 127.0.0.1:{port}
  default_backend upstream
backend upstream
  server upstream 127.0.0.1:{upstream}
"""


def pinned(core):
    return ["taskset", "-c", str(core)]


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Process:
    """A proxy or server with a port, and the processor time that it has used."""

    def __init__(self, name, pid, ports, stop):
        self.name, self.pid, self.ports, self.stop = name, pid, ports, stop

    def url(self, path, listener="web"):
        return f"http://127.0.0.1:{self.ports[listener]}{path}"

    def resident_bytes(self):
        """Memory that is really there, its own share of what it has in common with others."""
        text = Path(f"/proc/{self.pid}/smaps_rollup").read_text()
        return 1024 * int(re.search(r"^Pss: +(\d+) kB", text, re.MULTILINE).group(1))

    def cpu_seconds(self):
        """User and system time of all threads, as the kernel counts it, in ticks of usually 10 ms."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS_A_SECOND


def spawn(name, command, core, ports, directory):
    log = (directory / "log").open("w")
    process = subprocess.Popen([*pinned(core), *map(str, command)], stdout=log, stderr=log)

    def stop():
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    for port in ports.values():
        wait_for_port(name, process, port, directory)
    return Process(name, process.pid, ports, stop)


def wait_for_port(name, process, port, directory, seconds=20):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    process.kill()
    sys.exit(f"{name} did not start:\n{(directory / 'log').read_text()}")


def nginx(name, http, core, directory, **values):
    directory.mkdir()
    port = free_port()
    for key, value in {"port": port, **values}.items():
        http = http.replace(f"{{{key}}}", str(value))
    config = directory / "nginx.conf"
    config.write_text(NGINX.format(directory=directory, http=http))
    command = ["nginx", "-p", directory, "-e", directory / "error.log", "-c", config]
    return spawn(name, command, core, {"web": port}, directory)


def start_upstream(directory):
    with (directory / "big").open("wb") as big:
        big.truncate(BIG_BYTES)
    return nginx("upstream", UPSTREAM, LOAD_CORE, directory / "upstream", files=directory)


def start_nginx(directory, upstream):
    return nginx("nginx", PROXY, PROXY_CORE, directory / "nginx", upstream=upstream.ports["web"])


def start_fastapi(directory, lean):
    """See count_app.py."""
    name = "FastAPI, lean" if lean else "FastAPI, as the original"
    directory = directory / f"fastapi-{lean}"
    directory.mkdir()
    port = free_port()
    app = ["--app-dir", ROOT / "tests" / "bench", "count_app:app"]
    quiet = ["--no-access-log", "--log-level", "warning", "--workers", "1"]
    python = ROOT / "tests" / ".venv" / "bin" / "python"
    os.environ |= {"TODO_DATABASE": str(directory / "todos.db"), "LEAN": str(int(lean))}
    return spawn(name, [python, "-m", "uvicorn", *app, "--port", port, *quiet], PROXY_CORE, {"web": port}, directory)


def start_fake(directory):
    """The fake test-api alone, with no proxy before it."""
    directory = directory / "fake"
    directory.mkdir()
    port = free_port()
    command = [squall_binary(), "fake", "test-api", "--address", f"127.0.0.1:{port}"]
    return spawn("squall fake test-api", command, PROXY_CORE, {"web": port}, directory)


def start_envoy(directory, upstream):
    directory = directory / "envoy"
    directory.mkdir()
    ports = {name: free_port() for name in ("web", "delay", *(f"rate-{rate}" for rate in RATES_KIB))}
    config = directory / "envoy.json"
    config.write_text(json.dumps(envoy_config(ports, upstream.ports["web"])))
    envoy = ROOT / "tests" / ".venv" / "bin" / "envoy"
    command = [envoy, "-c", config, "--concurrency", "1", "--disable-hot-restart", "--log-level", "error"]
    return spawn("Envoy", command, PROXY_CORE, ports, directory)


def envoy_config(ports, upstream):
    """Listeners whose fault filter waits for a header, delays everything, or limits the rate of all responses."""
    everything = {"numerator": 100, "denominator": "HUNDRED"}
    aborts = {
        "headers": [{"name": "x-chaos", "string_match": {"exact": "yes"}}],
        "abort": {"http_status": 503, "percentage": everything},
    }
    delays = {"delay": {"fixed_delay": f"{DELAY_SECONDS}s", "percentage": everything}, "max_active_faults": 100000}
    rates = {
        f"rate-{rate}": {"response_rate_limit": {"fixed_limit": {"limit_kbps": rate}, "percentage": everything}}
        for rate in RATES_KIB
    }
    address = {"socket_address": {"address": "127.0.0.1", "port_value": upstream}}
    cluster = {
        "name": "backend",
        "type": "STATIC",
        "connect_timeout": "5s",
        "load_assignment": {
            "cluster_name": "backend",
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}],
        },
    }
    faults = {"web": aborts, "delay": delays, **rates}
    listeners = [envoy_listener(ports[name], fault) for name, fault in faults.items()]
    return {"static_resources": {"listeners": listeners, "clusters": [cluster]}}


def envoy_listener(port, fault):
    types = "type.googleapis.com/envoy.extensions.filters"
    static = {"match": {"prefix": "/static"}, "direct_response": {"status": 200, "body": {"inline_string": "hello, world\n"}}}
    proxied = {"match": {"prefix": "/"}, "route": {"cluster": "backend"}}
    manager = {
        "@type": f"{types}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "web",
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [static, proxied]}]},
        "http_filters": [
            {"name": "fault", "typed_config": {"@type": f"{types}.http.fault.v3.HTTPFault", **fault}},
            {"name": "router", "typed_config": {"@type": f"{types}.http.router.v3.Router"}},
        ],
    }
    return {
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": port}},
        "filter_chains": [{"filters": [{"name": "hcm", "typed_config": manager}]}],
    }


def start_haproxy(directory, upstream, splices):
    """HAProxy in TCP mode, with or without splice(2)."""
    port = free_port()
    config = directory / "haproxy.cfg"
    options = "option splice-auto" if splices else ""
    config.write_text(HAPROXY.format(port=port, upstream=upstream.ports["web"], options=options))
    return spawn("HAProxy", ["haproxy", "-db", "-f", config], PROXY_CORE, {"web": port}, directory)


def start_copy_loop(directory, upstream):
    """See copy_loop.rs, whose program is in COPY_LOOP."""
    port = free_port()
    command = [os.environ["COPY_LOOP"], f"127.0.0.1:{port}", f"127.0.0.1:{upstream.ports['web']}"]
    return spawn("copy loop", command, PROXY_CORE, {"web": port}, directory)


def start_squall_tcp(directory, upstream, program=None):
    """squall with a TCP listener without rules, and one whose bytes go through a shaper."""
    config = f"""
seed: 1
threads: 1
log: {{format: json, access: false}}
listeners:
  web: {{address: 127.0.0.1:0, protocol: tcp, upstream: backend}}
  shaped: {{address: 127.0.0.1:0, protocol: tcp, upstream: backend}}
upstreams: {{backend: {{address: '127.0.0.1:{upstream.ports["web"]}'}}}}
rules: [{{name: shaped, listener: shaped, faults: [{{bandwidth: 1TiB/s}}]}}]
"""
    server = Squall(config, directory, prefix=pinned(PROXY_CORE), program=program)
    return Process("squall", server.process.pid, server.ports, server.kill)


def start_squall(name, directory, upstream, rules, program=None, more=""):
    """squall with these rules, and with `more` keys; its `static` and `todo` listeners answer in process, its `rate-…` ones are there for rules."""
    directory = directory / name.replace(" ", "-").replace(",", "")
    directory.mkdir()
    rated = "\n  ".join(f"rate-{rate}: {{address: 127.0.0.1:0, upstream: backend}}" for rate in RATES_KIB)
    config = f"""
seed: 1
threads: 1
log: {{format: json, access: false}}
listeners:
  web: {{address: 127.0.0.1:0, upstream: backend}}
  static: {{address: 127.0.0.1:0, upstream: echo}}
  todo: {{address: 127.0.0.1:0, upstream: todo}}
  {rated}
upstreams:
  backend: {{url: 'http://127.0.0.1:{upstream.ports["web"]}'}}
  echo: {{fake: echo}}
  todo: {{fake: test-api}}
rules:{rules or " []"}
{more}
"""
    server = Squall(config, directory, prefix=pinned(PROXY_CORE), program=program)
    process = Process(name, server.process.pid, server.ports, server.kill)
    process.admin = server.admin
    return process


def start_watcher(directory, squall):
    """Somebody who looks at a squall: reads its events, as the dashboard does."""
    command = ["curl", "-sN", "-o", "/dev/null", f"{squall.admin}/api/v1/events"]
    return spawn("watcher", command, LOAD_CORE, {}, directory)
