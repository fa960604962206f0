"""The common routes on Flask: `python -m flask --app on_flask run`."""

import json
import time

import common
from flask import Flask, Response, request

app = Flask(__name__)


@app.get("/json")
def about():
    return common.about("Flask", request.environ["REMOTE_PORT"], request.environ["SERVER_PROTOCOL"])


@app.get("/events")
def events():
    numbers, gap = common.schedule(request.args)

    def stream():
        for number in numbers:
            yield f"data: {json.dumps(common.event(number))}\n\n"
            time.sleep(gap)

    return Response(stream(), mimetype="text/event-stream")


@app.post("/upload")
def upload():
    digest = common.Digest()
    while piece := request.stream.read(common.PIECE):
        digest.take(piece)
    return digest.result()


@app.get("/download")
def download():
    return Response(common.pieces(), mimetype="application/octet-stream")


@app.get("/error")
def error():
    raise RuntimeError("as asked")
