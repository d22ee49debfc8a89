-- wrk script: sends one body again and again, then prints what was measured as one line of JSON.
-- Arguments: the method, the file with the body, its content type, further headers ("Name: value");
-- with GET, nothing is sent of the body and its type.

local threads = {}

function setup(thread)
  table.insert(threads, thread)
end

function init(arguments)
  wrk.method = arguments[1]
  if wrk.method ~= "GET" then
    local file = assert(io.open(arguments[2], "rb"))
    wrk.body = file:read("*a")
    wrk.headers["Content-Type"] = arguments[3]
  end
  for place = 4, #arguments do
    local name, value = arguments[place]:match("^([^:]+): (.*)$")
    wrk.headers[name] = value
  end
  wrong = 0
end

function response(status, headers, body)
  if status ~= 200 then wrong = wrong + 1 end
end

function done(summary, latency, requests)
  local wrong_sum = 0
  for _, thread in ipairs(threads) do wrong_sum = wrong_sum + thread:get("wrong") end
  local errors = summary.errors
  io.write(string.format(
    '{"requests": %d, "seconds": %.6f, "p50_ms": %.4f, "p90_ms": %.4f, "p99_ms": %.4f, ' ..
    '"max_ms": %.4f, "errors": %d}\n',
    summary.requests, summary.duration / 1e6,
    latency:percentile(50) / 1e3, latency:percentile(90) / 1e3, latency:percentile(99) / 1e3,
    latency.max / 1e3,
    wrong_sum + errors.connect + errors.read + errors.write + errors.timeout))
end
