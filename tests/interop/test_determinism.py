"""The same seed, rules and keys give the same faults, bit for bit, whatever the order, the company and the process."""

import asyncio
import math
import random
import re

import aiohttp
import pytest

SEED = 20190401
KEYS = [f"order-{number}" for number in range(10_000)]
AT_ONCE = 50
PERCENTAGES = ["0", "0.1", "1", "12.5", "50", "99.99", "100"]


def rule(percentage):
    return f"""
  - name: share {percentage}
    when: {{percentage: {percentage}, key: "header:x-key"}}
    faults: [{{delay: {{uniform: [0us, 900us]}}}}]"""


ABORT = """
  - name: last
    when: {percentage: 33.3333, key: "header:x-key"}
    faults: [{abort: 418}]"""

# Rules that match the same requests and draw for themselves; none of them may touch the draws of the others.
OTHERS = [
    """
  - name: by ordinal
    when: {percentage: 30}
    faults: [{delay: 1us}]""",
    """
  - name: by key too
    when: {percentage: 70, key: "header:x-key"}
    faults: [{delay: {exponential: {mean: 10us}}}]""",
    """
  - name: every third
    when: {every: 3}
    faults: [{delay: 1us}]""",
    """
  - name: never
    match: {path: /elsewhere}
    faults: [{abort: 500}]""",
]


def config(rules, seed=SEED):
    return f"""
seed: {seed}
listeners: {{web: {{address: 127.0.0.1:0, upstream: echo}}}}
upstreams: {{echo: {{fake: echo}}}}
rules:{"".join(rules)}
"""


def shares():
    return [rule(percentage) for percentage in PERCENTAGES] + [ABORT]


def with_others():
    """The same rules, in the same order, with others before, between and after them."""
    mixed = shares()
    for place, other in enumerate(OTHERS):
        mixed.insert(2 * place, other)
    return [*mixed, OTHERS[1].replace("by key too", "after the end")]


def collect(server, keys):
    """The status and the Squall-Fault lines of each key."""

    async def gather():
        answers = {}
        waiting = iter(keys)
        connector = aiohttp.TCPConnector(limit=AT_ONCE)
        async with aiohttp.ClientSession(connector=connector) as session:

            async def worker():
                for key in waiting:
                    async with session.get(server.url(), headers={"x-key": key}) as answer:
                        await answer.read()
                        answers[key] = (answer.status, tuple(answer.headers.getall("Squall-Fault", ())))

            await asyncio.gather(*(worker() for _ in range(AT_ONCE)))
        return answers

    return asyncio.run(gather())


def of_shares(answers):
    """Only what the rules in question did."""
    own = re.compile(r'rule="(share [\d.]+|last)"')
    return {key: (status, tuple(line for line in lines if own.search(line))) for key, (status, lines) in answers.items()}


def shuffled(order):
    keys = KEYS.copy()
    random.Random(order).shuffle(keys)
    return keys


def test_same_faults_in_any_order_company_and_process(squall):
    first = squall(config(shares()))
    answers = collect(first, KEYS)
    assert len(answers) == len(KEYS)
    assert collect(first, shuffled(1)) == answers
    first.stop()

    second = squall(config(with_others()))
    crowded = collect(second, shuffled(2))
    assert any("by ordinal" in line for _, lines in crowded.values() for line in lines)
    assert of_shares(crowded) == of_shares(answers)
    check_shares(answers, second)


def check_shares(answers, server):
    metrics = server.metrics()
    for percentage in PERCENTAGES:
        name = f"share {percentage}"
        hits = sum(any(f'rule="{name}"' in line for line in lines) for _, lines in answers.values())
        low, high = binomial_interval(len(KEYS), float(percentage) / 100)
        assert low <= hits <= high, f"{name}: {hits} not within {low} to {high}"
        assert metrics.sum("squall_faults_injected_total", rule=name, fault="delay") == hits
    aborted = sum(status == 418 for status, _ in answers.values())
    assert aborted == metrics.sum("squall_faults_injected_total", rule="last", fault="abort")


def test_another_seed_draws_differently(squall):
    keys = KEYS[:500]
    one = collect(squall(config([rule("50")])), keys)
    other = collect(squall(config([rule("50")], seed=SEED + 1)), keys)
    differing = sum(bool(one[key][1]) != bool(other[key][1]) for key in keys)
    low, high = binomial_interval(len(keys), 0.5)
    assert low <= differing <= high


def test_the_flag_and_the_environment_set_the_seed(squall):
    keys = KEYS[:200]
    text = config([rule("50")]).replace(f"seed: {SEED}\n", "")
    from_file = collect(squall(config([rule("50")])), keys)
    assert collect(squall(text, args=["--seed", str(SEED)]), keys) == from_file
    from_environment = squall(text, env={"SQUALL_SEED": str(SEED)})
    assert collect(from_environment, keys) == from_file
    assert from_environment.metrics().sum("squall_info", seed=str(SEED)) == 1


def binomial_interval(count, share, confidence=0.999):
    """The central interval: each tail outside has a probability of at most (1 - confidence) / 2."""
    if share in (0.0, 1.0):
        return count * share, count * share
    tail = (1 - confidence) / 2

    def probability(hits):
        log = math.lgamma(count + 1) - math.lgamma(hits + 1) - math.lgamma(count - hits + 1)
        return math.exp(log + hits * math.log(share) + (count - hits) * math.log1p(-share))

    low, below = 0, probability(0)
    while below <= tail:
        low += 1
        below += probability(low)
    high, above = count, probability(count)
    while above <= tail:
        high -= 1
        above += probability(high)
    return low, high


@pytest.mark.parametrize(("count", "share", "interval"), [(10, 0.5, (0, 10)), (100, 0.5, (34, 66)), (10_000, 0.001, (2, 22))])
def test_binomial_interval(count, share, interval):
    assert binomial_interval(count, share) == interval
