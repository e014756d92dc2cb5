-- One query: `id N` asks for one of N orders at random, `status S` for all orders with a status.
local here = debug.getinfo(1, "S").source:match("@(.*/)")
dofile(here .. "figures.lua")

function init(args)
  kind, value = args[1]:match("(%w+) (%w+)")
  math.randomseed(number)
end

function request()
  if kind == "id" then
    return wrk.format("GET", string.format("/api/orders/query-%07d", math.random(0, tonumber(value) - 1)))
  end
  return wrk.format("GET", "/api/orders?status=" .. value)
end
