-- The load: PROLOG requests of OCS agents, over persistent connections.
--
-- Arguments: "each" or "any", and a file of bodies. Each body follows its length in two bytes,
-- the higher byte first. "each" sends every body once, in order, and ends wrk when all are
-- answered, with exit code 1 if one was refused. "any" sends random bodies for the duration of
-- the run, and the last line of its output is a JSON object.

-- wrk does not tell which request an answer belongs to. After this many additional answers, all
-- bodies have certainly been answered; it is far more than the number of open requests.
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
    -- Defined only here, because wrk is slower with this function.
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
