-- What every script counts and says in the end, for bench/load.py.
local threads = {}

function setup(thread)
  thread:set("number", #threads + 1)
  table.insert(threads, thread)
end

refused = 0
reason = ""

function response(status, headers, body)
  if status < 200 or status > 299 then
    refused = refused + 1
    reason = status .. " " .. body
  end
end

function done(summary, latency, requests)
  local failed = summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout
  for _, thread in ipairs(threads) do
    failed = failed + thread:get("refused")
    if thread:get("reason") ~= "" then print("an answer that was refused: " .. thread:get("reason")) end
  end
  local function figure(name, value) print(string.format("FIGURE %s %.3f", name, value)) end
  figure("rate", summary.requests / (summary.duration / 1e6))
  for _, p in ipairs({50, 90, 95, 99}) do figure("p" .. p, latency:percentile(p) / 1e3) end
  figure("errors", failed)
end
