-- needs: order, agent, signature, grant, rescore
-- sweep_match(): whatever was forgotten: match for every signature with a head and a free agent. Then one step of building signatures and of
-- a switch of strategy; signatures unused for 10 minutes go. Returns {1 when more, grants…}.
local grants, more = {}, 0
pass_when_full()

-- A task that is queued has a job under way, which a worker begins for less than a grant and a job of its own cost. Its job counts as lost
-- when the same task is still first after PATIENCE: then, and at once for those behind it as long as nobody else takes any.
local function oldest(head) return call('ZRANGE', WAITING .. head, 0, 0)[1] end
local seen, kept = {}, {}
local found = call('HGETALL', SEEN)
for i = 1, #found, 2 do seen[found[i]] = tonumber(found[i + 1]) end

local function look(head)
  local sig, t = sig_of(head), oldest(head)
  if call('HGET', TASK .. t, 'state') == 'waiting' then return match(sig, grants) end
  local since = seen[t] or now
  if now - since >= PATIENCE then
    match(sig, grants)
    t = oldest(head)
  end
  if t then kept[#kept + 1], kept[#kept + 2] = t, since end
end

for p = 0, 4 do
  if not setting(tostring(p)) then
    for _, head in ipairs(heads_of(p)) do
      if #grants < GRANTS and call('EXISTS', score_key(sig_of(head))) == 1 and oldest(head) then look(head) end
    end
  end
end
call('DEL', SEEN)
if kept[1] then call('HSET', SEEN, unpack(kept)) end
if #grants >= GRANTS then more = 1 end
local sig = call('SRANDMEMBER', BUILDING)
if sig then
  build(sig, BUILD_PAGE)
  match(sig, grants)
  if call('SCARD', BUILDING) > 0 then more = 1 end
end
if rescore(BUILD_PAGE) then more = 1 end
for _, old in ipairs(call('ZRANGEBYSCORE', SIGS, '-inf', now - SIGNATURE_IDLE, 'LIMIT', 0, 8)) do
  local G = get(SIG .. old, {'live', 'building'})
  if tonumber(G.live) > 0 then call('ZADD', SIGS, now, old)
  elseif not G.building then start(old, 'drop', 'any') end
end
return {more, unpack(grants)}
