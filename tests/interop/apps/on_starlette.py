"""The common routes on Starlette: `python -m uvicorn on_starlette:app`."""

import asyncio
import json

import common
from starlette.applications import Starlette
from starlette.responses import JSONResponse, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocketDisconnect


async def about(request):
    return JSONResponse(common.about("Starlette", request.client.port, request.scope["http_version"]))


async def events(request):
    numbers, gap = common.schedule(request.query_params)

    async def stream():
        for number in numbers:
            yield f"data: {json.dumps(common.event(number))}\n\n"
            await asyncio.sleep(gap)

    return StreamingResponse(stream(), media_type="text/event-stream")


async def upload(request):
    digest = common.Digest()
    async for piece in request.stream():
        digest.take(piece)
    return JSONResponse(digest.result())


async def download(_request):
    return StreamingResponse(common.pieces(), media_type="application/octet-stream")


async def error(_request):
    raise RuntimeError("as asked")


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


app = Starlette(
    routes=[
        Route("/json", about),
        Route("/events", events),
        Route("/upload", upload, methods=["POST"]),
        Route("/download", download),
        Route("/error", error),
        WebSocketRoute("/echo", echo),
    ]
)
