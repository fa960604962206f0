"""The soak's ledger: what clients saw of each request, what squall's access log says of it, and where the two do not agree.

| the client saw | lines of the log | status | client_gone |
|---|---|---|---|
| an answer, to its end | 1 | the same | no, unless it was still sending |
| an answer that squall or the upstream broke off | 1 | the same | no, unless it was still sending |
| an answer, and left | 1 | the same | either |
| the end that its fault injects | 1 | 0 | no |
| nothing, and left; squall had the request | 1 | any; 0 under `hold` | yes, where the status is 0 without another cause |
| the end of its HTTP/2 connection, by a fault of another stream | 1, without an answer at most 1 | the same | no |
| nothing, and squall may not have had the request | at most 1 | any | either |
| nothing, since it left before its head was complete | 0 | | |
"""

import collections

from soak_clients import Fate

SAME_BODY = {None, "delay", "late-response", "bandwidth", "bandwidth-up", "dribble", "stall", "duplicate", "corrupt", "queue"}
SLOW_SECONDS = 10.0  # for the well-behaved client, on a busy machine


# The error of a line about a request whose client closed its sending side within the head.
CUT_HEAD = "the connection ended before the end of the head"


class Ledger:
    """What clients saw of each request, and what squall's log says of it; what agrees is forgotten.

    A line about a request that was forgotten is one too many, and stands out as one of a request that nobody sent.
    """

    def __init__(self):
        self.outcomes = {}  # request number: (plan, outcome)
        self.lines = collections.defaultdict(list)  # request number: (status, client_gone, error)
        self.coming = collections.deque()  # lines that are not in `lines` yet: the log is read by a thread of its own
        self.counts = collections.Counter()  # ("requests", listener, status), ("injected", rule, fault, listener, upstream) and so on
        self.errors = collections.Counter()  # (upstream, client_gone): lines with an error
        self.fates = collections.Counter()
        self.seen = 0  # of the requests that squall may not have had
        self.beside = 0  # answers to well-behaved clients
        self.found = []  # problems of well-behaved clients
        self.cut_heads = 0  # requests whose clients left within the head: they have no id, and no duration

    def heard(self, line):
        """A line of the access log."""
        status, gone = line["status"], line.get("client_gone", False)
        self.counts["requests", line["listener"], str(status)] += 1
        if line.get("error") == CUT_HEAD:
            self.cut_heads += 1
            return
        self.coming.append((line.get("request_id", "none"), (status, gone, line.get("error"))))
        self.counts["gone", line["listener"]] += gone
        # With a 400 it is the client's: no upstream of the soak fails so.
        if "error" in line and status != 400:
            self.errors[line["upstream"], bool(gone)] += 1
        pairs = zip(line.get("rules", "").split(", "), line.get("faults", "").split(", "), strict=True)
        where = line["listener"], line.get("upstream", "")
        self.counts.update(("injected", rule, fault, *where) for rule, fault in pairs if fault)

    def note(self, plan, outcome):
        """What a client saw."""
        self.fates[outcome.fate] += 1
        self.outcomes[str(plan.number)] = (plan, outcome)

    def note_beside(self, plan, outcome):
        """What a well-behaved client saw."""
        self.note(plan, outcome)
        self.beside += 1
        if (outcome.fate, outcome.status, outcome.size) != (Fate.COMPLETE, 200, 5000) or outcome.seconds > SLOW_SECONDS:
            self.found.append(("the well-behaved client", str(outcome)))

    def settle(self):
        """Forgets what agrees."""
        while self.coming:
            number, line = self.coming.popleft()
            self.lines[number].append(line)
        for number in [number for number, (_, outcome) in self.outcomes.items() if self._agrees(number)]:
            _, outcome = self.outcomes.pop(number)
            self.seen += outcome.fate == Fate.UNSURE
            self.lines.pop(number, None)

    def _agrees(self, number):
        plan, outcome = self.outcomes[number]
        lines = self.lines.get(number, [])
        return (lines or outcome.fate == Fate.UNSENT) and not disagreement(plan, outcome, lines)

    def problems(self):
        """Every request whose client and log do not agree."""
        self.settle()
        yield from self.found
        for number, (plan, outcome) in self.outcomes.items():
            lines = self.lines.get(number, [])
            if wrong := disagreement(plan, outcome, lines):
                yield wrong, f"log {lines}, client {outcome}, {plan.fault or 'no fault'} {plan.method} {plan.path}"
        for unknown in self.lines.keys() - self.outcomes.keys():
            yield "a request that nobody sent, or once more", f"id {unknown}, log {self.lines[unknown]}"


