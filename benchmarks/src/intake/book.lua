-- Every request another customer and another seat.
local n = 0

function request()
  n = n + 1
  return wrk.format("POST", "/ticket-bookings", { ["Content-Type"] = "application/json" },
    string.format('{"userName":"Buyer %d","userEmail":"buyer%d@example.com","seatIds":[%d]}', n, n, n))
end
