"""The common routes on Responder: `python -m hypercorn on_responder:app`."""

import asyncio

import common
import responder
from starlette.websockets import WebSocketDisconnect

app = responder.API()


@app.route("/json")
async def about(req, resp):
    resp.media = common.about("Responder", req.client.port, req._starlette.scope["http_version"])


@app.route("/events")
async def events(req, resp):
    numbers, gap = common.schedule(req.params)

    @resp.sse
    async def stream():
        for number in numbers:
            yield {"data": common.event(number)}
            await asyncio.sleep(gap)


@app.route("/upload", methods=["POST"])
async def upload(req, resp):
    digest = common.Digest()
    async for piece in req.stream():
        digest.take(piece)
    resp.media = digest.result()


@app.route("/download")
async def download(_req, resp):
    @resp.stream
    async def stream():
        for piece in common.pieces():
            yield piece


@app.route("/error")
async def error(_req, _resp):
    raise RuntimeError("as asked")


@app.route("/echo", websocket=True)
async def echo(socket):
    await socket.accept()
    try:
        while (message := await socket.receive())["type"] == "websocket.receive":
            if message.get("text") is not None:
                await socket.send_text(message["text"])
            else:
                await socket.send_bytes(message["bytes"])
    except WebSocketDisconnect:
        pass