def disagreement(plan, outcome, lines):
    """What is wrong with a request, as the table above has it; None where nothing is."""
    if outcome.fate in (Fate.LOST, Fate.STUCK):
        return outcome.fate.value
    if len(lines) not in times(outcome):
        return f"{len(lines)} times in the log"
    if not lines or outcome.fate == Fate.UNSURE:
        return None
    return wrong_status(plan, outcome, lines[0][0]) or wrong_end(plan, outcome, *lines[0]) or wrong_size(plan, outcome)


def times(outcome):
    """How often a request may be in the log."""
    match outcome.fate:
        case Fate.UNSENT:
            return {0}
        case Fate.UNSURE:
            return {0, 1}
        case Fate.FELLED if outcome.status is None:
            return {0, 1}
    return {1}


def wrong_status(plan, outcome, status):
    if outcome.status is not None and status != outcome.status:
        return "another status in the log"
    if status and (outcome.fate == Fate.ENDED or (outcome.fate == Fate.LEFT and plan.fault == "hold")):
        return "a status in the log"
    return None


def wrong_end(plan, outcome, status, gone, error):
    if gone and outcome.fate == Fate.FELLED:
        return "client_gone, though another stream's fault closed the connection"
    if gone and outcome.uploaded and not plan.upgrade:
        if outcome.fate == Fate.COMPLETE:
            return "client_gone, though the client had its whole answer"
        if outcome.fate in (Fate.BROKEN, Fate.ENDED):
            return "client_gone, and it had not gone"
    if not gone and outcome.fate == Fate.LEFT and status == 0 and not plan.ends:
        # With an error, the upstream failed in the same moment.
        return "not client_gone, and it had gone" if error is None else None
    return None


def wrong_size(plan, outcome):
    if outcome.fate == Fate.COMPLETE and outcome.status == 200 and plan.fault in SAME_BODY and plan.path.startswith("/bytes/"):
        wanted = int(plan.path.rpartition("/")[2])
        return None if outcome.size == wanted else f"a body of {outcome.size} bytes"
    return None


def metrics_problems(metrics, ledger):
    """Where the metrics are not what the access log says."""
    counts, found = ledger.counts, collections.Counter()
    for labels, value in metrics.series("squall_requests_total"):
        found["requests", labels["listener"], labels["status"]] += int(value)
    for labels, value in metrics.series("squall_clients_gone_total"):
        found["gone", labels["listener"]] += int(value)
    for labels, value in metrics.series("squall_faults_injected_total"):
        where = labels["listener"], labels.get("upstream", "")
        found["injected", labels["rule"], labels["fault"], *where] += int(value)
    for key in sorted(found.keys() | counts.keys()):
        if found[key] != counts[key]:
            yield "metrics and log", f"{key}: {found[key]} in the metrics, {counts[key]} in the log"
    for labels, value in metrics.series("squall_upstream_errors_total"):
        least, more = (ledger.errors[labels["upstream"], gone] for gone in (False, True))
        if not least <= value <= least + more:
            yield "metrics and log", f"{labels}: {value} upstream errors, {least} to {least + more} in the log"
    if ledger.cut_heads > ledger.fates[Fate.UNSENT]:
        yield "metrics and log", f"{ledger.cut_heads} heads that were cut, {ledger.fates[Fate.UNSENT]} that clients cut"
    requests = metrics.sum("squall_requests_total") - ledger.cut_heads
    if requests != (observed := metrics.sum("squall_request_duration_seconds_count")):
        yield "metrics and log", f"{requests} requests, {observed} durations"


def listed(problems):
    """Each kind of problem with its number and a few examples."""
    kinds = collections.defaultdict(list)
    for kind, details in problems:
        kinds[kind].append(details)
    lines = [f"{len(problems)} problems"]
    for kind, examples in kinds.items():
        lines += [f"{len(examples):8} {kind}", *(f"         {one}" for one in examples[:5])]
    return "\n".join(lines)
