"""Jobs as web applications have them: Flask takes them, Celery runs them, and whoever asked polls for the result.

POST /jobs {"number": 7, "seconds": 0.5} → 202, Location: /jobs/ID
GET /jobs/ID?wait=0.3                    → 200 and the result, or 202 if it is not there within that time

`JOBS_REDIS` is the Redis that is the broker and keeps the results.
"""

import os
import time

from celery import Celery
from flask import Flask, request, url_for
from redis import Redis

REDIS = os.environ["JOBS_REDIS"]
WAIT_SECONDS_MAX = 10

app = Flask(__name__)
celery = Celery("jobs", broker=REDIS, backend=REDIS)
celery.conf.broker_connection_retry_on_startup = True


@celery.task(bind=True)
def square(self, number, seconds):
    Redis.from_url(REDIS).incr(f"runs {number}")
    time.sleep(seconds)
    return {"square": number * number, "id": self.request.id}


@app.post("/jobs")
def create():
    job = square.delay(request.json["number"], request.json["seconds"])
    return {"id": job.id}, 202, {"Location": url_for("read", job_id=job.id)}


@app.get("/jobs/<job_id>")
def read(job_id):
    job = celery.AsyncResult(job_id)
    deadline = time.monotonic() + min(float(request.args.get("wait", 0)), WAIT_SECONDS_MAX)
    while not job.ready() and time.monotonic() < deadline:
        time.sleep(0.02)
    if not job.ready():
        return {"state": job.state}, 202
    return {"state": job.state, "result": job.result}
