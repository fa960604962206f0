-- Ends a wrk run with nothing in flight: new requests stop some time before wrk does, so that all counts must agree.
-- Then prints wrk's own exact figures.

local stop_after_seconds = 4

function init()
  began = os.time()
end

-- Milliseconds to wait before the next request.
function delay()
  if os.time() - began >= stop_after_seconds then
    return 3600000
  end
  return 0
end

function done(summary)
  local errors = summary.errors
  print(string.format("exact: complete=%d bad_status=%d connect=%d read=%d write=%d timeout=%d",
    summary.requests, errors.status, errors.connect, errors.read, errors.write, errors.timeout))
end
