-- needs: agent, rescore
-- set_strategy(name): the next epoch's score sets are filled beside the deciding ones, the first 1,000 agents at once; then one key flips.
-- Returns the strategy that decides now.
local name = ARGV[1]
pass_when_full()
if setting('next_epoch') then drop_epoch(setting('next_epoch')) end
if name == (setting('strategy') or DEFAULT_STRATEGY) then call('HDEL', LEDGER, 'next_strategy', 'next_epoch', 'next_cursor')
else
  local epoch = math.max(setting('epoch') or 0, setting('next_epoch') or 0) + 1
  call('HSET', LEDGER, 'next_strategy', name, 'next_epoch', epoch, 'next_cursor', 0)
  settings, sets, fields = nil
  rescore(BUILD_PAGE)
end
return call('HGET', LEDGER, 'strategy') or DEFAULT_STRATEGY
