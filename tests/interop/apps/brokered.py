"""A Celery worker's tasks, and their producer's settings, for either broker.

`BROKER` is the broker's URL, seen through squall; `RESULTS` the Redis that keeps the results, seen directly.
"""

import os
import time

from celery import Celery
from redis import Redis

RESULTS = os.environ["RESULTS"]

celery = Celery("brokered", broker=os.environ["BROKER"], backend=RESULTS)
celery.conf.update(
    broker_connection_retry_on_startup=True,
    broker_connection_max_retries=None,
    broker_heartbeat=0,
    task_acks_late=True,  # what a worker has not finished when its connection is lost, another does
    worker_cancel_long_running_tasks_on_connection_loss=False,
)


@celery.task
def square(number):
    """Says when it ran, on the clock that all processes of a machine share."""
    Redis.from_url(RESULTS).incr(f"runs {number}")
    return {"square": number * number, "at": time.monotonic()}
