"""A small shop: items to look at, and orders that are placed once, however often they are sent."""

from fastapi import FastAPI, Header, HTTPException
from pydantic import BaseModel

app = FastAPI(title="shop")
PRICES = {1: 1200, 2: 350, 3: 9900}
MAX_ORDERS = 10_000  # how many are remembered
orders: dict[str, dict] = {}


class Order(BaseModel):
    item: int
    count: int = 1


@app.get("/healthz")
async def healthz():
    return {"ok": True}


@app.get("/items/{item}")
async def read_item(item: int):
    if item not in PRICES:
        raise HTTPException(404, "no such item")
    return {"item": item, "price": PRICES[item]}


@app.post("/orders", status_code=201)
async def place_order(order: Order, idempotency_key: str = Header()):
    if order.item not in PRICES:
        raise HTTPException(404, "no such item")
    if idempotency_key not in orders:
        while len(orders) >= MAX_ORDERS:
            orders.pop(next(iter(orders)))
        orders[idempotency_key] = {"order": len(orders) + 1, "total": PRICES[order.item] * order.count}
    return orders[idempotency_key]
