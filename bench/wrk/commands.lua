-- The ancestor's load: for each order its items, then where it goes, then the payment.
-- A user does not wait for one order: a step follows 300 requests behind the one before it, when that has long
-- been answered, for only as many requests are under way as there are users.
local bit = require("bit")
local here = debug.getinfo(1, "S").source:match("@(.*/)")
dofile(here .. "figures.lua")

local LAG = 300
local sent = 0
local json = {["content-type"] = "application/json"}

function init(args) prefix = args[1] end

-- As good as random, as a UUID is: neighbours in time are none in the tables' keys.
local function order(n)
  return string.format("%s-%s-%d-%d", bit.tohex(bit.bxor(n * 0x9E3779, bit.lshift(n, 24))), prefix, number, n)
end

function request()
  local n, step = math.floor(sent / 3), sent % 3
  sent = sent + 1
  if step == 1 and n >= LAG / 3 then
    return wrk.format("POST", "/api/shipping-location", json, string.format(
      '{"orderId":"%s","customerName":"Ada K","customerAddress":"9 Quay St","zipCode":"00501","latitude":40.7127281,"longitude":-74.0060152}',
      order(n - LAG / 3)))
  elseif step == 2 and n >= 2 * LAG / 3 then
    return wrk.format("POST", "/api/payment", json, string.format(
      '{"orderId":"%s","paymentType":"CREDIT_CARD","creditCardType":"Visa","creditCardNumber":"1111-1111-1111-1111","amount":0.04}',
      order(n - 2 * LAG / 3)))
  end
  if step > 0 then  -- nothing to follow yet
    sent = sent + 2 - step
    if step == 1 then sent = sent + 1 end
    n = math.floor(sent / 3)
    sent = sent + 1
  end
  return wrk.format("POST", "/api/item-details", json, string.format(
    '{"orderId":"%s","items":[{"itemId":"1","itemName":"Swedish Fish","price":0.01,"quantity":2},{"itemId":"2","itemName":"Pretzels","price":0.01,"quantity":2}]}',
    order(n)))
end
