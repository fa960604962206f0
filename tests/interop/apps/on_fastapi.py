"""The common routes on FastAPI: `python -m uvicorn on_fastapi:app`, or hypercorn for HTTP/2."""

import asyncio
import json
from collections.abc import AsyncIterable

import common
from fastapi import FastAPI, Request, WebSocket, WebSocketDisconnect
from fastapi.responses import StreamingResponse
from fastapi.sse import EventSourceResponse, ServerSentEvent

app = FastAPI()


@app.get("/json")
async def about(request: Request):
    return common.about("FastAPI", request.client.port, request.scope["http_version"])


@app.get("/events", response_class=EventSourceResponse)
async def events(request: Request) -> AsyncIterable[ServerSentEvent]:
    numbers, gap = common.schedule(request.query_params)
    for number in numbers:
        yield ServerSentEvent(raw_data=json.dumps(common.event(number)))
        await asyncio.sleep(gap)


@app.post("/upload")
async def upload(request: Request):
    digest = common.Digest()
    async for piece in request.stream():
        digest.take(piece)
    return digest.result()


@app.get("/download")
async def download():
    return StreamingResponse(common.pieces(), media_type="application/octet-stream")


@app.get("/error")
async def error():
    raise RuntimeError("as asked")


@app.websocket("/echo")
async def echo(socket: WebSocket):
    await socket.accept()
    try:
        while True:
            message = await socket.receive()
            if message["type"] == "websocket.disconnect":
                return
            if message.get("text") is not None:
                await socket.send_text(message["text"])
            else:
                await socket.send_bytes(message["bytes"])
    except WebSocketDisconnect:
        pass
