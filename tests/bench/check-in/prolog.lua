-- The load: PROLOG requests of stock agents, over connections that are kept.
--
-- Arguments: "each" or "any", and a file of bodies, each after its length in two bytes, the
-- higher first. "each" sends every body, in order, and ends wrk when all are answered, with exit
-- code 1 if one was refused; "any" sends bodies at random for as long as wrk is told to, and the
-- last line of its output is a JSON object.

-- An answer does not say which request it is to: as many more are awaited before all have been
-- answered for certain, far more than are under way at a time.
local SURPLUS = 100

local requests = {}
local sent, answered = 0, 0
local each

local function read(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read("*a")
  file:close()
  local at = 1
  while at < #text do
    local high, low = text:byte(at, at + 1)
    local length = high * 256 + low
    requests[#requests + 1] = wrk.format(nil, nil, nil, text:sub(at + 2, at + 1 + length))
    at = at + 2 + length
  end
end

function init(arguments)
  wrk.method = "POST"
  wrk.headers["User-Agent"] = "OCS-NG_unified_unix_agent_v2.10.0"
  wrk.headers["Content-Type"] = "application/x-compress"
  each = arguments[1] == "each"
  read(arguments[2])
  math.randomseed(1)
  if each then
    -- Defined only here, because wrk is slower with it.
    function response(status)
      answered = answered + 1
      if status ~= 200 then
        os.exit(1)
      elseif answered == #requests + SURPLUS then
        os.exit(0)
      end
    end
  end
end

function request()
  if each then
    sent = sent % #requests + 1
    return requests[sent]
  end
  return requests[math.random(#requests)]
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    '{"requests":%d,"bytes":%d,"duration_us":%d,"p50_us":%d,"p99_us":%d,"refused":%d,"broken":%d}\n',
    summary.requests, summary.bytes, summary.duration,
    latency:percentile(50), latency:percentile(99),
    errors.status, errors.connect + errors.read + errors.write + errors.timeout))
end
