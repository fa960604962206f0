"""The common routes on aiohttp: `python -m aiohttp.web on_aiohttp:main`."""

import asyncio
import json

import common
from aiohttp import WSMsgType, web

routes = web.RouteTableDef()


def main(_argv=None):
    app = web.Application()
    app.add_routes(routes)
    return app


@routes.get("/json")
async def about(request):
    version = f"{request.version.major}.{request.version.minor}"
    return web.json_response(common.about("aiohttp", request.transport.get_extra_info("peername")[1], version))


@routes.get("/events")
async def events(request):
    numbers, gap = common.schedule(request.query)
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    for number in numbers:
        await response.write(f"data: {json.dumps(common.event(number))}\n\n".encode())
        await asyncio.sleep(gap)
    return response


@routes.post("/upload")
async def upload(request):
    digest = common.Digest()
    async for piece in request.content.iter_any():
        digest.take(piece)
    return web.json_response(digest.result())


@routes.get("/download")
async def download(request):
    response = web.StreamResponse()
    response.enable_chunked_encoding()
    await response.prepare(request)
    for piece in common.pieces():
        await response.write(piece)
    return response


@routes.get("/error")
async def error(_request):
    raise RuntimeError("as asked")


@routes.get("/echo")
async def echo(request):
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    async for message in socket:
        if message.type == WSMsgType.TEXT:
            await socket.send_str(message.data)
        elif message.type == WSMsgType.BINARY:
            await socket.send_bytes(message.data)
    return socket
