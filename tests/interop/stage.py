"""One squall between our clients and upstreams, with a rule for each fault, that a request asks for by name in `x-fault`.

The same paths lead to the upstream of `origin.py` (the place "proxied", over HTTP/1.1; "h2c", over HTTP/2) and to the echo
fake (the place "fake"), over each protocol downstream, in plain and over TLS.
"""

import collections

import flow
import origin
from certificates import Authority
from squall import Squall, eventually

PLACES = ["proxied", "fake"]
PROTOCOLS = ["h1", "h2"]
LISTENERS = {"proxied": "real", "fake": "echo", "h2c": "real2"}
ALPN = {"h1": "http/1.1", "h2": "h2"}


class Stage:
    """Starts everything; `faults` maps a name to the YAML of the rule that it stands for: a list of faults, or more keys.

        `others` adds places with an upstream of their own, over TLS if the name ends with `-tls`.
        """

    def __init__(self, directory, faults, rules="", more="", seed=7, others=None):
        self.authority = Authority(directory)
        certificate, key = self.authority.sign("server")
        self.origins = {"proxied": origin.Origin("h1"), "h2c": origin.Origin("h2")}
        listeners, upstreams = [], []
        tls = f"tls: {{certificate: {certificate}, key: {key}}}"
        for place, upstream in LISTENERS.items():
            listeners.append(f"  {place}: {{address: 127.0.0.1:0, upstream: {upstream}}}")
            listeners.append(f"  {place}-tls: {{address: 127.0.0.1:0, upstream: {upstream}, {tls}}}")
        upstreams.append(f"  real: {{url: 'http://127.0.0.1:{self.origins['proxied'].port}'}}")
        upstreams.append(f"  real2: {{url: 'http://127.0.0.1:{self.origins['h2c'].port}', protocol: h2c}}")
        upstreams.append("  echo: {fake: echo}")
        for name, upstream in (others or {}).items():
            listeners.append(f"  {name}: {{address: 127.0.0.1:0, upstream: {name}{', ' + tls if name.endswith('-tls') else ''}}}")
            upstreams.append(f"  {name}: {upstream}")
        own = [rule(name, text) for name, text in faults.items()]
        sections = [f"seed: {seed}", more, "listeners:", *listeners, "upstreams:", *upstreams, "rules:", *own, rules]
        try:
            self.squall = Squall("\n".join(sections) + "\n", directory)
        except BaseException:
            self._stop_origins()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.squall.kill()
        self._stop_origins()

    def _stop_origins(self):
        for one in self.origins.values():
            one.stop()

    def port(self, place, tls=False):
        return self.squall.port(f"{place}-tls" if tls else place)

    def url(self, place, path, tls=False):
        return f"{'https' if tls else 'http'}://{'localhost' if tls else '127.0.0.1'}:{self.port(place, tls)}{path}"

    def connect(self, protocol, place, tls=False, **options):
        context = flow.trusting(self.authority.file, ALPN[protocol]) if tls else None
        return flow.connect(protocol, self.port(place, tls), context, **options)

    def fetch(self, protocol, place, path, fault=None, tls=False, headers=(), **options):
        """One exchange over a connection of its own."""
        connection = self.connect(protocol, place, tls)
        try:
            return connection.exchange(path, headers=[*headers, *asking(fault)], **options)
        finally:
            connection.close()

    def seen(self, place, target):
        """What the upstream of a place saw of the requests for a path and query."""
        return self.origins[place].seen(target)

    def injected(self, name, **labels):
        return self.squall.metrics().sum("squall_faults_injected_total", rule=name, **labels)

    def skipped(self, name):
        """How often the rule's faults could not be applied, by reason."""
        reasons = collections.Counter()
        for labels, count in self.squall.metrics().series("squall_faults_skipped_total", rule=name):
            reasons[labels["reason"]] += count
        return {reason: count for reason, count in reasons.items() if count}

    def held(self):
        return self.squall.metrics().sum("squall_requests_held")

    def busy(self):
        """Faults at work, requests held and connections open."""
        metrics = self.squall.metrics()
        gauges = ["squall_faults_active", "squall_requests_held", "squall_connections"]
        return tuple(metrics.sum(gauge) for gauge in gauges)

    def wait_until_idle(self, seconds=10.0):
        eventually(self.busy, (0, 0, 0), seconds)


def asking(fault):
    """The header that asks for a fault."""
    return [("x-fault", fault)] if fault else []


def rule(name, text):
    """A rule of one line: `text` is its list of faults, or several keys."""
    keys = f"faults: {text}" if text.lstrip().startswith("[") else text
    return f"  - {{name: {name}, match: {{headers: {{x-fault: {name}}}}}, {keys}}}"
