"""The Test API's count route on FastAPI and SQLite, for uvicorn with one worker: as the original is built, with `databases`,
and as lean as it gets, on one aiosqlite connection that stays open (LEAN=1).
"""

import asyncio
import contextlib
import os

import aiosqlite
import databases
from fastapi import FastAPI, Query

TODOS = 21
FILE = os.environ["TODO_DATABASE"]
LEAN = os.environ.get("LEAN") == "1"


@contextlib.asynccontextmanager
async def opened(app):
    async with aiosqlite.connect(FILE) as connection, databases.Database(f"sqlite+aiosqlite:///{FILE}") as database:
        await connection.execute("create table todos (todoId text primary key, isComplete int not null)")
        await connection.executemany("insert into todos values (?, 1)", [(str(number),) for number in range(TODOS)])
        await connection.commit()
        app.state.connection, app.state.database = connection, database
        yield


app = FastAPI(lifespan=opened)


@app.get("/api/v1/todo/list/count")
async def count_todos(delay: int | None = Query(None, ge=1, le=10), complete: bool | None = None):
    if delay is not None:
        await asyncio.sleep(delay)
    query, values = "select count(*) from todos", {}
    if complete is not None:
        query, values = query + " where isComplete = :complete", {"complete": complete}
    if not LEAN:
        return {"count": await app.state.database.fetch_val(query, values)}
    async with app.state.connection.execute(query, values) as cursor:
        return {"count": (await cursor.fetchone())[0]}
