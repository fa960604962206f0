"""Toxiproxy's clients of several languages behind one set of methods: the ones in other languages are driven by commands on
their standard input. What a client can't do is in its `lacks`.
"""

import json
import os
import subprocess
from pathlib import Path

import chaostoxi.proxy.actions as chaos_proxy
import chaostoxi.proxy.probes as chaos_probe
import chaostoxi.toxic.actions as chaos_toxic
import toxiproxy
from squall import ROOT, port_of

NODE_CLIENT = Path(__file__).parent / "node-client" / "client.mjs"
NODE_MODULES = ROOT / "tests" / ".venv" / "node-client"
RUST_CLIENTS = Path(__file__).parent / "rust-clients"
ANSWER_SECONDS = 60


class Driven:
    """A client in a process of its own; `url` is the API's."""

    lacks = frozenset()

    def __init__(self, command, log):
        self.out = log.open("w")
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": self.out}
        self.process = subprocess.Popen(list(map(str, command)), text=True, bufsize=1, **pipes)

    def do(self, what, name=None, **words):
        self.process.stdin.write(json.dumps({"do": what, "name": name, **words}) + "\n")
        line = self.process.stdout.readline()
        assert line, f"the client ended with {self.process.wait(ANSWER_SECONDS)}"
        answer = json.loads(line)
        if "failed" in answer:
            raise Failed(answer["failed"])
        return answer["done"]

    def stop(self):
        self.process.stdin.close()
        self.process.wait(ANSWER_SECONDS)
        self.process.stdout.close()
        self.out.close()

    def version(self):
        return self.do("version")

    def create(self, name, upstream):
        """The port that the proxy got."""
        return port_of(self.do("create", name, listen="127.0.0.1:0", upstream=upstream)["listen"])

    def enabled(self, name):
        return self.do("read", name)["enabled"]

    def names(self):
        return set(self.do("list"))

    def add(self, name, kind, attributes):
        """Adds a toxic downstream, and returns its name."""
        return self.do("add", name, type=kind, stream="downstream", attributes=attributes)

    def update(self, name, toxic, kind, attributes):
        return self.do("update", name, toxic=toxic, type=kind, attributes=attributes)

    def remove(self, name, toxic):
        self.do("remove", name, toxic=toxic)

    def disable(self, name):
        self.do("disable", name)

    def enable(self, name):
        self.do("enable", name)

    def reset(self):
        self.do("reset")

    def delete(self, name):
        self.do("delete", name)


class Failed(Exception):
    """What a client reports as an error."""


class Node(Driven):
    def __init__(self, server, tools, log):
        super().__init__([tools["node"], NODE_CLIENT, NODE_MODULES, server.url], log)


class ToxiproxyRust(Driven):
    lacks = frozenset({"noop", "reset_peer", "update"})

    def __init__(self, server, tools, log):
        super().__init__([tools["rust"] / "toxiproxy_rust", f"127.0.0.1:{server.port}"], log)


class Noxious(Driven):
    """Its answer to a noop would be one that it can't read, and it knows no reset_peer."""

    lacks = frozenset({"noop", "reset_peer", "version"})

    def __init__(self, server, tools, log):
        super().__init__([tools["rust"] / "noxious", server.url], log)


class ToxiproxyPython:
    lacks = frozenset({"update"})

    def __init__(self, server, _tools, _log):
        self.client = toxiproxy.Toxiproxy()
        self.client.update_api_consumer("127.0.0.1", server.port)

    def stop(self):
        pass

    def version(self):
        return self.client.version().decode()

    def create(self, name, upstream):
        return port_of(self.client.create(upstream=upstream, name=name).listen)

    def enabled(self, name):
        return self.client.get_proxy(name).enabled

    def names(self):
        return set(self.client.proxies())

    def add(self, name, kind, attributes):
        proxy = self.client.get_proxy(name)
        before = set(proxy.toxics())
        proxy.add_toxic(type=kind, attributes=attributes)
        return (set(proxy.toxics()) - before).pop()

    def remove(self, name, toxic):
        self.client.get_proxy(name).destroy_toxic(toxic)

    def disable(self, name):
        self.client.get_proxy(name).disable()

    def enable(self, name):
        self.client.get_proxy(name).enable()

    def reset(self):
        self.client.reset()

    def delete(self, name):
        self.client.destroy(self.client.get_proxy(name))


class ChaosToolkit:
    """The actions and probes that an experiment names."""

    lacks = frozenset({"names", "update", "version"})

    def __init__(self, server, _tools, _log):
        self.configuration = {"toxiproxy_url": server.url}

    def stop(self):
        for name in [name for name in os.environ if name.startswith("client-") and name.endswith("_PORT")]:
            del os.environ[name]

    def create(self, name, upstream):
        host, port = upstream.split(":")
        assert chaos_proxy.create_proxy(name, host, int(port), "127.0.0.1", configuration=self.configuration)
        assert chaos_probe.proxy_exist(name, configuration=self.configuration)
        return int(self.configuration[f"{name}_PORT"])

    def enabled(self, name):
        return chaos_probe.get_proxy_attribute(name, "enabled", configuration=self.configuration)

    def add(self, name, kind, attributes):
        assert chaos_toxic.create_toxic(name, f"our {kind}", kind, attributes=attributes, configuration=self.configuration)
        return f"our {kind}"

    def remove(self, name, toxic):
        assert chaos_toxic.delete_toxic(name, toxic, configuration=self.configuration)

    def disable(self, name):
        assert chaos_proxy.disable_proxy(name, configuration=self.configuration)

    def enable(self, name):
        assert chaos_proxy.enable_proxy(name, configuration=self.configuration)

    def reset(self):
        assert chaos_proxy.reset(configuration=self.configuration)

    def delete(self, name):
        chaos_proxy.delete_proxy(name, configuration=self.configuration)
        assert not chaos_probe.proxy_exist(name, configuration=self.configuration)


CLIENTS = {
    "toxiproxy-python": ToxiproxyPython,
    "toxiproxy-node-client": Node,
    "toxiproxy_rust": ToxiproxyRust,
    "noxious-client": Noxious,
    "chaostoolkit-toxiproxy": ChaosToolkit,
}
