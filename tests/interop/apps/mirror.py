"""Sends the body back as it comes, piece by piece, and says in headers what it saw of the request."""


async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    query = scope["query_string"]
    target = scope["raw_path"] + (b"?" + query if query else b"")
    seen = [value for name, value in scope["headers"] if name == b"x-many"]
    headers = [(b"x-target", target), (b"x-method", scope["method"].encode()), (b"x-seen", b"|".join(seen))]
    headers += [(b"set-cookie", b"a=1"), (b"set-cookie", b"b=2")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    more = True
    while more:
        event = await receive()
        if event["type"] != "http.request":
            return
        more = event.get("more_body", False)
        await send({"type": "http.response.body", "body": event.get("body", b""), "more_body": more})
