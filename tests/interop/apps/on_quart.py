"""The common routes on Quart: `python -m hypercorn on_quart:app`."""

import asyncio
import json

import common
from quart import Quart, Response, request, websocket

app = Quart(__name__)


@app.get("/json")
async def about():
    return common.about("Quart", request.scope["client"][1], request.http_version)


@app.get("/events")
async def events():
    numbers, gap = common.schedule(request.args)

    async def stream():
        for number in numbers:
            yield f"data: {json.dumps(common.event(number))}\n\n".encode()
            await asyncio.sleep(gap)

    return Response(stream(), mimetype="text/event-stream")


@app.post("/upload")
async def upload():
    digest = common.Digest()
    async for piece in request.body:
        digest.take(piece)
    return digest.result()


@app.get("/download")
async def download():
    async def stream():
        for piece in common.pieces():
            yield piece

    return Response(stream(), mimetype="application/octet-stream")


@app.get("/error")
async def error():
    raise RuntimeError("as asked")


@app.websocket("/echo")
async def echo():
    while True:
        message = await websocket.receive()
        await websocket.send(b"" if message is None else message)  # Quart gives an empty binary message as None
