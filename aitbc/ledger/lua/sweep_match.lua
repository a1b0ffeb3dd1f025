-- needs: order, agent, signature, grant, rescore
-- sweep_match(): whatever was forgotten: match for every signature with a head and a free agent. Then one step of building signatures and of
-- a switch of strategy; signatures unused for 10 minutes go. Returns {1 when more, grants…}.
local grants, more = {}, 0
pass_when_full()
for p = 0, 4 do
  if not setting(tostring(p)) then
    for _, head in ipairs(heads_of(p)) do
      local sig = head:match('^(.*):')
      if #grants < GRANTS and call('EXISTS', score_key(sig)) == 1 then match(sig, grants) end
    end
  end
end
if #grants >= GRANTS then more = 1 end
local sig = call('SRANDMEMBER', BUILDING)
if sig then
  build(sig, BUILD_PAGE)
  match(sig, grants)
  if call('SCARD', BUILDING) > 0 then more = 1 end
end
if rescore(BUILD_PAGE) then more = 1 end
for _, old in ipairs(call('ZRANGEBYSCORE', SIGS, '-inf', now - SIGNATURE_IDLE, 'LIMIT', 0, 8)) do
  local G = get(SIG .. old, 'live', 'building')
  if tonumber(G.live) > 0 then call('ZADD', SIGS, now, old)
  elseif not G.building then start(old, 'drop', 'any') end
end
return {more, unpack(grants)}
