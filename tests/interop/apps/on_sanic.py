"""The common routes on Sanic: `python -m sanic on_sanic:app --single-process`."""

import asyncio
import json

import common
from sanic import Sanic, response

app = Sanic("interop")


@app.get("/json")
async def about(request):
    return response.json(common.about("Sanic", request.port, request.version))


@app.get("/events")
async def events(request):
    numbers, gap = common.schedule(request.args)
    stream = await request.respond(content_type="text/event-stream")
    for number in numbers:
        await stream.send(f"data: {json.dumps(common.event(number))}\n\n")
        await asyncio.sleep(gap)


@app.post("/upload", stream=True)
async def upload(request):
    digest = common.Digest()
    while piece := await request.stream.read():
        digest.take(piece)
    return response.json(digest.result())


@app.get("/download")
async def download(request):
    stream = await request.respond(content_type="application/octet-stream")
    for piece in common.pieces():
        await stream.send(piece)


@app.get("/error")
async def error(_request):
    raise RuntimeError("as asked")


@app.websocket("/echo")
async def echo(_request, socket):
    async for message in socket:
        await socket.send(message)
