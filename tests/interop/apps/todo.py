"""The article's Test API in small: FastAPI on SQLite, with a count of the requests that reached it."""

import os
import sqlite3
import uuid

from fastapi import FastAPI, Request
from pydantic import BaseModel

database = sqlite3.connect(os.environ.get("TODO_DATABASE", ":memory:"), check_same_thread=False)
database.execute("create table if not exists todo (id text primary key, title text not null, complete int not null)")
database.executemany(
    "insert into todo values (?, ?, 1)", [(str(uuid.uuid1()), f"todo {number}") for number in range(21)]
)
database.commit()

app = FastAPI()
app.state.count = 0


@app.middleware("http")
async def count_requests(request: Request, call_next):
    if request.url.path != "/_count":
        app.state.count += 1
    return await call_next(request)


@app.get("/_count")
async def read_count():
    return {"count": app.state.count}


@app.get("/api/v1/todo/list")
async def list_todos():
    rows = database.execute("select id, title, complete from todo").fetchall()
    return [{"todoId": row[0], "title": row[1], "isComplete": bool(row[2])} for row in rows]


@app.get("/api/v1/todo/list/count")
async def count_todos():
    return {"count": database.execute("select count(*) from todo").fetchone()[0]}


class Todo(BaseModel):
    title: str


@app.post("/api/v1/todo/create/")
async def create_todo(todo: Todo):
    todo_id = str(uuid.uuid1())
    database.execute("insert into todo values (?, ?, 0)", (todo_id, todo.title))
    database.commit()
    return {"todoId": todo_id}
