-- leave(worker): it stops in order. Forgotten when it holds nothing, else left for the sweep. Returns the number of leases it holds.
local w = ARGV[1]
call('ZREM', POLLING, w)
local held = call('SCARD', OF_WORKER .. w)
if held == 0 then
  call('ZREM', WORKERS, w)
  call('DEL', CANCEL_WORKER .. w)
  call('HDEL', SUSPECTS, w)
  call('HDEL', ROOM, w)
  call('DEL', TOLD .. w)
end
return held
