"""`collections:` of a declared fake, with requests: the whole life of rows, odd inputs, writers at once, and kill -9."""

import concurrent.futures
import random
from urllib.parse import urljoin

import pytest
import requests
from fakes import Fake, configuration

SHOP = """
collections:
  products:
    fields: {name: string!, price: {type: number, minimum: 0}, stock: {type: integer, default: 0}, tags: array, added: date-time, colour: {enum: [red, blue]}}
    rows: [{name: Ada, price: 1.5}]
    generate: 100
    page: {size: 20, max: 50}
  users: {path: /api/users, id: uuid, fields: {email: {type: email, required: true, unique: true}}, envelope: data}
  notes: {}
"""


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    with Fake(SHOP, tmp_path_factory.mktemp("shop")) as fake:
        yield fake


def test_pages_are_followed_by_their_links(shop):
    seen, url = [], f"{shop.url}/products?sort=-price"
    while url:
        reply = requests.get(url, timeout=10)
        assert reply.status_code == 200 and reply.headers["x-total-count"] == "101"
        seen += reply.json()
        url = urljoin(url, reply.links["next"]["url"]) if "next" in reply.links else None
    assert len({row["id"] for row in seen}) == 101
    prices = [row["price"] for row in seen]
    assert prices == sorted(prices, reverse=True)
    assert all(row["colour"] in ("red", "blue") and row["price"] >= 0 for row in seen if row["name"] != "Ada")


def test_filters_agree_with_python(shop):
    rows = []
    for page in (1, 2, 3):
        rows += requests.get(f"{shop.url}/products", {"size": 50, "page": page}, timeout=10).json()
    wanted = [row["id"] for row in rows if 200 <= row["price"] <= 700 and row.get("colour") == "red"]
    got = requests.get(f"{shop.url}/products?price[gte]=200&price_lte=700&colour=red&size=50", timeout=10).json()
    assert [row["id"] for row in got] == wanted and wanted
    assert len(requests.get(f"{shop.url}/products?size=1000", timeout=10).json()) == 50
    assert requests.get(f"{shop.url}/products?q=ada&fields=name", timeout=10).json()[0] == {"id": 1, "name": "Ada"}


def test_a_row_lives(shop):
    made = requests.post(f"{shop.url}/products", json={"name": "Teapot", "tags": ["new"]}, timeout=10)
    assert made.status_code == 201 and made.json()["stock"] == 0
    url = urljoin(shop.url, made.headers["location"])
    assert requests.get(url, timeout=10).json() == made.json()
    tag = made.headers["etag"]
    assert requests.get(url, headers={"If-None-Match": tag}, timeout=10).status_code == 304
    patched = requests.patch(url, json={"tags": None, "price": 3}, headers={"If-Match": tag}, timeout=10)
    assert patched.json() == {"id": made.json()["id"], "name": "Teapot", "stock": 0, "price": 3}
    assert requests.patch(url, json={"price": 4}, headers={"If-Match": tag}, timeout=10).status_code == 412
    assert requests.put(url, json={"name": "Pot"}, timeout=10).json() == {"id": made.json()["id"], "name": "Pot", "stock": 0}
    assert requests.head(url, timeout=10).headers["content-length"] != "0"
    assert requests.options(url, timeout=10).headers["allow"] == "GET, HEAD, PUT, PATCH, DELETE, OPTIONS"
    assert requests.delete(url, timeout=10).status_code == 204
    assert requests.get(url, timeout=10).status_code == 404
    refused = requests.delete(f"{shop.url}/products", timeout=10)
    assert refused.status_code == 405 and "POST" in refused.headers["allow"]


def test_every_problem_is_listed_with_its_field(shop):
    reply = requests.post(f"{shop.url}/products", json={"price": -1, "colour": "green", "added": "today", "size": 1}, timeout=10)
    assert reply.status_code == 422
    assert {problem["field"] for problem in reply.json()["problems"]} == {"name", "price", "colour", "added", "size"}
    assert requests.post(f"{shop.url}/products", data={"name": "x"}, timeout=10).status_code == 415
    bad = requests.post(f"{shop.url}/products", data="{", headers={"Content-Type": "application/json"}, timeout=10)
    assert bad.status_code == 400 and "JSON" in bad.json()["error"]
    users = f"{shop.url}/api/users"
    assert requests.post(users, json={"email": "a@b.test"}, timeout=10).status_code == 201
    assert requests.post(users, json={"email": "a@b.test"}, timeout=10).status_code == 409
    assert requests.get(users, timeout=10).json()["total"] == 1


