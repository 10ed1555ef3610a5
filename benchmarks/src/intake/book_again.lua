-- Every request another customer, and one of the same seats in turn. Arguments: path, first seat, number of seats.
local n = 0
local path, first, seats

function init(args)
  path, first, seats = args[1], tonumber(args[2]), tonumber(args[3])
end

function request()
  n = n + 1
  return wrk.format("POST", path, { ["Content-Type"] = "application/json" },
    string.format('{"userName":"Buyer %d","userEmail":"buyer%d@example.com","seatIds":[%d]}', n, n, first + n % seats))
end