def test_odd_inputs_are_never_the_servers_fault(shop):
    chance = random.Random(4)
    odd = ["", "'", '"', "\\", "%", "%00", "%ff", "[", "]", "[]", "..", ";--", "0", "-1", "1e999", "9" * 40, "é", "$", "null", "a" * 300]
    names = ["name", "price", "page", "size", "offset", "sort", "fields", "q", "tags", "id", "price[gte]", "tags[like]", "added_lt"]
    bodies = ['{"name":"\\u0000"}', '{"name":1e400}', "[" * 500, '"x"', "null", '{"name":{"a":[[]]}}', '{"id":-1}', "\xff", '{"name":"x","price":1e308}']
    with requests.Session() as session:
        for _ in range(150):
            query = "&".join(f"{chance.choice(names)}{chance.choice(['', '', '[' + chance.choice(odd) + ']'])}={chance.choice(odd)}" for _ in range(3))
            path = chance.choice(["/products", f"/products/{chance.choice(odd)}", "/notes", "/api/users/x", "//products"])
            reply = session.get(f"{shop.url}{path}?{query}", timeout=10)
            assert reply.status_code < 500, (path, query, reply.text)
        for body in bodies:
            for method in ("POST", "PUT", "PATCH"):
                path = "/notes" if method == "POST" else "/products/1"
                reply = session.request(method, shop.url + path, data=body.encode("latin-1"), headers={"Content-Type": "application/json"}, timeout=10)
                assert reply.status_code < 500, (method, body, reply.text)
    assert requests.get(f"{shop.url}/products/1", timeout=10).status_code == 200


def test_eight_writers_and_a_kill_lose_no_acknowledged_row(tmp_path):
    config = "store: file:rows.db\ncollections: {rows: {fields: {writer: integer!, n: integer!}, page: {size: 1000, max: 10000}}}"
    acknowledged = []

    with Fake(config, tmp_path) as fake:

        def write(writer):
            with requests.Session() as session:
                for n in range(10_000):
                    try:
                        reply = session.post(f"{fake.url}/rows", json={"writer": writer, "n": n}, timeout=10)
                    except requests.RequestException:
                        return n
                    assert reply.status_code == 201, reply.text
                    acknowledged.append((reply.json()["id"], writer, n))
            return 10_000

        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            writers = [pool.submit(write, writer) for writer in range(8)]
            while len(acknowledged) < 400:
                assert not any(writer.done() for writer in writers)
            fake.process.kill()
            assert all(writer.result() < 10_000 for writer in writers)
        fake.process.wait()
        # What __exit__ checks is for the one that runs then.
        again = Fake(config, tmp_path)
        fake.process = again.process
        rows = []
        for page in range(1, 50):
            found = requests.get(f"{again.url}/rows", {"page": page}, timeout=10).json()
            rows += [(row["id"], row["writer"], row["n"]) for row in found]
            if len(found) < 1000:
                break
    assert len({identifier for identifier, _, _ in acknowledged}) == len(acknowledged)
    assert set(acknowledged) <= set(rows)
    assert len(rows) <= len(acknowledged) + 8


def test_behind_a_listener_rows_outlive_a_reload(squall, tmp_path):
    fake = f"store: file:{tmp_path}/rows.db\ncollections: {{rows: {{}}}}"
    running = squall(configuration(fake))
    assert requests.post(running.url("/rows"), json={"a": 1}, timeout=10).status_code == 201
    running.save(configuration(fake.replace("rows: {}", "rows: {envelope: data}")))
    running.wait_for_message("reloaded", 15)
    assert requests.get(running.url("/rows"), timeout=10).json()["data"] == [{"id": 1, "a": 1}]
